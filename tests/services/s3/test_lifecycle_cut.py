"""A pass of lifecycle rules that the power or a kill cuts off: nothing goes that should stay, and the next pass does
what is left, to the same end."""

import asyncio
import random
from pathlib import Path
from typing import NamedTuple

import pytest

from cloudlet.services import s3
from cloudlet.services.iam import iam
from cloudlet.services.s3 import garbage, lifecycle
from cloudlet.services.s3.lifecycle import Keeper
from tests.powercut import LOSSES, Recorder, after_power_cut
from tests.services.s3.counter import Counter
from tests.services.s3.settings.test_bucket_lifecycle import configure
from tests.services.s3.test_versions import set_versioning

RULES = ("<Filter><Prefix>old/</Prefix></Filter><Expiration><Days>3</Days></Expiration>"
         "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>2"
         "</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
         "<Filter><Prefix>up/</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1"
         "</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
         "<Filter><Prefix>cold/</Prefix></Filter><Transition><Days>2</Days><StorageClass>GLACIER</StorageClass>"
         "</Transition>")
LATER_S = 5 * 86_400
KEYS, VERSIONS = 6, 5


class Kept(NamedTuple):
    """What is left of a bucket: versions with their classes, keys that a marker covers, and uploads under way."""

    versions: frozenset[tuple[str, str, str]]
    covered: frozenset[str]
    uploads: int

    @classmethod
    def of(cls, counter: Counter) -> "Kept":
        listed = counter.ask("GET", "/bkt", versions="").xml
        return cls(frozenset((str(each.findtext("Key")), str(each.findtext("VersionId")),
                              str(each.findtext("StorageClass"))) for each in listed.findall("Version")),
                   frozenset(str(each.findtext("Key")) for each in listed.findall("DeleteMarker")
                             if each.findtext("IsLatest") == "true"),
                   len(counter.ask("GET", "/bkt", uploads="").xml.findall("Upload")))


def fill(counter: Counter) -> dict[tuple[str, str], bytes]:
    """Everything that the rules are about, and what they leave alone; the bytes of each version."""
    counter.ask("PUT", "/bkt")
    set_versioning(counter, "Enabled")
    drawn, there = random.Random(5), {}
    for number in range(KEYS):
        small = 70_000 if number % 2 else 500
        for key, count, size in ((f"old/{number}", VERSIONS, small), (f"cold/{number}", 1, 128 << 10),
                                 (f"stays/{number}", 2, small)):
            for _ in range(count):
                data = drawn.randbytes(size)
                there[key, counter.ask("PUT", f"/bkt/{key}", data).headers["x-amz-version-id"]] = data
        upload = counter.ask("POST", f"/bkt/up/{number}", uploads="").xml.findtext("UploadId")
        counter.ask("PUT", f"/bkt/up/{number}", drawn.randbytes(70_000), uploadId=upload, partNumber="1")
    configure(counter, *RULES)
    return there


def go_through(counter: Counter) -> None:
    """Two passes: the second sees what the first made noncurrent."""
    counter.desk.clock.time += LATER_S
    for _ in range(2):
        asyncio.run(Keeper(counter.store).carry_out("bkt"))
    counter.work()


@pytest.mark.parametrize("moments", [15, pytest.param(300, marks=pytest.mark.slow)])
def test_a_pass_that_is_cut_off_goes_on(moments: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "SLICE", 4)
    monkeypatch.setattr(garbage, "PARTS", 2)
    (first := tmp_path / "first").mkdir()
    recorder = Recorder(first)
    with recorder.recording():
        counter = Counter(first, (s3.s3, iam))
        there, before = fill(counter), Kept.of(counter)
        asyncio.run(counter.store.flush())
        begun = recorder.tell("filled")
        go_through(counter)
        asyncio.run(counter.store.flush())
        end = Kept.of(counter)
        counter.close()
        counter.store.close()
    assert (len(end.versions), len(end.covered), end.uploads) == (KEYS * 5, KEYS, 0)
    assert {each[2] for each in end.versions if each[0].startswith("cold/")} == {"GLACIER"}
    drawn, cut_off = random.Random(moments), 0
    for turn in range(moments):
        disk = tmp_path / f"disk{turn}"
        after_power_cut(recorder.events, drawn.randint(begun + 1, len(recorder.events)), drawn.choice(LOSSES), turn,
                        disk)
        again = Counter(disk, (s3.s3, iam))
        now = Kept.of(again)
        cut_off += now not in (before, end)
        assert names(end) <= names(now) <= names(before), "it went although it should stay, or nobody put it"
        for key, version in names(now):
            got = again.ask("GET", f"/bkt/{key}", versionId=version)
            assert got.body == there[key, version] if got.status == 200 else got.code == "InvalidObjectState"
        go_through(again)
        assert Kept.of(again) == end
        asyncio.run(again.collector.look())
        with again.store.tx() as tx:
            (files,) = tx.execute("select count(*) from s3_content where file is not null").fetchone()
        assert len(again.files()) == files, "space did not come back"
        again.close()
        again.store.close()
    assert cut_off > moments // 8, "no moment was within the pass"


def names(kept: Kept) -> set[tuple[str, str]]:
    return {(key, version) for key, version, _ in kept.versions}
