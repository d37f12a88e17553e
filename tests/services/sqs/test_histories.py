"""Producers and consumers, and the power goes at any moment: what clients were told before and are told after is what
queues may say."""

import asyncio
import contextlib
import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import apsw
import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.sqs import fifo, groups, messages, receipts
from cloudlet.store import steadiness
from cloudlet.store.db import OutOfSpace, Store
from tests.powercut import LOSSES, Recorder, Told, after_power_cut
from tests.services.desk import ACCOUNT
from tests.services.sqs.clerk import Clerk
from tests.services.sqs.ledger import Kind, Ledger, Step, Wrong, require
from tests.store.test_faults import small_disk  # noqa: F401

KINDS = {
    "dead": Kind(), "dead.fifo": Kind(delay_s=3), "late": Kind(5, delay_s=3),
    "plain": Kind(dead="dead", receives_max=3), "order.fifo": Kind(dead="dead.fifo", receives_max=3),
    "groups.fifo": Kind(5, delay_s=1, by_group=True)}
SENDERS = ("plain", "late", "order.fifo", "groups.fifo", "dead.fifo")


def make(clerk: Clerk) -> None:
    for name, kind in KINDS.items():
        more = {"VisibilityTimeout": str(kind.visibility_s), "DelaySeconds": str(kind.delay_s)}
        if kind.dead:
            arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{kind.dead}"
            more["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": kind.receives_max})
        if kind.by_group:
            more["DeduplicationScope"] = "messageGroup"
        (clerk.fifo if name.endswith(".fifo") else clerk.queue)(name, **more)


class Clients:
    """Those who use the queues of one store, and what they did and learned."""

    def __init__(self, clerk: Clerk, tell: Callable[[], tuple[int, Callable[[], int]]], drawn: random.Random) -> None:
        self._clerk, self._tell, self._drawn = clerk, tell, drawn
        self.steps: list[Step] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.handles: list[tuple[str, str, str]] = []  # queue, message id, handle

    async def ask(self, queue: str, operation: str, **request: Any) -> dict[str, Any]:
        start, told = self._tell()
        place, now = len(self.steps), int((self._clerk.clock.time + self._clerk.clock.ahead) * 1000)
        self.steps.append(Step(operation, queue, request, now, {}, start, 1 << 60))  # its place is that of its commit
        try:
            asked = {name: value for name, value in request.items() if name != "Id"}
            answer: dict[str, Any] = await self._clerk.ask(queue, operation, **asked) or {}
        except AwsError as error:
            answer = {"": error.code}
        self.steps[place] = Step(operation, queue, request, now, answer, start, told())
        return answer

    async def act(self) -> None:
        """Does something."""
        drawn = self._drawn
        self._clerk.clock.time += drawn.choice((0.001, 0.001, 0.5, 4, 11))
        if drawn.random() < 0.05:  # somebody sets the clock back, which nobody notices
            back_s = drawn.choice((60, 3600))
            self._clerk.clock.time -= back_s
            with contextlib.suppress(OutOfSpace):  # then it is noted later
                steadiness.follow(self._clerk.store, -back_s)
        match drawn.choice(("send", "send", "send", "again", "receive", "receive", "receive", "settle", "settle",
                            "purge" if drawn.random() < 0.1 else "send")):
            case "send":
                queue, number = drawn.choice(SENDERS), len(self.sent)
                request = {"MessageBody": f"{number} {drawn.random()}"}
                if queue.endswith(".fifo"):
                    token = f"t{number}" if drawn.random() < 0.8 else "t1"
                    request |= {"MessageGroupId": drawn.choice("ab"), "MessageDeduplicationId": token}
                elif drawn.random() < 0.6:
                    request["MessageGroupId"] = drawn.choice("ab")
                self.sent.append((queue, request))
                await self.ask(queue, "SendMessage", **request)
            case "again" if self.sent:
                queue, request = drawn.choice(self.sent)
                await self.ask(queue, "SendMessage", **request)
            case "receive":
                await self.receive(drawn.choice((*KINDS, "order.fifo")), drawn.choice((1, 2, 10)))
            case "settle" if self.handles:
                queue, key, handle = drawn.choice(self.handles)
                if drawn.random() < 0.7:
                    await self.ask(queue, "DeleteMessage", Id=key, ReceiptHandle=handle)
                else:
                    await self.ask(queue, "ChangeMessageVisibility", Id=key, ReceiptHandle=handle,
                                   VisibilityTimeout=drawn.choice((0, 3, 30)))
            case "purge":
                await self.ask(drawn.choice(SENDERS), "PurgeQueue")

    async def receive(self, queue: str, count: int) -> list[tuple[str, str, str]]:
        answer = await self.ask(queue, "ReceiveMessage", MaxNumberOfMessages=count,
                                AttributeNames=["ApproximateReceiveCount"])
        got = [(queue, message["MessageId"], message["ReceiptHandle"]) for message in answer.get("Messages", [])]
        self.handles += got
        return got

    async def live(self, clients: int, rounds: int) -> None:
        async def one() -> None:
            for _ in range(rounds):
                await self.act()
        await asyncio.gather(*(one() for _ in range(clients)))

    async def drain(self) -> None:
        """Receives and deletes all there is."""
        self._clerk.clock.time += 60
        for queue in (*SENDERS, "dead"):
            while got := await self.receive(queue, 10):
                for _, key, handle in got:
                    await self.ask(queue, "DeleteMessage", Id=key, ReceiptHandle=handle)


