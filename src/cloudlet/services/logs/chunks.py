"""What is in a chunk: events of one stream side by side, column by column, compressed.

A chunk holds runs: what one call appended, known by the sequence number it was given. Merging chunks keeps the runs, so
that an event's place (and with it its id) never changes. Times and numbers are differences from one to the next, which
compress well; the messages' UTF-8 stands in one piece, so that a text can be looked for in all of them at once.
"""

import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import msgspec

FAST, SMALL = 1, 4  # zlib's levels: for what a client waits, and for what is merged later (6 takes twice as long as 4)

Event = tuple[int, int, int, int, str, int]  # timestamp, stream, sequence, index; the message; when it was ingested
Needles = tuple[bytes, ...]
Wanted = Callable[[str], bool]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_OLDER = 2  # columns of the first format: times and messages of one run


class Chunk:
    """A chunk's columns. `seqs`, `ingested` and `counts` have an entry a run; `times` and `lengths` one an event."""

    __slots__ = ("counts", "ends", "ingested", "lengths", "seqs", "text", "times")

    def __init__(self, seqs: Sequence[int], ingested: Sequence[int], counts: Sequence[int], times: Sequence[int],
                 lengths: Sequence[int], text: bytes) -> None:
        self.seqs, self.ingested, self.counts, self.times, self.text = seqs, ingested, counts, times, text
        self.lengths = lengths
        self.ends = list(accumulate(lengths))

    def events(self, stream: int, wanted: Wanted | None = None) -> list[Event]:
        """The events whose message is wanted, run by run."""
        text, ends = self.text.decode(), self.ends
        if len(text) == len(self.text):  # nothing but ASCII
            messages = [text[start:end] for start, end in pairwise([0, *ends])]
        else:
            messages = [self.text[start:end].decode() for start, end in pairwise([0, *ends])]
        found: list[Event] = []
        rest = zip(self.times, messages, strict=True)
        for seq, ingested, count in zip(self.seqs, self.ingested, self.counts, strict=True):
            found += [(time, stream, seq, index, message, ingested)
                      for index, (time, message) in zip(range(count), rest, strict=False)
                      if wanted is None or wanted(message)]
        return found

    def message(self, at: int) -> str:
        """The message of one event."""
        end = self.ends[at]
        return self.text[end - self.lengths[at]:end].decode()

    def containing(self, stream: int, needles: Needles) -> Iterator[Event]:
        """The events whose message contains one of the texts, and perhaps some more, looked up one by one."""
        starts = [0, *accumulate(self.counts)]
        for at in sorted({at for needle in needles for at in self._places(needle)}):
            run = bisect_right(starts, at) - 1
            yield (self.times[at], stream, self.seqs[run], at - starts[run], self.message(at), self.ingested[run])

    def _places(self, needle: bytes) -> Iterator[int]:
        found = self.text.find(needle)
        while found >= 0:
            at = bisect_right(self.ends, found)
            yield at
            found = self.text.find(needle, self.ends[at])


def packed(seq: int, ingested_ms: int, times: Sequence[int], lengths: Sequence[int], text: bytes) -> bytes:
    """A chunk of one run."""
    return _packed([seq], [ingested_ms], [len(times)], times, lengths, text, FAST)


def _packed(seqs: Sequence[int], ingested: Sequence[int], counts: Sequence[int], times: Sequence[int],
            lengths: Sequence[int], text: bytes, level: int) -> bytes:
    columns = (_steps(seqs), _steps(ingested), counts, _steps(times), lengths, text)
    return zlib.compress(_encode(columns), level)


def unpacked(body: bytes, seq: int, ingested_ms: int, needles: Needles = ()) -> Chunk | None:
    """A chunk's columns; None where it contains none of the texts. `seq` and `ingested_ms` are those of its row."""
    raw = zlib.decompress(body)
    if needles and not any(needle in raw for needle in needles):
        return None
    columns: list[Any] = _decode(raw)
    if len(columns) == _OLDER:
        times, messages = columns[0], [message.encode() for message in columns[1]]
        return Chunk([seq], [ingested_ms], [len(times)], times, [len(message) for message in messages],
                     b"".join(messages))
    seqs, ingested, counts, times, lengths, text = columns
    return Chunk(list(accumulate(seqs)), list(accumulate(ingested)), counts, list(accumulate(times)), lengths, text)


def merged(rows: Iterable[tuple[bytes, int, int]]) -> bytes:
    """One chunk of several, given as (body, seq, ingested_ms) in order of seq."""
    parts = [chunk for chunk in (unpacked(*row) for row in rows) if chunk is not None]
    return _packed([seq for part in parts for seq in part.seqs], [time for part in parts for time in part.ingested],
                   [count for part in parts for count in part.counts], [time for part in parts for time in part.times],
                   [length for part in parts for length in part.lengths], b"".join(part.text for part in parts), SMALL)


def _steps(numbers: Sequence[int]) -> list[int]:
    """The first number, and the differences from each to the next."""
    return [numbers[0], *(later - earlier for earlier, later in pairwise(numbers))]
