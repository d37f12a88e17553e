"""XML both ways: compiled writers of our own, and reading by lxml with entities, DTDs and the network off."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from lxml import etree

from cloudlet.wire import scalars
from cloudlet.wire.compiler import Compiler
from cloudlet.wire.scalars import Malformed

Write = Callable[[Any], str]
Read = Callable[[Any], Any]

ELEMENTS_MAX = 200_000

_SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"}


def escape(text: str) -> str:
    """Text for between two tags. What XML cannot say at all becomes U+FFFD."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text)


def quote(text: str) -> str:
    """Text for between double quotes."""
    return escape(text).replace('"', "&quot;")


def namespace(shape: Shape) -> str:
    """The xmlns attribute that a shape asks for, with the space before it."""
    given = shape.serialization.get("xmlNamespace")
    if not given:
        return ""
    if isinstance(given, str):
        return f' xmlns="{given}"'
    prefix = f":{given['prefix']}" if given.get("prefix") else ""
    return f' xmlns{prefix}="{given["uri"]}"'


def location(shape: Shape, default: str) -> str:
    """The name of a member's element."""
    name: str = shape.serialization.get("name", default)
    return name


class Names:
    """How a protocol names elements; the query form of SQS has names that its JSON model lacks (`queryName`)."""

    def __init__(self, query: bool = False) -> None:
        self._query = query

    def of(self, shape: Shape, default: str) -> str:
        """The name of a member, an entry's key, its value or a list's element."""
        given = shape.serialization.get("queryName") if self._query else None
        return given or location(shape, default)

    def of_list(self, shape: ListShape, default: str) -> str:
        """What stands for a list in its structure: of a flattened one, its elements."""
        if shape.serialization.get("flattened"):
            return self.of(shape.member, self.of(shape, default))
        return self.of(shape, default)


class _Elements(dict[Any, str]):
    """The elements of a member's few values, written once; those of any other value by `write`."""

    def __init__(self, write: Write, values: Iterable[Any]) -> None:
        super().__init__((value, write(value)) for value in values)
        self._write = write

    def __missing__(self, value: Any) -> str:
        return self._write(value)


class Writer:
    """Compiles shapes into functions from values to text. A member that the shape does not have raises KeyError."""

    def __init__(self, names: Names, iso: Callable[[float], str] = scalars.iso) -> None:
        self._names, self._iso = names, iso
        self._structures: dict[str, dict[str, Write]] = {}

    def element(self, shape: Shape, tag: str) -> Write:
        """A value in its element, or for a flattened list or map in as many as it has."""
        match shape:
            case StructureShape():
                return self._structure(shape, tag)
            case ListShape():
                return self._list(shape, tag)
            case MapShape():
                return self._map(shape, tag)
        opening, closing = f"<{tag}{namespace(shape)}>", f"</{tag}>"
        if shape.type_name in ("string", "character"):
            special = _SPECIAL.search

            def write_text(value: Any) -> str:
                return f"{opening}{value if special(value) is None else escape(value)}{closing}"
            known = shape.enum if isinstance(shape, StringShape) else ()
            return _Elements(write_text, known).__getitem__ if known else write_text
        convert = scalars.to_text(shape, "iso8601", self._iso)

        def write(value: Any) -> str:
            return f"{opening}{convert(value)}{closing}"
        return _Elements(write, (False, True)).__getitem__ if shape.type_name == "boolean" else write

    def members(self, shape: StructureShape) -> Write:
        """A structure's members without an element around them."""
        writers = self._members(shape)
        return lambda value: "".join([writers[name](item) for name, item in value.items() if item is not None])

    def _members(self, shape: StructureShape) -> dict[str, Write]:
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        writers = self._structures[shape.name] = {}  # a shape that contains itself meets this entry
        for name, member in shape.members.items():
            if member.serialization.get("xmlAttribute"):
                writers[name] = lambda value: ""
            elif isinstance(member, ListShape):
                writers[name] = self.element(member, self._names.of_list(member, name))
            else:
                writers[name] = self.element(member, self._names.of(member, name))
        return writers

    def _structure(self, shape: StructureShape, tag: str) -> Write:
        writers, opening, closing = self._members(shape), f"<{tag}{namespace(shape)}", f"</{tag}>"
        attributes = [(name, location(member, name)) for name, member in shape.members.items()
                      if member.serialization.get("xmlAttribute")]

        def plain(value: Any) -> str:
            inner = "".join([writers[name](item) for name, item in value.items() if item is not None])
            return f"{opening}>{inner}{closing}"

        def write(value: Any) -> str:
            said = "".join(f' {key}="{quote(value[name])}"' for name, key in attributes if value.get(name) is not None)
            return f"{opening}{said}{plain(value).removeprefix(opening)}"
        return write if attributes else plain

    def _list(self, shape: ListShape, tag: str) -> Write:
        if shape.serialization.get("flattened"):
            each = self.element(shape.member, tag)
            return lambda value: "".join([each(item) for item in value])
        each = self.element(shape.member, self._names.of(shape.member, "member"))
        opening, closing = f"<{tag}{namespace(shape)}>", f"</{tag}>"
        return lambda value: f"{opening}{''.join([each(item) for item in value])}{closing}"

    def _map(self, shape: MapShape, tag: str) -> Write:
        key = self.element(shape.key, self._names.of(shape.key, "key"))
        member = self.element(shape.value, self._names.of(shape.value, "value"))
        flattened = shape.serialization.get("flattened")
        entry = tag if flattened else "entry"
        opening, closing = ("", "") if flattened else (f"<{tag}>", f"</{tag}>")

        def write(value: Any) -> str:
            entries = [f"<{entry}>{key(name)}{member(item)}</{entry}>" for name, item in value.items()]
            return f"{opening}{''.join(entries)}{closing}"
        return write


