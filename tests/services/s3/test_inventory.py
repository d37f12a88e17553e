"""Inventories delivered: what their lines and manifests say, when they come, and that they come whole."""

import asyncio
import csv
import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from cloudlet.control.outcome import Again, Done
from cloudlet.services import s3
from cloudlet.services.iam import iam
from cloudlet.services.s3 import inventory
from cloudlet.services.s3.inventory import Lister, is_due
from tests.powercut import LOSSES, Recorder, after_power_cut
from tests.services.s3.counter import ACCOUNT, Counter, document
from tests.services.s3.settings.test_bucket_inventory import put, wanted
from tests.services.s3.settings.test_bucket_lifecycle import configure
from tests.services.s3.test_encryption import KEY, headers
from tests.services.s3.test_uploads import begin, complete, sent
from tests.services.s3.test_versions import set_versioning

FIELDS = ("Size", "LastModifiedDate", "ETag", "StorageClass", "IsMultipartUploaded", "ReplicationStatus",
          "EncryptionStatus", "ObjectLockRetainUntilDate", "ObjectLockMode", "ObjectLockLegalHoldStatus",
          "IntelligentTieringAccessTier", "BucketKeyStatus", "ChecksumAlgorithm", "ObjectOwner",
          "LifecycleExpirationDate")
POLICY = document({"Principal": {"Service": "s3.amazonaws.com"}, "Action": "s3:PutObject", "Resource":
                   "arn:aws:s3:::dst/*", "Condition": {
                       "ArnLike": {"aws:SourceArn": "arn:aws:s3:::bkt"}, "StringEquals": {
                           "aws:SourceAccount": ACCOUNT, "s3:x-amz-acl": "bucket-owner-full-control"}}})


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "SLICE", 2)


@pytest.fixture
def pair(counter: Counter) -> Counter:
    counter.ask("PUT", "/dst")
    assert counter.ask("PUT", "/dst", POLICY.encode(), policy="").status == 204
    return counter


def deliver(counter: Counter, name: str = "all") -> Any:
    return asyncio.run(Lister(counter.store).deliver(f"bkt/{name}"))


def keys(counter: Counter) -> list[str]:
    return [str(each.text) for each in counter.ask("GET", "/dst", list_type="2").xml.findall("Contents/Key")]


def listed(counter: Counter) -> list[dict[str, str]]:
    """The lines of the newest list, by the names in its manifest, which is right."""
    found = keys(counter)
    (manifest,) = (json.loads(counter.ask("GET", f"/dst/{key}").body) for key in found if key.endswith("manifest.json"))
    (file,) = manifest["files"]
    data = counter.ask("GET", f"/dst/{file['key']}").body
    assert (file["size"], file["MD5checksum"]) == (len(data), hashlib.md5(data).hexdigest())
    names = manifest["fileSchema"].split(", ")
    return [dict(zip(names, row, strict=True)) for row in csv.reader(io.StringIO(gzip.decompress(data).decode()))]


