"""Log events put, kept and found, beside what Python's own JSON, SQLite and gzip take for the same text.

Events of about 100 bytes arrive in batches, signed, over one connection; what counts is the server's processor time,
with what it takes to merge small chunks afterwards. "Compressed text" is `gzip -6` of all messages of the run, one
after the other. What they are kept in is by how much the database grew (its pages in use, indexes and all) once the
background loop has merged what it will merge.
"""

import gzip
import http.client
import json
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.running import Cloudlet, free_port, free_public_cidr

EVENTS, SIZES = 200_000, (100, 1000, 8000)
FOUND_IN = 1_000_000
SETTLE_S_MAX = 60.0
GROUP = "/bench"
QUERIES = ("filter @message like 'ERROR' | stats count(*) by bin(1m)",
           r"filter @message like / 50\d \d+ ms/ | stats count(*)",
           "parse @message 'items/* * * ms' as item, status, took | stats avg(took), pct(took, 95) by status")


def message(source: random.Random, number: int) -> str:
    """A line as a web server's, of about 100 bytes."""
    return (f"2026-01-01T00:{number // 60000 % 60:02}:{number // 1000 % 60:02}.{number % 1000:03}Z"
            f" {source.choice(('INFO', 'INFO', 'WARN', 'ERROR'))} request {source.getrandbits(64):016x}"
            f" GET /api/v1/customers/items/{source.randrange(100000)} {source.choice((200, 200, 404, 500))}"
            f" {source.randrange(3000)} ms")


