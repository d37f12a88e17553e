"""Bad input for every operation that any service declares: whatever comes, the answer is AWS-shaped and never a 500."""

import asyncio
import importlib
import inspect
import pkgutil
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from botocore.model import ListShape, MapShape, OperationModel, Shape, StringShape, StructureShape

import cloudlet.services
from cloudlet.engines.fake import World
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.names import Installation
from cloudlet.kernel.service import Service
from cloudlet.kernel.site import Site
from cloudlet.store.blobs import Blobs
from cloudlet.store.db import Store
from cloudlet.wire import cbor
from cloudlet.wire.gateway import Gateway
from tests.wire.exchange import HOST, FixedIdentities, signed
from tests.wire.shapes import Values, pruned
from tests.wire.test_roundtrip import sent

EVIL = ("", "\0", "../../etc/passwd", "/" * 300, "..%2f..%2f", "é\u202e\U0001f600", "' or 1=1 --", "<a>&amp;", "${x}",
        "a" * 70_000, "-1", "arn:aws:iam::000000000000:role/x", "arn:::::", "sha256:" + "0" * 64, "{}", "true",
        "000000000000", "x,y", "\n", " ", "*", "::", "default")
PLAUSIBLE = ("abc-1", "default", "vpc-0123456789abcdef0", "sg-0123456789abcdef0", "10.0.0.0/16", "10.0.0.5", "t3.micro",
             "us-east-1a", "arn:aws:ecs:us-east-1:000000000000:cluster/default", "0.0.0.0/0", "256", "tcp")
OUTSIDE = ("abc-1", "a b", "..", "%2e%2e", "é", "a" * 300, "0")  # for paths and headers
SAMPLES = 3  # random and spoiled inputs of each kind for each operation


def packages() -> list[Any]:
    names = [found.name for found in pkgutil.iter_modules(cloudlet.services.__path__) if found.ispkg]
    return [importlib.import_module(f"cloudlet.services.{name}") for name in names]


def declared() -> list[Service]:
    found = {id(value): value for package in packages() for value in vars(package).values()
             if isinstance(value, Service)}
    return list(found.values())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    directory, clock = tmp_path_factory.mktemp("probe"), SystemClock()
    store, world = Store(str(directory / "store.db"), clock), World(clock)
    site = Site(Installation("abcdef"), directory)
    ports = {"store": store, "blobs": Blobs(directory / "blobs"),
             "objects": Blobs(directory / "objects", hashed=False), "clock": clock, "site": site,
             "engines": world.engines}
    identities: Any = FixedIdentities()
    for package in packages():
        if hasattr(package, "TABLES"):
            store.create_tables(package.TABLES)
        if hasattr(package, "controller"):  # some services learn from it where they are
            package.controller(*(ports[name] for name in inspect.signature(package.controller).parameters))
        if hasattr(package, "identities"):
            identities = package.identities(site)
    return Gateway(declared(), store, clock, identities)


# requests

def speaking(service: Service, protocol: str, operation: OperationModel, value: Any) -> Request:
    """A signed request that passes `value`, which need not fit the shape."""
    scope = service.model.signing_name
    if protocol == "json":
        return raw(service, protocol, operation, msgspec.json.encode(value))
    if protocol == "smithy-rpc-v2-cbor":
        return raw(service, protocol, operation, cbor.encode(value))
    pairs = [("Action", operation.name), ("Version", service.model.api_version), *flat("", value)]
    return signed(scope, urlencode(pairs).encode(), headers={"Content-Type": "application/x-www-form-urlencoded"})


def flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Query parameters of anything."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(f"{prefix}.{key}" if prefix else key, item)
    elif isinstance(value, list):
        for index, item in enumerate(value, 1):
            yield from flat(f"{prefix}.{index}", item)
            yield from flat(f"{prefix}.member.{index}", item)
    else:
        yield prefix, value.decode("latin-1") if isinstance(value, bytes) else str(value)


