"""What a query passes from command to command: an event with the fields found in it or made of it, or figures."""

from dataclasses import dataclass
from typing import Any

import msgspec

from cloudlet.services.logs.insights.values import Value

FIELDS_MAX = 200  # discovered in one event, as on AWS
JSON_MAX = 1 << 18

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Origin:
    """Where events come from: `log` is `account:group`."""

    log: str
    group: str
    stream: str


class Row:
    """An event, or what `stats` made of several (whose origin is None). `place` orders rows; `made` are the fields that
    commands gave them."""

    __slots__ = ("_found", "ingested", "made", "message", "origin", "place")

    def __init__(self, origin: Origin | None, place: tuple[int, ...], message: str, ingested: int) -> None:
        self.origin, self.place, self.message, self.ingested = origin, place, message, ingested
        self.made: dict[str | int, Value] = {}
        self._found: Any = None

    @property
    def found(self) -> dict[str, Any]:
        """The message as JSON, where it is an object; else nothing."""
        if self._found is None:
            self._found = _object(self.message)
        found: dict[str, Any] = self._found
        return found

    def discovered(self) -> dict[str, Value]:
        """All fields found in the message, by name: those of objects in objects as `a.b`, of lists as `a.0`."""
        fields: dict[str, Value] = {}
        open_: list[tuple[str, Any]] = [("", self.found)]
        while open_ and len(fields) < FIELDS_MAX:
            name, value = open_.pop()
            if isinstance(value, dict):
                inner = list(value.items())
            elif isinstance(value, list):
                inner = [(str(index), each) for index, each in enumerate(value)]
            else:
                if value is not None:
                    fields[name] = value
                continue
            open_ += [(f"{name}.{key}" if name else key, each) for key, each in reversed(inner)]
        return fields


def _object(message: str) -> dict[str, Any]:
    stripped = message.strip()
    if not stripped.startswith("{") or not stripped.endswith("}") or len(stripped) > JSON_MAX:
        return {}
    try:
        found = _decode(stripped)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