def signed(port: int, operation: str, body: bytes) -> dict[str, str]:
    """The headers of one request."""
    request = AWSRequest("POST", f"http://127.0.0.1:{port}/", data=body, headers={
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Logs_20140328.{operation}"})
    SigV4Auth(Credentials("test", "test"), "logs", "us-east-1").add_auth(request)
    return dict(request.headers.items())


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Client:
    """One connection to a server, and its processor time."""

    def __init__(self, cloudlet: Cloudlet) -> None:
        assert cloudlet.process
        self.pid, self.port = cloudlet.process.pid, cloudlet.port
        self._connection = http.client.HTTPConnection("127.0.0.1", cloudlet.port)

    def call(self, operation: str, **members: Any) -> Any:
        """One operation."""
        body = json.dumps(members).encode()
        return self.send(body, signed(self.port, operation, body))

    def send(self, body: bytes, headers: dict[str, str]) -> Any:
        """A request that was signed before."""
        self._connection.request("POST", "/", body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return json.loads(text) if text else None


def batches(stream: str, count: int, size: int, source: random.Random) -> Iterator[tuple[bytes, list[str]]]:
    """Bodies of PutLogEvents, and the messages in each."""
    now = int(time.time() * 1000)
    for start in range(0, count, size):
        messages = [message(source, start + number) for number in range(size)]
        yield json.dumps({"logGroupName": GROUP, "logStreamName": stream, "logEvents": [
            {"timestamp": now + (start + number) // 100, "message": text} for number, text in enumerate(messages)]
        }).encode(), messages


def put(client: Client, stream: str, count: int, size: int, data_dir: Path) -> tuple[float, list[str]]:
    """Puts events in batches; the server's processor seconds until all is at rest again, and the messages."""
    client.call("CreateLogStream", logGroupName=GROUP, logStreamName=stream)
    source, kept = random.Random(size), []
    requests = []
    for body, messages in batches(stream, count, size, source):
        requests.append((body, signed(client.port, "PutLogEvents", body)))
        kept += messages
    began = cpu_s(client.pid)
    for body, headers in requests:
        client.send(body, headers)
    used_bytes(data_dir)
    return cpu_s(client.pid) - began, kept


def bare(messages: list[str], size: int) -> float:
    """Processor seconds to read the same batches as JSON and to insert each event into SQLite."""
    bodies = [json.dumps([{"timestamp": number, "message": text} for number, text in enumerate(
        messages[start:start + size])]) for start in range(0, len(messages), size)]
    with tempfile.TemporaryDirectory() as directory:
        database = sqlite3.connect(str(Path(directory) / "bare"))
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=normal")
        database.execute("create table event (timestamp integer, message text)")
        began = time.process_time()
        for body in bodies:
            with database:
                database.executemany("insert into event values (:timestamp, :message)", json.loads(body))
        took = time.process_time() - began
        database.close()
    return took


def used_bytes(data_dir: Path) -> int:
    """The pages of the database that are in use, when nothing is left to merge."""
    deadline = time.monotonic() + SETTLE_S_MAX
    with sqlite3.connect(f"file:{data_dir}/cloudlet.db?mode=ro", uri=True) as database:
        def ask(question: str) -> int:
            return int(database.execute(question).fetchone()[0])

        while ask("select count(*) from work where kind='logs.chunks'"):
            assert time.monotonic() < deadline, "merging does not end"
            time.sleep(0.5)
        return (ask("pragma page_count") - ask("pragma freelist_count")) * ask("pragma page_size")


def find(client: Client, pattern: str) -> tuple[float, float, int]:
    """Goes through all pages; the server's processor seconds, seconds by the clock, and events found."""
    began, clock, found, token = cpu_s(client.pid), time.perf_counter(), 0, {}
    while True:
        page = client.call("FilterLogEvents", logGroupName=GROUP, filterPattern=pattern, **token)
        found += len(page["events"])
        if not page.get("nextToken"):
            return cpu_s(client.pid) - began, time.perf_counter() - clock, found
        token = {"nextToken": page["nextToken"]}


def ask(client: Client, query: str) -> tuple[float, float, float]:
    """Runs an Insights query; the server's processor seconds, seconds by the clock, and the longest wait of a request
    that was made meanwhile."""
    now, began, clock, longest = int(time.time()), cpu_s(client.pid), time.perf_counter(), 0.0
    started = client.call("StartQuery", logGroupName=GROUP, startTime=now - 86_400, endTime=now + 86_400,
                          queryString=query)
    status = ""
    while status not in ("Complete", "Failed"):
        asked = time.perf_counter()
        status = client.call("GetQueryResults", **started)["status"]
        longest = max(longest, time.perf_counter() - asked)
        time.sleep(0.02)
    assert status == "Complete"
    return cpu_s(client.pid) - began, time.perf_counter() - clock, longest


def main() -> None:
    """Puts, what is kept of it, and filtering and querying a million events."""
    with tempfile.TemporaryDirectory() as directory, Cloudlet(Path(directory) / "data", free_port(),
                                                              free_public_cidr()) as cloudlet:
        client = Client(cloudlet)
        client.call("CreateLogGroup", logGroupName=GROUP)
        messages: list[str] = []
        before = used_bytes(cloudlet.data_dir)
        for size in SIZES:
            took, put_now = put(client, f"s{size}", EVENTS, size, cloudlet.data_dir)
            beside = bare(put_now, size)
            messages += put_now
            print(f"PutLogEvents in batches of {size}: {len(put_now) / took:,.0f} events a second of one core;"
                  f" JSON and bare SQLite {len(put_now) / beside:,.0f} ({took / beside:.2f} × the time)")
        text = "".join(messages).encode()
        compressed = len(gzip.compress(text, 6))
        kept = used_bytes(cloudlet.data_dir) - before
        print(f"{len(messages):,} events, {len(text):,} bytes, are kept in {kept:,}:"
              f" {kept / compressed:.2f} × gzip -6 of the text")
        _, more = put(client, "more", FOUND_IN - len(messages), SIZES[-1], cloudlet.data_dir)
        everything = gzip.compress(text + "".join(more).encode(), 6)
        start = time.process_time()
        gzip.decompress(everything).count(b"NOWHERE")
        limit = time.process_time() - start
        for pattern in ("NOWHERE", '"404 2999"', "%50[0-9].2999%"):
            took, clock, found = find(client, pattern)
            print(f"FilterLogEvents {pattern} over {FOUND_IN:,} events: {found} found in {took:.2f} s of one core"
                  f" ({clock:.2f} s by the clock); to gunzip and search their text takes {limit:.2f} s"
                  f" ({took / limit:.1f} × the time)")
        for query in QUERIES:
            took, clock, longest = ask(client, query)
            print(f"Insights `{query}` over {FOUND_IN:,} events: {took:.2f} s of one core ({clock:.2f} s by the clock,"
                  f" {took / limit:.1f} × gunzip and search); other requests waited at most {1000 * longest:.0f} ms")


if __name__ == "__main__":
    main()
