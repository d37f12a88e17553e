"""Filter patterns, against AWS's examples and against evaluators that know no tricks."""

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudlet.kernel.regex import Unusable
from cloudlet.services.logs.pattern import compiled
from cloudlet.services.logs.pattern_regex import Regex
from cloudlet.services.logs.service import InvalidParameter

TRAIL = json.dumps({
    "eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111", "arrayKey": ["value", "another value"],
    "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}], "SomeObject": None, "ThisFlag": True,
    "quoted": 'error "message"', "empty": "", "int": 123, "float": 12.34, "whole": 12.0, "object": {}, "n": "7",
    "cluster.name": "c", "coordinates": [[0, 1, 2], [4, 5, 6]], "latency": 10000, "a": {"b-c": {"_d": "x"}},
    "slash": "a/b", "uni": "ünï"})


def matches(pattern: str, message: str) -> bool:
    found = compiled(pattern)
    if found is None:
        return True
    result = found.matches(message)
    if result and found.needles:
        assert any(needle in message.encode() for needle in found.needles), found.needles
    return result


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/matching-terms-json-log-events.html, and what was seen there
@pytest.mark.parametrize("pattern", [
    '{ $.eventType = "UpdateTrail" }', "{ $.sourceIPAddress != 123.123.* }", '{ $.arrayKey[0] = "value" }',
    "{ $.objectList[1].id = 2 }", "{ $.SomeObject IS NULL }", "{ $.SomeOtherObject NOT EXISTS }",
    "{ $.ThisFlag IS TRUE }", "{$.eventType=UpdateTrail}", "{ $.eventType = Update* && $.eventType = *Trail }",
    "{ $.eventType = *ateT* }", '{ $.sourceIPAddress != "111*111" }', '{ $.eventType = "*" }', "{ $.int = * }",
    "{ $.empty = * }", '{ $.empty = "" }', "{ $.int = 123.0 }", '{ $.int = "123" }', '{ $.int != "123.0" }',
    "{ $.int = 12* }", '{ $.int = "*23" }', "{ $.float = 12.34 }", "{ $.float = 1.234e1 }", "{ $.whole = 12 }",
    '{ $.whole != "12" }', "{ $.latency >= 10e3 }", "{ $.latency < 10001 && $.latency > +1000 }", "{ $.int != 124 }",
    "{ $.sourceIPAddress != 111 }", "{ $.n = 7 }", r'{ $.quoted = "error \"message\"" }', '{ $.quoted = "error*" }',
    "{ ($.int = 1 || $.int = 123) && ($.n = 7) }", "{ $.int = 123 || $.int = 1 && $.n = 8 }",
    "{ $.['cluster.name'] = c }", '{ $["cluster.name"] = "c" }', "{ $.coordinates[1][2] = 6 }", "{ $.a.b-c._d = x }",
    "{ $.arrayKey[*] = another* }", "{ $.objectList[*].id = 2 }", "{ $.a.*._d = x }",
    "{ $.eventType = %^Up.*l$% }",
    "{ $.sourceIPAddress = %1{3}\\.% && $.int = %2% }", '{ $.slash = "a/b" }', '{ $.uni = "ünï" }',
    "{ $.ThisFlag IS TRUE && $.missing NOT EXISTS }", "{ ((($.int > 1))) }"])
def test_json_patterns_that_match(pattern: str) -> None:
    assert matches(pattern, TRAIL)
    assert matches(pattern, " " + TRAIL.replace("/", r"\/"))
    assert not matches(pattern, "text " + TRAIL)
    assert not matches(pattern, '"text"')


@pytest.mark.parametrize("pattern", [
    "{ $.eventType = updateTrail }", '{ $.missing != "x" }', '{ $.missing = "*" }', "{ $.arrayKey = value }",
    "{ $.arrayKey != value }", "{ $.object != 1 }", "{ $.SomeObject != 1 }", "{ $.ThisFlag = true }",
    "{ $.ThisFlag IS FALSE }", "{ $.ThisFlag NOT EXISTS }", "{ $.SomeObject NOT EXISTS }", "{ $.missing IS NULL }",
    "{ $.eventType > 1 }", "{ $.n < 8 }", '{ $.whole = "12" }', '{ $.int = "123.00" }', "{ $.eventType = Up*Trail }",
    "{ $.arrayKey[2] = * }", "{ $.eventType[0] = U }",
    "{ $.eventType = %^Trail% }", "{ $.eventType != %Trail% }",
    "{ ($.int = 1 || $.int = 123) && $.n = 8 }", "{ $.objectList[*].id = 3 }"])
def test_json_patterns_that_do_not(pattern: str) -> None:
    assert not matches(pattern, TRAIL)


APACHE = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /apache_pb.gif HTTP/1.0" 200 1534'


