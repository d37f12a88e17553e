"""Idempotency tokens: the same token with the same parameters gets the same answer for a day."""

import hashlib
from typing import Any

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Operation
from cloudlet.wire.faults import Faults

KEPT_S = 24 * 3600

TABLES = """
create table if not exists wire_idempotency (
  key text not null primary key, parameters blob not null, answer blob not null, expires real not null);
create index if not exists wire_idempotency_expires on wire_idempotency (expires);
"""

_sorted = msgspec.msgpack.Encoder(order="sorted").encode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def key_of(operation: Operation, call: Call, request: dict[str, Any]) -> str | None:
    """What a repeated request is known by; None where the client sent no token."""
    for name in operation.model.idempotent_members:
        if request.get(name):
            return f"{call.account}/{call.region}/{operation.service}/{operation.model.name}/{request[name]}"
    return None


def digest_of(request: dict[str, Any]) -> bytes:
    """What tells one set of parameters from another."""
    return hashlib.sha256(_sorted(request)).digest()


def find(tx: Any, key: str, parameters: bytes, now: float, faults: Faults) -> tuple[Any] | None:
    """The stored answer, in a tuple; None where the token is new. Raises the service's word for other parameters."""
    row = tx.execute("select parameters, answer from wire_idempotency where key=? and expires>?", (key, now)).fetchone()
    if row is None:
        return None
    if row[0] != parameters:
        raise faults.token_reused()
    return (_decode(row[1]),)


def keep(tx: Any, key: str, parameters: bytes, answer: Any, now: float) -> None:
    """Remembers an answer, and forgets those that are too old."""
    tx.execute("delete from wire_idempotency where expires<=?", (now,))
    tx.execute("insert into wire_idempotency values (?,?,?,?)", (key, parameters, _encode(answer), now + KEPT_S))