def raw(service: Service, protocol: str, operation: OperationModel, body: bytes) -> Request:
    """A signed request with this body."""
    metadata, scope = service.model.metadata, service.model.signing_name
    if protocol == "json":
        return signed(scope, body, headers={"X-Amz-Target": f"{metadata['targetPrefix']}.{operation.name}"})
    if protocol == "smithy-rpc-v2-cbor":
        return signed(scope, body, headers={"smithy-protocol": "rpc-v2-cbor"},
                      url=f"http://{HOST}/service/{metadata['targetPrefix']}/operation/{operation.name}")
    return signed(scope, f"Action={quote(operation.name)}&".encode() + body)


def well_formed(gateway: Gateway, service: Service, protocol: str, operation: OperationModel, value: Any) -> Request:
    """The same by botocore's serializer, for values of the right types."""
    spoken = gateway.router._by_scope[service.model.signing_name][0][protocol]
    message = sent(spoken, operation, value, whole=False)
    headers = {name: text for name, text in message.request.headers.items()
               if name.startswith("x-amz-") or name in ("content-type", "smithy-protocol")}
    url = f"http://{HOST}{message.request.path}" + ("?" + message.request.query if message.request.query else "")
    return signed(service.model.signing_name, message.whole, method=message.request.method, url=url, headers=headers)


# inputs

JUNK = (None, 0, -1, 2**31, 2**63, 10**30, 1.5, True, "x", [], {}, [[]], {"a": {}}, [None], b"\xff")


