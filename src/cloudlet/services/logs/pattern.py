"""Filter patterns of terms: `ERROR timeout`, `"exact phrase"`, `?warn ?error`, `-debug`.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html. Patterns on JSON and on
space-delimited fields, and regular expressions, are refused.
"""

import re

from cloudlet.services.logs.service import InvalidParameter
from cloudlet.services.logs.storage import Wanted

_TERM = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)')


def compiled(text: str) -> Wanted | None:
    """What a pattern wants of a message; None where it wants them all. Raises InvalidParameter.

    A message must contain every plain term, none of those after "-", and, where the pattern has nothing but terms after
    "?", at least one of these; beside other terms AWS ignores those after "?". Case counts.
    """
    text = text.strip()
    if text[:1] in ("{", "["):
        kind = "JSON" if text[0] == "{" else "space-delimited"
        raise InvalidParameter(f"Invalid filter pattern: {kind} filter patterns are not supported.")
    terms: dict[str, list[str]] = {"": [], "-": [], "?": []}
    place = 0
    while place < len(text):
        found = _TERM.match(text, place)
        if found is None:
            raise InvalidParameter("Invalid filter pattern")
        sign, quoted, plain = found.groups()
        if plain is not None and len(plain) > 1 and plain[0] == plain[-1] == "%":
            raise InvalidParameter("Invalid filter pattern: regular expressions are not supported.")
        terms[sign].append(re.sub(r"\\(.)", r"\1", quoted) if plain is None else plain)
        place = found.end()
    return _wanted(terms[""], terms["-"], terms["?"])


def _wanted(every: list[str], never: list[str], some: list[str]) -> Wanted | None:
    if len(every) == 1 and not never:
        return lambda message, term=every[0]: term in message  # type: ignore[misc]
    if every or never:
        return lambda message: all(term in message for term in every) and not any(term in message for term in never)
    if some:
        return lambda message: any(term in message for term in some)
    return None
