"""Lines of output joined to the events that the awslogs driver makes of them: one a line, or several lines each.

As Docker's driver does it (daemon/logger/awslogs): an event begins with a line that matches, and ends before the next
such line, when it would grow too large, or a while after its beginning. Its lines end with a newline each.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloudlet.engines.ports import LogLine
from cloudlet.kernel import pattern

EVENT_MAX = 262_118  # bytes of one event: 256 KiB less 26
AGE_MAX_S = 5.0  # how long after its first line an event goes on: the driver's flush interval
LOOKED_AT, STEPS_MAX = 1024, 20_000  # characters of a line in which a beginning is looked for, and how long

Event = tuple[int, str]  # epoch milliseconds, message

# https://docs.docker.com/engine/logging/drivers/awslogs/#awslogs-datetime-format
_DIRECTIVES = {
    "%a": "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)",
    "%A": "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)",
    "%w": "[0-6]", "%d": "(?:0[1-9]|[1,2][0-9]|3[0,1])",
    "%b": "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)",
    "%B": "(?:January|February|March|April|May|June|July|August|September|October|November|December)",
    "%m": "(?:0[1-9]|1[0-2])", "%Y": r"\d{4}", "%y": r"\d{2}", "%H": "(?:[0,1][0-9]|2[0-3])",
    "%I": "(?:0[0-9]|1[0-2])", "%p": "[A,P]M", "%M": "[0-5][0-9]", "%S": "[0-5][0-9]", "%f": r"\d{6}",
    "%z": r"[+-]\d{4}", "%Z": "[A-Z]{1,4}T", "%j": "(?:0[0-9][1-9]|[1,2][0-9][0-9]|3[0-5][0-9]|36[0-6])",
    "%L": r"\.\d{3}"}


def beginning(options: Mapping[str, str]) -> str:
    """The regular expression of an event's first line by a container's log options, "" where each line is one."""
    if options.get("awslogs-datetime-format"):
        return re.sub("%.", lambda found: _DIRECTIVES.get(found[0], found[0]), options["awslogs-datetime-format"])
    return options.get("awslogs-multiline-pattern") or ""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The lines so far of an event whose end has not come: when the first was written (epoch seconds), and the text."""

    since: float
    text: str

    def is_due(self, now: float) -> bool:
        """Whether it has waited long enough; also where the clock was set back."""
        return not 0 <= now - self.since <= AGE_MAX_S


def joined(first: str, before: Unfinished | None, lines: Sequence[LogLine], now: float, *,
           ended: bool) -> tuple[list[Event], Unfinished | None]:
    """The events that are whole with these lines, and what is left. `first` is the expression of an event's first
    line; `ended`: no more will come. An event's age is told by its lines, however late they are read, and by `now`
    where there are none."""
    events, parts, size = list[Event](), [before.text] if before else [], len(before.text.encode()) if before else 0
    since = before.since if before else 0.0
    for line in lines:
        length = len(line.text.encode()) + 1
        late = line.timestamp - since > AGE_MAX_S
        if parts and (late or size + length > EVENT_MAX or _begins(first, line.text)):
            events.append((int(since * 1000), "".join(parts)))
            parts, size = [], 0
        if not parts:
            since = line.timestamp
        parts.append(line.text if length > EVENT_MAX else line.text + "\n")
        size += length
    left = Unfinished(since, "".join(parts)) if parts else None
    if left is not None and (ended or (not lines and left.is_due(now))):
        return [*events, (int(left.since * 1000), left.text)], None
    return events, left


def _begins(first: str, text: str) -> bool:
    try:
        return pattern.occurs(first, text[:LOOKED_AT], STEPS_MAX)
    except pattern.Unusable:  # it takes too long on this line
        return False