class Spoiler:
    """Draws values that are on the edge of what a shape allows, or beyond it; with `junk`, of other types as well."""

    def __init__(self, seed: str, junk: bool) -> None:
        self._random, self._junk = random.Random(seed), junk

    def of(self, shape: Shape, depth: int = 0) -> Any:
        rng = self._random
        if self._junk and rng.random() < 0.08:
            return rng.choice(JUNK)
        match shape:
            case StructureShape():
                return nested(3) if shape.is_document_type else self._structure(shape, depth)
            case ListShape():
                count = rng.choice((0, 1, 1, 2, 120 // (depth + 1)))
                return [self.of(shape.member, depth + 1) for _ in range(count)]
            case MapShape():
                return {rng.choice(EVIL): self.of(shape.value, depth + 1) for _ in range(rng.choice((0, 1, 2)))}
            case StringShape():
                return rng.choice(shape.enum) if shape.enum and rng.random() < 0.7 else self._text(shape)
        if shape.type_name in ("integer", "long", "float", "double", "timestamp"):
            return rng.choice((-1, 0, 1, 5, 100, 2**31 - 1, shape.metadata.get("max", 7) + 1))
        return rng.choice((True, False)) if shape.type_name == "boolean" else b"AAAA" if not self._junk else "AAAA"

    def _structure(self, shape: StructureShape, depth: int) -> dict[str, Any]:
        rng, out = self._random, {}
        for name, member in shape.members.items():
            at = member.serialization.get("location")
            wanted = 1 if at == "uri" else 0.95 if name in shape.required_members else 0.3  # no path lacks a part
            if depth < 6 and rng.random() < wanted:
                outside = at == "uri" or (at == "header" and member.type_name == "string")
                out[name] = rng.choice(OUTSIDE) if outside else self.of(member, depth + 1)
        if shape.is_tagged_union and not self._junk and out:
            name = rng.choice(list(out))
            out = {name: out[name]}
        return {**out, "UnknownMember": {"x": 1}} if self._junk and rng.random() < 0.1 else out

    def _text(self, shape: Shape) -> str:
        rng = self._random
        low, high = shape.metadata.get("min", 0), min(shape.metadata.get("max", 300), 70_000)
        edges = ("a" * low, "a" * max(low - 1, 0), "a" * high, "a" * (high + 1))
        return rng.choice((rng.choice(EVIL), rng.choice(edges), rng.choice(PLAUSIBLE)))


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": [value]}
    return value


BODIES = {
    "json": [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5_000, b"{}" * 3,
             b'{"a":1e999}', b'{"\\ud800":1}', b'{"a":"' + b"x" * 200_000 + b'"}', msgspec.json.encode(nested(300))],
    "smithy-rpc-v2-cbor": [b"", b"\xff", b"\x9f" * 10_000, b"\xbf", b"\x5f\x01", b"\xbb" + b"\xff" * 8,
                           b"\xa1\x01\x02", b"\xa1\x61a\xfb\x7f", b"\x81" * 500, b"\xc1\x61a", b"\xf8\x18",
                           cbor.encode([1])],
    "query": [b"%ff=%fe", b"\xff", b"a.b.c.d.e=1&a=2&a.b=3", b"." * 300 + b"=1", b"=&=&", b"a.0=1&a.x=2",
              b"Action=Other", b"a..b=1", b"&" * 5_000, b"x=" + b"y" * 200_000, b"Filters.member.99999999999=1", b"%"],
}
BODIES["ec2"] = BODIES["query"]


def requests_of(gateway: Gateway, service: Service, protocol: str, operation: OperationModel) -> Iterator[Request]:
    for body in BODIES.get(protocol, ()):
        yield raw(service, protocol, operation, body)
    shape = operation.input_shape
    if shape is None:
        return
    for sample in range(SAMPLES):
        value = Values(f"probe {service.name} {operation.name} {sample}", empties=False).of(shape)
        yield well_formed(gateway, service, protocol, operation, value)
    for sample in range(4 * SAMPLES):
        typed = Spoiler(f"{service.name} {operation.name} {sample}", junk=False).of(shape)
        yield well_formed(gateway, service, protocol, operation, typed)
    if protocol in BODIES:
        for sample in range(2 * SAMPLES):
            value = Spoiler(f"{service.name} {operation.name} {sample}", junk=True).of(shape)
            yield speaking(service, protocol, operation, value)
        whole = speaking(service, protocol, operation, pruned(value))
        body = asyncio.run(whole.body.read(10_000_000))
        yield raw(service, protocol, operation, body[:len(body) // 2])


# what must hold

def problem(service: Service, protocol: str, response: Response) -> str | None:
    """What is wrong with an answer, or None."""
    assert isinstance(response.body, bytes)
    if response.status >= 500:
        return f"{response.status} {response.body[:300]!r}"
    if response.status < 400:
        return None
    if not any(name in response.headers for name in ("x-amzn-requestid", "x-amz-request-id")):
        return "no request id"
    match protocol:
        case "json":
            fits = isinstance(msgspec.json.decode(response.body).get("__type"), str)
        case "smithy-rpc-v2-cbor":
            fits = isinstance(cbor.decode(response.body).get("__type"), str)
        case "rest-json":
            fits = "x-amzn-errortype" in response.headers
        case _:
            fits = b"<Code>" in response.body and b"<Message>" in response.body
    return None if fits else f"not AWS-shaped: {response.body[:300]!r}"


def targets() -> list[tuple[str, str]]:
    return [(service.name, protocol) for service in declared() for protocol in service.protocols]


@pytest.mark.parametrize(("name", "protocol"), targets())
def test_bad_input_is_the_customers_fault(gateway: Gateway, name: str, protocol: str) -> None:
    service = next(one for one in declared() if one.name == name)

    async def run(requests: list[Request]) -> list[str]:
        return [wrong for request in requests
                if (wrong := problem(service, protocol, await gateway.handle(request))) is not None]
    wrong = {}
    for operation in service.operations.values():
        found = asyncio.run(run(list(requests_of(gateway, service, protocol, operation.model))))
        if found:
            wrong[operation.model.name] = found[:2]
    assert not wrong, "\n".join(f"{key}: {value}" for key, value in wrong.items())


def test_the_probe_sees_every_service() -> None:
    found = {path.parent.name for path in Path(cloudlet.services.__path__[0]).glob("*/__init__.py")}
    assert len(packages()) == len(found)
    assert len(declared()) == len(found), "a service package exports its Service"
