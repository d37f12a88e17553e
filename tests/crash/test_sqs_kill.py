"""kill -9 under producers and consumers: what was put in is given to somebody, a group keeps its order and has nothing
twice, what was deleted does not come back, and nothing is stuck or left over."""

import itertools
import json
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import running_cloudlet
from tests.running import Cloudlet
from tests.services.sqs.overlap import Dealt, Got, Sent, Witness

HIDDEN_S = 2
QUEUES = ("plain", "order.fifo", "groups.fifo")
GROUPS = {"plain": ("", "noisy", "quiet"), "order.fifo": ("a", "b"), "groups.fifo": ("a", "b", "c")}


@pytest.fixture
def cloudlet(tmp_path: Path) -> Iterator[Cloudlet]:
    with running_cloudlet(tmp_path) as instance:
        yield instance


class Clients:
    """Producers and consumers through several lives of one Cloudlet, each of which ends by kill -9."""

    def __init__(self, cloudlet: Cloudlet) -> None:
        self._cloudlet, self._living = cloudlet, threading.Event()
        self.witness = Witness(HIDDEN_S, {"plain": "dead"})
        self._numbers, self._unanswered = itertools.count(), dict[int, tuple[str, list[dict[str, Any]]]]()
        sqs = cloudlet.client("sqs")
        dead = sqs.create_queue(QueueName="dead", Attributes={"VisibilityTimeout": str(HIDDEN_S)})["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        more = {"plain": {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})},
                "groups.fifo": {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}}
        self._urls = {"dead": dead} | {name: sqs.create_queue(QueueName=name, Attributes={
            "VisibilityTimeout": str(HIDDEN_S), **({"FifoQueue": "true"} if name.endswith("fifo") else {}),
            **more.get(name, {})})["QueueUrl"] for name in QUEUES}

    def live(self, drawn: random.Random, seconds: float) -> None:
        """One life, and the start of the next. Raises what a client found wrong."""
        wrong: list[BaseException] = []

        def run(client: Any, number: int) -> None:
            try:
                while self._living.is_set():
                    client(sqs, number)
            except BotoCoreError:
                pass  # it was killed
            except BaseException as error:
                wrong.append(error)
        sqs = self._cloudlet.client("sqs")
        threads = [threading.Thread(target=run, args=(client, number)) for number in range(3)
                   for client in (self._produce, self._consume)]
        self._living.set()
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self._cloudlet.kill()
        self._living.clear()
        for thread in threads:
            thread.join()
        assert not wrong, wrong
        self._cloudlet.start()

    def _produce(self, sqs: Any, sender: int) -> None:
        """Sends one message, or some, or again what was not answered, or what was sent before."""
        queue, entries = self._unanswered.get(sender) or self._draw(sender)
        self._unanswered[sender] = queue, entries
        start, answers = time.time(), {}
        try:
            if len(entries) == 1:
                asked = {name: value for name, value in entries[0].items() if name != "Id"}
                answers = {entries[0]["Id"]: sqs.send_message(QueueUrl=self._urls[queue], **asked)}
            else:
                answer = sqs.send_message_batch(QueueUrl=self._urls[queue], Entries=entries)
                assert not answer.get("Failed"), answer["Failed"]
                answers = {each["Id"]: each for each in answer["Successful"]}
            del self._unanswered[sender]
            if not queue.endswith(".fifo") or random.random() < 0.2:
                return
            self._unanswered[sender] = queue, entries  # as if the answer had not come
        finally:
            end = time.time() if answers else None
            for entry in entries:
                told = answers.get(entry["Id"], {})
                self.witness.see(Sent(
                    queue, sender, entry.get("MessageGroupId", ""), entry.get("MessageDeduplicationId", ""),
                    entry["MessageBody"], start, end, told.get("MessageId", ""), told.get("SequenceNumber", "")))

    def _draw(self, sender: int) -> tuple[str, list[dict[str, Any]]]:
        queue, entries = random.choice(QUEUES), []
        for _ in range(random.choice((1, 1, 3))):
            number, group = next(self._numbers), random.choice(GROUPS[queue])
            entries.append({"Id": str(number), "MessageBody": f"{queue} {number} " + "." * random.choice((0, 0, 9000)),
                            **({"MessageGroupId": group} if group else {}),
                            **({"MessageDeduplicationId": f"t{number}"} if queue.endswith(".fifo") else {})})
        return queue, entries

    def _consume(self, sqs: Any, number: int, *, deletes: float = 0.8) -> int:
        """Receives some messages, deletes most and leaves or gives back the others; how many there were."""
        count = 0
        for queue in (*QUEUES, "dead"):
            start = time.time()
            found = sqs.receive_message(QueueUrl=self._urls[queue], MaxNumberOfMessages=random.choice((1, 4, 10)),
                                        AttributeNames=["All"]).get("Messages", [])
            gots, end = [], time.time()
            for place, each in enumerate(found):
                about = each["Attributes"]
                gots.append(Got(queue, about.get("MessageGroupId", ""), each["MessageId"], each["Body"],
                                about.get("SequenceNumber", ""), int(about["ApproximateReceiveCount"]), place, start,
                                end))
                self.witness.see(gots[-1])
            count += len(found)
            for got, each in zip(gots, found, strict=True):
                drawn = random.random()
                if drawn < deletes:
                    self._deal(sqs.delete_message, got, each)
                elif drawn < deletes + (1 - deletes) / 2:
                    self._deal(sqs.change_message_visibility, got, each, VisibilityTimeout=0)
        return count

    def _deal(self, operation: Any, got: Got, message: dict[str, Any], **more: Any) -> None:
        start, end = time.time(), None
        try:
            operation(QueueUrl=self._urls[got.queue], ReceiptHandle=message["ReceiptHandle"], **more)
            end = time.time()
        except ClientError as error:  # it took too long
            assert error.response["Error"]["Code"] in (  # noqa: PT017
                "InvalidParameterValue", "AWS.SimpleQueueService.MessageNotInflight", "MessageNotInflight"), error
            return
        finally:
            self.witness.see(Dealt(got, not more, start, end))

    def drain(self) -> None:
        """Receives and deletes all there is. Raises AssertionError for what does not come."""
        sqs = self._cloudlet.client("sqs")
        for sender in list(self._unanswered):
            self._produce(sqs, sender)
        quiet_since, deadline = time.monotonic(), time.monotonic() + 60
        while time.monotonic() < quiet_since + HIDDEN_S + 0.3:
            if self._consume(sqs, 0, deletes=1):
                quiet_since = time.monotonic()
            assert time.monotonic() < deadline, "it goes on for ever"
        for queue, url in self._urls.items():
            said = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            left = {name: said[name] for name in said if name.startswith("ApproximateNumber") and said[name] != "0"}
            assert not left, f"stuck in {queue}: {left}"


def tell(cloudlet: Cloudlet, lives: int) -> None:
    drawn = random.Random()
    clients = Clients(cloudlet)
    for _ in range(lives):
        clients.live(drawn, drawn.uniform(0.3, 2))
    clients.drain()
    witness = clients.witness
    witness.check()
    assert len(witness.got) > 20 * lives
    assert {got.queue for got in witness.got} >= set(QUEUES)
    assert any(each.end is None for each in (*witness.sent, *witness.dealt)), "nobody was cut off"
    with sqlite3.connect(f"file:{cloudlet.data_dir / 'cloudlet.db'}?mode=ro", uri=True) as database:
        for table in ("sqs_message", "sqs_body", "sqs_group"):
            assert database.execute(f"select count(*) from {table}").fetchone() == (0,), table


def test_what_was_told_is_kept(cloudlet: Cloudlet) -> None:
    tell(cloudlet, 3)


@pytest.mark.slow
def test_what_was_told_is_kept_at_length(cloudlet: Cloudlet) -> None:
    tell(cloudlet, 25)
