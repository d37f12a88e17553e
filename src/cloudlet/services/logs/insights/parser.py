"""A query's text to its commands, by recursive descent.

The language: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
"""

from collections.abc import Callable

from cloudlet.services.logs.insights import functions
from cloudlet.services.logs.insights.aggregates import AGGREGATES
from cloudlet.services.logs.insights.scanner import Scanner
from cloudlet.services.logs.insights.syntax import (
    Among,
    Binary,
    Call,
    Command,
    Constant,
    Dedup,
    Expression,
    Field,
    Fields,
    Filter,
    Like,
    Limit,
    Named,
    Parse,
    Part,
    Period,
    Sort,
    Stats,
    Unary,
)

COMMANDS_MAX, DEPTH_MAX, OPERATORS_MAX, LIMIT_MAX = 100, 40, 300, 10_000
UNITS = {unit: name for name, units in {
    "ms": "ms msec millisecond", "s": "s sec second", "m": "m min minute", "h": "h hr hour", "d": "d day",
    "w": "w week", "mo": "mo mon month", "q": "q qtr quarter", "y": "y yr year"}.items() for unit in units.split()}
_NOT_DONE = ("anomaly", "diff", "filterindex", "join", "lookup", "pattern", "search", "source", "subquery", "tail",
             "unmask", "unnest")
_COMPARISONS = ("!=", "<=", ">=", "==", "=", "<", ">")


def parse(query: str) -> tuple[Command, ...]:
    """The commands of a query; none where it is empty. Raises Malformed."""
    return _Parser(query).commands()


