"""Rot: what is on the disk is read again in time, wrong bytes are never answered, and whoever runs this is told."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudlet.control.loop import Loop
from cloudlet.services.s3.contents import INLINE_BYTES
from cloudlet.services.s3.scrub import EVERY_S, RATE_BYTES, REST_S, Scrubber
from cloudlet.store import blobs as blobs_module
from cloudlet.store import queue
from cloudlet.store.blocks import BLOCK_BYTES
from cloudlet.store.outgoing import Rotten
from tests.services.s3.counter import Counter
from tests.services.s3.test_encryption import KEY
from tests.services.s3.test_encryption import headers as customer_headers
from tests.services.s3.test_uploads import begin, complete, send, sent

DATA = os.urandom(INLINE_BYTES + 1)


class Enough(Exception):
    """The worker came to rest."""


def scrub_once(counter: Counter) -> list[float]:
    """Lets the worker run until it rests; how long it slept for the bytes that it read."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds == REST_S:
            raise Enough
        slept.append(seconds)
    counter.desk.clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(Enough):
        asyncio.run(Scrubber(counter.store, counter.blobs).run())
    return slept


def tell(counter: Counter) -> list[str]:
    """Lets the loop run; what `cloudlet status` shows then."""
    async def main() -> None:
        loop = Loop(counter.store, counter.desk.clock, counter.controller.reconcilers)
        runner = asyncio.ensure_future(loop.run())
        while queue.waiting(counter.store, 1):  # noqa: ASYNC110 - threads announce nothing
            await asyncio.sleep(0.001)
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)
    asyncio.run(main())
    return [each.reason for each in queue.broken(counter.store)]


def later(counter: Counter) -> None:
    counter.desk.clock.time += EVERY_S


def flip(file: Path) -> None:
    with open(file, "r+b") as opened:
        opened.seek(30_000)
        byte = opened.read(1)
        opened.seek(30_000)
        opened.write(bytes([byte[0] ^ 1]))


def forbid(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)  # which cannot be opened, not even by root


@pytest.mark.parametrize(("spoil", "why"), [
    (flip, "its checksum is another"), (lambda file: os.truncate(file, 1000), "has 1000 bytes instead of"),
    (lambda file: os.truncate(file, 1 << 20), "has 1048576 bytes instead of"), (Path.unlink, "is missing"),
    (forbid, "cannot be read: Too many levels")])
def test_a_rotten_file_is_found_told_and_not_answered(counter: Counter, spoil: Callable[[Path], Any], why: str) -> None:
    counter.ask("PUT", "/bkt/key", DATA)
    counter.ask("PUT", "/bkt/other", DATA[::-1])
    bad, good = (next(path for path in counter.files() if path.read_bytes() == data) for data in (DATA, DATA[::-1]))
    spoil(bad)
    assert scrub_once(counter) == [], "nothing is due so early"
    later(counter)
    assert len(scrub_once(counter)) >= 1
    (told,) = tell(counter)
    assert why in told
    assert told.endswith("s3://bkt/key (version null)")
    answer = counter.ask("GET", "/bkt/key", headers={"range": "bytes=0-9"})
    assert (answer.status, answer.code) == (500, "InternalError")
    assert counter.ask("GET", "/bkt/other").body == DATA[::-1]
    assert counter.ask("PUT", "/bkt/key", b"new").status == 200
    assert tell(counter) == []
    assert counter.ask("GET", "/bkt/key").body == b"new"
    assert counter.files() == [good]


