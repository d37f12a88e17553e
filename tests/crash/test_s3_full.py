"""A full disk below a real Cloudlet: what was acknowledged is there, deleting and giving up go on, and so does all else
once there is space again."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cloudlet.store.blobs import UNSEEN_BYTES
from tests.conftest import running_cloudlet
from tests.running import Cloudlet

pytestmark = pytest.mark.root


@pytest.fixture(params=["tmpfs", pytest.param("ext4", marks=[pytest.mark.slow, pytest.mark.engine("mkfs.ext4")])])
def cloudlet(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cloudlet]:
    data, image = tmp_path / "data", tmp_path / "image"
    data.mkdir()
    if request.param == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(data)], check=True)
    else:
        image.touch()
        os.truncate(image, 80 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        if subprocess.run(["mount", "-o", "loop", str(image), str(data)], check=False).returncode:
            pytest.skip("needs loop devices")
    try:
        with running_cloudlet(tmp_path) as instance:
            yield instance
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)


def refused(ask: Any, **request: Any) -> bool:
    """Whether a request is refused for want of space."""
    try:
        ask(**request)
    except ClientError as error:
        told = error.response
        assert (told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"]) == (503, "ServiceUnavailable")
        assert "full" in told["Error"]["Message"]
        return True
    return False


def data_of(key: str, size: int) -> bytes:
    return key.encode().ljust(size, b".")


def fill(path: Path) -> None:
    """Takes all the space that is left, as another program may."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_full_disk(cloudlet: Cloudlet) -> None:
    s3, kept = cloudlet.client("s3"), dict[str, bytes]()
    s3.create_bucket(Bucket="full")
    upload = {"Bucket": "full", "Key": "parts", "UploadId": s3.create_multipart_upload(
        Bucket="full", Key="parts")["UploadId"]}
    s3.upload_part(**upload, PartNumber=1, Body=bytes(6 << 20))
    for number in range(100):
        key, size = f"{number:03}", (1000, 50_000, 2 << 20)[number % 3]
        if refused(s3.put_object, Bucket="full", Key=key, Body=data_of(key, size)):
            break
        kept[key] = data_of(key, size)
    assert 20 < len(kept) < 100

    def check() -> None:
        listed = s3.list_objects_v2(Bucket="full").get("Contents", ())
        assert {each["Key"]: each["Size"] for each in listed} == {key: len(data) for key, data in kept.items()}
        for key, data in kept.items():
            assert s3.get_object(Bucket="full", Key=key)["Body"].read() == data
    check()
    fill(cloudlet.data_dir / "ballast")
    assert refused(s3.put_object, Bucket="full", Key="middle", Body=bytes(UNSEEN_BYTES + 1))  # which has the disk asked
    assert refused(s3.put_object, Bucket="full", Key="small", Body=b"small")
    assert refused(s3.put_object, Bucket="full", Key="000", Body=bytes(1 << 20))
    assert refused(s3.upload_part, **upload, PartNumber=2, Body=bytes(5 << 20))
    assert refused(s3.upload_part, **upload, PartNumber=1, Body=b"small")
    assert len(s3.list_parts(**upload)["Parts"]) == 1
    check()

    def objects() -> int:
        return sum(path.is_file() for path in (cloudlet.data_dir / "objects").rglob("*"))
    for key in list(kept)[:9]:  # what frees space can be said, though there is none
        s3.delete_object(Bucket="full", Key=key)
        del kept[key]
    s3.abort_multipart_upload(**upload)
    until(lambda: objects() == sum(len(data) > 64 << 10 for data in kept.values()))
    check()
    cloudlet.kill()
    cloudlet.start()
    s3 = cloudlet.client("s3")
    check()
    kept["after"] = data_of("after", 1 << 20)
    s3.put_object(Bucket="full", Key="after", Body=kept["after"])
    os.unlink(cloudlet.data_dir / "ballast")
    for number in range(5):
        kept[f"later{number}"] = data_of(f"later{number}", (1 << 20) + number)
        s3.put_object(Bucket="full", Key=f"later{number}", Body=kept[f"later{number}"])
    check()
