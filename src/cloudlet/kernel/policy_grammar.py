"""The grammar of policy documents, and AWS's words for what is wrong with one.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from cloudlet.kernel.policy_conditions import OPERATORS

Kind = Literal["identity", "trust", "resource"]

VERSIONS = ("2008-10-17", "2012-10-17")
TOP = {"Version", "Id", "Statement"}
STATEMENT = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal",
             "Condition"}
_PRINCIPALS = {"AWS", "Service", "Federated", "CanonicalUser"}
_VENDOR = re.compile(r"[a-zA-Z0-9.-]+|\*")
_SYNTAX = "Syntax errors in policy."


class Malformed(Exception):
    """The document is not a policy; the text says why, in AWS's words."""


def check(document: str, kind: Kind) -> None:
    """Raises Malformed unless the document is an identity policy (also a session's), a role's trust policy, or the
    policy of another resource (Resource may be left out: it is that resource)."""
    statements = _statements(document, kind)
    for statement in statements:
        _check_shape(statement)
    sids = [statement["Sid"] for statement in statements if statement.get("Sid")]
    if len(set(sids)) < len(sids):
        raise Malformed("Statement IDs (SID) in a single policy must be unique.")
    for statement in statements:
        if not statement.get("Action") and not statement.get("NotAction"):
            raise Malformed("Policy statement must contain actions.")
        _CHECKS[kind](statement)
        for action in _texts(statement, "Action") + _texts(statement, "NotAction"):
            _check_action(action)


def _statements(document: str, kind: Kind) -> list[dict[str, Any]]:
    try:
        content = msgspec.json.decode(document)
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        raise Malformed(_SYNTAX if kind == "identity" else "This policy contains invalid Json") from None
    if not isinstance(content, dict) or not content.keys() <= TOP or "Statement" not in content:
        raise Malformed(_SYNTAX)
    if content.get("Version", VERSIONS[0]) not in VERSIONS or not isinstance(content.get("Id", ""), str):
        raise Malformed(_SYNTAX)
    if kind == "identity" and content.get("Version") != VERSIONS[1]:
        raise Malformed("Policy document must be version 2012-10-17 or greater.")
    found = content["Statement"] if isinstance(content["Statement"], list) else [content["Statement"]]
    if not found or not all(isinstance(statement, dict) for statement in found):
        raise Malformed(_SYNTAX)
    return found


def _check_shape(statement: Mapping[str, Any]) -> None:
    """Members, their types, and pairs that exclude each other."""
    if not statement.keys() <= STATEMENT or statement.get("Effect") not in ("Allow", "Deny"):
        raise Malformed(_SYNTAX)
    for one in ("Action", "Resource", "Principal"):
        if one in statement and f"Not{one}" in statement:
            raise Malformed(_SYNTAX)
    if not isinstance(statement.get("Sid", ""), str):
        raise Malformed(_SYNTAX)
    for member in ("Action", "NotAction", "Resource", "NotResource"):
        if member in statement and not _is_texts(statement[member]):
            raise Malformed(_SYNTAX)
    if "Condition" in statement and not _is_condition(statement["Condition"]):
        raise Malformed(_SYNTAX)
    for member in ("Principal", "NotPrincipal"):
        if member in statement and not _is_principal(statement[member]):
            raise Malformed(_SYNTAX)


def _check_identity(statement: Mapping[str, Any]) -> None:
    if "Principal" in statement or "NotPrincipal" in statement:
        raise Malformed("Policy document should not specify a principal.")
    if not statement.get("Resource") and not statement.get("NotResource"):
        raise Malformed("Policy statement must contain resources.")
    for resource in _texts(statement, "Resource") + _texts(statement, "NotResource"):
        _check_resource(resource)


def _check_trust(statement: Mapping[str, Any]) -> None:
    if "Resource" in statement or "NotResource" in statement:
        raise Malformed("Has prohibited field Resource")
    if "NotPrincipal" in statement:
        raise Malformed("Has prohibited field NotPrincipal")
    if "Principal" not in statement:
        raise Malformed("Missing required field Principal")
    if not all(action.lower().startswith("sts:") for action in _texts(statement, "Action") or ["NotAction"]):
        raise Malformed("AssumeRole policy may only specify STS AssumeRole actions.")


def _check_of_resource(statement: Mapping[str, Any]) -> None:
    if "Principal" not in statement and "NotPrincipal" not in statement:
        raise Malformed("Missing required field Principal")


_CHECKS: dict[Kind, Callable[[Mapping[str, Any]], None]] = {
    "identity": _check_identity, "trust": _check_trust, "resource": _check_of_resource}


def _check_resource(resource: str) -> None:
    if resource == "*":
        return
    parts = resource.split(":", 5)
    if parts[0] != "arn" or len(parts) == 1:
        raise Malformed(f'Resource {resource} must be in ARN format or "*".')
    if parts[1] not in ("aws", "*"):
        rest = [*(part or "*" for part in parts[2:]), "*", "*", "*", "*"][:4]
        raise Malformed(f'Partition "{parts[1]}" is not valid for resource "arn:{parts[1]}:{":".join(rest)}".')
    if len(parts) < 3 or not parts[2]:
        raise Malformed("Resource vendor must be fully qualified and cannot contain regexes.")
    if len(parts) < 6:
        if "*" not in parts[-1]:
            raise Malformed("The policy failed legacy parsing")
    elif parts[2] == "iam" and parts[3] not in ("", "*"):
        raise Malformed(f"IAM resource {resource} cannot contain region information.")
    elif parts[2] == "s3" and parts[3] not in ("", "*"):
        raise Malformed(f"Resource {resource} can not contain region information.")


def _check_action(action: str) -> None:
    if action == "*":
        return
    vendor, colon, name = action.partition(":")
    if not colon or not name:
        raise Malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    if ":" in name:
        raise Malformed("Actions/Condition can contain only one colon.")
    if not _VENDOR.fullmatch(vendor):
        raise Malformed(f"Vendor {vendor} is not valid")


def _texts(statement: Mapping[str, Any], member: str) -> list[str]:
    value = statement.get(member, [])
    return value if isinstance(value, list) else [value]


def _is_texts(value: Any, scalar: Callable[[Any], bool] = lambda each: isinstance(each, str)) -> bool:
    return all(map(scalar, value)) if isinstance(value, list) else scalar(value)


def _is_principal(value: Any) -> bool:
    if not isinstance(value, dict):
        return bool(value == "*")
    return bool(value) and value.keys() <= _PRINCIPALS and all(map(_is_texts, value.values()))


def is_operator(text: str) -> bool:
    """Whether a condition may compare so."""
    return text.removeprefix("ForAnyValue:").removeprefix("ForAllValues:").removesuffix("IfExists") in OPERATORS


def _is_condition(value: Any) -> bool:
    return isinstance(value, dict) and all(
        is_operator(operator) and isinstance(keys, dict)
        and all(_is_texts(values, lambda each: isinstance(each, str | bool | int | float)) for values in keys.values())
        for operator, keys in value.items())