def test_what_was_read_is_not_due_again(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", DATA * 20)
    later(counter)
    slept = scrub_once(counter)
    assert sum(slept) == pytest.approx(20 * len(DATA) / RATE_BYTES)
    assert (scrub_once(counter), tell(counter)) == ([], []), "even after a restart"


def test_a_disk_that_cannot_be_read_may_recover(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    counter.ask("PUT", "/bkt/key", DATA)

    def fail(*args: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")
    later(counter)
    with monkeypatch.context() as patch:
        patch.setattr(blobs_module.os, "pread", fail)
        scrub_once(counter)
        (told,) = tell(counter)
        assert "Input/output error" in told
        assert counter.ask("GET", "/bkt/key").code == "InternalError"
    later(counter)
    scrub_once(counter)
    assert tell(counter) == []
    assert counter.ask("GET", "/bkt/key").body == DATA


def test_too_many_open_files_are_no_rot(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    counter.ask("PUT", "/bkt/key", DATA)

    def fail(*args: object) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")
    monkeypatch.setattr(blobs_module.os, "pread", fail)
    with pytest.raises(OSError, match="Too many"):
        asyncio.run(Scrubber(counter.store, counter.blobs).look(1))
    monkeypatch.undo()
    assert counter.ask("GET", "/bkt/key").body == DATA


def test_what_lies_in_the_database_is_sampled(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("good", "bad"):
        counter.ask("PUT", f"/bkt/{key}", key.encode())
    with counter.store.tx() as tx:
        tx.execute("update s3_content set body=? where body=?", (b"bat", b"bad"))
    monkeypatch.setattr(counter.desk.clock, "token", lambda length: "0" * length)
    scrub_once(counter)
    (told,) = tell(counter)
    assert "s3://bkt/bad" in told
    counter.ask("PUT", "/bkt/bad", b"new")
    assert (tell(counter), counter.ask("GET", "/bkt/bad").body) == ([], b"new")
    assert counter.ask("GET", "/bkt/good").body == b"good"


def test_what_is_deleted_meanwhile_is_forgotten(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", DATA)
    later(counter)

    async def sleep(seconds: float) -> None:
        await counter.gateway.handle(counter.signed("DELETE", "/bkt/key"))
    counter.desk.clock.sleep = sleep  # type: ignore[method-assign]
    assert asyncio.run(Scrubber(counter.store, counter.blobs).look(1)) is None
    assert tell(counter) == []
    assert (counter.rows("s3_content"), counter.files()) == (0, [])


def test_a_part_that_is_rotten_is_named_by_its_object(counter: Counter) -> None:
    upload = begin(counter, "key")
    etag = send(counter, upload, 1, DATA, "key").headers["etag"]
    complete(counter, upload, [(1, etag)], "key")
    flip(counter.files()[0])
    later(counter)
    scrub_once(counter)
    (told,) = tell(counter)
    assert "s3://bkt/key" in told
    assert counter.ask("GET", "/bkt/key").code == "InternalError"


def test_rot_that_nobody_found_yet_is_met_before_the_end(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", DATA * 40)
    (file,) = counter.files()
    flip(file)
    response = asyncio.run(counter.gateway.handle(counter.signed("GET", "/bkt/key")))
    assert response.status == 200
    got = bytearray()

    async def read() -> None:
        async for chunk in response.body:  # type: ignore[union-attr]
            got.extend(chunk)
    with pytest.raises(OSError, match="checksum"):
        asyncio.run(read())
    assert len(got) < len(DATA) * 40
    copy = counter.ask("PUT", "/bkt/copy", headers={
        "x-amz-copy-source": "/bkt/key", "x-amz-checksum-algorithm": "SHA256"})
    assert copy.status == 500, "a copy is not taken of it as if it were right"
    assert counter.ask("GET", "/bkt/copy").status == 404
    assert counter.files() == [file]
    (told,) = tell(counter)
    assert "s3://bkt/key" in told
    assert counter.ask("GET", "/bkt/key").code == "InternalError", "now it is known"


LARGE = os.urandom(3 * BLOCK_BYTES + 5)


def spoil(counter: Counter, at: int) -> None:
    (file,) = counter.files()
    with open(file, "r+b") as opened:
        opened.seek(at)
        byte = opened.read(1)
        opened.seek(at)
        opened.write(bytes([byte[0] ^ 1]))


def ranged(counter: Counter, start: int, end: int, headers: dict[str, str] | None = None) -> bytes:
    got = counter.ask("GET", "/bkt/key", headers={**(headers or {}), "range": f"bytes={start}-{end - 1}"})
    assert got.status == 206
    return got.body


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_range_is_never_answered_wrong(counter: Counter, encrypted: bool) -> None:
    key = customer_headers(KEY) if encrypted else {}
    counter.ask("PUT", "/bkt/key", LARGE, headers=key)
    assert counter.rows("s3_blocks") == 1
    spoil(counter, BLOCK_BYTES + 7)
    for start, end in ((0, 5), (BLOCK_BYTES - 5, BLOCK_BYTES), (2 * BLOCK_BYTES, len(LARGE))):
        assert ranged(counter, start, end, key) == LARGE[start:end]
    for start, end in ((BLOCK_BYTES + 100, BLOCK_BYTES + 101), (5, BLOCK_BYTES + 1), (BLOCK_BYTES, len(LARGE))):
        with pytest.raises(Rotten):
            ranged(counter, start, end, key)
    assert "its checksum is another" in tell(counter)[0]
    assert counter.ask("GET", "/bkt/key", headers={**key, "range": "bytes=0-4"}).code == "InternalError"
    counter.ask("DELETE", "/bkt/key")
    counter.work()
    assert (counter.rows("s3_blocks"), counter.files()) == (0, [])


def test_nor_is_one_of_parts(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = begin(counter)
    complete(counter, upload, sent(counter, upload, bytes(5 << 20), LARGE))
    small = min(counter.files(), key=lambda path: path.stat().st_size)
    with open(small, "r+b") as opened:
        opened.write(bytes([LARGE[0] ^ 1]))
    end = (5 << 20) + len(LARGE)
    assert ranged(counter, (5 << 20) + BLOCK_BYTES, end) == LARGE[BLOCK_BYTES:]
    assert ranged(counter, 100, 5 << 20) == bytes((5 << 20) - 100)
    with pytest.raises(Rotten):
        ranged(counter, 100, (5 << 20) + 1)


def test_what_is_older_than_checksums_of_blocks_gets_them(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", LARGE)
    with counter.store.tx() as tx:
        (sums,) = tx.execute("delete from s3_blocks returning sums").fetchone()
    assert ranged(counter, 5, 10) == LARGE[5:10]
    later(counter)
    scrub_once(counter)
    with counter.store.tx() as tx:
        assert tx.execute("select sums from s3_blocks").fetchone() == (sums,)
    later(counter)
    spoil(counter, 5)
    scrub_once(counter)
    assert counter.ask("GET", "/bkt/key", headers={"range": "bytes=0-0"}).code == "InternalError"


def test_a_small_file_has_one_block(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", DATA)
    assert (counter.rows("s3_blocks"), ranged(counter, 5, 10)) == (0, DATA[5:10])
    spoil(counter, 60_000)
    with pytest.raises(Rotten):
        ranged(counter, 5, 10)
