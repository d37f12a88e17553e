"""Parts of uploads that nothing names any more: out of sight at once, gone some at a time, whatever interrupts that."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from cloudlet.admin import Admin
from cloudlet.services import s3
from cloudlet.services.iam import iam
from cloudlet.services.s3 import completion, garbage, parts
from tests.powercut import Recorder, after_power_cut
from tests.services.s3.counter import Counter
from tests.services.s3.test_uploads import begin, complete
from tests.wire.exchange import request_of

SIZE = 100_000
TABLES = ("s3_part", "s3_content", "s3_gone", "s3_garbage")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "PART_BYTES_MIN", SIZE)


def shared_parts(counter: Counter, count: int, key: str = "key") -> str:
    """An upload with so many parts that share their bytes, in a file of `source`; its id."""
    if counter.ask("HEAD", "/bkt/source").status == 404:
        counter.ask("PUT", "/bkt/source", bytes(SIZE))
    upload = begin(counter, key)
    for number in range(1, count + 1):
        assert counter.ask("PUT", f"/bkt/{key}", headers={"x-amz-copy-source": "/bkt/source"}, partNumber=str(number),
                           uploadId=upload).status == 200
    return upload


def refs(counter: Counter) -> list[int]:
    with counter.store.tx() as tx:
        return [count for (count,) in tx.execute("select refs from s3_content").fetchall()]


def whole(counter: Counter, upload: str, count: int) -> None:
    etag = counter.ask("HEAD", "/bkt/source").headers["etag"].strip('"')
    assert complete(counter, upload, [(number, etag) for number in range(1, count + 1)]).xml.findtext("ETag")


@pytest.mark.parametrize("becomes", ["abort", "delete", "overwrite", "bucket"])
def test_they_go_some_at_a_time(counter: Counter, becomes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = shared_parts(counter, 7)
    if becomes in ("delete", "overwrite"):
        whole(counter, upload, 7)
    if becomes == "bucket":
        counter.ask("DELETE", "/bkt/source")
        assert counter.ask("DELETE", "/bkt").status == 204
    elif becomes == "overwrite":
        counter.ask("PUT", "/bkt/key", b"new")
    else:
        counter.ask("DELETE", "/bkt/key", **({"uploadId": upload} if becomes == "abort" else {}))
    assert (counter.rows("s3_part"), counter.rows("s3_gone")) == (7, 1), "a request would have waited for all of them"
    if becomes != "bucket":
        assert counter.ask("GET", "/bkt/key", uploadId=upload).code == "NoSuchUpload"
        assert counter.ask("GET", "/bkt/key").body == b"new" or becomes != "overwrite"
        assert not counter.ask("GET", "/bkt", uploads="").xml.findall("Upload")
    lengths: list[int] = []

    def collect(tx: Any, limit: int) -> bool:
        lengths.extend(tx.execute("select count(*) from s3_part").fetchone())
        return whole_collect(tx, limit)
    whole_collect = parts.collect
    monkeypatch.setattr(garbage, "PARTS", 3)
    with monkeypatch.context() as patch:
        patch.setattr(parts, "collect", collect)
        counter.work()
    assert lengths == [7, 4, 1, 0]
    left = {"bucket": (0, 0, 0, 0), "overwrite": (0, 2, 0, 0)}.get(becomes, (0, 1, 0, 0))
    assert tuple(counter.rows(table) for table in TABLES) == left
    assert becomes == "bucket" or sorted(refs(counter))[-1] == 1  # the source's own
    assert counter.files() == [] or becomes != "bucket"


def test_a_replica_keeps_them(counter: Counter) -> None:
    upload = shared_parts(counter, 2)
    whole(counter, upload, 2)
    with counter.store.tx() as tx:  # as replication does
        tx.execute("insert into s3_version select id + 1, bucket + 1, key, version, current, marker, size, etag,"
                   " modified_ms, storage_class, owner, content, upload, mode, retain_until_ms, legal_hold, about,"
                   " checksum from s3_version where upload=?", (upload,))
    counter.ask("DELETE", "/bkt/key")
    counter.work()
    assert (counter.rows("s3_part"), refs(counter)) == (2, [3])


def test_a_power_cut_leaves_all_of_an_upload_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "PARTS", 2)
    (data := tmp_path / "data").mkdir()
    recorder = Recorder(data)
    with recorder.recording():
        counter = Counter(data, (s3.s3, iam))
        counter.ask("PUT", "/bkt")
        upload = shared_parts(counter, 5)
        whole(counter, upload, 5)
        begun = recorder.tell("made")
        counter.ask("DELETE", "/bkt/key")
        told = recorder.tell("deleted")
        counter.ask("DELETE", "/bkt/source")
        counter.work()
        counter.close()
        counter.store.close()
    drawn, seen = random.Random(1), set()
    for turn in range(15):
        at, disk = drawn.randint(begun + 1, len(recorder.events)), tmp_path / f"disk{turn}"
        after_power_cut(recorder.events, at, drawn.choice(["everything", "data", "some"]), turn, disk)
        again = Counter(disk, (s3.s3, iam))
        got = again.ask("GET", "/bkt/key")
        seen.add(got.status)
        assert got.body == bytes(5 * SIZE) if got.status == 200 else got.code == "NoSuchKey"
        assert got.status == 404 or at <= told
        asyncio.run(again.collector.look())
        again.work()
        kept = again.rows("s3_part")
        assert kept == (5 if got.status == 200 else 0)
        assert len(again.files()) == again.rows("s3_content")
        again.close()
        again.store.close()
    assert seen == {200, 404}


def clear(counter: Counter) -> None:
    with counter.store.tx() as tx:
        tx.clear()


@pytest.mark.parametrize("loss", ["everything", "some"])
def test_a_reset_takes_all_or_nothing(tmp_path: Path, loss: str) -> None:
    (place := tmp_path / "data").mkdir()
    recorder, data = Recorder(place), bytes(100_000)
    with recorder.recording():
        counter = Counter(place, (s3.s3, iam))
        counter.ask("PUT", "/bkt")
        counter.ask("PUT", "/bkt/file", data)
        counter.ask("PUT", "/bkt/row", b"data")
        begun = recorder.tell("put")
        admin = Admin(counter.store, counter.desk.site, 1, (), {}, lambda: clear(counter))
        answer = asyncio.run(admin.handle(request_of("POST", "/_cloudlet/reset", {})))
        assert answer is not None
        assert answer.status == 200
        told = recorder.tell("reset")
        asyncio.run(counter.collector.look())
        counter.close()
        counter.store.close()
    for at in {begun, told - 1, told, told + 1, *range(begun, len(recorder.events) + 1, 4)}:
        disk = tmp_path / f"disk{at}"
        after_power_cut(recorder.events, at, loss, at, disk)
        again = Counter(disk, (s3.s3, iam))
        found = [again.ask("GET", f"/bkt/{key}").body for key in ("file", "row")]
        there = again.ask("HEAD", "/bkt").status == 200
        assert found == [data, b"data"] if there else again.rows("s3_version") == 0
        assert not there or at < told
        asyncio.run(again.collector.look())
        assert len(again.files()) == there
        again.close()
        again.store.close()
