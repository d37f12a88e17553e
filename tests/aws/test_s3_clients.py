"""What boto3's users do without a thought: links, resources, transfers, paginators, waiters and forms by default."""

import os
import threading
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from tests.running import Cloudlet

MIB = 1 << 20
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def s3(cloudlet: Cloudlet) -> Any:
    return boto3.resource("s3", endpoint_url=cloudlet.url, region_name="us-east-1", aws_access_key_id="test",
                          aws_secret_access_key="test", config=Config(retries={"max_attempts": 0}, proxies={}))


@pytest.fixture
def bucket(s3: Any) -> Any:
    made = s3.create_bucket(Bucket=f"clients-{uuid.uuid4()}")
    made.wait_until_exists()
    return made


def fetch(url: str, method: str = "GET", data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with _direct.open(urllib.request.Request(url, data, given, method=method), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


@pytest.mark.parametrize(("version", "region"), [
    (None, "us-east-1"), (None, "eu-west-1"), (None, "eu-central-1"), ("s3", "eu-central-1"), ("s3v4", "us-west-2")])
def test_links_as_every_client_makes_them(cloudlet: Cloudlet, version: str | None, region: str) -> None:
    client = boto3.client("s3", endpoint_url=cloudlet.url, region_name=region, aws_access_key_id="test",
                          aws_secret_access_key="test",
                          config=Config(signature_version=version))
    name = f"links-{uuid.uuid4()}"
    client.create_bucket(Bucket=name, **({} if region == "us-east-1" else {
        "CreateBucketConfiguration": {"LocationConstraint": region}}))
    asked = {"Bucket": name, "Key": "a b/ü+%.txt"}
    put = client.generate_presigned_url("put_object", {**asked, "ContentType": "text/x", "Metadata": {"a": "b"}})
    sent = {"Content_Type": "text/x", "x_amz_meta_a": "b"}
    assert fetch(put, "PUT", b"data", **{**sent, "Content_Type": "text/y"})[0] == 403
    assert fetch(put, "PUT", b"data", **sent)[0] == 200
    head = client.head_object(**asked)
    assert (head["ContentType"], head["Metadata"]) == ("text/x", {"a": "b"})
    link = client.generate_presigned_url("get_object", {**asked, "ResponseContentDisposition": "attachment"})
    assert fetch(link) == (200, b"data")
    assert fetch(link, Range="bytes=1-2") == (206, b"at")
    assert fetch(link.replace("a%20b", "a%20c"))[0] == 403
    assert fetch(link, "DELETE")[0] == 403
    listing = client.generate_presigned_url("list_objects_v2", {"Bucket": name, "Prefix": "a b/"})
    assert b"<KeyCount>1</KeyCount>" in fetch(listing)[1]
    assert fetch(client.generate_presigned_url("delete_object", asked), "DELETE")[0] == 204


def test_a_form_by_default(s3: Any, bucket: Any) -> None:
    form = s3.meta.client.generate_presigned_post(
        bucket.name, "up/${filename}", Fields={"success_action_status": "201"},
        Conditions=[["content-length-range", 1, 100], {"success_action_status": "201"}])

    def post(data: bytes, **changed: str) -> tuple[int, bytes]:
        lines = [f'--mark\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                 for name, value in {**form["fields"], **changed}.items()]
        body = "".join(lines).encode() + (b'--mark\r\nContent-Disposition: form-data; name="file"; filename="one"\r\n'
                                          b"\r\n" + data + b"\r\n--mark--\r\n")
        return fetch(form["url"], "POST", body, Content_Type="multipart/form-data; boundary=mark")
    assert post(b"hello")[0] == 201
    assert s3.Object(bucket.name, "up/one").get()["Body"].read() == b"hello"
    assert post(b"x" * 101)[0] == 400
    assert post(b"hello", key="elsewhere")[0] == 403


def test_resources_with_versions(s3: Any, bucket: Any, tmp_path: Path) -> None:
    bucket.Versioning().enable()
    (tmp_path / "file").write_bytes(b"one")
    bucket.upload_file(str(tmp_path / "file"), "dir/file", ExtraArgs={"ContentType": "text/plain"})
    thing = bucket.Object("dir/file")
    thing.wait_until_exists()
    thing.put(Body=b"two")
    assert [found.key for found in bucket.objects.filter(Prefix="dir/").limit(5)] == ["dir/file"]
    thing.delete()
    assert list(bucket.objects.all()) == []
    versions = list(bucket.object_versions.filter(Prefix="dir/file"))
    assert [version.size for version in versions] == [3, 3, None]  # markers last
    versions[2].delete()
    assert thing.get()["Body"].read() == b"two"
    thing.copy_from(CopySource={"Bucket": bucket.name, "Key": "dir/file", "VersionId": versions[1].id})
    bucket.download_file("dir/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"one"
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        bucket.delete()
    bucket.object_versions.delete()
    bucket.delete()
    bucket.wait_until_not_exists()


def test_transfers_in_parts_and_what_is_left_of_broken_ones(s3: Any, bucket: Any, tmp_path: Path) -> None:
    data, seen = os.urandom(11 * MIB + 7), []
    (tmp_path / "big").write_bytes(data)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    bucket.upload_file(str(tmp_path / "big"), "big", Config=config, Callback=seen.append)
    assert sum(seen) == len(data)
    bucket.download_file("big", str(tmp_path / "back"), Config=config)
    assert (tmp_path / "back").read_bytes() == data
    bucket.copy({"Bucket": bucket.name, "Key": "big"}, "copy", Config=config)
    assert bucket.Object("copy").content_length == len(data)
    upload = bucket.Object("tiny").initiate_multipart_upload()  # one part, small enough to lie with its row
    part = upload.Part(1).upload(Body=b"small")
    assert [found.id for found in bucket.multipart_uploads.all()] == [upload.id]
    upload.complete(MultipartUpload={"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]})
    assert bucket.Object("tiny").get()["Body"].read() == b"small"
    assert bucket.Object("tiny").get(Range="bytes=1-3")["Body"].read() == b"mal"
    left = bucket.Object("left").initiate_multipart_upload()
    left.Part(1).upload(Body=b"x")
    left.abort()
    assert list(bucket.multipart_uploads.all()) == []


def test_pages_and_waiters(s3: Any, bucket: Any) -> None:
    client = s3.meta.client
    for number in range(25):
        client.put_object(Bucket=bucket.name, Key=f"{number % 5}/{number:02d} ü", Body=b"")
    pages = list(client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.name, Delimiter="/", PaginationConfig={"PageSize": 2}))
    assert [found["Prefix"] for page in pages for found in page["CommonPrefixes"]] == [f"{one}/" for one in range(5)]
    for name, found in (("list_objects", "Contents"), ("list_objects_v2", "Contents"),
                        ("list_object_versions", "Versions")):
        pages = list(client.get_paginator(name).paginate(Bucket=bucket.name, PaginationConfig={"PageSize": 10}))
        keys = [item["Key"] for page in pages for item in page[found]]
        assert (len(pages), keys) == (3, sorted(f"{number % 5}/{number:02d} ü" for number in range(25)))
    with pytest.raises(WaiterError):
        client.get_waiter("object_exists").wait(Bucket=bucket.name, Key="later",
                                                WaiterConfig={"Delay": 0, "MaxAttempts": 2})
    late = threading.Timer(0.2, client.put_object, kwargs={"Bucket": bucket.name, "Key": "later"})
    late.start()
    client.get_waiter("object_exists").wait(Bucket=bucket.name, Key="later", WaiterConfig={"Delay": 1})
    late.join()
    assert [deleted["ResponseMetadata"]["HTTPStatusCode"] for deleted in bucket.objects.all().delete()] == [200]
    client.get_waiter("object_not_exists").wait(Bucket=bucket.name, Key="later", WaiterConfig={"Delay": 1})
