"""What a caller passes to a session: tags, which of them go on to the next role, and who stands behind it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.sts.service import InvalidParameterValue, ValidationError

TAGS_MAX = 50
TAG, TRANSITIVE, SOURCE = "aws:principaltag/", "sts:transitivetagkeys", "aws:sourceidentity"
_SOURCE_IDENTITY = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Passed:
    """`facts` are the condition keys of the session; `actions` what its opening needs beside the role itself."""

    facts: tuple[tuple[str, str], ...] = ()
    actions: tuple[str, ...] = ()
    source_identity: str = ""


def passed_by(call: Call, request: Input) -> Passed:
    """What a request to assume a role passes, with what the caller's own session passes on (role chaining)."""
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}
    _check_tags([tag["Key"] for tag in request.get("Tags") or ()])
    kept = {name: _tag_of(call, name) for key, name in call.principal.facts if key == TRANSITIVE}
    for name in tags:
        if name.lower() in kept:
            raise InvalidParameterValue("One of the specified transitive tag keys can't be set because it conflicts"
                                        " with a transitive tag key from the calling session.")
    on = [name.lower() for name in request.get("TransitiveTagKeys") or ()]
    if any(name not in {tag.lower() for tag in tags} for name in on):
        raise InvalidParameterValue("The specified transitive tag key must be included in the requested tags.")
    facts = [(TAG + name.lower(), value) for name, value in (*kept.items(), *tags.items())]
    facts += [(TRANSITIVE, name) for name in (*kept, *on)]
    actions = ["sts:TagSession"] if tags or on else []
    behind = next((value for key, value in call.principal.facts if key == SOURCE), "")
    asked = request.get("SourceIdentity")
    if asked is not None:
        _check_source_identity(asked)
        if behind and behind != asked:
            raise ValidationError("SourceIdentity cannot be changed in a role chain.")
        actions.append("sts:SetSourceIdentity")
    source = asked or behind
    return Passed((*facts, *([(SOURCE, source)] if source else ())), tuple(actions), source)


def tag_facts(request: Input) -> tuple[tuple[str, str], ...]:
    """The condition keys of a session whose tags the request gives, without a chain."""
    _check_tags([tag["Key"] for tag in request.get("Tags") or ()])
    return tuple((TAG + tag["Key"].lower(), tag["Value"]) for tag in request.get("Tags") or ())


def _tag_of(call: Call, name: str) -> str:
    return next((value for key, value in call.principal.facts if key == TAG + name), "")


def _check_tags(names: Iterable[str]) -> None:
    lower = [name.lower() for name in names]
    if len(set(lower)) < len(lower):
        raise InvalidParameterValue("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(name.startswith("aws:") for name in lower):
        raise InvalidParameterValue("One or more tag keys have been reserved for system use: aws:")
    if len(lower) > TAGS_MAX:
        raise ValidationError("1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must"
                              f" have length less than or equal to {TAGS_MAX}")


def _check_source_identity(text: str) -> None:
    if not _SOURCE_IDENTITY.fullmatch(text) or text.startswith("aws:"):
        raise ValidationError(f"1 validation error detected: Value '{text}' at 'sourceIdentity' failed to satisfy"
                              r" constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*")