class _Parser:
    def __init__(self, query: str) -> None:
        self.scan, self.depth, self.operators, self.in_stats = Scanner(query), 0, 0, False

    def commands(self) -> tuple[Command, ...]:
        found: list[Command] = []
        while self.scan.take("|"):
            pass
        while not self.scan.ended:
            if len(found) == COMMANDS_MAX:
                self.scan.fail(message=f"a query has at most {COMMANDS_MAX} commands")
            found.append(self.command())
            if not self.scan.ended:
                self.scan.expect("|")
        return tuple(found)

    def command(self) -> Command:
        start, word = self.scan.at, self.scan.peek_word()
        commands: dict[str, Callable[[], Command]] = {
            "fields": self.fields, "display": self.display, "filter": self.filter, "parse": self.parse_command,
            "stats": self.stats, "sort": self.sort, "order": self.sort, "limit": self.limit, "head": self.limit,
            "dedup": self.dedup}
        read = commands.get(word)
        if read is None:
            if word in _NOT_DONE:
                self.scan.fail(start, f"the command {word} is not supported", start + len(word))
            self.scan.fail()
        self.scan.word()
        return read()

    def fields(self) -> Fields:
        return Fields(tuple(self.list_of_named()), only=False)

    def display(self) -> Fields:
        return Fields(tuple(self.list_of_named()), only=True)

    def filter(self) -> Filter:
        return Filter(self.expression())

    def parse_command(self) -> Parse:
        source: Expression = Field(("@message",))
        if self.scan.peek() not in ("'", '"', "/"):
            source = self.primary()
        start = self.scan.at
        if self.scan.peek() not in ("'", '"', "/"):
            self.scan.fail()
        regex = self.scan.peek() == "/"
        pattern, end, names = self.scan.quoted(), self.scan.last, []
        if self.scan.take_word("as"):
            names.append(self.name())
            while self.scan.take(","):
                names.append(self.name())
        return Parse(source, pattern, regex, tuple(names), start, end)

    def stats(self) -> Stats:
        self.in_stats = True
        figures = self.list_of_named()
        self.in_stats = False
        by = self.list_of_named() if self.scan.take_word("by") else []
        return Stats(tuple(figures), tuple(by))

    def sort(self) -> Sort:
        self.scan.take_word("by")
        keys = []
        while True:
            keys.append((self.expression(), self.scan.take_word("asc", "desc") == "desc"))
            if not self.scan.take(","):
                return Sort(tuple(keys))

    def limit(self) -> Limit:
        start, count = self.scan.at, self.scan.number()
        if not isinstance(count, int) or not 1 <= count <= LIMIT_MAX:
            self.scan.fail(start, f"limit must be between 1 and {LIMIT_MAX}", self.scan.last)
        return Limit(count)

    def dedup(self) -> Dedup:
        keys: list[Expression] = [self.field()]
        while self.scan.take(","):
            keys.append(self.field())
        return Dedup(tuple(keys))

    def list_of_named(self) -> list[Named]:
        found = [self.named()]
        while self.scan.take(","):
            found.append(self.named())
        return found

    def named(self) -> Named:
        start = self.scan.at
        expression = self.expression()
        end = self.scan.last
        if self.scan.take_word("as"):
            return Named(expression, self.name(), True, start, self.scan.last)
        name = expression.name if isinstance(expression, Field) else self.scan.query[start:end]
        return Named(expression, name, False, start, end)

    def name(self) -> str:
        """A name that is given: as a field's, in one piece."""
        return self.field().name

    def expression(self) -> Expression:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            self.scan.fail(message="the query is nested too deeply")
        left = self.conjunction()
        while self.scan.take_word("or"):
            left = self.binary("or", left, self.conjunction())
        self.depth -= 1
        return left

    def binary(self, operator: str, left: Expression, right: Expression) -> Binary:
        self.operators += 1
        if self.operators > OPERATORS_MAX:
            self.scan.fail(message=f"a query has at most {OPERATORS_MAX} operators")
        return Binary(operator, left, right)

    def conjunction(self) -> Expression:
        left = self.negation()
        while self.scan.take_word("and"):
            left = self.binary("and", left, self.negation())
        return left

    def negation(self) -> Expression:
        negations = 0
        while self.scan.take_word("not"):
            negations += 1
        compared = self.comparison()
        for _ in range(negations % 2):
            compared = Unary("not", compared)
        return compared

    def comparison(self) -> Expression:
        left = self.sum()
        operator = self.scan.take(*_COMPARISONS)
        if operator:
            return Binary("=" if operator == "==" else operator, left, self.sum())
        if self.scan.take("=~"):
            return self.like(left)
        negated = bool(self.scan.take_word("not"))
        found: Expression | None = None
        if self.scan.take_word("like"):
            found = self.like(left)
        elif self.scan.take_word("in"):
            found = Among(left, self.items())
        if found is None:
            if negated:
                self.scan.fail()
            return left
        return Unary("not", found) if negated else found

    def like(self, left: Expression) -> Like:
        start, quote = self.scan.at, self.scan.peek()
        if quote not in ("'", '"', "/"):
            self.scan.fail()
        return Like(left, self.scan.quoted(), quote == "/", start, self.scan.last)

    def items(self) -> tuple[Expression, ...]:
        self.scan.expect("[")
        items = [self.expression()]
        while self.scan.take(","):
            items.append(self.expression())
        self.scan.expect("]")
        return tuple(items)

    def sum(self) -> Expression:
        left = self.product()
        while operator := self.scan.take("+", "-"):
            left = self.binary(operator, left, self.product())
        return left

    def product(self) -> Expression:
        left = self.power()
        while operator := self.scan.take("*", "/", "%"):
            left = self.binary(operator, left, self.power())
        return left

    def power(self) -> Expression:
        left, towers = self.signed(), []
        while self.scan.take("^"):
            towers.append(left)
            left = self.signed()
        for base in reversed(towers):
            left = self.binary("^", base, left)
        return left

    def signed(self) -> Expression:
        signs = 0
        while sign := self.scan.take("-", "+"):
            signs += sign == "-"
        operand = self.primary()
        return Unary("-", operand) if signs % 2 else operand

    def primary(self) -> Expression:
        character = self.scan.peek()
        if character in ("'", '"') and character:
            return Constant(self.scan.quoted())
        if character.isdigit() or character == ".":
            return Constant(self.scan.number())
        if self.scan.take("("):
            inner = self.expression()
            self.scan.expect(")")
            return inner
        if self.scan.peek_word() in ("true", "false"):
            return Constant(self.scan.word().lower() == "true")
        start = self.scan.at
        quoted = character == "`"
        field = self.field()
        if not quoted and len(field.parts) == 1 and self.scan.peek_symbol() == "(":
            return self.call(field.name, start)
        return field

    def call(self, name: str, start: int) -> Call:
        function, end = name.lower(), self.scan.last
        self.scan.expect("(")
        aggregate = AGGREGATES.get(function)
        if aggregate is not None and not self.in_stats:
            self.scan.fail(start, f"the function {name} can only be used in stats", end)
        arguments = self.arguments(function, aggregate is not None)
        least, most = aggregate.arity if aggregate else functions.arity(function)
        if most < 0:
            self.scan.fail(start, f"unknown function {name}", end)
        if not least <= len(arguments) <= most:
            self.scan.fail(start, f"wrong number of arguments of the function {name}", self.scan.last)
        return Call(function, tuple(arguments), start, self.scan.last)

    def arguments(self, function: str, aggregate: bool) -> list[Expression]:
        found: list[Expression] = []
        outside, self.in_stats = self.in_stats, self.in_stats and not aggregate
        if function == "count" and self.scan.take("*"):
            pass
        elif self.scan.peek_symbol() != ")":
            found.append(self.argument(function))
            while self.scan.take(","):
                found.append(self.argument(function))
        self.in_stats = outside
        self.scan.expect(")")
        return found

    def argument(self, function: str) -> Expression:
        start = self.scan.at
        if function not in functions.PERIODIC or (period := self.scan.period()) is None:
            return self.expression()
        amount, word = period
        unit = UNITS.get(word) or UNITS.get(word.removesuffix("s"))
        if unit is None or amount < 1:
            self.scan.fail(start, f"{amount}{word} is no period of time", self.scan.last)
        return Period(amount, unit)

    def field(self) -> Field:
        parts: list[Part] = [self.scan.quoted() if self.scan.peek() == "`" else self.scan.word()]
        while True:
            if self.scan.follows("."):
                self.scan.expect(".")
                parts.append(self.scan.quoted() if self.scan.peek() == "`" else self.scan.part())
            elif self.scan.follows("["):
                self.scan.expect("[")
                index = self.scan.number()
                if not isinstance(index, int):
                    self.scan.fail()
                parts.append(index)
                self.scan.expect("]")
            else:
                return Field(tuple(parts))
