"""S3 over the wire, on a store and files of a test's own, without a server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from lxml import etree

from cloudlet.app import SERVICES
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.service import Service
from cloudlet.services import s3
from cloudlet.services.iam import iam, identities
from cloudlet.services.s3.garbage import Collector
from cloudlet.store.blobs import Blobs
from cloudlet.wire.gateway import Gateway
from tests.services.desk import Desk, root
from tests.wire.exchange import HOST, request_of, signed

ACCOUNT = "000000000000"


@dataclass(frozen=True)
class Answer:
    """An answer that was read to its end. `code` is that of an error, "" for none."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def xml(self) -> Any:
        """The body's root element, without namespaces."""
        root = etree.fromstring(self.body)
        for element in root.iter():
            element.tag = etree.QName(element).localname
        return root

    @property
    def code(self) -> str:
        return self.xml.findtext("Code") or "" if self.status >= 400 and self.body else ""


class Counter:
    """A gateway with S3 (and the identities of IAM), and clients of it. Calls are synchronous."""

    def __init__(self, directory: Path, services: Iterable[Service] = SERVICES) -> None:
        self.directory, self.desk = directory, Desk(directory)
        self.desk.store.create_tables(s3.TABLES)
        self.blobs = Blobs(directory / "objects", hashed=False)
        self.controller = s3.controller(self.desk.store, self.blobs)
        self.collector = Collector(self.desk.store, self.blobs)
        services = list(services)
        # Signatures are of today; the store's time stands still until a test moves it.
        self.gateway = Gateway(services, self.desk.store, SystemClock(), identities(self.desk.site, services))

    def close(self) -> None:
        self.blobs.close()

    @property
    def store(self) -> Any:
        return self.desk.store

    def ask(self, method: str, path: str, body: bytes = b"", **more: Any) -> Answer:
        """One request, as `signed` takes it."""
        return asyncio.run(self.answer(self.signed(method, path, body, **more)))

    def signed(self, method: str, path: str, body: bytes = b"", *, key: str = "test", secret: str = "test",
               region: str = "us-east-1", headers: Mapping[str, str] | None = None, **query: str) -> Request:
        """A request, signed by the root user of an account ("test", or twelve digits as `key`), by who has a key and
        its secret, or by nobody (""). `path` is `/BUCKET/KEY` unquoted; the query's names have `_` for `-`."""
        pairs = {name.replace("_", "-"): value for name, value in query.items()}
        url = f"http://{HOST}{quote(path)}" + (f"?{urlencode(pairs, quote_via=quote)}" if pairs else "")
        if not key:
            return request_of(method, url, headers or {}, body)
        return signed("s3", body, method=method, url=url, headers=headers, key=key, secret=secret, region=region)

    def user(self, name: str, *statements: dict[str, Any], account: str = ACCOUNT) -> dict[str, str]:
        """A new user with one policy: its access key and secret, as `ask` takes them."""
        self.desk(iam, "CreateUser", root(account), UserName=name)
        if statements:
            self.allow(name, *statements, account=account)
        key = self.desk(iam, "CreateAccessKey", root(account), UserName=name)["AccessKey"]
        return {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}

    def allow(self, name: str, *statements: dict[str, Any], account: str = ACCOUNT) -> None:
        """Gives a user a policy, in the place of the one before."""
        self.desk(iam, "PutUserPolicy", root(account), UserName=name, PolicyName="p",
                  PolicyDocument=document(*statements))

    async def answer(self, request: Request) -> Answer:
        """What the gateway answers to a request, read to its end."""
        response = await self.gateway.handle(request)
        return Answer(response.status, response.headers,
                      b"" if request.method == "HEAD" else await body_of(response))

    def work(self) -> None:
        """Runs the loops that have been asked."""
        asyncio.run(self.collector.files("files"))

    def rows(self, table: str) -> int:
        """How many rows a table has."""
        with self.store.tx() as tx:
            (count,) = tx.execute(f"select count(*) from {table}").fetchone()
        return int(count)

    def files(self) -> list[Path]:
        """All files of objects, those on their way in or out included."""
        return [path for path in (self.directory / "objects").rglob("*") if path.is_file()]


def document(*statements: dict[str, Any]) -> str:
    """A policy's document."""
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*", **each} for each in statements]})


async def body_of(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    chunks: AsyncIterator[bytes] = response.body
    return b"".join([chunk async for chunk in chunks])
