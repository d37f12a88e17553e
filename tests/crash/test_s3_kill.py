"""kill -9 under clients who do everything at once: what they saw could have come one after the other, with what was not
answered done or not; versions and parts that were acknowledged are there; nothing is left over."""

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import running_cloudlet
from tests.linearizable import UNANSWERED, Did, is_linearizable
from tests.running import Cloudlet
from tests.services.s3.objects_model import ABSENT, REFUSED, body, drawn_act, etag, model

TOLD = {"NoSuchKey": ABSENT, "PreconditionFailed": REFUSED}


@pytest.fixture
def cloudlet(tmp_path: Path) -> Iterator[Cloudlet]:
    with running_cloudlet(tmp_path) as instance:
        instance.client("s3").create_bucket(Bucket="crash")
        yield instance


def perform(s3: Any, act: Any) -> Any:
    """Does something in the bucket; what is told. Raises where nothing is."""
    try:
        match act:
            case ("put", key, tag):
                s3.put_object(Bucket="crash", Key=key, Body=body(tag))
            case ("put where nothing is", key, tag):
                s3.put_object(Bucket="crash", Key=key, Body=body(tag), IfNoneMatch="*")
            case ("put over", key, tag, old):
                s3.put_object(Bucket="crash", Key=key, Body=body(tag), IfMatch=f'"{etag(old)}"')
            case ("delete", key):
                s3.delete_object(Bucket="crash", Key=key)
            case ("delete several", *keys):
                s3.delete_objects(Bucket="crash", Delete={"Objects": [{"Key": key} for key in keys]})
            case ("get", key):
                got = s3.get_object(Bucket="crash", Key=key)
                data = got["Body"].read()
                tag = data.rstrip(b".").decode()
                return tag if (data, got["ETag"]) == (body(tag), f'"{etag(tag)}"') else "half-written"
            case ("list",):
                return tuple((each["Key"], each["ETag"].strip('"'))
                             for each in s3.list_objects_v2(Bucket="crash").get("Contents", ()))
    except ClientError as error:
        return TOLD.get(error.response["Error"]["Code"], error)
    return None