@pytest.mark.parametrize(("pattern", "does"), [
    ("[ip, user, username, timestamp, request, status_code, bytes]", True), ("[..., status_code, bytes]", True),
    ("[ip, user, ..., status_code, bytes]", True), ("[ip, user, ...]", True), ("[ip, user]", False), ("[...]", True),
    ("[ip, user, username, timestamp, request, status_code, bytes > 1000]", True),
    ("[ip, user, username, timestamp, request, status_code, bytes > 1534]", False),
    ("[..., request = *gif*, status_code = 2*, bytes]", True), ("[..., request=*html*, status_code=2*,]", False),
    ("[..., status_code = 4* || status_code = 2*, bytes]", True), ("[..., s = 2* && s != 200, bytes]", False),
    ("[..., (s = 1* || s = 2*) && s != 201, bytes]", True), ('[ip, user, name = "frank", ...]', True),
    ("[ip=%127\\.0\\.0\\.[0-9]%, ...]", True), ("[ip, user, name =! frank, ...]", False),
    ("[a,b,c,d,e,f,g,...]", True),
    ("[a,b,c,d,e,f,g,h,...]", False), ('[a,b,c,d="10/Oct/2000:13:25:15 -0700",...]', True), ("[,,n=frank,...]", True),
    ("[..., s = 200.0, bytes]", True), ("[..., s = %^20% , bytes = %4$%]", True)])
def test_space_delimited_patterns(pattern: str, does: bool) -> None:
    assert matches(pattern, APACHE) == does


@pytest.mark.parametrize(("message", "first", "second"), [
    ('"a b" c', "a b", "c"), ("[a b] c", "a b", "c"), ('"" []', "", ""), ('"a b', '"a', "b"), ("[a b", "[a", "b"),
    ('" [', '"', "["), ('[a" b', '[a"', "b"), ('"a"b', "a", "b"), ("[a]b", "a", "b"), ("'a b'", "'a", "b'"),
    ("a] b\"", "a]", 'b"')])
def test_where_a_field_begins_and_ends(message: str, first: str, second: str) -> None:
    pattern = compiled("[x, y]")
    assert pattern is not None and pattern.extracted(message) == {"$x": first, "$y": second}
    quoted = [text.replace("\\", "\\\\").replace('"', '\\"') for text in (first, second)]
    assert matches(f'[x = "{quoted[0]}", y = "{quoted[1]}"]', message)


def test_what_patterns_extract() -> None:
    def extracted(pattern: str, message: str) -> dict[str, str]:
        found = compiled(pattern)
        assert found is not None
        return found.extracted(message)

    assert extracted("[..., request=*.gif*, status_code=2*,]", APACHE) == {
        "$status_code": "200", "$request": "GET /apache_pb.gif HTTP/1.0", "$7": "1534", "$2": "-", "$3": "frank",
        "$4": "10/Oct/2000:13:25:15 -0700", "$1": "127.0.0.1"}
    assert extracted("{ $.int > 1 && $.arrayKey[*] = v* }", TRAIL) == {"$.int": "123", "$.arrayKey[*]": "another value"}
    assert extracted("ERROR", "ERROR") == {}


@pytest.mark.parametrize(("pattern", "term"), [
    ("?Status: x", ":"), ("a@b", "@"), ("%something!%", "%something!%"), ("%(a)%", "%(a)%"), ("%ü%", "%ü%"),
    ('{ $.x >= "1" }', '"1"'), ("{ $.x > y }", "y"), ("{ $.x = a@b }", "@"), ('{ $."sc-status" = 5* }', '$."'[:2]),
    ("[...fields, status=FAILED]", "...fields"), ("[a, b=1 && c=2]", "c"), ("{ x = 1 }", "x"), ("{ $.x }", ""),
    ("{ $.x = }", ""), ("{ $.x = 1", ""), ("[a, b", ""), ("{}", ""), ("{ $.x = 1 || }", ""), ("{ ($.x = 1 }", ""),
    ("{ $.x = 1 $.y = 2 }", "$.y"), ("{ $.x = %a% || $.x = %b% || $.x = %c% }", "at most 2"),
    ("[..., a, ...]", "..."),
    ('"open', ""), ('a"b"', ""), ('"a"b', ""), ('""x', ""), ("{ " + "(" * 40 + "$.x = 1" + ")" * 40 + " }", "("),
    ("{ $.a[*].b[*].c[*].d[*] = 1 }", "*"), ("%%", "%%"), ("%a{2,1}%", "%a{2,1}%"), ("%[b-a]%", "%[b-a]%"),
    ("%a{1000}{1000}%", "%a{1000}{1000}%"), ("%a**%", "%a**%"), ("%[a%", "%[a%"), ("%a\\%", "%a\\%"),
    ("%a{9999}%", "%a{9999}%")])
def test_patterns_that_are_refused(pattern: str, term: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        compiled(pattern)
    if term != "at most 2":
        term = f"Invalid character(s) in term '{term}'" if term else "Invalid filter pattern"
    assert term in caught.value.message


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "[a-c]", r"\d", r"\w", r"\.", "1", r"\x62", r"\s", "[^a-b1]"])
counts = st.sampled_from(["", "", "", "?", "*", "+", "{2}", "{1,3}", "{0,2}", "{2,}"])
chains = st.lists(st.tuples(atoms, counts).map("".join), min_size=1, max_size=5).map("".join)
branches = st.tuples(st.sampled_from(["", "", "^"]), chains, st.sampled_from(["", "", "$"])).map("".join)
expressions = st.lists(branches, min_size=1, max_size=3).map("|".join)


