"""The protocol smithy-rpc-v2-cbor, and as much of CBOR (RFC 8949) as it needs.

https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

import struct
from typing import Any, ClassVar

from botocore.model import OperationModel

from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.service import Service
from cloudlet.wire.json import error_body, query_error
from cloudlet.wire.protocol import MIB, Located, Message, Parse, Print, Protocol
from cloudlet.wire.scalars import Malformed, epoch
from cloudlet.wire.tree import Reader, Writer, kind, number_time

DEPTH_MAX = 64
ITEMS_MAX = 200_000
_BREAK = 0xFF
_EPOCH_TAG = 1
_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_FLOATS = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}
_SIZES = {24: 1, 25: 2, 26: 4, 27: 8}


class Epoch(float):
    """A time: what tag 1 marks."""


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._items = data, 0, 0

    def document(self) -> Any:
        value = self._item(0)
        if self._at != len(self._data):
            raise Malformed("The request is not valid CBOR")
        return value

    def _bytes(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise Malformed("The request is not valid CBOR: it ends too early")
        data = self._data[self._at:end]
        self._at = end
        return data

    def _length(self, info: int) -> int:
        if info < 24:
            return info
        if info not in _SIZES:
            raise Malformed("The request is not valid CBOR")
        return int.from_bytes(self._bytes(_SIZES[info]), "big")

    def _broke(self) -> bool:
        if self._bytes(1)[0] == _BREAK:
            return True
        self._at -= 1
        return False

    def _item(self, depth: int) -> Any:
        self._items += 1
        if depth > DEPTH_MAX or self._items > ITEMS_MAX:
            raise Malformed("The request is nested too deeply or has too many elements")
        first = self._bytes(1)[0]
        major, info = first >> 5, first & 31
        match major:
            case 0:
                return self._length(info)
            case 1:
                return -1 - self._length(info)
            case 2:
                return self._string(major, info)
            case 3:
                try:
                    return self._string(major, info).decode()
                except UnicodeDecodeError:
                    raise Malformed("The request is not valid CBOR: a text is not UTF-8") from None
            case 4:
                return self._array(info, depth)
            case 5:
                return self._map(info, depth)
            case 6:
                tag, value = self._length(info), self._item(depth + 1)
                return Epoch(number_time(value)) if tag == _EPOCH_TAG else value
        if info in _SIMPLE:
            return _SIMPLE[info]
        if info not in _FLOATS:
            raise Malformed("The request is not valid CBOR")
        form, size = _FLOATS[info]
        return struct.unpack(form, self._bytes(size))[0]

    def _string(self, major: int, info: int) -> bytes:
        if info != 31:
            return self._bytes(self._length(info))
        parts = []
        while not self._broke():
            first = self._bytes(1)[0]
            if first >> 5 != major:
                raise Malformed("The request is not valid CBOR")
            parts.append(self._bytes(self._length(first & 31)))
        return b"".join(parts)

    def _array(self, info: int, depth: int) -> list[Any]:
        out = []
        if info == 31:
            while not self._broke():
                out.append(self._item(depth + 1))
        else:
            for _ in range(self._length(info)):
                out.append(self._item(depth + 1))
        return out

    def _map(self, info: int, depth: int) -> dict[str, Any]:
        out = {}
        left = -1 if info == 31 else self._length(info)
        while left and not (info == 31 and self._broke()):
            key = self._item(depth + 1)
            if type(key) is not str:
                raise Malformed(f"{kind(key)} cannot be a key")
            out[key] = self._item(depth + 1)
            left -= 1
        return out


def decode(data: bytes) -> Any:
    """What CBOR says. Raises Malformed."""
    return _Decoder(data).document()


def _head(major: int, value: int, out: bytearray) -> None:
    if value < 24:
        out.append(major << 5 | value)
        return
    for info, size in _SIZES.items():
        if value < 1 << (8 * size):
            out.append(major << 5 | info)
            out += value.to_bytes(size, "big")
            return
    raise OverflowError(value)


def _encode(value: Any, out: bytearray) -> None:
    match value:
        case str():
            data = value.encode()
            _head(3, len(data), out)
            out += data
        case bool():
            out.append(0xF5 if value else 0xF4)
        case Epoch():
            out.append(6 << 5 | _EPOCH_TAG)
            out += b"\xfb" + struct.pack(">d", value)
        case int():
            _head(0, value, out) if value >= 0 else _head(1, -1 - value, out)
        case float():
            out += b"\xfb" + struct.pack(">d", value)
        case dict():
            _head(5, len(value), out)
            for key, item in value.items():
                _encode(key, out)
                _encode(item, out)
        case list() | tuple():
            _head(4, len(value), out)
            for item in value:
                _encode(item, out)
        case bytes():
            _head(2, len(value), out)
            out += value
        case None:
            out.append(0xF6)
        case _:
            raise TypeError(f"CBOR cannot say {type(value).__name__}")


def encode(value: Any) -> bytes:
    """A tree of dicts, lists and scalars as CBOR."""
    out = bytearray()
    _encode(value, out)
    return bytes(out)


def _blob(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    raise Malformed(f"{kind(value)} cannot be converted to Blob")


def _time(value: Any) -> float:
    return epoch(value) if isinstance(value, Epoch) else number_time(value)


class Cbor(Protocol):
    """rpc-v2-cbor: a map each way, the operation in the path."""

    name: ClassVar[str] = "smithy-rpc-v2-cbor"
    body_limit: ClassVar[int] = 4 * MIB

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._compatible = bool(service.model.is_query_compatible)
        self._reader = Reader(blob=_blob, time=_time)
        self._writer = Writer(blob=bytes, time=Epoch, real=float)

    def locate(self, request: Request, path: str, body: bytes) -> Located:
        """See Protocol: `/service/PREFIX/operation/OPERATION`."""
        return Located(request.path.rpartition("/operation/")[2])

    def compile_parser(self, operation: OperationModel) -> Parse:
        """See Protocol."""
        shape = operation.input_shape
        if shape is None:
            return lambda message: {}
        read = self._reader.of(shape)

        def parse(message: Message) -> dict[str, Any]:
            request: dict[str, Any] = read(decode(message.whole)) if message.whole else {}
            return request
        return parse

    def compile_printer(self, operation: OperationModel) -> Print:
        """See Protocol."""
        shape = operation.output_shape
        write = self._writer.of(shape) if shape else None

        def print_(output: Any, request_id: str) -> Response:
            return Response(200, _headers(request_id), encode(write(output or {}) if write else {}))
        return print_

    def failure(self, error: AwsError, request_id: str) -> Response:
        """See Protocol."""
        shape = self.error_shape(error)
        body = {"__type": error.shape_name or error.code, **error_body(self, self._writer, error, shape)}
        return Response(error.status, _headers(request_id) | query_error(self._compatible, error), encode(body))


def _headers(request_id: str) -> dict[str, str]:
    return {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor", "x-amzn-requestid": request_id}
