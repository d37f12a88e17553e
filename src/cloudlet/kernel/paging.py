"""Pages of a list, and tokens that stay true while items come and go.

A token names the item after which the next page begins and the one it began with, so that neither an insertion nor a
deletion between two calls loses or repeats what was there all along. It is bound to a scope (an operation and its
parameters): used elsewhere it is invalid.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

_MARK = 8  # bytes of an item's digest in a token
_POSITION = 4
_SCOPE = 8


class InvalidToken(Exception):
    """A token that was not made by us for this scope."""


def cut(items: Sequence[T], *, token: str | None, limit: int, identity: Callable[[T], str],
        scope: str = "") -> tuple[list[T], str | None]:
    """The page that `token` (None: the first) stands for, of at most `limit` items, and the next page's token.

    `items` is the full list in a stable order; `identity` is what an item is known by from one call to the next.
    Raises InvalidToken.
    """
    start = 0 if not token else _resume([identity(item) for item in items], token, scope)
    end = start + limit
    page = list(items[start:end])
    if end >= len(items):
        return page, None
    return page, _encode(end, identity(items[end - 1]), identity(items[end]), scope)


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2s(text.encode(), digest_size=size).digest()


def _encode(position: int, last: str, following: str, scope: str) -> str:
    data = _digest(scope, _SCOPE) + position.to_bytes(_POSITION, "big")
    data += _digest(last, _MARK) + _digest(following, _MARK)
    return base64.urlsafe_b64encode(data + _digest(data.hex(), 2)).decode("ascii").rstrip("=")


def _resume(identities: list[str], token: str, scope: str) -> int:
    """Where the next page begins today: at the item that was next, else after the last one shown, else by position."""
    size = _SCOPE + _POSITION + 2 * _MARK
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise InvalidToken from None
    data = raw[:size]
    if len(raw) != size + 2 or raw[size:] != _digest(data.hex(), 2) or data[:_SCOPE] != _digest(scope, _SCOPE):
        raise InvalidToken
    position = int.from_bytes(data[_SCOPE:_SCOPE + _POSITION], "big")
    last, following = data[-2 * _MARK:-_MARK], data[-_MARK:]
    marks = [_digest(text, _MARK) for text in identities]
    at = _nearest(marks, following, position)
    if at is not None:
        return at
    after = _nearest(marks, last, position - 1)
    return min(position, len(marks)) if after is None else after + 1


def _nearest(marks: list[bytes], wanted: bytes, position: int) -> int | None:
    """Where a mark is; of several, the one nearest to where it was."""
    found = [index for index, mark in enumerate(marks) if mark == wanted]
    return min(found, key=lambda index: abs(index - position)) if found else None