class Life:
    """Clients of a store that is recorded."""

    def __init__(self, directory: Path, seed: int) -> None:
        directory.mkdir()
        self.recorder, self._drawn = Recorder(directory, pause_s=0), random.Random(seed)
        with self.recorder.recording():
            clerk = Clerk(directory)
            make(clerk)
            asyncio.run(clerk.store.flush())
            self.begun = self.recorder.tell("queues")
            self.clients = Clients(clerk, self._tell, self._drawn)
            asyncio.run(self.clients.live(3, 18))
            clerk.store.close()
        replay(self.clients.steps)

    def _tell(self) -> tuple[int, Callable[[], int]]:
        return len(self.recorder.events), lambda: self.recorder.tell("answer")

    def check(self, directory: Path) -> None:
        """Lets the power go at one of its moments. Raises Wrong unless what is answered afterwards can follow upon all
        that clients had been told, and upon some of what they had only asked for."""
        events, drawn = self.recorder.events, self._drawn
        answers = [number + 1 for number, event in enumerate(events) if isinstance(event, Told)]
        at = drawn.choice(answers[1:]) if drawn.random() < 0.7 else drawn.randint(self.begun + 1, len(events))
        after_power_cut(events, at, drawn.choice(LOSSES), 0, directory)
        steps = [step for step in self.clients.steps if step.start < at]
        told = [step for step in steps if step.end < at]
        with mock.patch.object(Store, "flush", mock.AsyncMock()), mock.patch.object(os, "fsync"):  # the power stays
            clerk = Clerk(directory)
            clerk.store._db.pragma("synchronous", "off")
            clerk.clock.time = max((step.now for step in steps), default=1_700_000_000_000) / 1000 + 0.001
            after = Clients(clerk, lambda: (0, lambda: 0), drawn)
            after.sent = [(step.queue, step.request) for step in steps if step.operation == "SendMessage"]
            after.handles = [(step.queue, message["MessageId"], message["ReceiptHandle"])
                             for step in told for message in step.answer.get("Messages", [])]
            asyncio.run(self._go_on(after, [step for step in steps if step.operation == "SendMessage"]))
            clerk.store.close()
        surely = max((number + 1 for number, step in enumerate(steps) if step.end < at and step.lasts), default=0)
        wrong = []
        for count in range(len(steps), surely - 1, -1):
            try:
                require(not replay([*steps[:count], *after.steps]).left(), "messages are lost")
                return
            except Wrong as found:
                wrong.append(str(found))
        raise Wrong(f"{', or '.join(wrong)}, after the power went at {at} of {len(events)}")

    @staticmethod
    async def _go_on(clients: Clients, sends: list[Step]) -> None:
        for step in sends:
            if step.queue.endswith(".fifo"):
                await clients.ask(step.queue, "SendMessage", **step.request)
        await clients.live(1, 8)
        await clients.drain()


def replay(steps: list[Step]) -> Ledger:
    ledger = Ledger(KINDS)
    for step in steps:
        ledger.enter(step)
    return ledger


def tell(tmp_path: Path, lives: int, cuts: int) -> None:
    for seed in range(lives):
        life = Life(tmp_path / f"life{seed}", seed)
        for cut in range(cuts):
            life.check(tmp_path / f"life{seed} cut{cut}")


