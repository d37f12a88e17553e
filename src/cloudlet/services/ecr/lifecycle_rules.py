"""Lifecycle policies as documents and as functions: what one says, and which images it expires.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html#lp_evaluation_rules
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cloudlet.kernel.policy_match import glob_one

DAY_S = 24 * 3600.0
RULES_MAX = 50
WILDCARDS_MAX = 4  # in one pattern
DESCRIPTION_MAX = 256
BY_COUNT, BY_AGE = "imageCountMoreThan", "sinceImagePushed"
_OF_ARCHIVE = ("sinceImagePulled", "sinceImageTransitioned")
_UNITS = ("days",)


class BadPolicy(Exception):
    """Not a lifecycle policy that we take; the text says why, in AWS's words where they are known."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `tagged` None: any image. `patterns` must each match one of an image's tags."""

    priority: int
    tagged: bool | None
    patterns: tuple[str, ...]
    by: str
    number: int

    def selector(self) -> Callable[[tuple[str, ...]], bool]:
        """What says whether an image with some tags is one that the rule is about. It is asked often."""
        if not self.tagged:
            return (lambda tags: True) if self.tagged is None else (lambda tags: not tags)
        matchers = [glob_one(pattern) for pattern in self.patterns]

        def selects(tags: tuple[str, ...]) -> bool:
            for matches in matchers:
                for tag in tags:
                    if matches(tag):
                        break
                else:
                    return False
            return True
        return selects


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image as rules see it. `held`: it must stay, since a list refers to it."""

    digest: str
    tags: tuple[str, ...]
    pushed_at: float
    held: bool = False


def evaluate(rules: Iterable[Rule], images: Iterable[Candidate], now: float) -> dict[str, int]:
    """The digests of the images that expire, each with the priority of the rule that expires it.

    Every rule sees all images that it selects, also those which another one expires; but an image is only ever expired
    by the first rule that selects it.
    """
    ordered = sorted(rules, key=lambda rule: rule.priority)
    newest_first = sorted(images, key=lambda image: (-image.pushed_at, image.digest))
    first: dict[str, int] = {}
    expired: dict[str, int] = {}
    for rule in ordered:
        selects = rule.selector()
        selected = [image for image in newest_first if selects(image.tags)]
        for image in selected:
            first.setdefault(image.digest, rule.priority)
        marked = selected[rule.number:] if rule.by == BY_COUNT else [
            image for image in selected if now - image.pushed_at > rule.number * DAY_S]
        expired |= {image.digest: rule.priority for image in marked
                    if first[image.digest] == rule.priority and not image.held}
    return expired


def parse(text: str) -> tuple[Rule, ...]:
    """The rules of a document, in order of priority. Raises BadPolicy."""
    try:
        document = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        raise BadPolicy("Could not map policyString into LifecyclePolicy.") from None
    if not isinstance(document, dict):
        raise BadPolicy("Could not map policyString into LifecyclePolicy.")
    _members(document, ("rules",))
    found = _typed(document, "rules", list)
    if not 1 <= len(found) <= RULES_MAX:
        raise BadPolicy(f"array must have 1 to {RULES_MAX} elements but instance has {len(found)} elements")
    rules = sorted((_rule(each) for each in found), key=lambda rule: rule.priority)
    _check_together(rules)
    return tuple(rules)


def _check_together(rules: list[Rule]) -> None:
    if len({rule.priority for rule in rules}) < len(rules):
        raise BadPolicy("Rule priorities must be unique within a policy")
    if any(rule.tagged is None for rule in rules[:-1]):
        raise BadPolicy("A rule with a tagStatus of any must have the highest value for rulePriority")
    if sum(rule.tagged is False for rule in rules) > 1:
        raise BadPolicy("Only one rule is allowed to select untagged images")
    tagged = [frozenset(rule.patterns) for rule in rules if rule.tagged]
    if len(set(tagged)) < len(tagged):
        raise BadPolicy("The set of rules must contain a unique set of tag prefixes and patterns")


