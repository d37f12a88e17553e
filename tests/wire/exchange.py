"""Requests as clients sign them, and gateways to send them to."""

import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.condition_keys import RequestKeys, nothing_asked
from cloudlet.kernel.http import Body, Request, Response
from cloudlet.kernel.identity import Credential, Refusal
from cloudlet.kernel.service import Service
from cloudlet.store.db import Store
from cloudlet.wire.gateway import Gateway

HOST = "localhost:4566"
ROOT = Principal("root", "000000000000", "arn:aws:iam::000000000000:root", "000000000000")
KEY, SECRET = "test", "test"


class FixedIdentities:
    """Some credentials, what is refused to them, and what is open to anybody."""

    def __init__(self, *credentials: Credential, refused: Iterable[str] = (), public: Iterable[str] = ()) -> None:
        known = credentials or (Credential(KEY, SECRET, ROOT),)
        self.credentials = {one.access_key_id: one for one in known}
        self.refused, self.public = set(refused), set(public)
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def constant(self, access_key_id: str) -> Credential | None:
        return None

    def credential(self, tx: Any, access_key_id: str) -> Credential | None:
        return self.credentials.get(access_key_id)

    def refuses(self, tx: Any, call: Call, action: str, resources: tuple[str, ...],
                keys: RequestKeys = nothing_asked) -> Refusal | None:
        self.asked.append((action, resources))
        if call.principal.kind == "anonymous" and action not in self.public:
            return Refusal("Access Denied")
        return Refusal(f"User: {call.principal.arn} may not {action}") if action in self.refused else None


class ManualClock(SystemClock):
    """A clock that the test sets; None: the real time."""

    at: float | None = None

    def now(self) -> float:
        return super().now() if self.at is None else self.at


def gateway_of(*services: Service, identities: FixedIdentities | None = None, clock: Any = None,
               directory: Path | None = None) -> Gateway:
    clock = clock or ManualClock()
    directory = directory or Path(tempfile.mkdtemp(prefix="cloudlet-wire-"))
    return Gateway(services, Store(str(directory / "store.db"), clock), clock, identities or FixedIdentities())


async def once(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def request_of(method: str, url: str, headers: Mapping[str, str], *parts: bytes, length: int | None = -1) -> Request:
    """A request as the server hands it over."""
    _, _, path, query, _ = urlsplit(url)
    size = sum(map(len, parts)) if length == -1 else length
    given = {name.lower(): value for name, value in headers.items()}
    sized = {} if size is None or method == "GET" else {"content-length": str(size)}
    return Request(method, path or "/", query, {"host": HOST, **sized, **given}, Body(once(*parts), size))


def signed(service: str, body: bytes = b"", *, method: str = "POST", url: str = f"http://{HOST}/",
           headers: Mapping[str, str] | None = None, key: str = KEY, secret: str = SECRET, token: str | None = None,
           region: str = "us-east-1") -> Request:
    """A request that botocore signed in its Authorization header."""
    request = AWSRequest(method, url, headers=dict(headers or {}), data=body)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(Credentials(key, secret, token), service, region).add_auth(request)
    return request_of(method, url, dict(request.headers.items()), body)


def presigned(service: str, url: str, *, method: str = "GET", expires: int = 60, signer: Any = SigV4QueryAuth,
              token: str | None = None, key: str = KEY, secret: str = SECRET) -> Request:
    """A request whose signature is in its URL."""
    request = AWSRequest(method, url)
    signer(Credentials(key, secret, token), service, "us-east-1", expires).add_auth(request)
    return request_of(method, request.url, {})


def json_request(prefix: str, operation: str, body: bytes, service: str, **options: Any) -> Request:
    return signed(service, body, headers={"X-Amz-Target": f"{prefix}.{operation}",
                                          "Content-Type": "application/x-amz-json-1.1"}, **options)


def text_of(response: Response) -> str:
    assert isinstance(response.body, bytes)
    return response.body.decode()
