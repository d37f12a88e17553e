"""The query language, command by command and function by function."""

import json
from typing import Any

import pytest

from cloudlet.kernel import regex
from cloudlet.services.logs.insights import aggregates
from cloudlet.services.logs.insights.aggregates import Memory, Percentile, TooMuch
from cloudlet.services.logs.insights.parser import parse
from cloudlet.services.logs.insights.plan import Plan
from cloudlet.services.logs.insights.row import Origin, Row
from cloudlet.services.logs.insights.syntax import Malformed
from cloudlet.services.logs.insights.values import sort_key

START_MS = 1_700_000_000_000
ORIGIN = Origin("123456789012:g", "g", "s")



def run(query: str, *messages: Any, limit: int | None = None) -> list[dict[str, str]]:
    """The rows of a query over messages a second apart; what is not a text is put as JSON."""
    plan = Plan(query, START_MS / 1000 + 3600, limit)
    for number, message in enumerate(messages):
        text = message if isinstance(message, str) else json.dumps(message)
        plan.feed(Row(ORIGIN, (START_MS + number * 1000, 1, 1, number), text, START_MS + 5))
    return [dict(plan.shown(row)) for row in plan.drain() if row is not None]


def value(expression: str, message: Any = "m") -> str | None:
    return run(f"fields {expression} as x | display x", message)[0].get("x")


def column(name: str, rows: list[dict[str, str]]) -> list[str | None]:
    return [row.get(name) for row in rows]


def test_without_a_command_times_and_messages_the_latest_first() -> None:
    assert run("", "one", "two") == [
        {"@timestamp": "2023-11-14 22:13:21.000", "@message": "two"},
        {"@timestamp": "2023-11-14 22:13:20.000", "@message": "one"}]
    assert run("| filter @message = 'one' |  # nothing more\n", "one", "two") == [
        {"@timestamp": "2023-11-14 22:13:20.000", "@message": "one"}]


@pytest.mark.parametrize(("expression", "expected"), [
    ("1 + 2 * 3", "7"), ("(1 + 2) * 3", "9"), ("2 ^ 3 ^ 2", "512"), ("-2 ^ 2", "4"), ("10 % 3", "1"), ("7 / 2", "3.5"),
    ("6 / 2", "3"), ("1 / 3", "0.3333"), ("1 / 0", None), ("1 - -1", "2"), ("'a' + 1", None), ("'3' + 1", "4"),
    ("10 ^ 400", None), ("9000000000000000000 * 9000000000000000000", "8.1e+37"), ("-7 % 3", "-1"),
    ("0.00001", "1e-05"), ("1.50", "1.5"), ("12345678.12345", "12345678.1234"),
    ("1 = 1.0", "1"), ("'01' = 1", "1"), ("'a' = 'A'", "0"), ("2 < 10", "1"), ("'b' > 'a'", "1"), ("'a' < 1", "0"),
    ("'10' >= '9'", "1"), ("nothing = nothing", "0"), ("nothing != 1", "1"), ("nothing != nothing", "0"),
    ("nothing < 1", "0"), ("true and not false", "1"), ("1 or nothing", "1"), ("not not 1", "1"),
    ("2 in [1, '2']", "1"), ("2 not in [1, 3]", "1"), ("'abc' like 'b'", "1"), ("'abc' not like \"B\"", "1"),
    ("12 like 2", None),
])
def test_operators(expression: str, expected: str | None) -> None:
    if expression == "12 like 2":
        with pytest.raises(Malformed):
            value(expression)
    else:
        assert value(expression) == expected


