"""Full disks and deletions in the middle: nothing half-written, nothing lost, nothing brought back."""

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlet.services import logs as front
from cloudlet.services.logs import logs, storage
from cloudlet.services.logs.service import ResourceNotFound
from cloudlet.store.db import OutOfSpace
from tests.services.desk import Desk
from tests.services.logs.test_chunks import chunk_count, stream_id, until_done
from tests.services.logs.test_events import GROUP, filtered, now_ms
from tests.services.logs.test_groups import make, put


@pytest.fixture
def small_desk(tmp_path: Path) -> Iterator[Desk]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    desk = Desk(disk)
    desk.store.create_tables(front.TABLES)
    yield desk
    desk.store.close()
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.root
def test_on_a_full_disk_a_batch_is_taken_whole_or_not_at_all(small_desk: Desk) -> None:
    desk, source = small_desk, random.Random(1)
    ballast = Path(desk.store.path).with_name("ballast")
    ballast.write_bytes(os.urandom(400_000))
    make(desk, "s")
    now, kept = now_ms(desk), []

    def batch() -> list[tuple[int, str]]:
        return [(now, source.randbytes(300).hex()) for _ in range(20)]

    def fill() -> None:
        for _ in range(1000):
            events = batch()
            put(desk, "s", *events)
            kept.extend(message for _, message in events)
    with pytest.raises(OutOfSpace) as caught:
        fill()
    assert caught.value.status == 503
    assert [event["message"] for event in filtered(desk)] == kept
    with pytest.raises(OutOfSpace):  # to merge takes space too, and waits for it
        asyncio.run(until_done(desk, storage.MERGE, stream_id(desk)))
    assert [event["message"] for event in filtered(desk)] == kept
    ballast.unlink()
    events = batch()
    put(desk, "s", *events)
    asyncio.run(until_done(desk, storage.MERGE, stream_id(desk)))
    assert [event["message"] for event in filtered(desk)] == [*kept, *(message for _, message in events)]
    assert chunk_count(desk) < 10


def test_a_group_deleted_while_it_is_filtered_is_gone_for_the_next_page(desk: Desk) -> None:
    make(desk, "s")
    for number in range(4):
        put(desk, "s", (now_ms(desk) + number, "x"))
    page = desk(logs, "FilterLogEvents", logGroupName=GROUP, limit=2)
    desk(logs, "DeleteLogGroup", logGroupName=GROUP)
    with pytest.raises(ResourceNotFound):
        desk(logs, "FilterLogEvents", logGroupName=GROUP, nextToken=page["nextToken"])
    make(desk, "s")
    assert desk(logs, "FilterLogEvents", logGroupName=GROUP, nextToken=page["nextToken"])["events"] == []
