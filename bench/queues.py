"""SendMessage and whole cycles of messages per second, beside MiniStack, moto, the disk and a bare HTTP server.

Server and load have a core each; every request is signed. `python -m bench queues` needs wrk.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import uvloop
from botocore.config import Config

from bench import peers, requests
from bench.clients import Client, Signer
from bench.peers import Peer, cpu_s
from bench.requests import CONNECTIONS, LOAD_CPU, ROUNDS, SECONDS, SERVER_CPU, Load
from tests.running import Cloudlet, free_port

BATCH, BODY = 10, "x" * 100
WAKES, POLLS, POLLED, IDLE_S = 200, 2000, 100, 10.0
TOPIC_QUEUES, PUBLISHES = 100, 60
ECHO = """
import asyncio, sys, uvloop
from cloudlet.kernel.http import Response
from cloudlet.wire.server import Server
async def answer(request):
    return Response(200, {"content-type": "application/x-amz-json-1.0"}, await request.body.read(1 << 20))
async def main():
    await Server(answer).listen("127.0.0.1", int(sys.argv[1]))
    await asyncio.Event().wait()
uvloop.run(main())
"""


# ── Load ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

def sends(port: int, url: str, batch: int) -> Load:
    """SendMessage, or SendMessageBatch, under wrk."""
    entries = [{"Id": str(number), "MessageBody": BODY} for number in range(batch)]
    asked: dict[str, Any] = {"Entries": entries} if batch > 1 else {"MessageBody": BODY}
    operation = "SendMessageBatch" if batch > 1 else "SendMessage"
    head, body = Signer("sqs", port).json(operation, {"QueueUrl": url, **asked})
    headers = [line.split(": ", 1) for line in head.splitlines() if not line.startswith("Content-Length")]
    lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers]
    return requests.loaded(port, "\n".join(['wrk.method = "POST"', f"wrk.body = {json.dumps(body.decode())}", *lines]))


async def _cycles(port: int, url: str, batch: int) -> Load:
    """Whole cycles: each connection sends, receives and deletes as many messages as it sent."""
    signer, took = Signer("sqs", port), []
    end = time.perf_counter() + SECONDS

    async def one() -> None:
        client = Client(signer)
        while (began := time.perf_counter()) < end:
            if batch > 1:
                await client.ask("SendMessageBatch", QueueUrl=url, Entries=[
                    {"Id": str(number), "MessageBody": BODY} for number in range(batch)])
            else:
                await client.ask("SendMessage", QueueUrl=url, MessageBody=BODY)
            left = batch
            while left > 0:
                got = (await client.ask("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=left)).get("Messages", [])
                if batch > 1 and got:
                    await client.ask("DeleteMessageBatch", QueueUrl=url, Entries=[
                        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                        for number, message in enumerate(got)])
                elif got:
                    await client.ask("DeleteMessage", QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
                left -= len(got)
            took.append(time.perf_counter() - began)
        client.close()
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    took.sort()
    return Load(len(took) / SECONDS, took[len(took) // 2] * 1000, took[len(took) * 99 // 100] * 1000)


def on_load_cpu(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a client on the core of the load."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CPU})
    try:
        return uvloop.run(work)
    finally:
        os.sched_setaffinity(0, before)


def cycles(port: int, url: str, batch: int) -> Load:
    """The same under a client of our own, since each request depends on the answer before."""
    load: Load = on_load_cpu(_cycles(port, url, batch))
    return load


MEASURED: dict[str, tuple[Callable[[int, str, int], Load], int]] = {
    "SendMessage": (sends, 1), "send+receive+delete": (cycles, 1),
    f"SendMessageBatch of {BATCH}": (sends, BATCH), f"send+receive+delete of {BATCH}": (cycles, BATCH)}


# ── What limits it ───────────────────────────────────────────────────────────────────────────────────────────────────

def syncs(directory: Path) -> float:
    """How often a second one page of a file can be brought to this disk, one after the other."""
    file, page, pages = directory / "syncs", os.urandom(4096), 1000
    file.write_bytes(page * pages)
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < 1:
            os.pwrite(descriptor, page, count % pages * len(page))
            os.fdatasync(descriptor)
            count += 1
        return count / (time.perf_counter() - began)
    finally:
        os.close(descriptor)
        file.unlink()


@contextmanager
def echo() -> Iterator[Peer]:
    """Our HTTP server without an operation behind it."""
    port = free_port()
    with peers.serving([sys.executable, "-c", ECHO, str(port)], port, {}, SERVER_CPU) as peer:
        yield peer


@contextmanager
def ours() -> Iterator[tuple[Cloudlet, Peer]]:
    """A Cloudlet on its core."""
    with tempfile.TemporaryDirectory(prefix="cloudlet-bench-") as directory, requests.ours(Path(directory)) as cloudlet:
        assert cloudlet.process
        for task in os.listdir(f"/proc/{cloudlet.process.pid}/task"):
            os.sched_setaffinity(int(task), {SERVER_CPU})
        yield cloudlet, Peer(cloudlet.port, cloudlet.process.pid)


def client_of(service: str, port: int) -> Any:
    """A boto3 client of any of the servers."""
    return boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
                        aws_access_key_id="test", aws_secret_access_key="test",
                        config=Config(proxies={}, retries={"max_attempts": 0}))


def measure_rates() -> None:
    """Rounds of all servers in turn, so that a drift of the machine meets all alike."""
    peers.install()
    found: dict[tuple[str, str], list[Load]] = {}
    spent: dict[tuple[str, str], list[float]] = {}
    disk: list[float] = []

    def measure_one(server: str, peer: Peer, name: str, url: str) -> None:
        load, batch = MEASURED[name]
        before = cpu_s(peer.pid)
        result = load(peer.port, url, batch)
        found.setdefault((server, name), []).append(result)
        spent.setdefault((server, name), []).append((cpu_s(peer.pid) - before) / (result.rate * SECONDS) * 1e6)

    def measure(server: str, peer: Peer) -> None:
        sqs = client_of("sqs", peer.port)
        for number, name in enumerate(MEASURED):
            measure_one(server, peer, name, sqs.create_queue(QueueName=f"bench-{number}")["QueueUrl"])

    for _ in range(ROUNDS):
        with ours() as (cloudlet, peer):
            disk.append(syncs(cloudlet.data_dir))
            measure("cloudlet", peer)
        with echo() as peer:
            measure_one("echo", peer, "SendMessage", "http://127.0.0.1/000000000000/bench")
        with peers.ministack(SERVER_CPU) as peer:
            measure("ministack", peer)
        with peers.moto(SERVER_CPU) as peer:
            measure("moto", peer)

    def rate(server: str, name: str = "SendMessage") -> float:
        return statistics.median(load.rate for load in found[server, name])

    for name in MEASURED:
        print(f"{name}: {rate('cloudlet', name) / rate('ministack', name):.1f} × MiniStack,"
              f" {rate('cloudlet', name) / rate('moto', name):.1f} × moto (3 and 20 wanted)")
        for server in ("cloudlet", "ministack", "moto", "echo")[:4 if name == "SendMessage" else 3]:
            load = sorted(found[server, name])[ROUNDS // 2]
            print(f"    {server:9} {load.rate:6,.0f}/s, p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms,"
                  f" {statistics.median(spent[server, name]):,.0f} µs of processor each", flush=True)
    limit = statistics.median(disk) * CONNECTIONS
    print(f"SendMessage is {rate('cloudlet') / rate('echo'):.0%} of what our HTTP server does alone"
          f" ({rate('echo'):,.0f}/s), and {rate('cloudlet') / limit:.0%} of what this disk takes, {limit:,.0f}/s in"
          f" groups of {CONNECTIONS}")


# ── Who waits ────────────────────────────────────────────────────────────────────────────────────────────────────────

async def _wake(port: int, url: str) -> tuple[list[float], list[float]]:
    """Milliseconds from a send to the answer of who waited for it; and to that of who sends where nobody waits."""
    signer, took, alone = Signer("sqs", port), [], []
    waiter, sender = Client(signer), Client(signer)
    for _ in range(WAKES):
        began = time.perf_counter()
        await sender.ask("SendMessage", QueueUrl=url, MessageBody=BODY)
        alone.append((time.perf_counter() - began) * 1000)
        got = await waiter.ask("ReceiveMessage", QueueUrl=url)
        await waiter.ask("DeleteMessage", QueueUrl=url, ReceiptHandle=got["Messages"][0]["ReceiptHandle"])
        waiting = asyncio.ensure_future(waiter.ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await asyncio.sleep(0.01)
        began = time.perf_counter()
        sending = asyncio.ensure_future(sender.ask("SendMessage", QueueUrl=url, MessageBody=BODY))
        answer = await waiting
        took.append((time.perf_counter() - began) * 1000)
        await sending
        await sender.ask("DeleteMessage", QueueUrl=url, ReceiptHandle=answer["Messages"][0]["ReceiptHandle"])
    return sorted(took), sorted(alone)


async def _idle(server: Peer, urls: list[str]) -> float:
    """Seconds of processor while so many requests wait for messages that do not come."""
    signer = Signer("sqs", server.port)
    clients = [Client(signer) for _ in range(POLLS)]
    asked = [asyncio.ensure_future(client.ask("ReceiveMessage", QueueUrl=urls[number % len(urls)], WaitTimeSeconds=20))
             for number, client in enumerate(clients)]
    await asyncio.sleep(4)
    before = cpu_s(server.pid)
    await asyncio.sleep(IDLE_S)
    spent = cpu_s(server.pid) - before
    assert not any(each.done() for each in asked)
    for each, client in zip(asked, clients, strict=True):
        each.cancel()
        client.close()
    return spent


async def _publish(port: int, topic: str) -> list[float]:
    signer, took = Signer("sns", port), []
    client = Client(signer)
    for _ in range(PUBLISHES):
        began = time.perf_counter()
        await client.send(*signer.query("Publish", TopicArn=topic, Message=BODY))
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)


def measure_waiting() -> None:
    """Wake-ups, what waiting costs, and a topic of a hundred queues."""
    with ours() as (cloudlet, server):
        sqs, sns = client_of("sqs", cloudlet.port), client_of("sns", cloudlet.port)
        urls = [sqs.create_queue(QueueName=f"bench-{number}")["QueueUrl"] for number in range(TOPIC_QUEUES)]
        woken, alone = on_load_cpu(_wake(cloudlet.port, urls[0]))
        print(f"from a send to the answer of who waited: p50 {woken[WAKES // 2]:.2f} ms (under 3 wanted), p99"
              f" {woken[WAKES * 99 // 100]:.2f} ms; a send where nobody waits: p50 {alone[WAKES // 2]:.2f} ms")
        before = cpu_s(server.pid)
        time.sleep(IDLE_S)
        nobody = cpu_s(server.pid) - before
        idle = on_load_cpu(_idle(server, urls[:POLLED]))
        print(f"{POLLS:,} long polls: {idle / IDLE_S:.1%} of a core while nothing happens; nobody waiting:"
              f" {nobody / IDLE_S:.1%}")
        topic = sns.create_topic(Name="bench")["TopicArn"]
        for number in range(TOPIC_QUEUES):
            arn = f"arn:aws:sqs:us-east-1:000000000000:bench-{number}"
            sqs.set_queue_attributes(QueueUrl=urls[number], Attributes={"Policy": json.dumps({
                "Version": "2012-10-17", "Statement": {
                    "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
                    "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}})})
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        took = on_load_cpu(_publish(cloudlet.port, topic))
        print(f"Publish to {TOPIC_QUEUES} queues: p50 {took[PUBLISHES // 2]:.1f} ms (under 15 wanted), p99"
              f" {took[PUBLISHES * 99 // 100]:.1f} ms")


def main() -> None:
    """Rates, then who waits."""
    measure_rates()
    measure_waiting()