@pytest.mark.parametrize(("expression", "expected"), [
    ("abs(-2)", "2"), ("ceil(1.2)", "2"), ("floor(-1.2)", "-2"), ("sqrt(9)", "3"), ("sqrt(-1)", None), ("log(1)", "0"),
    ("log(0)", None), ("greatest(1, 3, 2)", "3"), ("least(4, '3', 'x')", "3"), ("abs('x')", None),
    ("isempty('')", "1"), ("isempty(nothing)", "1"), ("isempty(' ')", "0"), ("isblank(' ')", "1"),
    ("isBlank('x')", "0"),
    ("concat('a', 1, nothing, 'b')", "a1b"), ("ltrim('  a ')", "a "), ("rtrim('xxaxx', 'x')", "xxa"),
    ("trim(' a ')", "a"),
    ("strlen('äö')", "2"), ("toupper('aä')", "AÄ"), ("tolower('AÄ')", "aä"), ("substr('xyZfooxyZ', 3)", "fooxyZ"),
    ("substr('xyZfooxyZ', 3, 4)", "foox"), ("substr('ab', -1)", None), ("replace('foo_foo', 'foo', 'x')", "x_x"),
    ("replace('a', '', 'x')", "a"), ("strcontains('abc', 'bc')", "1"), ("strcontains('abc', 'x')", "0"),
    ("isvalidip('10.0.0.1')", "1"), ("isValidIp('::1')", "1"), ("isvalidipv4('::1')", "0"), ("isvalidipv6('::1')", "1"),
    ("isipv4insubnet('10.0.1.2', '10.0.0.0/8')", "1"), ("isIpv4InSubnet('11.0.1.2', '10.0.0.0/8')", "0"),
    ("isipv6insubnet('fc00::1', 'fc00::/7')", "1"), ("isipinsubnet('x', '10.0.0.0/8')", "0"),
    ("isipv4insubnet('fc00::1', 'fc00::/7')", "0"),
    ("ispresent(@message)", "1"), ("isPresent(nothing)", "0"), ("coalesce(nothing, 'b', 'c')", "b"),
    ("coalesce(nothing)", None),
    ("now()", "1700003600"), ("toMillis(@timestamp)", "1700000000000"), ("toMillis(5)", None),
    ("fromMillis(1700000000001)", "2023-11-14 22:13:20.001"), ("fromMillis('x')", None),
    ("fromMillis(99999999999999999)", "99999999999999999"), ("@timestamp + 0", "1700000000000"),
    ("bin(5m)", "2023-11-14 22:10:00.000"), ("bin(1 hour)", "2023-11-14 22:00:00.000"),
    ("bin(30s)", "2023-11-14 22:13:00.000"),
    ("bin(2days)", "2023-11-13 00:00:00.000"), ("bin(1w)", "2023-11-13 00:00:00.000"),
    ("bin(1mo)", "2023-11-01 00:00:00.000"),
    ("bin(1qtr)", "2023-10-01 00:00:00.000"), ("bin(2y)", "2022-01-01 00:00:00.000"),
    ("bin(7ms)", "2023-11-14 22:13:19.999"),
    ("datefloor(@timestamp, 1h)", "2023-11-14 22:00:00.000"), ("dateceil(@timestamp, 1h)", "2023-11-14 23:00:00.000"),
    ("dateceil(fromMillis(0), 1h)", "1970-01-01 00:00:00.000"),
    ("dateceil(@timestamp, 1mo)", "2023-12-01 00:00:00.000"),
    ("datefloor('x', 1h)", None), ("datefloor(99999999999999999999, 1y)", None),
    ("jsonStringify(jsonParse('{\"a\": [1]}'))", '{"a":[1]}'), ("jsonParse('[1')", None), ("jsonParse('1')", None),
    ("jsonStringify(bin(1h))", "1699999200000"), ("jsonStringify(nothing)", None),
])
def test_functions(expression: str, expected: str | None) -> None:
    assert value(expression) == expected


def test_long_texts_are_not_made() -> None:
    assert value("strlen(concat(@message, @message))", "x" * 600_000) is None
    assert value("strlen(replace(@message, 'x', 'xxx'))", "x" * 600_000) is None


def test_fields_found_in_messages() -> None:
    message = {"a": {"b": {"c": 1}, "list": [{"d": True}, "e"]}, "x-y": "z", "dotted.name": 2, "null": None, "f": 1.5}
    assert run("display a.b.c, a.list.0.d, a.list.1, `x-y`, dotted.name, null, f, a, a.list.7, a.b.c.d", message) == [
        {"a.b.c": "1", "a.list.0.d": "1", "a.list.1": "e", "x-y": "z", "dotted.name": "2", "f": "1.5"}]
    found = run("fields a.b.c, @log, @logStream, @ingestionTime | filter a.list.0.d = 1", message, "x", "{bad}", "[1]")
    assert found == [
        {"a.b.c": "1", "@log": "123456789012:g", "@logStream": "s", "@ingestionTime": "2023-11-14 22:13:20.005"}]
    assert run("fields jsonParse(inner) as j | display j.users[1].name, j.`a b`, j.users.0.name", {
        "inner": '{"users": [{"name": "n0"}, {"name": "n1"}], "a b": 3}'}) == [
        {"j.users.1.name": "n1", "j.a b": "3", "j.users.0.name": "n0"}]
    row = Row(ORIGIN, (1, 1, 1, 1), json.dumps({"k": list(range(500))}), 1)
    assert len(row.discovered()) == 200
    assert Row(ORIGIN, (1, 1, 1, 1), "[" * 100_000, 1).found == {}
    assert Row(ORIGIN, (1, 1, 1, 1), '{"a":' * 100_000 + "}", 1).found == {}