def plant_flush(patch: pytest.MonkeyPatch) -> None:
    async def flush(store: Store, tx: Any = None) -> None:
        await asyncio.sleep(0)
    patch.setattr(Store, "flush", flush)


def plant_block(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(groups, "block", lambda *_: None)


def plant_turn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(groups, "ready", lambda tx, store, now_ms, count: tx.execute(
        f"select {groups.ROW} from sqs_message m join sqs_body b on b.id=m.id where m.store=? and m.visible_ms<=?"
        " order by m.id limit ?", (store, now_ms, count)).fetchall())


def plant_memory(patch: pytest.MonkeyPatch) -> None:
    known: dict[Any, tuple[float, tuple[int, str]]] = {}  # by process, whose news are its own

    def remember(tx: Any, queue: Any, group: str, token: str, number: int, message_id: str) -> None:
        known[tx.news, queue.id, fifo._scoped(queue, group, token)] = tx.now + 300, (number, message_id)

    def find_duplicate(tx: Any, queue: Any, group: str, token: str) -> tuple[int, str] | None:
        until, found = known.get((tx.news, queue.id, fifo._scoped(queue, group, token)), (0.0, None))
        return found if until > tx.now else None
    patch.setattr(fifo, "remember", remember)
    patch.setattr(fifo, "find_duplicate", find_duplicate)


class _Any(int):
    """Whatever it is compared with."""

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def plant_handles(patch: pytest.MonkeyPatch) -> None:
    whole = receipts.read
    patch.setattr(receipts, "read", lambda queue, handle: receipts.Receipt(whole(queue, handle).id, _Any()))


def plant_dead_letters(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(messages, "_die", lambda *_: False)


def plant_loss(patch: pytest.MonkeyPatch) -> None:
    whole = messages._enter

    def enter(tx: Any, queue: Any, number: int, *more: Any) -> None:
        whole(tx, queue, number, *more)
        if number % 40 == 0:
            tx.execute("delete from sqs_message where id=?", (number,))
    patch.setattr(messages, "_enter", enter)


@pytest.mark.parametrize(("plant", "found"), [
    pytest.param(plant_flush, "after the power went", id="answers do not wait for the disk"),
    pytest.param(plant_block, "kept back", id="a group is not held back"),
    pytest.param(plant_turn, "out of turn", id="a group goes on while it has one in flight"),
    pytest.param(plant_memory, "taken twice.* after the power went", id="duplicates are known in memory only"),
    pytest.param(plant_handles, "an old handle deletes|lost", id="handles of earlier receives count"),
    pytest.param(plant_dead_letters, "not its own|out of order", id="nothing becomes a dead letter"),
    pytest.param(plant_loss, "lost|out of order", id="a message in forty is lost"),
])
def test_what_is_wrong_shows(plant: Callable[[pytest.MonkeyPatch], None], found: str, tmp_path: Path,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(Wrong, match=found):
        tell(tmp_path, 10, 10)


def test_clients_are_told_what_is_so(tmp_path: Path) -> None:
    tell(tmp_path, 18, 14)


@pytest.mark.root
def test_what_a_full_disk_refuses_was_not_done(small_disk: Path) -> None:  # noqa: F811
    """Be it found full by a statement, or by the commit that several share."""
    clerk = Clerk(small_disk)
    with contextlib.closing(clerk.store):
        clerk.store._db.pragma("cache_size", 8)  # pages, so that some write before they commit
        make(clerk)
        clients = Clients(clerk, lambda: (0, lambda: 0), random.Random(5))
        for fill in (True, False) * 3:
            with contextlib.suppress(OSError):
                (small_disk / "ballast").write_bytes(bytes(fill << 21))
            asyncio.run(clients.live(5, 12))
            with contextlib.suppress(apsw.FullError):
                clerk.store.checkpoint()
        refused = [step for step in clients.steps if step.answer.get("") == "ServiceUnavailable"]
        assert len(refused) > 20
        assert {"SendMessage", "ReceiveMessage", "DeleteMessage"} <= {step.operation for step in refused}
        lasting = [step for step in clients.steps if step.lasts]  # others may have seen what was then taken back
        clients.steps.clear()
        subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
        asyncio.run(clients.drain())
    assert not replay([*lasting, *clients.steps]).left()


@pytest.mark.slow
def test_clients_are_told_what_is_so_at_length(tmp_path: Path) -> None:
    tell(tmp_path, 300, 20)
