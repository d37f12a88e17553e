"""How policies match names: wildcards, policy variables, and the six parts of an ARN.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

Matcher = Callable[[str], bool]
Keys = Callable[[str], Sequence[str] | None]  # a condition key in lower case → its values, None where it is absent

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_WITH_DEFAULT = re.compile(r"([^,]*?)\s*,\s*'([^']*)'\s*", re.DOTALL)
# A `*` or `?` that came out of a variable, or was written `${*}`, stands for itself. Until it is matched it is one of
# these, which no AWS name contains.
_STAR, _ANY = "\ue000", "\ue001"
_AS_LITERAL = str.maketrans({"*": _STAR, "?": _ANY})
_AS_TEXT = str.maketrans({_STAR: "*", _ANY: "?"})
_ESCAPES = {"*": _STAR, "?": _ANY, "$": "$"}
_ARN_PARTS = 6


def no_keys(key: str) -> None:
    """The context of a request of which nothing is known."""


def has_variables(text: str) -> bool:
    """Whether `expand` would change the text."""
    return "${" in text and _VARIABLE.search(text) is not None


def variables_of(text: str) -> list[str]:
    """The keys of the variables in a pattern, as written."""
    found = (inner for inner in _VARIABLE.findall(text) if inner not in _ESCAPES)
    return [default[1] if (default := _WITH_DEFAULT.fullmatch(inner)) else inner.strip() for inner in found]


def expand(text: str, keys: Keys) -> str | None:
    """A pattern with its variables replaced; None where one has neither a value nor a default.

    A key with several values has none here, as on AWS. The result is for `glob`, `arn_like` and `plain`.
    """
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        inner = found[1]
        if inner in _ESCAPES:
            return _ESCAPES[inner]
        default = _WITH_DEFAULT.fullmatch(inner)
        values = keys((default[1] if default else inner).strip().lower())
        if values is not None and len(values) == 1:
            return values[0].translate(_AS_LITERAL)
        if default:
            return default[2].translate(_AS_LITERAL)
        missing = True
        return ""
    expanded = _VARIABLE.sub(value, text)
    return None if missing else expanded


def plain(text: str) -> str:
    """What `expand` answered, for a comparison without wildcards."""
    return text.translate(_AS_TEXT)


def glob(patterns: Iterable[str]) -> Matcher:
    """Matches a whole text against patterns in which `*` is any run of characters and `?` any one; case counts."""
    exact, begins, wild = set(), [], []
    for pattern in patterns:
        if not pattern.strip("*") and pattern:
            return lambda text: True
        if "*" not in pattern and "?" not in pattern:
            exact.add(plain(pattern))
        elif "?" not in pattern and pattern.find("*") == len(pattern) - 1:
            begins.append(plain(pattern[:-1]))
        else:
            wild.append(_expression(pattern))
    prefixes = tuple(begins)
    if not wild:
        return lambda text: text in exact or text.startswith(prefixes)
    found = re.compile("|".join(wild), re.DOTALL).fullmatch
    return lambda text: text in exact or text.startswith(prefixes) or found(text) is not None


@lru_cache(maxsize=4096)
def glob_one(pattern: str) -> Matcher:
    """`glob` of one pattern, remembered: for patterns that are made per request."""
    return glob([pattern])


def arn_like(pattern: str) -> Matcher:
    """Matches an ARN part by part: a `*` does not reach over a colon but in the last part.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    """
    parts = [glob_one(part) for part in pattern.split(":", _ARN_PARTS - 1)]

    def matches(text: str) -> bool:
        given = text.split(":", _ARN_PARTS - 1)
        return len(given) == len(parts) == _ARN_PARTS and all(
            part(each) for part, each in zip(parts, given, strict=True))
    return matches


def action_matcher(patterns: list[str]) -> Matcher:
    """Action patterns by service, since a managed policy may list a thousand; actions are compared in lower case."""
    by_service: dict[str, list[str]] = {}
    for pattern in patterns:
        service = pattern.lower().partition(":")[0]
        by_service.setdefault("*" if "*" in service or "?" in service else service, []).append(pattern.lower())
    matchers = {service: glob(group) for service, group in by_service.items()}
    anywhere = matchers.pop("*", None)

    def matches(action: str) -> bool:
        of_service = matchers.get(action.partition(":")[0])
        return (of_service is not None and of_service(action)) or (anywhere is not None and anywhere(action))
    return matches


def _expression(pattern: str) -> str:
    """One pattern as a regular expression that never backtracks into an earlier `*`.

    A customer writes these, so they must not take exponential time: each piece between stars is found at its first
    place for good (an atomic group), which loses no match because the last piece is anchored by the end of the text.
    """
    first, *rest = (_piece(piece) for piece in re.sub(r"\*+", "*", pattern).split("*"))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{piece})" for piece in middle) + ".*" + last


def _piece(text: str) -> str:
    return re.escape(text).replace(r"\?", ".").replace(_STAR, r"\*").replace(_ANY, r"\?")