def test_columns() -> None:
    assert run("fields a | fields b, a + b as sum", {"a": 1, "b": 2}) == [{"a": "1", "b": "2", "sum": "3"}]
    assert run("fields a, b | display b | display a", {"a": 1, "b": 2}) == [{"a": "1"}]
    assert run("fields a as `long name`, `long name` + 1 as c", {"a": 1}) == [{"long name": "1", "c": "2"}]
    assert run("fields  strlen(a)  , a", {"a": "xyz"}) == [{"strlen(a)": "3", "a": "xyz"}]


def test_parse_by_glob() -> None:
    text = "user=bob, method:GET, latency := 12"
    rows = run('parse @message "user=*, method:*, latency := *" as @user, @method, @latency'
               " | stats avg(@latency) by @user", text, text, "other")
    assert rows == [{"@user": "bob", "avg(@latency)": "12"}, {}]
    assert run("parse 'x * y * z' as a, b | display a, b", "-x 1 y 2 y 3 z-", "x 1 y 2") == [
        {}, {"a": "1", "b": "2 y 3"}]
    assert run("parse '*=*' as a, b", "k=v=w")[0] | {"@timestamp": ""} == {
        "@timestamp": "", "@message": "k=v=w", "a": "k", "b": "v=w"}
    assert run("parse level 'E*' as rest | display rest", {"level": "ERROR"}) == [{"rest": "RROR"}]


def test_parse_by_regular_expression() -> None:
    rows = run(r"parse @message /user=(?<user>\w+)(, age=(?<age>\d+))?/ | display user, age",
               "user=bob, age=5", "user=eve", "x")
    assert rows == [{}, {"user": "eve"}, {"user": "bob", "age": "5"}]
    assert run(r"parse @message /\/(?<path>[^\/]+)$/ | display path", "a/b/ä") == [{"path": "ä"}]


def test_like_a_regular_expression() -> None:
    messages = ("Error", "error 12", "fine")
    found = run("filter @message like /(?i)error/ | sort @message", *messages)
    assert column("@message", found) == ["Error", "error 12"]
    assert column("@message", run(r"filter @message =~ /\d{2}$/", *messages)) == ["error 12"]
    assert column("@message", run("filter @message not like /^.*r/", *messages)) == ["fine"]
    assert column("@message", run("filter @message like /error/", *messages)) == ["error 12"]
    for bad in ("(", "(?=a)", r"(a)\1", "a{1,5000}"):
        with pytest.raises(Malformed, match="invalid regular expression"):
            Plan(f"filter @message like /{bad}/", 0)


def test_regular_expressions_take_time_in_proportion_to_the_text() -> None:
    assert not regex.compiled("(a*)*(a|aa)*b").found("a" * 200_000)
    assert regex.compiled("(?<x>.*?)=(?<y>.*?)=(?<z>.*?)=b").groups("a=" * 100_000) is None


def test_sort_dedup_and_limit() -> None:
    rows = [{"k": key, "n": number} for number, key in enumerate(["a10", "a9", "B", "7", "30", None, "a9"])]
    assert column("k", run("fields k | sort k", *rows)) == [None, "B", "a9", "a9", "a10", "7", "30"]
    assert column("k", run("fields k | sort k desc | limit 3", *rows)) == ["30", "7", "a10"]
    assert column("n", run("fields n | sort k desc, n desc", *rows)) == ["4", "3", "0", "6", "1", "2", "5"]
    assert column("n", run("fields n | sort k, @timestamp asc | dedup k", *rows)) == ["5", "2", "1", "0", "3", "4"]
    assert column("n", run("fields n | dedup k | limit 2", *rows)) == ["6", "5"]
    assert column("n", run("fields n | dedup missing", *rows)) == ["6", "5", "4", "3", "2", "1", "0"]
    assert column("n", run("fields n | limit 4 | filter n < 5 | sort n", *rows)) == ["3", "4"]
    assert column("n", run("fields n | sort n | limit 4 | filter n > 1", *rows)) == ["2", "3"]
    assert column("n", run("fields n | sort n | filter n > 2 | head 2", *rows)) == ["3", "4"]
    assert column("n", run("fields n | order by n desc", *rows, limit=2)) == ["6", "5"]
    assert column("n", run("fields n | limit 3", *rows, limit=2)) == ["6", "5", "4"]
    assert sort_key("a") < sort_key("1e3") < sort_key(10000)


