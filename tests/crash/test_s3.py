"""kill -9 while objects are put: what was acknowledged is there, whole, and nothing half-written is."""

import hashlib
import itertools
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import running_cloudlet
from tests.running import Cloudlet

SIZES = (0, 1000, 70_000, 1 << 20)


@pytest.fixture
def cloudlet(tmp_path: Path) -> Iterator[Cloudlet]:
    with running_cloudlet(tmp_path) as instance:
        yield instance


class Writer(threading.Thread):
    """Puts versions of one key, one after the other, and remembers which were acknowledged."""

    def __init__(self, cloudlet: Cloudlet, name: str, deadline: threading.Event) -> None:
        super().__init__()
        self.key, self.acknowledged, self.tried = name, -1, -1
        self._s3, self._done, self._random = cloudlet.client("s3"), deadline, random.Random(name)

    def run(self) -> None:
        for number in itertools.count():
            self.tried = number
            try:
                self._s3.put_object(Bucket="crash", Key=self.key, Body=content(self.key, number))
            except (BotoCoreError, ClientError):
                return
            self.acknowledged = number
            if self._done.is_set():
                return


def content(key: str, number: int) -> bytes:
    """A body that says which it is."""
    drawn = random.Random(f"{key} {number}")
    return f"{key} {number} ".encode() + drawn.randbytes(drawn.choice(SIZES))


def objects(cloudlet: Cloudlet) -> list[Path]:
    return [path for path in (cloudlet.data_dir / "objects").rglob("*") if path.is_file()]


def test_nothing_acknowledged_is_lost(cloudlet: Cloudlet) -> None:
    cloudlet.client("s3").create_bucket(Bucket="crash")
    for life in range(3):
        writers = [Writer(cloudlet, f"{life}/{number}", threading.Event()) for number in range(4)]
        for writer in writers:
            writer.start()
        time.sleep(0.7 + 0.3 * life)
        cloudlet.kill()
        for writer in writers:
            writer.join()
        assert any(writer.acknowledged >= 0 for writer in writers)
        cloudlet.start()
        check(cloudlet, writers)
    s3: Any = cloudlet.client("s3")
    listed = s3.list_objects_v2(Bucket="crash")["Contents"]
    large = sum(each["Size"] > 64 << 10 for each in listed)
    deadline = time.monotonic() + 60
    while len(objects(cloudlet)) != large:  # what the crashes left is swept away
        assert time.monotonic() < deadline, (len(objects(cloudlet)), large)
        time.sleep(0.1)


def check(cloudlet: Cloudlet, writers: list[Writer]) -> None:
    s3 = cloudlet.client("s3")
    for writer in writers:
        if writer.tried < 0:
            continue
        try:
            got = s3.get_object(Bucket="crash", Key=writer.key)
        except s3.exceptions.NoSuchKey:
            assert writer.acknowledged < 0
            continue
        data = got["Body"].read()
        number = int(data.split(b" ", 2)[1])
        assert writer.acknowledged <= number <= writer.tried
        assert data == content(writer.key, number)
        assert got["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'


def test_parts_outlive_it(cloudlet: Cloudlet) -> None:
    """An upload goes on after a crash, with the parts that were acknowledged; one that was given up leaves nothing."""
    s3, where = cloudlet.client("s3"), {"Bucket": "crash", "Key": "parts"}
    s3.create_bucket(Bucket="crash")
    upload = s3.create_multipart_upload(**where, ChecksumAlgorithm="CRC64NVME")["UploadId"]
    datas = [random.Random(number).randbytes(5 << 20) for number in range(3)]
    one = s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=datas[0], ChecksumAlgorithm="CRC64NVME")
    cloudlet.kill()
    cloudlet.start()
    s3 = cloudlet.client("s3")
    assert [part["ETag"] for part in s3.list_parts(**where, UploadId=upload)["Parts"]] == [one["ETag"]]
    parts = [{"PartNumber": 1, "ETag": one["ETag"]}]
    for number in (2, 3):
        part = s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=datas[number - 1],
                              ChecksumAlgorithm="CRC64NVME")
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    done = s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    given_up = s3.create_multipart_upload(Bucket="crash", Key="other")["UploadId"]
    s3.upload_part(Bucket="crash", Key="other", UploadId=given_up, PartNumber=1, Body=datas[0])
    s3.abort_multipart_upload(Bucket="crash", Key="other", UploadId=given_up)
    cloudlet.kill()
    cloudlet.start()
    s3 = cloudlet.client("s3")
    got = s3.get_object(**where)
    assert (got["Body"].read() == b"".join(datas), got["ETag"]) == (True, done["ETag"])
    again = s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    assert again["ETag"] == done["ETag"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="crash")
    deadline = time.monotonic() + 60
    while len(objects(cloudlet)) != len(parts):
        assert time.monotonic() < deadline, objects(cloudlet)
        time.sleep(0.1)