@given(expressions, st.lists(st.text("ab1. cü", max_size=12), max_size=8))
def test_regular_expressions_agree_with_pythons(source: str, texts: list[str]) -> None:
    ours, theirs = Regex(source), re.compile(source.replace("$", r"\Z"), re.ASCII)
    for text in texts:
        assert ours.search(text) == (theirs.search(text) is not None), (source, text)
        assert not ours.search(text) or not ours.needles or any(needle in text.encode() for needle in ours.needles)


def test_regular_expressions_take_no_longer_than_the_message_is_long() -> None:
    for source in ("a*" * 20 + "b", "a?" * 300 + "a" * 300 + "b", "a+a+a+a+$|a*b", ".*.*.*x"):
        assert not Regex(source).search("a" * 20_000 + "\n")
    mixed = "".join(random.Random(1).choices("ab", k=20_000))
    assert not Regex("[ab]*a[ab]{300}c").search(mixed)  # an automaton of all sets would have 2^300 states
    assert Regex("[ab]*a[ab]{300}c").search(f"{mixed}a{mixed[:300]}c")
    for source in ("a{1001}", r"\_", "[[:alpha:]]", "", "|a", "a||b"):
        with pytest.raises(Unusable):
            Regex(source)


WORDS = ["ERROR", "disk", "full", "a", "ERR"]
terms = st.lists(st.tuples(st.sampled_from(["", "", "-", "?"]), st.sampled_from([*WORDS, '"k f"', "%E.R%"])),
                 max_size=4)


@given(terms, st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join))
def test_terms_agree_with_a_naive_reading(terms: list[tuple[str, str]], message: str) -> None:
    def has(term: str) -> bool:
        return bool(re.search(term.strip('%"'), message))

    every = [has(term) for sign, term in terms if sign == ""]
    never = [has(term) for sign, term in terms if sign == "-"]
    some = [has(term) for sign, term in terms if sign == "?"]
    expected = all(every) and not any(never) and (any(some) or not some or bool(every or never))
    assert matches(" ".join(sign + term for sign, term in terms), message) == expected


leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "ab", "ba", "1", "é\\", ""])
documents = st.dictionaries(st.sampled_from("xyz"), leaves | st.lists(leaves, max_size=2)
                            | st.dictionaries(st.sampled_from("xy"), leaves, max_size=2), max_size=3)
selectors = st.sampled_from([("x",), ("y",), ("x", 0), ("y", 1), ("z", "x"), ("x", "y")])
operands = st.sampled_from(['"a"', "a*", '"*a"', "*a*", "1", "-2", '"1"', '"é*"', "%a%", "%^a+b?$%"])
conditions = st.tuples(selectors, st.sampled_from(["=", "!="]), operands) | st.tuples(
    selectors, st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from(["0", "1.5", "-2e0"])) | st.tuples(
    selectors, st.sampled_from(["IS TRUE", "IS FALSE", "IS NULL", "NOT EXISTS"]), st.just(""))
Tree = Any
trees: st.SearchStrategy[Tree] = st.recursive(conditions, lambda inner: st.tuples(
    st.sampled_from(["&&", "||"]), st.lists(inner, min_size=2, max_size=3)), max_leaves=6)


def written(tree: Tree) -> str:
    if tree[0] in ("&&", "||"):
        return "(" + f" {tree[0]} ".join(map(written, tree[1])) + ")"
    (steps, operator, operand) = tree
    selector = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return f"{selector} {operator} {operand}"


def naive(tree: Tree, document: Any) -> bool:
    if tree[0] in ("&&", "||"):
        return (all if tree[0] == "&&" else any)([naive(each, document) for each in tree[1]])
    (steps, operator, operand) = tree
    try:
        for step in steps:
            document = document[step] if isinstance(document, list if isinstance(step, int) else dict) else {}["none"]
    except (KeyError, IndexError):
        return bool(operator == "NOT EXISTS")
    if operator in ("IS TRUE", "IS FALSE", "IS NULL", "NOT EXISTS"):
        return bool(document is {"TRUE": True, "FALSE": False, "NULL": None}.get(operator[3:], ...))
    if isinstance(document, bool | dict | list) or document is None:
        return False
    if operator not in ("=", "!="):
        return not isinstance(document, str) and bool(eval(f"{document} {operator} {operand}"))
    if operand in ("1", "-2") and not isinstance(document, str):
        return bool((document == int(operand)) == (operator == "="))
    text = operand.strip('"')
    expression = text[1:-1] if text[0] == "%" else (
        "^" + "".join(".*" if character == "*" else re.escape(character) for character in text) + r"\Z")
    return (re.search(expression, str(document), re.DOTALL) is not None) == (operator == "=")


@given(trees.filter(lambda tree: str(tree).count("%") <= 4), documents, st.booleans())
def test_json_patterns_agree_with_a_naive_evaluator(tree: Tree, document: Any, escaped: bool) -> None:
    message = json.dumps(document, ensure_ascii=escaped)
    assert matches("{ " + written(tree) + " }", message) == naive(tree, document)