def test_more_rows_than_are_kept() -> None:
    numbers = [number * 7919 % 20_011 for number in range(20_011)]
    found = run("fields n | sort n desc | limit 3", *({"n": n} for n in numbers))
    assert column("n", found) == ["20010", "20009", "20008"]
    assert column("n", run("fields n | sort n | limit 3", *({"n": n} for n in numbers))) == ["0", "1", "2"]
    assert column("n", run("fields n | limit 2", *({"n": n} for n in range(5000)))) == ["4999", "4998"]
    assert len(run("fields n", *({"n": n} for n in numbers))) == 10_000
    found = run("fields k, n | sort n desc | dedup k | limit 3", *({"k": n % 5, "n": n} for n in numbers))
    assert column("n", found) == ["20010", "20009", "20008"]


def test_results_are_bounded_in_bytes() -> None:
    assert 100 < len(run("", *("x" * 200_000 for _ in range(400)))) < 200


def test_stats() -> None:
    rows = [{"k": "a", "n": 1}, {"k": "a", "n": "3"}, {"k": "b", "n": 10.5}, {"n": "x"}, "plain"]
    assert run("stats count(*), count(n), sum(n), avg(n), min(n), max(n), count_distinct(k)", *rows) == [{
        "count(*)": "5", "count(n)": "4", "sum(n)": "14.5", "avg(n)": "4.8333", "min(n)": "1", "max(n)": "10.5",
        "count_distinct(k)": "2"}]
    assert run("stats count() as c, max(n) - min(n) as spread, spread * 2 as double by k | sort k", *rows) == [
        {"c": "2"}, {"k": "a", "c": "2", "spread": "2", "double": "4"},
        {"k": "b", "c": "1", "spread": "0", "double": "0"}]
    assert run("stats earliest(n), latest(n), sortsFirst(k), sortsLast(k), latest(@timestamp) as t, max(@timestamp)",
               *rows) == [{"earliest(n)": "1", "latest(n)": "x", "sortsFirst(k)": "a", "sortsLast(k)": "b",
                           "t": "2023-11-14 22:13:24.000", "max(@timestamp)": "1700000004000"}]
    assert run("stats stddev(n) as s, pct(n, 50) as p50, pct(n, 100) as p100, pct(n, 25)", *rows) == [
        {"s": "4.0893", "p50": "3", "p100": "10.5", "pct(n, 25)": "2"}]
    assert run("stats count(*) by bin(2s) as t | sort t", *rows) == [
        {"t": f"2023-11-14 22:13:{second}.000", "count(*)": count}
        for second, count in ((20, "2"), (22, "2"), (24, "1"))]
    assert run("stats count(*) as c by k | filter c > 1 | stats count(*) as groups, sum(c) as total", *rows) == [
        {"groups": "2", "total": "4"}]
    assert run("stats count(*) as c by k | fields c * 2 as d | display d | sort d desc | limit 1", *rows) == [
        {"d": "4"}]
    assert run("filter k = 'none' | stats count(*), sum(n)", *rows) == [{"count(*)": "0"}]
    assert run("filter k = 'none' | stats count(*) by k", *rows) == []
    assert run("sort n | limit 2 | stats count(*)", *rows) == [{"count(*)": "2"}]
    assert run("stats count(*) as c by status | sort c", {"status": 200}, {"status": "200"}) == [
        {"status": "200", "c": "2"}]
    assert run("stats count(*) as c by k | sort @timestamp, @message | display @message, c", {"k": 1}) == [{"c": "1"}]


