"""Which images a lifecycle policy expires: AWS's own examples, and any policy beside a plain reading of the rules."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.services.ecr.lifecycle_rules import (
    BY_AGE,
    BY_COUNT,
    DAY_S,
    BadPolicy,
    Candidate,
    Rule,
    evaluate,
    parse,
)

NOW = 1_700_000_000.0
EXPIRE = {"type": "expire"}


def rule(priority: int, status: str, by: str, number: int, **more: Any) -> dict[str, Any]:
    unit = {"countUnit": "days"} if by == BY_AGE else {}
    return {"rulePriority": priority, "description": f"Rule {priority}", "action": EXPIRE, "selection": {
        "tagStatus": status, "countType": by, "countNumber": number, **unit, **more}}


def policy(*rules: dict[str, Any]) -> str:
    return json.dumps({"rules": rules})


def images(*described: tuple[str, list[str], float]) -> list[Candidate]:
    return [Candidate(name, tuple(tags), NOW - days * DAY_S) for name, tags, days in described]


THREE = images(("A", ["beta-1", "prod-1"], 10), ("B", ["beta-2", "prod-2"], 9), ("C", ["beta-3"], 8))
PROD, BETA = {"tagPrefixList": ["prod"]}, {"tagPrefixList": ["beta"]}
SIX = images(("A", ["alpha-1"], 12), ("B", ["beta-1"], 11), ("C", ["alpha-2", "beta-2"], 10), ("D", ["alpha-3"], 4),
             ("E", ["beta-3"], 3), ("F", ["alpha-4", "beta-4"], 2))
BOTH = {"tagPrefixList": ["alpha", "beta"]}
GAMMA = images(("A", ["alpha-1", "beta-1", "gamma-1"], 10), ("B", ["alpha-2", "beta-2"], 9),
               ("C", ["alpha-3", "beta-3", "gamma-2"], 8))
ALL = images(("A", ["alpha-1"], 4), ("B", ["beta-1"], 3), ("C", [], 2), ("D", ["alpha-2"], 1))


@pytest.mark.parametrize(("rules", "there", "expired"), [
    # https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_examples.html, in its order
    ([rule(1, "tagged", BY_COUNT, 1, **PROD), rule(2, "tagged", BY_COUNT, 1, **BETA)], THREE, {"A": 1}),
    ([rule(1, "tagged", BY_COUNT, 1, **BETA), rule(2, "tagged", BY_COUNT, 1, **PROD)], THREE, {"A": 1, "B": 1}),
    ([rule(1, "tagged", BY_AGE, 5, **BOTH)], SIX, {"C": 1}),
    ([rule(1, "tagged", BY_COUNT, 1, **BOTH)], GAMMA, {"A": 1, "B": 1}),
    # the same rules by patterns, and rules that select any image or those without tags
    ([rule(1, "tagged", BY_AGE, 5, tagPatternList=["alpha*", "*eta"])], SIX, {}),
    ([rule(1, "tagged", BY_AGE, 5, tagPatternList=["alpha*", "*eta-*"])], SIX, {"C": 1}),
    ([rule(1, "tagged", BY_COUNT, 1, tagPatternList=["a*a-*"]), rule(2, "any", BY_COUNT, 1)], ALL,
     {"A": 1, "B": 2, "C": 2}),
    ([rule(7, "any", BY_COUNT, 3), rule(2, "untagged", BY_AGE, 1)], ALL, {"C": 2, "A": 7}),
    ([rule(1, "untagged", BY_COUNT, 1)], ALL, {}),
    ([rule(1, "any", BY_AGE, 2)], ALL, {"A": 1, "B": 1}),  # two days to the second are not more than two days
    ([rule(1, "any", BY_COUNT, 1)], [], {})])
def test_examples(rules: list[dict[str, Any]], there: list[Candidate], expired: dict[str, int]) -> None:
    assert evaluate(parse(policy(*rules)), there, NOW) == expired
    assert evaluate(parse(policy(*reversed(rules))), list(reversed(there)), NOW) == expired


def test_an_image_that_a_list_holds_stays_but_counts() -> None:
    held = [Candidate("A", (), NOW - 3), Candidate("B", (), NOW - 2, held=True), Candidate("C", (), NOW - 1)]
    assert evaluate(parse(policy(rule(1, "untagged", BY_COUNT, 1))), held, NOW) == {"A": 1}
    assert evaluate(parse(policy(rule(1, "untagged", BY_COUNT, 2))), held, NOW) == {"A": 1}


def test_a_hundred_patterns_take_no_time() -> None:
    """A customer writes them: none may take exponential time."""
    slow = rule(1, "tagged", BY_COUNT, 1, tagPatternList=["a*a*a*a*b"] * 100)
    assert evaluate(parse(policy(slow)), [Candidate("A", ("a" * 128,), NOW)] * 2, NOW) == {}


# ── Beside a plain reading: each sentence of AWS's page as a question about one image ────────────────────────────────

TAGS = ("prod", "prod-1", "dev", "dev-1", "x")
PATTERNS = ("prod*", "dev*", "*-1", "prod", "*")


def seen(one: Rule, image: Candidate) -> bool:
    """Whether a rule identifies an image."""
    def fits(pattern: str, tag: str) -> bool:
        begin, star, end = pattern.partition("*")
        return tag.startswith(begin) and tag[len(begin):].endswith(end) if star else tag == pattern
    if one.tagged is None:
        return True
    if not one.tagged:
        return not image.tags
    return bool(image.tags) and not [pattern for pattern in one.patterns
                                     if not [tag for tag in image.tags if fits(pattern, tag)]]


def marks(one: Rule, image: Candidate, there: list[Candidate]) -> bool:
    """Whether a rule by itself would mark an image that it identifies."""
    if one.by == BY_AGE:
        return image.pushed_at + one.number * DAY_S < NOW
    younger = [other for other in there if seen(one, other)
               and (other.pushed_at > image.pushed_at
                    or (other.pushed_at == image.pushed_at and other.digest < image.digest))]
    return len(younger) >= one.number


def naive(rules: list[Rule], there: list[Candidate]) -> dict[str, int]:
    expired = {}
    for image in there:
        mine = [one for one in rules if seen(one, image)]
        if mine and not image.held:
            first = min(mine, key=lambda one: one.priority)
            if marks(first, image, there):
                expired[image.digest] = first.priority
    return expired


a_rule = st.builds(
    lambda tagged, patterns, by, number: Rule(0, tagged, tuple(patterns) if tagged else (), by, number),
    st.sampled_from([None, True, True, True, False]), st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2),
    st.sampled_from([BY_COUNT, BY_AGE]), st.integers(1, 5))
an_image = st.tuples(st.lists(st.sampled_from(TAGS), max_size=3, unique=True), st.integers(0, 8), st.booleans())


@settings(max_examples=300)
@given(st.lists(a_rule, max_size=5), st.lists(an_image, max_size=12), st.randoms())
def test_any_policy_does_what_the_page_says(drawn: list[Rule], described: list[Any], random: Any) -> None:
    rules = [Rule(priority, one.tagged, one.patterns, one.by, one.number) for priority, one in enumerate(drawn, 1)]
    there = [Candidate(f"sha256:{number}", tuple(tags), NOW - days * DAY_S / 2, held)
             for number, (tags, days, held) in enumerate(described)]
    expected = naive(rules, there)
    random.shuffle(rules)
    random.shuffle(there)
    expired = evaluate(rules, there, NOW)
    assert expired == expected
    left = [image for image in there if image.digest not in expired]
    assert evaluate([one for one in rules if one.by == BY_AGE], left, NOW).keys() <= naive(
        [one for one in rules if one.by == BY_AGE], left).keys()
    if len(rules) == 1:  # applied again it finds nothing
        assert evaluate(rules, left, NOW) == {}


# ── Documents ────────────────────────────────────────────────────────────────────────────────────────────────────────

def broken(**changed: Any) -> dict[str, Any]:
    """A rule with members of its selection changed, or taken away (None)."""
    one = rule(1, "untagged", BY_COUNT, 1)
    one["selection"] = {name: value for name, value in {**one["selection"], **changed}.items() if value is not None}
    return one


@pytest.mark.parametrize(("text", "says"), [
    ("", "Could not map policyString into LifecyclePolicy."), ("[]", "Could not map"), ("[" * 20000, "Could not map"),
    ("{}", 'object has missing required properties (["rules"])'),
    ('{"rules":[],"x":1}', 'object instance has properties which are not allowed by the schema: (["x"])'),
    (policy(), "array must have 1 to 50 elements but instance has 0 elements"),
    (policy(*[rule(n, "tagged", BY_COUNT, 1, tagPrefixList=[str(n)]) for n in range(1, 52)]), "has 51 elements"),
    ('{"rules":{}}', 'instance type (object) does not match any allowed primitive type (allowed: ["array"])'),
    ('{"rules":[1]}', 'instance type (integer) does not match any allowed primitive type (allowed: ["object"])'),
    ('{"rules":[{}]}', 'object has missing required properties (["action","rulePriority","selection"])'),
    (policy({**broken(), "more": 1}), 'not allowed by the schema: (["more"])'),
    (policy({**broken(), "rulePriority": 0}), "numeric instance is lower than the required minimum (minimum: 1, "
                                              "found: 0)"),
    (policy({**broken(), "rulePriority": True}), "instance type (boolean)"),
    (policy({**broken(), "rulePriority": "1"}), "instance type (string)"),
    (policy({**broken(), "description": "x" * 257}), "string is too long"),
    (policy({**broken(), "action": {"type": "keep"}}), 'instance value ("keep") not found in enum (possible values: '
                                                       '["expire","transition"])'),
    (policy({**broken(), "action": {"type": "transition", "targetStorageClass": "archive"}}), "no archive storage"),
    (policy(broken(tagStatus="some")), 'instance value ("some") not found in enum'),
    (policy(broken(tagStatus=None)), 'object has missing required properties (["tagStatus"])'),
    (policy(broken(countNumber=0)), "lower than the required minimum"),
    (policy(broken(countNumber=1.5)), "instance type (number)"),
    (policy(broken(countType="sinceImagePulled", countUnit="days")), "countType sinceImagePulled is not available"),
    (policy(broken(countType="sinceImageTransitioned", storageClass="archive")), "there is no archive storage class"),
    (policy(broken(storageClass="archive")), "there is no archive storage class"),
    (policy(broken(countUnit="days")), "countUnit must be given with countType sinceImagePushed"),
    (policy(broken(countType=BY_AGE)), "countUnit must be given"),
    (policy(broken(countType=BY_AGE, countUnit="hours")), 'instance value ("hours") not found in enum'),
    (policy(broken(tagPrefixList=["a"])), "tagPrefixList must not be given with tagStatus untagged"),
    (policy(broken(tagStatus="any", tagPatternList=["a"])), "must not be given with tagStatus any"),
    (policy(broken(tagStatus="tagged")), "one of tagPatternList and tagPrefixList must be given"),
    (policy(broken(tagStatus="tagged", tagPrefixList=["a"], tagPatternList=["a"])), "one of tagPatternList and"),
    (policy(broken(tagStatus="tagged", tagPrefixList=[])), "array is too short: must have at least 1 elements"),
    (policy(broken(tagStatus="tagged", tagPrefixList=[""])), 'string "" is too short (length: 0, required minimum: 1)'),
    (policy(broken(tagStatus="tagged", tagPrefixList=[1])), "instance type (integer)"),
    (policy(broken(tagStatus="tagged", tagPrefixList=["a*"])), "must not contain wildcards"),
    (policy(broken(tagStatus="tagged", tagPatternList=["*a*b*c*d*"])), "more than 4 wildcards"),
    (policy(broken(tagStatus="tagged", tagPatternList=["a?"])), "characters that a tag cannot have"),
    (policy(rule(1, "untagged", BY_COUNT, 1), rule(1, "any", BY_COUNT, 1)), "priorities must be unique"),
    (policy(rule(1, "any", BY_COUNT, 1), rule(2, "untagged", BY_COUNT, 1)), "must have the highest value"),
    (policy(rule(1, "any", BY_COUNT, 1), rule(2, "any", BY_AGE, 1)), "must have the highest value"),
    (policy(rule(1, "untagged", BY_COUNT, 1), rule(2, "untagged", BY_AGE, 1)), "Only one rule is allowed"),
    (policy(rule(1, "tagged", BY_COUNT, 1, tagPrefixList=["a", "b"]),
            rule(2, "tagged", BY_AGE, 1, tagPrefixList=["b", "a"])), "unique set of tag prefixes")])
def test_documents_that_are_no_policy(text: str, says: str) -> None:
    with pytest.raises(BadPolicy) as bad:
        parse(text)
    assert says in str(bad.value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["rules", "rulePriority", "selection", "action", "type", "tagStatus",
                                         "countType", "countNumber", "tagPrefixList"]), inner, max_size=5),
                    max_leaves=12))
def test_whatever_comes_is_a_policy_or_refused(content: Any) -> None:
    with suppress(BadPolicy):
        assert parse(json.dumps({"rules": [content]}))
