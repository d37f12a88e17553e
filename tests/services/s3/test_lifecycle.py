"""Lifecycles carried out: what expires, moves and is given up, and what is not."""

import asyncio
from typing import Any

import pytest

from cloudlet.services.s3 import lifecycle
from cloudlet.services.s3.lifecycle import Keeper
from tests.services.s3.counter import Counter
from tests.services.s3.settings.test_bucket_lifecycle import configure
from tests.services.s3.test_lock import hold
from tests.services.s3.test_versions import set_versioning

DAY_S = 86_400
EXPIRE = "<Expiration><Days>1</Days></Expiration>"


def carry_out(counter: Counter, days: float = 0, bucket: str = "bkt") -> None:
    counter.desk.clock.time += days * DAY_S
    asyncio.run(Keeper(counter.store).carry_out(bucket))


def versions(counter: Counter, bucket: str = "bkt") -> list[tuple[str, str]]:
    listed = counter.ask("GET", f"/{bucket}", versions="").xml
    return sorted((each.tag, each.findtext("Key")) for each in listed if each.tag in ("Version", "DeleteMarker"))


def put(counter: Counter, key: str = "key", data: bytes = b"data", bucket: str = "bkt", **headers: str) -> Any:
    return counter.ask("PUT", f"/{bucket}/{key}", data, headers=headers).headers


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "SLICE", 3)


def test_objects_expire(counter: Counter) -> None:
    configure(counter, f"<Filter><Prefix>a/</Prefix></Filter>{EXPIRE}")
    for number in range(10):
        said = put(counter, f"a/{number}")
    put(counter, "b")
    assert said["x-amz-expiration"].endswith('rule-id="r0"')
    assert counter.ask("HEAD", "/bkt/a/1").headers["x-amz-expiration"] == said["x-amz-expiration"]
    assert "x-amz-expiration" not in counter.ask("GET", "/bkt/b").headers
    assert "x-amz-expiration" not in counter.ask("HEAD", "/bkt/a/1", versionId="null").headers  # as on AWS
    carry_out(counter)
    assert len(versions(counter)) == 11
    carry_out(counter, 2)
    assert versions(counter) == [("Version", "b")]
    assert counter.rows("s3_content") == 1
    carry_out(counter)  # again, as after a crash
    assert versions(counter) == [("Version", "b")]


def test_with_versions_a_marker_covers_what_expired(counter: Counter) -> None:
    set_versioning(counter, "Enabled")
    configure(counter, f"<Filter/>{EXPIRE}"
              "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>")
    put(counter)
    carry_out(counter, 2)
    assert versions(counter) == [("DeleteMarker", "key"), ("Version", "key")]
    carry_out(counter)
    assert len(versions(counter)) == 2
    carry_out(counter, 2)  # first the version goes, then the marker that covers nothing
    carry_out(counter)
    assert versions(counter) == []


def test_newer_versions_are_kept(counter: Counter) -> None:
    set_versioning(counter, "Enabled")
    made = [put(counter)["x-amz-version-id"] for _ in range(9)]
    put(counter, "other")
    configure(counter, "<Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>"
              "<NewerNoncurrentVersions>4</NewerNoncurrentVersions></NoncurrentVersionExpiration>")
    carry_out(counter)
    assert len(versions(counter)) == 10
    carry_out(counter, 2)
    listed = counter.ask("GET", "/bkt", versions="").xml
    assert [each.findtext("VersionId") for each in listed.findall("Version")][:-1] == made[:3:-1]
    assert counter.ask("GET", "/bkt/key").headers["x-amz-version-id"] == made[-1]


def test_what_is_locked_stays(counter: Counter) -> None:
    counter.ask("PUT", "/lck", headers={"x-amz-bucket-object-lock-enabled": "true"})
    put(counter, bucket="lck")
    hold(counter, "ON")
    put(counter, bucket="lck")
    configure(counter, f"<Filter/>{EXPIRE}<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>"
              "</NoncurrentVersionExpiration>", bucket="lck")
    carry_out(counter, 2, "lck")
    assert [kind for kind, _ in versions(counter, "lck")] == ["DeleteMarker", "Version", "Version"]
    carry_out(counter, 9, "lck")
    assert versions(counter, "lck") == [("DeleteMarker", "key"), ("Version", "key")]
    listed = counter.ask("GET", "/lck", versions="").xml.find("Version").findtext("VersionId")
    assert counter.ask("GET", "/lck/key", legal_hold="", versionId=listed).xml.findtext("Status") == "ON"


def test_objects_move_to_other_classes(counter: Counter) -> None:
    configure(counter, "<Filter/><Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition>"
              "<Transition><Days>60</Days><StorageClass>GLACIER</StorageClass></Transition>")
    put(counter, data=bytes(128 << 10))
    put(counter, "small")
    etag = counter.ask("HEAD", "/bkt/key").headers["etag"]
    carry_out(counter, 32)
    head = counter.ask("HEAD", "/bkt/key").headers
    assert (head["x-amz-storage-class"], head["etag"]) == ("STANDARD_IA", etag)
    assert "x-amz-storage-class" not in counter.ask("HEAD", "/bkt/small").headers
    carry_out(counter, 30)
    assert counter.ask("GET", "/bkt/key").code == "InvalidObjectState"


def test_uploads_are_given_up(counter: Counter) -> None:
    configure(counter, "<Filter><Prefix>a</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>2"
              "</DaysAfterInitiation></AbortIncompleteMultipartUpload>")
    begun = [counter.ask("POST", f"/bkt/{key}", uploads="") for key in ("a1", "a2", "a3", "a4", "b")]
    assert begun[0].headers["x-amz-abort-rule-id"] == "r0" and begun[0].headers["x-amz-abort-date"]
    assert "x-amz-abort-date" not in begun[-1].headers
    upload = begun[0].xml.findtext("UploadId")
    counter.ask("PUT", "/bkt/a1", b"part", partNumber="1", uploadId=upload)
    assert counter.ask("GET", "/bkt/a1", uploadId=upload).headers["x-amz-abort-rule-id"] == "r0"
    carry_out(counter, 1)
    assert counter.rows("s3_upload") == 5
    carry_out(counter, 2)
    counter.work()
    assert (counter.rows("s3_upload"), counter.rows("s3_part"), counter.rows("s3_content")) == (1, 0, 0)


def test_what_has_no_rules_any_more(counter: Counter) -> None:
    configure(counter, f"<Filter/>{EXPIRE}")
    put(counter)
    counter.ask("DELETE", "/bkt", lifecycle="")
    carry_out(counter, 9)
    carry_out(counter, bucket="gone")
    assert versions(counter) == [("Version", "key")]


def test_every_bucket_is_asked_for_at_the_start_and_daily(counter: Counter) -> None:
    configure(counter, f"<Filter/>{EXPIRE}")
    with counter.store.tx() as tx:
        tx.execute("delete from work")
    asyncio.run(Keeper(counter.store).look())
    with counter.store.tx() as tx:
        assert tx.execute("select kind, key from work").fetchall() == [("s3.lifecycle", "bkt")]
