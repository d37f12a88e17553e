"""Objects seen by many at once are as if all came one after the other: read and list after write, conditions."""

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cloudlet.kernel.digests import digest_of
from cloudlet.services.s3 import versions
from cloudlet.store.db import Store, Tx
from tests.linearizable import UNANSWERED, Did, is_linearizable
from tests.services.s3.counter import Answer, Counter
from tests.services.s3.objects_model import ABSENT, REFUSED, body, drawn_act, etag, model

Perform = Callable[[Any], Awaitable[Any]]


def client_of(counter: Counter) -> Perform:
    """Asks the gateway."""
    async def ask(method: str, path: str, data: bytes = b"", **more: Any) -> Answer:
        return await counter.answer(counter.signed(method, path, data, **more))

    def put_outcome(answer: Answer) -> Any:
        assert answer.status in (200, 404, 412), answer
        return {200: None, 404: ABSENT, 412: REFUSED}[answer.status]

    async def perform(act: Any) -> Any:
        match act:
            case ("put", key, tag):
                return put_outcome(await ask("PUT", f"/bkt/{key}", body(tag)))
            case ("put where nothing is", key, tag):
                return put_outcome(await ask("PUT", f"/bkt/{key}", body(tag), headers={"if-none-match": "*"}))
            case ("put over", key, tag, old):
                return put_outcome(await ask("PUT", f"/bkt/{key}", body(tag), headers={"if-match": f'"{etag(old)}"'}))
            case ("delete", key):
                assert (await ask("DELETE", f"/bkt/{key}")).status == 204
            case ("delete several", *keys):
                objects = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
                wanted = f"<Delete>{objects}</Delete>".encode()
                answer = await ask("POST", "/bkt", wanted, delete="", headers={
                    "content-md5": base64.b64encode(digest_of("md5", wanted)).decode()})
                assert answer.status == 200, answer
            case ("get", key):
                answer = await ask("GET", f"/bkt/{key}")
                if answer.status == 404:
                    return ABSENT
                tag = answer.body.rstrip(b".").decode()
                is_whole = (answer.body, answer.headers.get("etag")) == (body(tag), f'"{etag(tag)}"')
                return tag if is_whole else answer
            case ("list",):
                page = (await ask("GET", "/bkt", list_type="2")).xml
                return tuple((each.findtext("Key"), each.findtext("ETag").strip('"'))
                             for each in page.findall("Contents"))
    return perform


async def history_of(perform: Perform, seed: int, clients: int = 4, turns: int = 12) -> list[Did]:
    """Lets clients do things side by side; what they saw."""
    history: list[Did] = []
    moments, seen = count(), list[str]()

    async def client(number: int) -> None:
        drawn = random.Random(f"{seed} {number}")
        for turn in range(turns):
            tag = f"{number}-{turn}"
            act, start = drawn_act(drawn, tag, seen), next(moments)
            if act[0].startswith("put"):
                seen.append(tag)
            history.append(Did(act, await perform(act), start, next(moments)))
            if drawn.random() < 0.3:
                await asyncio.sleep(drawn.random() * 0.003)
    await asyncio.gather(*map(client, range(clients)))
    return history


def look(counter: Counter, perform: Perform, seed: int, **more: int) -> bool:
    for key in ("a", "b", "c/d"):
        counter.ask("DELETE", f"/bkt/{key}")
    return is_linearizable(asyncio.run(history_of(perform, seed, **more)), frozenset(), model)


def test_all_is_as_if_one_came_after_the_other(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, drawn = Store.flush, random.Random(1)

    async def slow(self: Store, tx: Tx | None = None) -> None:
        await asyncio.sleep(drawn.choice((0, 0, 0.001, 0.004)))
        await whole(self, tx)
    monkeypatch.setattr(Store, "flush", slow)
    for seed in range(6):
        assert look(counter, client_of(counter), seed), seed


@pytest.mark.slow
def test_it_is_so_in_long_runs(counter: Counter) -> None:
    for seed in range(100, 160):
        assert look(counter, client_of(counter), seed, clients=6, turns=25), seed


def plant_stale_rows(counter: Counter, patch: pytest.MonkeyPatch) -> Perform:
    """The rows of keys are kept for a few reads."""
    whole, known, reads = versions.current, dict[str, Any](), count()

    def current(tx: Any, bucket: Any, key: str) -> Any:
        if key not in known or next(reads) % 4 == 0:
            known[key] = whole(tx, bucket, key)
        return known[key]
    def require(tx: Any, bucket: Any, key: str, version_id: str | None = None) -> Any:
        return current(tx, bucket, key) or required(tx, bucket, key, version_id)
    required = versions.require
    patch.setattr(versions, "require", require)
    return client_of(counter)


def plant_stale_answers(what: str) -> Callable[[Counter, pytest.MonkeyPatch], Perform]:
    """Every third answer of a kind is the one before it."""
    def plant(counter: Counter, patch: pytest.MonkeyPatch) -> Perform:
        perform, known, asked = client_of(counter), dict[Any, Any](), count(1)

        async def stale(act: Any) -> Any:
            if act[0] == what and act in known and next(asked) % 3 == 0:
                return known[act]
            known[act] = answer = await perform(act)
            return answer
        return stale
    return plant


def plant_early_answers(counter: Counter, patch: pytest.MonkeyPatch) -> Perform:
    """Puts are answered before they are seen."""
    perform, under_way = client_of(counter), set[asyncio.Future[Any]]()

    async def early(act: Any) -> Any:
        if act[0] == "put":
            under_way.add(asyncio.ensure_future(perform(act)))
            return None
        return await perform(act)
    return early


@pytest.mark.parametrize("plant", [plant_stale_rows, plant_stale_answers("get"), plant_stale_answers("list"),
                                   plant_early_answers])
def test_what_is_not_so_is_seen(plant: Callable[[Counter, pytest.MonkeyPatch], Perform], counter: Counter,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    perform = plant(counter, monkeypatch)
    assert not all(look(counter, perform, seed) for seed in range(12))


@pytest.mark.parametrize(("told", "holds"), [
    ([("put", "a", "1", 0, 1), ("get", "a", "1", 2, 3)], True),
    ([("put", "a", "1", 0, 1), ("get", "a", ABSENT, 2, 3)], False),
    ([("put", "a", "1", 0, 3), ("get", "a", ABSENT, 1, 2)], True),
    ([("put", "a", "1", 0, 9), ("get", "a", "1", 1, 2), ("get", "a", ABSENT, 3, 4)], False),
    ([("put", "a", "1", 0, UNANSWERED), ("get", "a", ABSENT, 1, 2), ("get", "a", "1", 3, 4)], True),
    ([("put", "a", "1", 0, UNANSWERED), ("get", "a", ABSENT, 1, 2)], True),
    ([("put", "a", "1", 0, 1), ("put", "a", "2", 2, 3), ("get", "a", "1", 4, 5)], False)])
def test_the_checker(told: list[Any], holds: bool, tmp_path: Path) -> None:
    history = [Did(("put", key, value) if what == "put" else ("get", key), None if what == "put" else value, start, end)
               for what, key, value, start, end in told]
    assert is_linearizable(history, frozenset(), model) is holds
