"""Lifecycle rules: which of a bucket's apply to what, and when something is due; pure.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import quote

from cloudlet.services.s3.metadata import STANDARD

DAY_S = 86_400
SMALL_BYTES = 128 << 10  # below which nothing is moved to another class, unless its rule says sizes itself
ALL_128K, BY_CLASS = "all_storage_classes_128K", "varies_by_storage_class"
# The way down: nothing is moved up it.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
RANKS = {name: rank for rank, name in enumerate(
    (STANDARD, "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"))}
_DEEP = ("GLACIER", "DEEP_ARCHIVE")
_PLAIN = " !#$&'()*+,/:;<=>?@[]^`{|}"  # what stays as it is in a rule's id


class Subject(NamedTuple):
    """What rules are asked about: a version of an object, a marker, or an upload (of no size)."""

    key: str
    size: int
    tags: Mapping[str, str]
    modified: float
    storage_class: str = STANDARD


class Due(NamedTuple):
    """When something happens by a rule, in epoch seconds."""

    at: float
    rule: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that is enabled, with what it filters by; `said` are its members as the customer gave them."""

    id: str
    prefix: str
    tags: Mapping[str, str]
    larger_than: int | None
    smaller_than: int | None
    said: Mapping[str, Any]

    def applies(self, subject: Subject) -> bool:
        """Whether it is about a version."""
        return (subject.key.startswith(self.prefix) and self.tags.items() <= subject.tags.items()
                and (self.larger_than is None or subject.size > self.larger_than)
                and (self.smaller_than is None or subject.size < self.smaller_than))

    def applies_to_markers(self, key: str) -> bool:
        """Whether it is about markers of a key, which have neither tags nor a size."""
        return key.startswith(self.prefix) and not (self.tags or self.sized)

    @property
    def sized(self) -> bool:
        """Whether it says sizes."""
        return self.larger_than is not None or self.smaller_than is not None


def load(rules: Iterable[Mapping[str, Any]]) -> list[Rule]:
    """The rules that are enabled."""
    return [_rule(said) for said in rules if said["Status"] == "Enabled"]


def _rule(said: Mapping[str, Any]) -> Rule:
    only: Mapping[str, Any] = said.get("Filter") or {}
    both: Mapping[str, Any] = only.get("And") or {}
    tags = both.get("Tags") or ([only["Tag"]] if "Tag" in only else [])
    return Rule(said["ID"], said.get("Prefix") or only.get("Prefix") or both.get("Prefix") or "",
                {tag["Key"]: tag["Value"] for tag in tags},
                only.get("ObjectSizeGreaterThan", both.get("ObjectSizeGreaterThan")),
                only.get("ObjectSizeLessThan", both.get("ObjectSizeLessThan")), said)


def after(since: float, days: int) -> float:
    """So many days after a time, rounded up to the next midnight of UTC."""
    return (since // DAY_S + 1 + days) * DAY_S


def _when(action: Mapping[str, Any], since: float) -> float | None:
    if "Date" in action:
        return float(action["Date"])
    return after(since, action["Days"]) if "Days" in action else None


def expires(rules: Sequence[Rule], subject: Subject) -> Due | None:
    """When a current version expires, by the rule that is first."""
    found = [Due(at, rule.id) for rule in rules if "Expiration" in rule.said and rule.applies(subject)
             and (at := _when(rule.said["Expiration"], subject.modified)) is not None]
    return min(found, default=None)


def marker_expires(rules: Sequence[Rule], key: str, modified: float) -> Due | None:
    """When a marker goes under which no version is left."""
    found = []
    for rule in rules:
        action = rule.said.get("Expiration")
        if action is None or not rule.applies_to_markers(key):
            continue
        at = modified if action.get("ExpiredObjectDeleteMarker") else _when(action, modified)
        if at is not None:
            found.append(Due(at, rule.id))
    return min(found, default=None)


def noncurrent_expires(rules: Sequence[Rule], subject: Subject, since: float, newer: int, *,
                       marker: bool = False) -> Due | None:
    """When a version goes that is not current since a time; `newer`: how many of those there are that are newer."""
    found = []
    for rule in rules:
        action = rule.said.get("NoncurrentVersionExpiration")
        if action is None or newer < action.get("NewerNoncurrentVersions", 0):
            continue
        if rule.applies_to_markers(subject.key) if marker else rule.applies(subject):
            found.append(Due(after(since, action["NoncurrentDays"]), rule.id))
    return min(found, default=None)


def moves_to(rules: Sequence[Rule], subject: Subject, now: float, minimum: str, *, since: float | None = None,
             newer: int = 0) -> str | None:
    """The class that a version should be in by now, where it is in another: the lowest that is due. `since`: when it
    ceased to be current."""
    best = subject.storage_class
    for rule in rules:
        if not rule.applies(subject):
            continue
        for action in rule.said.get("Transitions" if since is None else "NoncurrentVersionTransitions") or ():
            target: str = action["StorageClass"]
            if newer < action.get("NewerNoncurrentVersions", 0) or not (
                    rule.sized or subject.size >= SMALL_BYTES or (minimum == BY_CLASS and target in _DEEP)):
                continue
            at = _when(action, subject.modified) if since is None else after(since, action["NoncurrentDays"])
            if at is not None and at <= now and _below(best, target):
                best = target
    return None if best == subject.storage_class else best


def _below(source: str, target: str) -> bool:
    """Whether a class can be left for another; REDUCED_REDUNDANCY is as STANDARD."""
    return RANKS[target] > RANKS.get(source, 0) and (source, target) != ("ONEZONE_IA", "GLACIER_IR")


def aborts(rules: Sequence[Rule], key: str, initiated: float) -> Due | None:
    """When an upload under way is given up."""
    found = [Due(after(initiated, rule.said["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]), rule.id)
             for rule in rules if "AbortIncompleteMultipartUpload" in rule.said and rule.applies_to_markers(key)]
    return min(found, default=None)


def prefixes(rules: Sequence[Rule]) -> list[str]:
    """The prefixes below which all lies that any of them is about, none within another."""
    found: list[str] = []
    for prefix in sorted({rule.prefix for rule in rules}):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def header(due: Due) -> str:
    """What x-amz-expiration says. AWS encodes the rule's id in its documentation, but was never seen to."""
    return f'expiry-date="{formatdate(due.at, usegmt=True)}", rule-id="{quote(due.rule, safe=_PLAIN)}"'