def test_every_version_is_a_line(pair: Counter) -> None:
    set_versioning(pair, "Enabled")
    configure(pair, "<Filter><Prefix>a</Prefix></Filter><Expiration><Days>1</Days></Expiration>")
    one = pair.ask("PUT", "/bkt/a \u00fc/\"b\"", b"data", headers={"x-amz-checksum-sha256": (
        "Om6weQ85rIfJTzhWst0sXREOaBFgImGpqSPTuyOtyLc=")}).headers
    cold = {**headers(KEY), "x-amz-storage-class": "STANDARD_IA"}
    secret = pair.ask("PUT", "/bkt/secret", b"x", headers=cold).headers
    marker = pair.ask("DELETE", "/bkt/secret").headers
    upload = begin(pair, "whole")
    complete(pair, upload, sent(pair, upload, b"part", key="whole"), "whole")
    put(pair, wanted(fields=FIELDS))
    assert deliver(pair) == Again()
    first, cover, beneath, whole = listed(pair)
    owner = pair.ask("GET", "/bkt", list_type="2", fetch_owner="true").xml.findtext("Contents/Owner/ID")
    at = "2023-11-14T22:13:20.000Z"
    assert first == {
        "Bucket": "bkt", "Key": "a%20%C3%BC/%22b%22", "VersionId": one["x-amz-version-id"], "IsLatest": "true",
        "IsDeleteMarker": "false", "Size": "4", "LastModifiedDate": at, "ETag": one["etag"].strip('"'),
        "StorageClass": "STANDARD", "IsMultipartUploaded": "false", "ReplicationStatus": "", "EncryptionStatus":
        "SSE-S3", "ObjectLockRetainUntilDate": "", "ObjectLockMode": "", "ObjectLockLegalHoldStatus": "OFF",
        "IntelligentTieringAccessTier": "", "BucketKeyStatus": "DISABLED", "ChecksumAlgorithm": "SHA256",
        "ObjectOwner": owner, "LifecycleExpirationDate": "2023-11-16T00:00:00.000Z"}
    assert {name: value for name, value in cover.items() if value} == {
        "Bucket": "bkt", "Key": "secret", "VersionId": marker["x-amz-version-id"], "IsLatest": "true",
        "IsDeleteMarker": "true", "LastModifiedDate": at, "ObjectOwner": owner}
    assert (beneath["VersionId"], beneath["IsLatest"], beneath["EncryptionStatus"], beneath["StorageClass"]) == (
        secret["x-amz-version-id"], "false", "SSE-C", "STANDARD_IA")
    assert (whole["IsMultipartUploaded"], whole["ETag"][-2:]) == ("true", "-1")


def test_where_it_lies_and_what_is_beside_it(pair: Counter) -> None:
    for key in ("a/1", "a/2", "a/3", "b"):
        pair.ask("PUT", f"/bkt/{key}", b"data")
    to = "<Bucket>arn:aws:s3:::dst</Bucket><Format>CSV</Format><Prefix>lists</Prefix>"
    put(pair, wanted(to=to, versions="Current", more="<Filter><Prefix>a/</Prefix></Filter>"))
    deliver(pair)
    assert listed(pair) == [{"Bucket": "bkt", "Key": f"a/{number}"} for number in "123"]
    checksum, manifest, data, link = keys(pair)
    folder = "lists/bkt/all/"
    assert (checksum, manifest, link) == (f"{folder}2023-11-14T22-13Z/manifest.checksum",
                                          f"{folder}2023-11-14T22-13Z/manifest.json",
                                          f"{folder}hive/dt=2023-11-14-22-13/symlink.txt")
    said = pair.ask("GET", f"/dst/{manifest}").body
    assert pair.ask("GET", f"/dst/{checksum}").body.decode() == hashlib.md5(said).hexdigest()
    assert pair.ask("GET", f"/dst/{link}").body.decode() == f"s3://dst/{data}\n"
    assert {name: value for name, value in json.loads(said).items() if name != "files"} == {
        "sourceBucket": "bkt", "destinationBucket": "arn:aws:s3:::dst", "version": "2016-11-30",
        "creationTimestamp": "1700000000000", "fileFormat": "CSV", "fileSchema": "Bucket, Key"}


def test_a_long_list_is_a_file(pair: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "SLICE", 100)
    pair.ask("PUT", "/bkt/seed", b"")
    with pair.store.tx() as tx:
        for number in range(5000):  # whose keys cannot be squeezed
            tx.execute("insert into s3_version select ?, bucket, ?, version, 1, 0, 0, etag, modified_ms,"
                       " storage_class, owner, null, null, '', 0, 0, about, checksum from s3_version where key='seed'",
                       (-1 - number, hashlib.sha256(b"%d" % number).hexdigest()))
    put(pair, wanted(versions="Current", fields=("ETag",)))
    deliver(pair)
    assert len({line["Key"] for line in listed(pair)}) == 5001
    assert len(pair.files()) == 1


