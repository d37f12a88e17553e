"""kill -9 while log events are appended, merged and deleted: what was acknowledged is there once, and nothing else."""

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from cloudlet.services.logs import storage
from tests.conftest import running_cloudlet
from tests.running import Cloudlet

GROUP, STREAMS, KILLS = "/crash", 3, 5


@pytest.fixture
def cloudlet(tmp_path: Path) -> Iterator[Cloudlet]:
    with running_cloudlet(tmp_path) as instance:
        yield instance


@pytest.mark.slow
def test_every_acknowledged_event_is_there_once_after_many_kills(cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs")
    logs.create_log_group(logGroupName=GROUP)
    for stream in range(STREAMS):
        logs.create_log_stream(logGroupName=GROUP, logStreamName=f"s{stream}")
    acknowledged: list[str] = []
    tried: list[str] = []
    stop = threading.Event()

    def write(stream: int) -> None:
        number, client = 0, cloudlet.client("logs")
        while not stop.is_set():
            now = int(time.time() * 1000)
            batch = [f"{stream}/{number}/{at}" for at in range(20)]
            number += 1
            tried.extend(batch)
            try:
                client.put_log_events(logGroupName=GROUP, logStreamName=f"s{stream}",
                                      logEvents=[{"timestamp": now, "message": message} for message in batch])
                acknowledged.extend(batch)
            except (BotoCoreError, ClientError):
                time.sleep(0.02)

    writers = [threading.Thread(target=write, args=(stream,)) for stream in range(STREAMS)]
    for writer in writers:
        writer.start()
    source = random.Random(4)
    for _ in range(KILLS):
        # Long enough for the loop to be in the middle of merging: it begins five seconds after the first append.
        time.sleep(storage.MERGE_AFTER_S * source.random() * 1.2)
        cloudlet.kill()
        cloudlet.start()
    stop.set()
    for writer in writers:
        writer.join()
    found = everything(cloudlet)
    assert len(acknowledged) > 1000
    assert set(acknowledged) <= found.keys() <= set(tried)
    assert set(found.values()) == {1}
    wait_until_merged(cloudlet)
    assert everything(cloudlet) == found


def everything(cloudlet: Cloudlet) -> Counter[str]:
    pages: Any = cloudlet.client("logs").get_paginator("filter_log_events").paginate(logGroupName=GROUP)
    return Counter(event["message"] for page in pages for event in page["events"])


def wait_until_merged(cloudlet: Cloudlet) -> None:
    deadline = time.monotonic() + 60
    while chunks(cloudlet) > STREAMS * 12:
        assert time.monotonic() < deadline, "merging does not end"
        time.sleep(0.2)


def chunks(cloudlet: Cloudlet) -> int:
    with sqlite3.connect(f"file:{cloudlet.data_dir}/cloudlet.db?mode=ro", uri=True) as database:
        return int(database.execute("select count(*) from logs_chunk").fetchone()[0])
