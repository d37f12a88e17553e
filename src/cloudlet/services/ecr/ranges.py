"""Parts of a blob, as a Range header asks for them: one, or several in one answer.

https://www.rfc-editor.org/rfc/rfc9110#section-14
"""

import re
from collections.abc import AsyncIterator, Sequence

RANGES_MAX = 16
_HEADER_MAX = 1000
_UNIT, _SPEC = re.compile(r"bytes=(.+)"), re.compile(r"(\d{0,30})-(\d{0,30})")

Part = tuple[int, int]  # first byte and the one after the last


def wanted(header: str | None, size: int) -> Sequence[Part] | None:
    """The parts that a client asks for of `size` bytes; empty where none of them is there, None for the whole.

    What is no list of byte ranges is ignored, and so are more ranges than RANGES_MAX, or such as are together longer
    than the whole.
    """
    match = _UNIT.fullmatch((header or "").strip()[:_HEADER_MAX])
    if match is None:
        return None
    parts = []
    specs = [spec.strip() for spec in match[1].split(",")]
    for spec in specs:
        found = _SPEC.fullmatch(spec)
        if found is None or spec == "-":
            return None
        first, last = found[1], found[2]
        start = max(0, size - int(last)) if not first else int(first)
        end = size if not first or not last else min(int(last) + 1, size)
        if start < end:
            parts.append((start, end))
    if len(specs) > RANGES_MAX or sum(end - start for start, end in parts) > size:
        return None
    return parts


def content_range(part: Part, size: int) -> str:
    """The header that says which part it is."""
    return f"bytes {part[0]}-{part[1] - 1}/{size}"


class Multipart:
    """Several parts as one body of multipart/byteranges: `length` bytes of `content_type`."""

    def __init__(self, parts: Sequence[Part], size: int, media_type: str, boundary: str) -> None:
        self._end = f"\r\n--{boundary}--\r\n".encode()
        self._heads = [f"\r\n--{boundary}\r\ncontent-type: {media_type}\r\ncontent-range: {content_range(part, size)}"
                       "\r\n\r\n".encode() for part in parts]
        self.content_type = f"multipart/byteranges; boundary={boundary}"
        self.length = sum(map(len, self._heads)) + sum(end - start for start, end in parts) + len(self._end)

    async def body(self, contents: Sequence[AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
        """The bytes, with `contents` for those of the parts."""
        for head, content in zip(self._heads, contents, strict=True):
            yield head
            async for chunk in content:
                yield chunk
        yield self._end
