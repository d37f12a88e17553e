"""Filter policies: every operator, what is refused, and properties that any policy has."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudlet.services.sns import filters
from cloudlet.services.sns.filter_operators import BadFilter


def wants(policy: Any, body: Any) -> bool:
    return filters.parse(json.dumps(policy), "MessageBody").wants({}, filters.body_of(json.dumps(body)))


def wants_attributes(policy: Any, **attributes: tuple[str, str]) -> bool:
    given = {name: {"DataType": kind, "StringValue": text} for name, (kind, text) in attributes.items()}
    return filters.parse(json.dumps(policy), "MessageAttributes").wants(filters.attributes_of(given), None)


@pytest.mark.parametrize(("rule", "yes", "no"), [
    ("a", ["a", ["b", "a"]], ["A", "ab", 1, None, {"a": 1}, []]),
    (1, [1, 1.0, 1.000001, [3, 1]], ["1", True, 1.1, 2]),
    (True, [True, [False, True]], [1, "true", False]),
    (None, [None], [0, False, "", "null"]),
    ({"prefix": "ab"}, ["ab", "abc"], ["xab", "AB", 1]),
    ({"suffix": ".png"}, ["a.png", ".png"], [".PNG", "png.x"]),
    ({"equals-ignore-case": "aB"}, ["AB", "ab"], ["abc", 1]),
    ({"wildcard": "a*c*e"}, ["ace", "abcde", "acce"], ["ac", "aec", "xace", "acex"]),
    ({"wildcard": r"a\*\\*"}, ["a*\\", "a*\\x"], ["ab\\", "a*x"]),
    ({"wildcard": "aa*aa"}, ["aaaa", "aabaa"], ["aaa", "aa"]),
    ({"wildcard": "plain"}, ["plain"], ["plain2"]),
    ({"numeric": ["=", 3.5]}, [3.5], [3, "3.5", True]),
    ({"numeric": [">", 0, "<=", 10]}, [0.1, 10], [0, 10.1, "5"]),
    ({"numeric": ["<", 5]}, [-1, 4.99], [5]),
    ({"cidr": "10.1.0.0/16"}, ["10.1.2.3"], ["10.2.0.1", "10.1.2", "x", 1]),
    ({"cidr": "2001:db8::/32"}, ["2001:db8::1"], ["10.1.2.3"]),
    ({"anything-but": "a"}, ["b", 1, ["a", "b"]], ["a", [], {"x": 1}]),
    ({"anything-but": ["a", 2]}, ["b", 1], ["a", 2, 2.0]),
    ({"anything-but": {"prefix": "ab"}}, ["xab", 1], ["abc"]),
    ({"anything-but": {"suffix": "ab"}}, ["abx"], ["xab"]),
    ({"anything-but": {"wildcard": "*x*"}}, ["aba"], ["axb"]),
    ({"anything-but": {"equals-ignore-case": ["A", "B"]}}, ["c"], ["a", "b"]),
    ({"exists": True}, ["", 0, None, False], [[], {"x": 1}]),
    ({"exists": False}, [[], {"x": 1}], ["", None]),
])
def test_operators(rule: Any, yes: list[Any], no: list[Any]) -> None:
    for value in yes:
        assert wants({"k": [rule]}, {"k": value}), value
    for value in no:
        assert not wants({"k": [rule]}, {"k": value}), value
    assert wants({"k": [rule]}, {"other": 1}) == (rule == {"exists": False})


def test_keys_are_and_values_are_or() -> None:
    policy = {"a": ["x", {"prefix": "y"}], "b": [{"exists": True}]}
    assert wants(policy, {"a": "yes", "b": 0}) and wants(policy, {"a": "x", "b": None})
    assert not wants(policy, {"a": "x"}) and not wants(policy, {"a": "z", "b": 1})
    assert wants({}, {}) and not wants({}, "no object") and not wants({"a": [1]}, [1])


def test_or_joins_alternatives() -> None:
    policy = {"src": ["s"], "$or": [{"a": [1]}, {"b": [2], "c": [3]}]}
    assert wants(policy, {"src": "s", "a": 1}) and wants(policy, {"src": "s", "b": 2, "c": 3})
    assert not wants(policy, {"src": "s", "b": 2}) and not wants(policy, {"a": 1})
    assert wants_attributes({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, b=("String", "y"))
    assert wants({"$or": ["x"]}, {"$or": "x"})  # a key that is only called so


def test_nested_keys_and_objects_in_lists() -> None:
    policy = {"k": {"a": [1], "b": [2]}}
    assert wants(policy, {"k": {"a": 1, "b": 2}})
    assert wants(policy, {"k": [{"a": 0, "b": 2}, [{"a": 1, "b": 2}]]})
    assert not wants(policy, {"k": [{"a": 1, "b": 0}, {"a": 0, "b": 2}]})  # one object has to match as a whole
    assert not wants(policy, {"k": 1}) and not wants(policy, {})
    absent = {"k": {"a": [{"exists": False}]}}
    assert wants(absent, {}) and not wants(absent, {"k": {"a": 1}})


def test_attributes() -> None:
    assert wants_attributes({"n": [{"numeric": [">", 1]}]}, n=("Number", "2.5"))
    assert not wants_attributes({"n": [2]}, n=("String", "2"))
    assert wants_attributes({"s": ["b"]}, s=("String.Array", '["a", "b", 1]'))
    assert wants_attributes({"s": [True, 9]}, s=("String.Array", "[true]"))
    assert wants_attributes({"s": ["[x"]}, s=("String.Array", "[x"))
    assert wants_attributes({"s": ["x"]}, s=("String.mine", "x"))
    binary = filters.attributes_of({"b": {"DataType": "Binary", "BinaryValue": b"x"}})
    assert not filters.parse('{"b": [{"exists": true}]}', "MessageAttributes").wants(binary, None)


@pytest.mark.parametrize(("policy", "says"), [
    ("{", "failed to parse JSON"), ("[]", "must be an object"), ('{"a": [NaN]}', "failed to parse"),
    ({"a": "x"}, '"a" must be an object or an array'), ({"a": []}, "Empty arrays are not allowed"),
    ({"a": {}}, "Empty objects"), ({"a": [{}]}, "Empty objects"), ({"a": [["x"]]}, "Match value must be String"),
    ({"a": [{"like": 1}]}, "Unrecognized match type like"),
    ({"a": [{"prefix": "x", "suffix": "y"}]}, "Only one key"), ({"a": [{"prefix": 1}]}, "must be a string"),
    ({"a": [{"exists": "yes"}]}, "must be either true or false"),
    ({"a": [{"numeric": "x"}]}, "must be an array"), ({"a": [{"numeric": []}]}, "Invalid member in numeric match: ]"),
    ({"a": [{"numeric": [1]}]}, "Invalid member"), ({"a": [{"numeric": ["!", 1]}]}, "Unrecognized numeric range"),
    ({"a": [{"numeric": ["<", "1"]}]}, "Value of < must be numeric"),
    ({"a": [{"numeric": ["<"]}]}, "Value of < must be numeric"),
    ({"a": [{"numeric": ["<", 1, ">", 0]}]}, "Too many elements"),
    ({"a": [{"numeric": [">", 1, ">", 2]}]}, "Bad numeric range operator"),
    ({"a": [{"numeric": [">", 3, "<", 3]}]}, "Bottom must be less than top"),
    ({"a": [{"cidr": "10.0.0.0"}]}, "one '/' required"), ({"a": [{"cidr": "10.0.0.0/x"}]}, "Malformed CIDR"),
    ({"a": [{"anything-but": []}]}, "Empty arrays"), ({"a": [{"anything-but": [None]}]}, "not supported"),
    ({"a": [{"anything-but": {"exists": True}}]}, "Unsupported anything-but"),
    ({"a": [{"wildcard": "*a*b*c*"}]}, "more than 3 wildcards"), ({"a": [{"wildcard": "a**"}]}, "Consecutive"),
    ({"a": [{"wildcard": "\\x"}]}, "escape"), ({"a": [10**9 + 1]}, "between"),
    ({name: ["x"] for name in "abcdef"}, "more than 5 keys"),
    ({name: list(range(6)) for name in "abc"}, "too complex"),
    ({"a": {"b": {"c": list(range(51))}}}, "too complex"),
])
def test_what_is_refused(policy: Any, says: str) -> None:
    with pytest.raises(BadFilter) as caught:
        filters.parse(policy if isinstance(policy, str) else json.dumps(policy), "MessageBody")
    assert says in str(caught.value)


def test_limits() -> None:
    filters.parse(json.dumps({"a": list(range(10)), "b": list(range(15))}), "MessageAttributes")  # 150
    with pytest.raises(BadFilter, match="does not support nested"):
        filters.parse('{"a": {"b": [1]}}', "MessageAttributes")
    with pytest.raises(BadFilter, match="too large"):
        filters.parse(json.dumps({"a": ["x" * 262144]}), "MessageBody")
    deep = '{"a":' * 900 + '[1]' + "}" * 900
    with pytest.raises(BadFilter):
        filters.parse(deep, "MessageBody")
    wanted = filters.parse('{"a": ["x"]}', "MessageBody")
    assert not wanted.wants({}, filters.body_of("[" * 100_000))
    assert wanted.wants({}, filters.body_of('{"a": ' + "[" * 900 + '"x"' + "]" * 900 + "}"))


scalars = st.one_of(st.none(), st.booleans(), st.integers(-10**9, 10**9), st.floats(-10**9, 10**9), st.text(max_size=8))
bodies = st.recursive(scalars, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)), max_leaves=12)


@given(scalars, bodies)
def test_exists_and_its_negation_exclude_each_other(value: Any, body: Any) -> None:
    seen = {"a": body}
    assert wants({"a": [{"exists": True}]}, seen) != wants({"a": [{"exists": False}]}, seen)
    if wants({"a": [value]}, seen):
        assert wants({"a": [{"exists": True}]}, seen)


@given(scalars.filter(lambda value: isinstance(value, str | int | float) and not isinstance(value, bool)), scalars)
def test_anything_but_is_the_opposite_for_single_values(value: Any, other: Any) -> None:
    assert wants({"a": [{"anything-but": [value]}]}, {"a": other}) != wants({"a": [value]}, {"a": other})
    assert wants({"a": [value]}, {"a": value})


@given(st.lists(st.text("ab", max_size=3), min_size=2, max_size=4), st.text("ab", max_size=9))
def test_wildcards_against_a_naive_matcher(pieces: list[str], text: str) -> None:
    pieces = [pieces[0], *(piece or "a" for piece in pieces[1:-1]), pieces[-1]]

    def fits(rest: str, at: int) -> bool:
        if at == len(pieces) - 1:
            return rest.endswith(pieces[at])
        return any(rest[start:].startswith(pieces[at]) and fits(rest[start + len(pieces[at]):], at + 1)
                   for start in range(len(rest) + 1))
    naive = text.startswith(pieces[0]) and fits(text[len(pieces[0]):], 1)
    assert wants({"k": [{"wildcard": "*".join(pieces)}]}, {"k": text}) == naive


@given(st.dictionaries(st.sampled_from("abc"), st.lists(scalars, min_size=1, max_size=3), max_size=3),
       st.dictionaries(st.sampled_from("abc"), bodies, max_size=3))
def test_or_of_the_keys_is_wanted_by_either(policy: dict[str, Any], body: dict[str, Any]) -> None:
    if len(policy) > 1:
        each = [{key: value} for key, value in policy.items()]
        assert wants({"$or": each}, body) == any(wants(one, body) for one in each)
        assert wants(policy, body) == all(wants(one, body) for one in each)
