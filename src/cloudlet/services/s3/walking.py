"""Keys in the order of their UTF-8, those below a delimiter rolled up into one, by seeking past them in the index.

So a listing costs what it answers, however many keys a common prefix or a bucket has.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote

from cloudlet.services.s3.service import InvalidArgument

Row = tuple[Any, ...]  # the key first
Seek = Callable[[str], Iterable[Row]]  # the rows from a key on (itself included), in order

PAGE_MAX = 1000
STEPS_MAX = 8  # rows below a common prefix that are passed one by one before it is worth a seek
_INTEGER_MAX = 2**31 - 1


def following(text: str) -> str | None:
    """The first text after all that begin with this one; None where there is none."""
    while text:
        last = ord(text[-1])
        if last < 0x10FFFF:
            return text[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)  # there are no surrogates in UTF-8
        text = text[:-1]
    return None


def start_after(marker: str, prefix: str, delimiter: str) -> str | None:
    """The first key that may be listed after a marker. One within a common prefix stands for all of it, as the last
    common prefix of a page does."""
    if marker < prefix or not marker:
        return prefix
    at = marker.find(delimiter, len(prefix)) if delimiter and marker.startswith(prefix) else -1
    return marker + "\0" if at < 0 else following(marker[:at + len(delimiter)])


def entries(seek: Seek, start: str | None, prefix: str, delimiter: str) -> Iterator[Row | str]:
    """The rows from `start` on whose keys begin with a prefix; in place of those that have the delimiter after it, each
    common prefix once."""
    common, length, width = "", len(prefix), len(delimiter)
    while start is not None:
        steps = 0
        for row in seek(start):
            key = row[0]
            if not key.startswith(prefix):
                return
            at = key.find(delimiter, length) if delimiter else -1
            if at < 0:
                yield row
            elif not common or key[:at + width] != common:
                common, steps = key[:at + width], 0
                yield common
            else:
                steps += 1
                if steps > STEPS_MAX:
                    break
        else:
            return
        start = following(common)


def page(found: Iterator[Row | str], limit: int) -> tuple[list[Row], list[str], Row | str | None]:
    """Up to `limit` entries, rows and common prefixes apart, and the last of them where more would follow."""
    shown = list(islice(found, limit))
    more = bool(shown) and next(found, None) is not None
    return ([entry for entry in shown if not isinstance(entry, str)],
            [entry for entry in shown if isinstance(entry, str)], shown[-1] if more else None)


class Asked(NamedTuple):
    """How a request wants its listing: `encode` is for keys and what is like them."""

    prefix: str
    delimiter: str
    limit: int
    encode: Callable[[str], str]
    encoding: str | None

    def walk(self, seek: Seek, marker: str) -> Iterator[Row | str]:
        """The entries after a marker."""
        return entries(seek, start_after(marker, self.prefix, self.delimiter), self.prefix, self.delimiter)

    def rolls_up(self, key: str) -> bool:
        """Whether a key lies within a common prefix."""
        return bool(self.delimiter) and key.startswith(self.prefix) and self.delimiter in key[len(self.prefix):]

    def answer(self, limit_member: str, prefixes: list[str], last: Row | str | None) -> dict[str, Any]:
        """The members that every listing answers."""
        return {"Prefix": self.encode(self.prefix), limit_member: self.limit,
                "Delimiter": self.encode(self.delimiter) if self.delimiter else None, "IsTruncated": last is not None,
                "CommonPrefixes": [{"Prefix": self.encode(prefix)} for prefix in prefixes],
                "EncodingType": self.encoding}


def asked(request: dict[str, Any], limit_member: str, limit_name: str) -> Asked:
    """What a request says. Raises InvalidArgument.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html#API_ListObjectsV2_RequestSyntax
    """
    limit: int = request.get(limit_member, PAGE_MAX)
    if limit < 0:
        raise InvalidArgument(f"Argument {limit_name} must be an integer between 0 and {_INTEGER_MAX}",
                              ArgumentName=limit_name, ArgumentValue=str(limit))
    encoding = request.get("EncodingType")
    if encoding not in (None, "url"):
        raise InvalidArgument("Invalid Encoding Method specified in Request", ArgumentName="encoding-type",
                              ArgumentValue=encoding)
    return Asked(request.get("Prefix", ""), request.get("Delimiter", ""), min(limit, PAGE_MAX),
                 quote if encoding else str, encoding)


def name_of(entry: Row | str) -> str:
    """The key of a row, or the common prefix."""
    return entry if isinstance(entry, str) else str(entry[0])
