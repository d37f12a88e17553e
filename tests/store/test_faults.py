"""What the world does to a file: full disks, cut power, killed processes, damage, and files of other programs."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from cloudlet.kernel.clock import SystemClock
from cloudlet.store import queue
from cloudlet.store.db import OutOfSpace, Store
from cloudlet.store.directory import Unusable
from cloudlet.store.records import record


@record("test.fault", reconciled=True, indexes={"colour": lambda r: r.colour})
class Thing:
    id: str
    colour: str = ""
    filling: str = ""


def things(path: Path) -> list[str]:
    store = Store(str(path), SystemClock())
    with store.tx() as tx:
        found = [thing.id for thing in tx.find(Thing)]
        assert tx.execute("pragma integrity_check").fetchall() == [("ok",)]
    store.close()
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # which is told of a sync before the file is free


@pytest.mark.root
def test_a_full_disk_takes_the_transaction_back_and_nothing_else(small_disk: Path) -> None:
    store = Store(str(small_disk / "db"), SystemClock())
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    kept = []

    def fill() -> None:
        for n in range(1000):
            with store.tx() as tx:
                tx.put(Thing(f"{n:03}", "red", "x" * 5000))
            kept.append(f"{n:03}")
    with pytest.raises(OutOfSpace, match="full") as caught:
        fill()
    assert (caught.value.code, caught.value.status) == ("ServiceUnavailable", 503)
    for _ in range(3):
        with pytest.raises(OutOfSpace), store.tx() as tx:
            tx.put(Thing("big", "red", "x" * 50000))
        with store.tx() as tx:
            assert [thing.id for thing in tx.find(Thing, colour="red")] == kept
    asyncio.run(store.flush())
    ballast.unlink()
    with store.tx() as tx:
        tx.put(Thing("after"))
    store.checkpoint()
    store.close()
    assert things(small_disk / "db") == [*kept, "after"]


@pytest.mark.root
def test_a_disk_that_is_full_at_the_start_is_a_clear_error(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(bytes(2 << 20))
    with pytest.raises(Unusable, match="full"):
        Store(str(small_disk / "db"), SystemClock())


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A file system in a file that holds only what was synced, as a disk does when the power goes."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with open(image, "wb") as file:
        file.truncate(24 << 20)
    if not shutil.which("mkfs.ext4"):
        pytest.skip("mkfs.ext4 is missing")
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    if subprocess.run(["mount", "-o", "loop,commit=3600", str(image), str(disk)], capture_output=True).returncode:
        pytest.skip("no loop device can be mounted here")
    yield image, disk
    subprocess.run(["umount", str(disk)], check=True)


def after_power_cut(image: Path, tmp_path: Path, name: str) -> list[str]:
    """What a copy of the disk holds, made without asking the running file system for anything."""
    copy, disk = tmp_path / f"{name}.image", tmp_path / name
    disk.mkdir()
    subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
    subprocess.run(["mount", "-o", "loop", str(copy), str(disk)], check=True)
    try:
        return things(disk / "db")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        copy.unlink()


@pytest.mark.root
def test_what_was_flushed_survives_a_power_cut(ext4: tuple[Path, Path], tmp_path: Path) -> None:
    image, disk = ext4
    store = Store(str(disk / "db"), SystemClock())
    with store.tx() as tx:
        tx.put(Thing("one"))
    asyncio.run(store.flush())
    assert after_power_cut(image, tmp_path, "flushed") == ["one"]
    store.checkpoint()
    for name in ("two", "three"):  # over the beginning of a log that was used before
        with store.tx() as tx:
            tx.put(Thing(name))
    asyncio.run(store.flush())
    assert after_power_cut(image, tmp_path, "again") == ["one", "three", "two"]
    with store.tx() as tx:
        tx.put(Thing("unsynced"))
    left = after_power_cut(image, tmp_path, "unflushed")
    store.close()
    assert left == ["one", "three", "two"], "the test's disk must lose what was not synced, or it proves nothing"


CHILD = """
import sys
from cloudlet.kernel.clock import SystemClock
from cloudlet.store.db import Store
from tests.store.test_faults import Thing
store = Store(sys.argv[1], SystemClock())
for n in range(100000):
    with store.tx() as tx:
        tx.put(Thing(f"{n:06}", "red"))
    print(n, flush=True)
"""


def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "db"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True,
                             cwd=Path(__file__).parents[2])
    assert child.stdout
    last = 0
    for line in child.stdout:
        last = int(line)
        if last >= 300:
            child.send_signal(signal.SIGKILL)
            break
    last = max([last, *map(int, child.stdout.read().split())])
    child.stdout.close()
    child.wait()
    found = things(path)
    assert len(found) in (last + 1, last + 2)  # one may have been committed and not yet told
    store = Store(str(path), SystemClock())
    assert [work.key for work in queue.waiting(store, 10**6)] == found, "the work stands with its records"
    store.close()


def test_a_copy_of_file_and_log_is_a_whole_store(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "db"), SystemClock())
    with store.tx() as tx:
        tx.put(Thing("a", "red"))
    asyncio.run(store.flush())
    (tmp_path / "copy").mkdir()
    subprocess.run(["cp", str(tmp_path / "db"), str(tmp_path / "db-wal"), str(tmp_path / "copy")], check=True)
    store.close()
    assert things(tmp_path / "copy" / "db") == ["a"]


def test_damage_and_foreign_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(os.urandom(20_000))
    foreign = tmp_path / "foreign"
    other = apsw.Connection(str(foreign))
    other.execute("create table theirs (x); insert into theirs values (1)")
    other.close()
    for path in (noise, foreign):
        before = path.read_bytes()
        with pytest.raises(Unusable, match=path.name):
            Store(str(path), SystemClock())
        assert path.read_bytes() == before
    with pytest.raises(Unusable, match="nowhere"):
        Store(str(tmp_path / "nowhere" / "db"), SystemClock())