def parse(body: bytes) -> Any:
    """The root element of a document. Raises Malformed: not well-formed, a DTD, nested or grown out of proportion."""
    if body.count(b"<") > 2 * ELEMENTS_MAX:
        raise Malformed("The XML has too many elements")
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False,
                             remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise Malformed("The XML is not well-formed") from None
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr]
        raise Malformed("The XML must not have a DTD")
    return root


def _tag(element: Any) -> str:
    name: str = element.tag
    return name.rpartition("}")[2]


def _text_of(element: Any) -> str:
    return element.text or ""


class Reader(Compiler[Read]):
    """Compiles shapes into functions from an element (of a flattened list or map: elements) to values."""

    def __init__(self) -> None:
        self._structures: dict[str, Read] = {}

    def _scalar(self, shape: Shape) -> Read:
        convert = scalars.from_text(shape, "iso8601")
        return lambda element: convert(_text_of(element))

    def _structure(self, shape: StructureShape) -> Read:
        # Unknown children are ignored.
        known = self._structures.get(shape.name)
        if known:
            return known
        members: dict[str, tuple[str, Read, bool]] = {}
        attributes: list[tuple[str, str]] = []

        def read(element: Any) -> dict[str, Any]:
            out: dict[str, Any] = {}
            repeated: dict[str, list[Any]] = {}
            for child in element:
                found = members.get(_tag(child))
                if found is None:
                    continue
                name, convert, many = found
                if many:
                    repeated.setdefault(name, []).append(child)
                    out[name] = None  # keeps the order of first appearance
                else:
                    out[name] = convert(child)
            for name, children in repeated.items():
                out[name] = flattened[name](children)
            for name, key in attributes:
                for attribute, value in element.attrib.items():
                    if attribute.rpartition("}")[2] == key.rpartition(":")[2]:
                        out[name] = value
            return out

        flattened: dict[str, Read] = {}
        self._structures[shape.name] = read
        for name, member in shape.members.items():
            if member.serialization.get("location"):
                continue
            if member.serialization.get("xmlAttribute"):
                attributes.append((name, location(member, name)))
                continue
            many = bool(member.serialization.get("flattened")) and member.type_name in ("list", "map")
            convert = self.of(member)
            if many:
                flattened[name] = convert
            if many and isinstance(member, ListShape) and "name" in member.member.serialization:
                members[location(member.member, name)] = (name, convert, many)
            members[location(member, name)] = (name, convert, many)
        return read

    def _list(self, shape: ListShape) -> Read:
        member = self.of(shape.member)
        if shape.serialization.get("flattened"):
            return lambda elements: [member(element) for element in elements]
        name = location(shape.member, "member")
        return lambda element: [member(child) for child in element if _tag(child) in (name, "member")]

    def _map(self, shape: MapShape) -> Read:
        read_key, read_value = self.of(shape.key), self.of(shape.value)
        key_name, value_name = location(shape.key, "key"), location(shape.value, "value")

        def read(elements: Any) -> dict[str, Any]:
            out = {}
            for entry in elements:
                parts = {_tag(child): child for child in entry}
                if key_name not in parts or value_name not in parts:
                    raise Malformed(f"an entry of a map needs a {key_name} and a {value_name}")
                out[read_key(parts[key_name])] = read_value(parts[value_name])
            return out
        return read
