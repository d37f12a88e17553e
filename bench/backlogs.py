"""What a backlog costs: a message sent, received and deleted beside a thousand, and beside a million others."""

import asyncio
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.services import sns, sqs
from cloudlet.services.iam import identities
from cloudlet.services.sqs.expiry import Expiry
from cloudlet.store.db import Store
from cloudlet.wire.gateway import Gateway
from tests.running import Cloudlet, free_port, free_public_cidr
from tests.wire.exchange import HOST, json_request

FEW, MANY, FIFO, GROUPS, QUEUES, SUBSCRIBED = 1000, 1_000_000, 200_000, 10_000, 10_000, 5000
ROUNDS, BATCH = 300, 5000
ACCOUNT = "000000000000"
OPERATIONS = ("SendMessage", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
LOOP = asyncio.new_event_loop()
# name → messages, groups (0: a standard queue)
BACKLOGS = {"few": (FEW, 0), "many": (MANY, 0), "few.fifo": (FEW, 1), "one-group.fifo": (FIFO, 1),
            "groups.fifo": (FIFO, GROUPS)}


class House:
    """The services over a store, without HTTP and loops."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        self.store = Store(str(directory / "cloudlet.db"), SystemClock())
        self.opened_s = time.perf_counter() - began
        for tables in (sqs.TABLES, sns.TABLES):
            self.store.create_tables(tables)
        site = Site(Installation("bench1"), directory)
        self.gateway = Gateway((sqs.sqs, sns.sns), self.store, SystemClock(), identities(site, (sqs.sqs, sns.sns)))

    def run(self, tx: Any, service: Any, operation: str, **request: Any) -> Any:
        """One operation within a transaction, permissions unasked."""
        root = Principal("root", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
        call = Call("request", ACCOUNT, "us-east-1", root, tx.now, f"http://{HOST}")
        return service.operations[operation].run(call, tx, request)

    def ask(self, operation: str, name: str, **members: Any) -> tuple[float, dict[str, Any]]:
        """Seconds of processor, from bytes to bytes without HTTP, and the answer."""
        body = json.dumps({"QueueUrl": url_of(name), **members}).encode()
        request = json_request("AmazonSQS", operation, body, "sqs")
        began = time.process_time()
        response = LOOP.run_until_complete(self.gateway.handle(request))
        took = time.process_time() - began
        assert response.status == 200 and isinstance(response.body, bytes), response.body
        return took, json.loads(response.body or b"{}")


def url_of(name: str) -> str:
    return f"http://{HOST}/{ACCOUNT}/{name}"


def memory_mb() -> float:
    """What this process holds."""
    gc.collect()
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def fill(house: House, name: str, count: int, groups: int) -> None:
    """A queue with so many messages, in so many groups in turn."""
    with house.store.tx() as tx:
        fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if groups else {}
        house.run(tx, sqs.sqs, "CreateQueue", QueueName=name, Attributes={"VisibilityTimeout": "3600", **fifo})
    for first in range(0, count, BATCH):
        with house.store.tx() as tx:
            queue = sqs.find_by_arn(tx, f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}")
            assert queue is not None
            for number in range(first, min(first + BATCH, count)):
                entry: dict[str, Any] = {"MessageBody": f"{number:0100}"}
                if groups:
                    entry["MessageGroupId"] = f"group-{number % groups}"
                sqs.send(tx, queue, ACCOUNT, entry)
        house.store.checkpoint()
        house.store.finish_checkpoint()


def lives(house: House) -> dict[tuple[str, str], float]:
    """Microseconds of processor of each operation on each queue, by turns: medians."""
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(ROUNDS):
        for name, (_, groups) in BACKLOGS.items():
            group = {"MessageGroupId": f"group-{number % groups}"} if groups else {}
            asked: dict[str, dict[str, Any]] = {
                "SendMessage": {"MessageBody": f"round {number} " + "x" * 90, **group},
                "ReceiveMessage": {}, "DeleteMessage": {}, "GetQueueAttributes": {"AttributeNames": ["All"]}}
            for operation in OPERATIONS:
                took, answer = house.ask(operation, name, **asked[operation])
                found.setdefault((operation, name), []).append(took)
                if operation == "ReceiveMessage":
                    asked["DeleteMessage"] = {"ReceiptHandle": answer["Messages"][0]["ReceiptHandle"]}
    return {key: statistics.median(took) * 1e6 for key, took in found.items()}


def measure_backlogs(directory: Path) -> None:
    """Queues with few messages and with many, in one store."""
    house = House(directory)
    fill(house, "few", *BACKLOGS["few"])
    idle = memory_mb()
    for name, (count, groups) in BACKLOGS.items():
        if name != "few":
            began = time.perf_counter()
            fill(house, name, count, groups)
            print(f"    {name} filled at {count / (time.perf_counter() - began):,.0f}/s", flush=True)
    full, took = memory_mb(), lives(house)
    print(f"memory: {idle:.0f} MB with {FEW:,} messages, {full:.0f} with {MANY + 2 * FIFO:,}, {memory_mb():.0f} after"
          f" {ROUNDS} rounds")
    for name, few in (("many", "few"), ("one-group.fifo", "few.fifo"), ("groups.fifo", "few.fifo")):
        count, groups = BACKLOGS[name]
        print(f"{count:,} messages" + (f" in {groups:,} groups" if groups else "") + ": " + ", ".join(
            f"{operation} {took[operation, name]:.0f} µs, of {FEW:,} {took[operation, few]:.0f}"
            f" ({took[operation, name] / took[operation, few]:.2f} ×)" for operation in OPERATIONS), flush=True)
    house.store.close()


def measure_queues(directory: Path) -> None:
    """A thousandfold of queues."""
    house = House(directory)
    began = time.process_time()
    for first in range(0, QUEUES, 1000):
        with house.store.tx() as tx:
            for number in range(first, first + 1000):
                house.run(tx, sqs.sqs, "CreateQueue", QueueName=f"queue-{number}", Attributes={})
    created = (time.process_time() - began) / QUEUES
    took = statistics.median(house.ask("SendMessage", f"queue-{number * 31 % QUEUES}", MessageBody="x" * 100)[0]
                             for number in range(ROUNDS))
    began = time.process_time()
    LOOP.run_until_complete(Expiry(house.store).look())
    look = time.process_time() - began
    print(f"{QUEUES:,} queues: made in {created * 1e6:.0f} µs each; SendMessage to any {took * 1e6:.0f} µs; all looked"
          f" through for what has expired, once a minute, in {look * 1000:.0f} ms")
    house.store.close()


def timed(act: Callable[[], object]) -> float:
    """Milliseconds of processor."""
    began = time.process_time()
    act()
    return (time.process_time() - began) * 1000


def measure_topic(directory: Path) -> None:
    """A topic to which thousands of queues are subscribed: what one transaction takes of the loop."""
    house, topic = House(directory), f"arn:aws:sns:us-east-1:{ACCOUNT}:crowd"
    policy = json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
        "Resource": "*"}})
    with house.store.tx() as tx:
        house.run(tx, sns.sns, "CreateTopic", Name="crowd")
        for number in range(SUBSCRIBED):
            house.run(tx, sqs.sqs, "CreateQueue", QueueName=f"crowd-{number}", Attributes={"Policy": policy})
            house.run(tx, sns.sns, "Subscribe", TopicArn=topic, Protocol="sqs",
                      Endpoint=f"arn:aws:sqs:us-east-1:{ACCOUNT}:crowd-{number}")

    def once(operation: str, **request: Any) -> None:
        with house.store.tx() as tx:
            house.run(tx, sns.sns, operation, TopicArn=topic, **request)
    published = statistics.median(timed(lambda: once("Publish", Message="x" * 100)) for _ in range(5))
    deleted = timed(lambda: once("DeleteTopic"))
    print(f"Publish to {SUBSCRIBED:,} queues: {published:.0f} ms in one transaction; DeleteTopic: {deleted:.0f} ms")
    house.store.close()


def measure_start(full: Path, empty: Path) -> None:
    """From `cloudlet up` to healthy with those messages, and without."""
    def start(directory: Path) -> float:
        cloudlet = Cloudlet(directory, free_port(), free_public_cidr())
        began = time.perf_counter()
        with cloudlet:
            return time.perf_counter() - began
    started = {directory: min(start(directory) for _ in range(2)) for directory in (full, empty)}
    opened = House(full)
    print(f"the store with {MANY + 2 * FIFO:,} messages opens in {opened.opened_s * 1000:.0f} ms; up to healthy"
          f" {started[full]:.2f} s, with an empty one {started[empty]:.2f} s")
    opened.store.close()


def main() -> None:
    """Everything on one disk, one after the other."""
    with tempfile.TemporaryDirectory(prefix="cloudlet-bench-") as name:
        directory = Path(name)
        measure_queues(directory / "queues")
        measure_topic(directory / "topic")
        measure_backlogs(directory / "full")
        measure_start(directory / "full", directory / "empty")