class Lives:
    """Threads of clients through several lives of one Cloudlet, each of which ends by kill -9."""

    def __init__(self, cloudlet: Cloudlet) -> None:
        self.cloudlet, self.moments, self.numbers = cloudlet, itertools.count(), itertools.count()

    def live(self, *clients: Callable[[Any, int], None], seconds: float) -> None:
        """One life."""
        def run(client: Callable[[Any, int], None]) -> None:
            try:
                client(self.cloudlet.client("s3"), next(self.numbers))
            except (BotoCoreError, ClientError):
                pass  # it was killed
        threads = [threading.Thread(target=run, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.cloudlet.kill()
        for thread in threads:
            thread.join()
        self.cloudlet.start()


@pytest.mark.slow
def test_what_was_seen_could_have_come_one_after_the_other(cloudlet: Cloudlet) -> None:
    lives, history, seen = Lives(cloudlet), list[Did](), list[str]()

    def client(s3: Any, number: int) -> None:
        drawn = random.Random(number)
        for turn in itertools.count():
            tag = f"{number}-{turn}"
            act, start = drawn_act(drawn, tag, seen), next(lives.moments)
            if act[0].startswith("put"):
                seen.append(tag)
            try:
                answer = perform(s3, act)
            except BotoCoreError:
                history.append(Did(act, None, start, UNANSWERED))
                raise
            history.append(Did(act, answer, start, next(lives.moments)))
    for life in range(3):
        lives.live(*[client] * 4, seconds=0.5 + 0.2 * life)
    s3 = cloudlet.client("s3")
    for act in (*(("get", key) for key in ("a", "b", "c/d")), ("list",)):
        start = next(lives.moments)
        history.append(Did(act, perform(s3, act), start, next(lives.moments)))
    assert sum(did.end == UNANSWERED for did in history) > 0, "nobody was cut off"
    assert len(history) > 60
    assert is_linearizable(history, frozenset(), model)


def test_versions_and_parts_are_there_and_nothing_else(cloudlet: Cloudlet) -> None:
    lives = Lives(cloudlet)
    cloudlet.client("s3").create_bucket(Bucket="versions")
    cloudlet.client("s3").put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    there: dict[tuple[str, str], str] = {}  # versions that were acknowledged: the tag of their bytes
    gone, tried = set[tuple[str, str]](), set[str]()

    def versions(s3: Any, number: int) -> None:
        drawn, key = random.Random(number), f"key{number % 2}"
        mine: list[tuple[str, str]] = []
        for turn in itertools.count():
            tag = f"{number}-{turn}"
            if mine and drawn.random() < 0.3:
                one = mine.pop()
                gone.add(one)
                s3.delete_object(Bucket="versions", Key=one[0], VersionId=one[1])
            else:
                tried.add(tag)
                mine.append((key, s3.put_object(Bucket="versions", Key=key, Body=body(tag))["VersionId"]))
                there[mine[-1]] = tag

    def parts(s3: Any, number: int) -> None:
        for turn in itertools.count():
            tag, key = f"{number}-{turn}", f"parts{number}"
            tried.add(tag)
            upload = s3.create_multipart_upload(Bucket="versions", Key=key)["UploadId"]
            part = s3.upload_part(Bucket="versions", Key=key, UploadId=upload, PartNumber=1, Body=body(tag))
            if turn % 3 == 2:
                s3.abort_multipart_upload(Bucket="versions", Key=key, UploadId=upload)
                continue
            done = s3.complete_multipart_upload(
                Bucket="versions", Key=key, UploadId=upload,
                MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
            there[key, done["VersionId"]] = tag
    for life in range(2):
        lives.live(versions, versions, parts, parts, seconds=0.5 + 0.2 * life)
    s3, listed = cloudlet.client("s3"), set()
    for page in s3.get_paginator("list_object_versions").paginate(Bucket="versions"):
        for each in page.get("Versions", ()):
            one = each["Key"], each["VersionId"]
            data = s3.get_object(Bucket="versions", Key=one[0], VersionId=one[1])["Body"].read()
            tag = data.rstrip(b".").decode()
            assert data == body(tag)
            assert there.get(one, tag) == tag
            assert tag in tried
            listed.add(one)
    assert there
    assert set(there) - gone <= listed, "acknowledged versions are lost"
    assert len(gone & listed) <= 6, "only what was not answered may still be there"
    for upload in s3.list_multipart_uploads(Bucket="versions").get("Uploads", ()):
        s3.abort_multipart_upload(Bucket="versions", Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_object_versions").paginate(Bucket="versions"):
        for each in page.get("Versions", ()):
            s3.delete_object(Bucket="versions", Key=each["Key"], VersionId=each["VersionId"])
    deadline = time.monotonic() + 30
    while left := [path for path in (cloudlet.data_dir / "objects").rglob("*") if path.is_file()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_rot_is_seen_by_readers_and_told(cloudlet: Cloudlet) -> None:
    data = os.urandom(8 << 20)
    cloudlet.client("s3").put_object(Bucket="crash", Key="rotten", Body=data)
    (file,) = [path for path in (cloudlet.data_dir / "objects").rglob("*") if path.is_file()]
    with open(file, "r+b") as opened:
        opened.seek(5 << 20)
        opened.write(bytes(100))

    def read(start: int, end: int) -> bytes:
        got = cloudlet.client("s3").get_object(Bucket="crash", Key="rotten", Range=f"bytes={start}-{end - 1}")
        whole: bytes = got["Body"].read()
        return whole
    for start, end in ((0, 1000), (7 << 20, 8 << 20)):
        assert read(start, end) == data[start:end]
    with pytest.raises(BotoCoreError):  # nobody knows yet: it is broken off
        cloudlet.client("s3").get_object(Bucket="crash", Key="rotten")["Body"].read()
    with pytest.raises((BotoCoreError, ClientError)):
        read((5 << 20) + 10, (5 << 20) + 11)
    deadline = time.monotonic() + 60
    while "failed: s3.rotten" not in (told := cloudlet.command("status").stdout):
        assert time.monotonic() < deadline, told
    assert "s3://crash/rotten" in told
    with pytest.raises(ClientError, match="InternalError"):
        cloudlet.client("s3").get_object(Bucket="crash", Key="rotten")
    cloudlet.client("s3").delete_object(Bucket="crash", Key="rotten")
    while "s3.rotten" in cloudlet.command("status").stdout:
        assert time.monotonic() < deadline