def test_percentiles_of_many_values() -> None:
    percentile = Percentile(Memory(), 90)
    row = Row(ORIGIN, (1, 1, 1, 1), "", 1)
    for number in range(-50_000, 50_001):
        percentile.add(row, number)
    assert percentile.result() == pytest.approx(40_000, rel=0.002)
    assert len(percentile.buckets) < 15_000 and not percentile.exact
    lowest = Percentile(Memory(), 0)
    highest = Percentile(Memory(), 100)
    for number in range(5000):
        lowest.add(row, -1 / (number + 1))
        highest.add(row, number / 5000)
    assert lowest.result() == pytest.approx(-1, rel=0.002)
    assert highest.result() == pytest.approx(0.9998, rel=0.002)


def test_a_query_remembers_so_much_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "REMEMBERED_MAX", 10)
    with pytest.raises(TooMuch):
        run("stats count(*) by @message", *map(str, range(11)))
    assert len(run("stats count(*) by @message", *map(str, range(10)))) == 10


@pytest.mark.parametrize(("query", "message", "start", "end"), [
    ("fields @timestamp | count()", "unexpected symbol found count at line 1 and position 21", 20, 25),
    ("fields a\n| filter b !", "unexpected symbol found ! at line 2 and position 12", 20, 21),
    ("filter", "unexpected symbol found <EOF> at line 1 and position 7", 6, 6),
    ("filter a = 'x", "unexpected symbol found ' at line 1 and position 12", 11, 12),
    ("fields a b", "unexpected symbol found b at line 1 and position 10", 9, 10),
    ("fields a | pattern @message", "the command pattern is not supported", 11, 18),
    ("SOURCE logGroups()", "the command source is not supported", 0, 6),
    ("limit 0", "limit must be between 1 and 10000", 6, 7),
    ("limit 10001", "limit must be between 1 and 10000", 6, 11),
    ("fields foo(a)", "unknown function foo", 7, 10),
    ("fields strlen(a, b)", "wrong number of arguments of the function strlen", 7, 19),
    ("fields count(a)", "the function count can only be used in stats", 7, 12),
    ("stats sum(max(a))", "the function max can only be used in stats", 10, 13),
    ("stats a by b", "the field a is neither grouped by nor given to an aggregate function", 6, 7),
    ("stats pct(a, 101)", "the second argument of pct must be a number from 0 to 100", 6, 17),
    ("stats count(*) by bin(5x)", "5x is no period of time", 22, 24),
    ("fields bin(a)", "the function bin needs a period of time, such as 5m", 7, 13),
    ("fields a as x, b as x", "Ephemeral field is already defined: x", 15, 21),
    ("stats count(*) as x, sum(a) as x", "Ephemeral field is already defined: x", 21, 32),
    ("parse '* *' as a", "parse needs as many names after as, as there are * in its pattern", 6, 11),
    ("parse @message", "unexpected symbol found <EOF> at line 1 and position 15", 14, 14),
    ("dedup a | filter b", "only limit can follow dedup", 0, 0),
    ("fields a.b[x]", "unexpected symbol found x at line 1 and position 12", 11, 12),
    ("filter a not b", "unexpected symbol found b at line 1 and position 14", 13, 14),
])
def test_what_is_malformed(query: str, message: str, start: int, end: int) -> None:
    with pytest.raises(Malformed) as refused:
        Plan(query, 0)
    assert (refused.value.message, refused.value.start, refused.value.end) == (message, start, end)


def test_a_regular_expression_in_parse_names_its_fields() -> None:
    for query in (r"parse @message /(\d+)/", r"parse @message /(?<a>\d+)/ as a"):
        with pytest.raises(Malformed, match="named groups"):
            Plan(query, 0)


@pytest.mark.parametrize("query", [
    "fields " + "(" * 3000, "fields " + "abs(" * 3000, "filter " + "a and " * 400 + "a", "fields " + "2 ^ " * 400 + "2",
    "fields a | " * 200 + "limit 1", "filter a in [" + "[" * 3000])
def test_what_is_too_large_is_malformed(query: str) -> None:
    with pytest.raises(Malformed):
        Plan(query, 0)


def test_what_is_just_small_enough_runs() -> None:
    assert run("filter " + "nothing = 1 or " * 300 + "@message = 'm'", "m")
    assert value("1" + " + 1" * 300) == "301"
    assert value("2 ^ " + "1 ^ " * 298 + "1") == "2"
    assert value("- + " * 1001 + "1") == "-1"
    assert value("(" * 38 + "1" + ")" * 38) == "1"
    assert run("filter " + "not " * 2000 + "@message = 'm'", "m")
    assert len(parse("fields a |" * 99 + "fields b")) == 100