def test_an_empty_bucket_has_an_empty_list(pair: Counter) -> None:
    put(pair, wanted())
    deliver(pair)
    assert listed(pair) == []


def test_it_comes_once_a_day_while_it_is_wanted(pair: Counter) -> None:
    put(pair, wanted(versions="Current"))
    assert deliver(pair) == Again()
    assert deliver(pair) == Done()
    assert len(keys(pair)) == 4
    pair.desk.clock.time += 86_400
    deliver(pair)
    assert len(keys(pair)) == 8
    put(pair, wanted(enabled="false"))
    pair.desk.clock.time += 86_400
    assert deliver(pair) == Done()
    pair.ask("DELETE", "/bkt", inventory="", id="all")
    assert (deliver(pair), len(keys(pair))) == (Done(), 8)
    assert asyncio.run(Lister(pair.store).deliver("gone/all")) == Done()


MONDAY = 1_700_438_400.0  # 2023-11-20, at midnight


@pytest.mark.parametrize(("frequency", "delivered", "now", "due"), [
    ("Daily", 0.0, MONDAY, True), ("Daily", MONDAY - 1, MONDAY, True), ("Daily", MONDAY, MONDAY + 86_399, False),
    ("Daily", MONDAY, MONDAY + 86_400, True), ("Weekly", 0.0, MONDAY, True),
    ("Weekly", MONDAY - 86_400, MONDAY, False), ("Weekly", MONDAY - 86_401, MONDAY, True),
    ("Weekly", MONDAY, MONDAY + 6 * 86_400 - 1, False), ("Weekly", MONDAY, MONDAY + 6 * 86_400, True)])
def test_when_it_is_due(frequency: str, delivered: float, now: float, due: bool) -> None:
    said = {"IsEnabled": True, "Schedule": {"Frequency": frequency}}
    assert is_due(said, delivered, now) is due
    assert not is_due({**said, "IsEnabled": False}, delivered, now)


def test_the_destination_decides(pair: Counter) -> None:
    pair.ask("DELETE", "/dst", policy="")
    put(pair, wanted())
    outcome = deliver(pair)
    assert (outcome.after, "does not let its inventory in" in outcome.why) == (300.0, True)
    other = POLICY.replace("arn:aws:s3:::bkt", "arn:aws:s3:::other")
    pair.ask("PUT", "/dst", other.encode(), policy="")
    assert deliver(pair).after == 300.0
    assert keys(pair) == []
    pair.ask("PUT", "/dst", POLICY.encode(), policy="")
    assert (deliver(pair), len(keys(pair))) == (Again(), 4)


def test_every_configuration_is_asked_for_daily(pair: Counter) -> None:
    put(pair, wanted())
    with pair.store.tx() as tx:
        tx.execute("delete from work")
    asyncio.run(Lister(pair.store).look())
    with pair.store.tx() as tx:
        assert tx.execute("select key from work where kind='s3.inventory'").fetchall() == [("bkt/all",)]


def test_a_power_cut_leaves_a_whole_list_or_none(tmp_path: Path) -> None:
    (place := tmp_path / "data").mkdir()
    recorder = Recorder(place)
    with recorder.recording():
        counter = Counter(place, (s3.s3, iam))
        for bucket in ("bkt", "dst"):
            counter.ask("PUT", f"/{bucket}")
        counter.ask("PUT", "/dst", POLICY.encode(), policy="")
        for number in range(5):
            counter.ask("PUT", f"/bkt/{number}", b"data")
        put(counter, wanted())
        begun = recorder.tell("put")
        deliver(counter)
        counter.close()
        counter.store.close()
    for at in range(begun, len(recorder.events) + 1, 3):
        disk = tmp_path / f"disk{at}"
        after_power_cut(recorder.events, at, LOSSES[at % len(LOSSES)], at, disk)
        again = Counter(disk, (s3.s3, iam))
        assert len(keys(again)) in (0, 4)
        deliver(again)
        assert [line["Key"] for line in listed(again)] == list("01234")
        again.close()
        again.store.close()