def _rule(content: Any) -> Rule:
    if not isinstance(content, dict):
        raise BadPolicy(f'instance type ({_type_of(content)}) does not match any allowed primitive type '
                        '(allowed: ["object"])')
    _members(content, ("action", "rulePriority", "selection"), ("description",))
    _text(content, "description", DESCRIPTION_MAX)
    priority, selection = _number(content, "rulePriority"), _typed(content, "selection", dict)
    _check_action(_typed(content, "action", dict))
    _members(selection, ("countNumber", "countType", "tagStatus"),
             ("countUnit", "storageClass", "tagPatternList", "tagPrefixList"))
    status = _one_of(selection, "tagStatus", ("any", "tagged", "untagged"))
    by = _one_of(selection, "countType", (BY_COUNT, BY_AGE, *_OF_ARCHIVE))
    if by in _OF_ARCHIVE or _one_of(selection, "storageClass", ("archive", "standard"), "standard") == "archive":
        raise BadPolicy(f"countType {by} is not available here: it is for images that are archived, and there is no "
                        "archive storage class" if by in _OF_ARCHIVE else "there is no archive storage class here")
    if (by == BY_AGE) != ("countUnit" in selection):
        raise BadPolicy("countUnit must be given with countType sinceImagePushed, and with no other")
    _one_of(selection, "countUnit", _UNITS, "days")
    return Rule(priority, {"any": None, "tagged": True, "untagged": False}[status], _patterns(selection, status), by,
                _number(selection, "countNumber"))


def _check_action(action: Mapping[str, Any]) -> None:
    _members(action, ("type",), ("targetStorageClass",))
    if _one_of(action, "type", ("expire", "transition")) == "transition" or "targetStorageClass" in action:
        raise BadPolicy("action type transition is not available here: there is no archive storage class")


def _patterns(selection: Mapping[str, Any], status: str) -> tuple[str, ...]:
    lists = [name for name in ("tagPatternList", "tagPrefixList") if name in selection]
    if status != "tagged":
        if lists:
            raise BadPolicy(f"{lists[0]} must not be given with tagStatus {status}")
        return ()
    if len(lists) != 1:
        raise BadPolicy("one of tagPatternList and tagPrefixList must be given with tagStatus tagged")
    texts = _typed(selection, lists[0], list)
    if not texts:
        raise BadPolicy("array is too short: must have at least 1 elements but instance has 0 elements")
    for text in texts:
        if not isinstance(text, str):
            raise BadPolicy(f'instance type ({_type_of(text)}) does not match any allowed primitive type '
                            '(allowed: ["string"])')
        if not text:
            raise BadPolicy('string "" is too short (length: 0, required minimum: 1)')
        if text.count("*") > WILDCARDS_MAX:
            raise BadPolicy(f"a pattern must not contain more than {WILDCARDS_MAX} wildcards")
        if "?" in text:  # no tag contains it, and here it would stand for any character
            raise BadPolicy("a pattern must not contain characters that a tag cannot have")
        if "*" in text and lists == ["tagPrefixList"]:
            raise BadPolicy("tagPrefixList must not contain wildcards: use tagPatternList")
    return tuple(texts) if lists == ["tagPatternList"] else tuple(f"{text}*" for text in texts)


def _members(content: Mapping[str, Any], required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    def quoted(names: Iterable[str]) -> str:
        return msgspec.json.encode(sorted(names)).decode()
    if missing := set(required) - content.keys():
        raise BadPolicy(f"object has missing required properties ({quoted(missing)})")
    if unknown := content.keys() - {*required, *optional}:
        raise BadPolicy(f"object instance has properties which are not allowed by the schema: ({quoted(unknown)})")


def _typed(content: Mapping[str, Any], member: str, kind: type) -> Any:
    value = content[member]
    if not isinstance(value, kind):
        raise BadPolicy(f'instance type ({_type_of(value)}) does not match any allowed primitive type '
                        f'(allowed: ["{_TYPES[kind]}"])')
    return value


def _text(content: Mapping[str, Any], member: str, length: int) -> None:
    if member in content and len(_typed(content, member, str)) > length:
        raise BadPolicy(f"string is too long (maximum allowed: {length})")


def _number(content: Mapping[str, Any], member: str) -> int:
    value = content[member]
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadPolicy(f'instance type ({_type_of(value)}) does not match any allowed primitive type '
                        '(allowed: ["integer"])')
    if value < 1:
        raise BadPolicy(f"numeric instance is lower than the required minimum (minimum: 1, found: {value})")
    return value


def _one_of(content: Mapping[str, Any], member: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    value = content[member] if default is None else content.get(member, default)
    if value not in allowed:
        raise BadPolicy(f"instance value ({msgspec.json.encode(value).decode()}) not found in enum (possible values: "
                        f"{msgspec.json.encode(allowed).decode()})")
    return str(value)


_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def _type_of(value: Any) -> str:
    return _TYPES.get(type(value), "null")
