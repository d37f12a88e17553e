"""A kill between any two steps of a push or a collection: what was acknowledged is there, what was not is freed."""

import asyncio
import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloudlet.services.ecr.contents import ABANDONED_UPLOAD_S, UNUSED_LAYER_S
from cloudlet.services.ecr.manifests import OCI_IMAGE
from cloudlet.services.ecr.records import Image
from cloudlet.store import blobs as files
from cloudlet.store.blobs import digest_of
from cloudlet.store.db import Store, Tx
from tests.services.desk import ACCOUNT
from tests.services.ecr.counter import Answer, Counter, image
from tests.services.ecr.test_collect import files as blobs_of
from tests.services.ecr.test_collect import work_through

KEY = f"{ACCOUNT}/us-east-1/app"
STEPS_MAX = 400


class Killed(BaseException):
    """The process is gone: nothing after this has any effect."""


class Kill:
    """Counts the steps that leave something behind, and kills at the one of that number, before it or (a commit) after
    it. A step is a system call on a blob, a transaction, or a flush."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.left, self.armed = number, False
        for name in ("write", "fdatasync", "rename", "fsync", "unlink"):
            monkeypatch.setattr(files.os, name, self._counted(getattr(os, name)))
        tx, flush = Store.tx, Store.flush

        @contextmanager
        def counted_tx(store: Store) -> Iterator[Tx]:
            with tx(store) as opened:
                yield opened
                self.step()
            self.step()

        async def counted_flush(store: Store) -> None:
            self.step()
            await flush(store)
            self.step()
        monkeypatch.setattr(Store, "tx", counted_tx)
        monkeypatch.setattr(Store, "flush", counted_flush)

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if not threading.current_thread().name.startswith("asyncio"):  # the store's own sync is within a flush
                self.step()
            return call(*arguments, **options)
        return counted

    def step(self) -> None:
        if self.armed:
            self.left -= 1
            if self.left <= 0:
                raise Killed


class Customer:
    """Knows what it was promised: images that are there, images that are gone; what was not answered may be either."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.there: dict[str, str] = {}  # path of a manifest → its digest
        self.gone: set[str] = set()

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        answer = await self.counter.send(method, path, body, **headers)
        assert answer.status < 300, answer.body
        return answer

    async def push(self, tag: str, *layers: bytes, repository: str = "app", **members: Any) -> None:
        for blob in (b"config", *layers):
            location = (await self.ask("POST", f"/v2/{repository}/blobs/uploads/")).headers["location"]
            await self.ask("PATCH", location, blob[:5])
            await self.ask("PUT", f"{location}?digest={digest_of(blob)}", blob[5:])
        await self.put(tag, repository, *layers, **members)

    async def put(self, tag: str, repository: str, *layers: bytes, **members: Any) -> None:
        body, path = image(OCI_IMAGE, b"config", *layers, **members), f"/v2/{repository}/manifests/{tag}"
        self.there.pop(path, None)  # the tag may move now, answered or not
        await self.ask("PUT", path, body, content_type=OCI_IMAGE)
        self.there[path] = digest_of(body)

    async def delete(self, tag: str) -> None:
        path = f"/v2/app/manifests/{tag}"
        digest = self.there.pop(path)
        await self.ask("DELETE", f"/v2/app/manifests/{digest}")
        self.gone.add(path)

    def check(self) -> None:
        for path, digest in self.there.items():
            body = self.counter.ask("GET", path).body
            assert digest_of(body) == digest, path
            for part in (json.loads(body)["config"], *json.loads(body)["layers"]):
                blob = self.counter.ask("GET", f"{path.split('/manifests/')[0]}/blobs/{part['digest']}")
                assert digest_of(blob.body) == part["digest"]
        for path in self.gone:
            assert self.counter.ask("GET", path).status == 404


async def pushes(customer: Customer) -> None:
    await customer.push("v1", b"layer one", b"shared")
    await customer.push("v1", b"layer two", b"shared")
    subject = {"mediaType": OCI_IMAGE, "digest": customer.there["/v2/app/manifests/v1"], "size": 1}
    await customer.push("signature", b"signed", subject=subject)


async def mounts(customer: Customer) -> None:
    await customer.push("v1", b"layer one")
    for blob in (b"config", b"layer one"):
        await customer.ask("POST", f"/v2/other/blobs/uploads/?mount={digest_of(blob)}&from=app")
    await customer.delete("v1")
    await customer.put("mounted", "other", b"layer one")


async def collections(customer: Customer) -> None:
    """Images come and go while the collector runs, and time with them."""
    counter = customer.counter
    for tag, layer in (("v1", b"layer one"), ("v2", b"layer two"), ("v3", b"layer one")):
        await customer.push(tag, layer)
        counter.desk.clock.time += UNUSED_LAYER_S
        if tag != "v1":
            await customer.delete("v1" if tag == "v2" else "v2")
        await counter.collector.look()
        await counter.collector.repository(KEY)
        for blob in (b"layer one", b"layer two", b"config"):
            await counter.collector.blob(digest_of(blob))
        await counter.collector.look()


@pytest.mark.parametrize("scenario", [pushes, mounts, collections], ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_every_step(scenario: Callable[[Customer], Awaitable[None]], stride: int, tmp_path: Path) -> None:
    for number in range(1, STEPS_MAX, stride):
        directory = tmp_path / str(number)
        directory.mkdir()
        counter = Counter(directory)
        counter("CreateRepository", repositoryName="other")
        customer = Customer(counter)
        with pytest.MonkeyPatch.context() as monkeypatch:
            kill = Kill(monkeypatch, number)
            kill.armed = True
            killed = False
            try:
                asyncio.run(scenario(customer))  # type: ignore[arg-type]
            except Killed:
                killed = True
            kill.armed = False
        counter.restart()
        counter.password = counter.login()
        customer.check()
        counter.desk.clock.time += ABANDONED_UPLOAD_S + UNUSED_LAYER_S
        counter.password = counter.login()
        asyncio.run(counter.collector.look())
        work_through(counter)
        counter.desk.clock.time += UNUSED_LAYER_S
        counter.password = counter.login()
        work_through(counter)
        customer.check()
        with counter.desk.store.tx() as tx:
            used = {digest.removeprefix("sha256:") for found in tx.find(Image) for digest in found.blobs}
        assert {path.name for path in blobs_of(counter)} == used, number
        counter.close()
        if not killed:
            assert number > 30
            return
    raise AssertionError("the scenario never ends")
