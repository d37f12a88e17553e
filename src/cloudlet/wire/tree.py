"""Values of a shape as a tree of dicts, lists and scalars: what JSON and CBOR share. Compiled once per shape."""

import math
from collections.abc import Callable
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from cloudlet.wire import scalars
from cloudlet.wire.compiler import Compiler
from cloudlet.wire.scalars import Malformed

Convert = Callable[[Any], Any]

DOCUMENT_DEPTH_MAX = 64


def kind(value: Any) -> str:
    """What AWS calls the thing that stood where something else should be."""
    if isinstance(value, dict):
        return "START_OBJECT_VALUE"
    if isinstance(value, list):
        return "START_ARRAY_VALUE"
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    return "STRING_VALUE" if isinstance(value, str | bytes) else "NUMBER_VALUE" if value is not None else "NULL_VALUE"


def _cannot(value: Any, target: str) -> Malformed:
    return Malformed(f"{kind(value)} cannot be converted to {target}")


def text(value: Any) -> str:
    """A string as it is."""
    if type(value) is str:
        return value
    raise _cannot(value, "String")


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise _cannot(value, "Boolean")


def _whole(bound: int, name: str) -> Convert:
    def read(value: Any) -> int:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise _cannot(value, name)
        if not -bound <= value < bound:
            raise Malformed(f"{value if abs(value) < 10**30 else 'a number'} is out of range for {name}")
        return value
    return read


def _real(value: Any) -> float:
    if type(value) is float or type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise Malformed("a number is out of range for Double") from None
    if type(value) is str and value in scalars.SPECIAL:
        return scalars.SPECIAL[value]
    raise _cannot(value, "Double")


def number_time(value: Any) -> float:
    """Epoch seconds of a number."""
    if type(value) is float or type(value) is int:
        if isinstance(value, float) and not math.isfinite(value):
            raise _cannot(value, "Timestamp")
        return scalars.epoch(value)
    raise _cannot(value, "Timestamp")


def _text_time(form: str) -> Convert:
    parse = scalars.TIME_FROM_TEXT[form]
    return lambda value: parse(text(value))


def _base64(value: Any) -> bytes:
    return scalars.blob(text(value))


def _document(value: Any, depth: int = 0) -> Any:
    if depth > DOCUMENT_DEPTH_MAX:
        raise Malformed(f"a document may be nested at most {DOCUMENT_DEPTH_MAX} deep")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _document(item, depth + 1)
    return value


class Reader(Compiler[Convert]):
    """Compiles shapes into functions from a decoded tree to values, checking every type on the way.

    Unknown members are dropped and nulls are absent, as AWS has it. The functions raise Malformed.
    """

    def __init__(self, blob: Convert = _base64, time: Convert | None = None) -> None:
        self._blob, self._time = blob, time
        self._structures: dict[str, Convert] = {}

    def _scalar(self, shape: Shape) -> Convert:
        match shape.type_name:
            case "integer":
                return _whole(2**31, "Integer")
            case "long":
                return _whole(2**63, "Long")
            case "float" | "double":
                return _real
            case "boolean":
                return _boolean
            case "blob":
                return self._blob
            case "timestamp":
                if self._time:
                    return self._time
                form = scalars.timestamp_format(shape, "unixtimestamp")
                return number_time if form == "unixtimestamp" else _text_time(form)
        return text

    def _structure(self, shape: StructureShape) -> Convert:
        if shape.is_document_type:
            return _document
        known = self._structures.get(shape.name)
        if known:
            return known
        members: dict[str, tuple[str, Convert]] = {}
        union = shape.is_tagged_union

        def read(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise _cannot(value, "a structure")
            out = {}
            for key, item in value.items():
                if item is not None and key in members:
                    name, convert = members[key]
                    out[name] = convert(item)
            if union and len(out) != 1:
                raise Malformed("exactly one member of a union must be set")
            return out

        self._structures[shape.name] = read
        for name, member in shape.members.items():
            if "location" not in member.serialization:  # the REST protocols keep those outside the body
                members[member.serialization.get("name", name)] = (name, self.of(member))
        return read

    def _list(self, shape: ListShape) -> Convert:
        member = self.of(shape.member)

        def read(value: Any) -> list[Any]:
            if type(value) is not list:
                raise _cannot(value, "a list")
            return [member(item) for item in value]
        return read

    def _map(self, shape: MapShape) -> Convert:
        member = self.of(shape.value)

        def read(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise _cannot(value, "a map")
            return {text(key): member(item) for key, item in value.items() if item is not None}
        return read


def _same(value: Any) -> Any:
    return value


class Writer(Compiler[Convert]):
    """Compiles shapes into functions from values to a tree that an encoder takes. Members that are None are left out.

    A member that the shape does not have is a mistake of ours: KeyError.
    """

    def __init__(self, blob: Convert = scalars.blob_text, time: Convert | None = None, real: Convert = _same) -> None:
        self._blob, self._time, self._real = blob, time, real
        self._structures: dict[str, Convert] = {}

    def _scalar(self, shape: Shape) -> Convert:
        match shape.type_name:
            case "blob":
                return self._blob
            case "float" | "double":
                return self._real
            case "timestamp":
                if self._time:
                    return self._time
                form = scalars.timestamp_format(shape, "unixtimestamp")
                return scalars.unix if form == "unixtimestamp" else scalars.TIME_TO_TEXT[form]
        return _same

    def _structure(self, shape: StructureShape) -> Convert:
        if shape.is_document_type:
            return _same
        known = self._structures.get(shape.name)
        if known:
            return known
        members: dict[str, tuple[str, Convert | None]] = {}

        def write(value: Any) -> dict[str, Any]:
            out = {}
            for name, item in value.items():
                if item is not None:
                    key, convert = members[name]
                    out[key] = item if convert is None else convert(item)
            return out

        self._structures[shape.name] = write
        for name, member in shape.members.items():
            convert = self.of(member)
            members[name] = (member.serialization.get("name", name), None if convert is _same else convert)
        return write

    def _list(self, shape: ListShape) -> Convert:
        member = self.of(shape.member)
        if member is _same:
            return _same
        return lambda value: [member(item) for item in value]

    def _map(self, shape: MapShape) -> Convert:
        member = self.of(shape.value)
        if member is _same:
            return _same
        return lambda value: {key: member(item) for key, item in value.items()}
