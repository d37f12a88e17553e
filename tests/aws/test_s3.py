"""Objects of S3 as boto3 and the aws CLI see them."""

import io
import os
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.running import Cloudlet

MIB = 1 << 20


@pytest.fixture
def s3(cloudlet: Cloudlet) -> Any:
    client = cloudlet.client("s3")
    if not any(bucket["Name"] == "tests" for bucket in client.list_buckets()["Buckets"]):
        client.create_bucket(Bucket="tests")
        client.get_waiter("bucket_exists").wait(Bucket="tests")
    return client


def code_of(refused: Any) -> tuple[str, int]:
    error = refused.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("size", [0, 1000, 100_000, 5 * MIB])
def test_what_goes_in_comes_out(s3: Any, size: int) -> None:
    data = os.urandom(size)
    put = s3.put_object(Bucket="tests", Key="a/b c+ü", Body=data, Metadata={"One": "1"}, ContentType="text/x")
    got = s3.get_object(Bucket="tests", Key="a/b c+ü", ChecksumMode="ENABLED")
    assert got["Body"].read() == data
    assert (got["ETag"], got["Metadata"], got["ContentType"]) == (put["ETag"], {"one": "1"}, "text/x")
    assert got["ChecksumCRC32"] == put["ChecksumCRC32"]
    head = s3.head_object(Bucket="tests", Key="a/b c+ü")
    assert (head["ContentLength"], head["ServerSideEncryption"]) == (size, "AES256")
    if size:
        part = s3.get_object(Bucket="tests", Key="a/b c+ü", Range="bytes=-10")
        assert part["Body"].read() == data[-10:]
        assert part["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_errors_have_boto3s_names(s3: Any) -> None:
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="tests", Key="none")
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.get_object(Bucket="nowhere", Key="none")
    with pytest.raises(ClientError) as refused:
        s3.head_object(Bucket="tests", Key="none")
    assert code_of(refused) == ("404", 404)
    s3.put_object(Bucket="tests", Key="there", Body=b"x")
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket="tests", Key="there", Body=b"y", IfNoneMatch="*")
    assert code_of(refused) == ("PreconditionFailed", 412)
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket="tests", Key="there", IfNoneMatch=s3.head_object(Bucket="tests", Key="there")["ETag"])
    assert code_of(refused) == ("304", 304)


def test_versions_and_their_markers(s3: Any) -> None:
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    one = s3.put_object(Bucket="versioned", Key="k", Body=b"one")["VersionId"]
    s3.put_object(Bucket="versioned", Key="k", Body=b"two")
    marker = s3.delete_object(Bucket="versioned", Key="k")
    assert marker["DeleteMarker"]
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="versioned", Key="k")
    with pytest.raises(ClientError) as refused:
        s3.head_object(Bucket="versioned", Key="k", VersionId=marker["VersionId"])
    assert code_of(refused) == ("405", 405)
    assert s3.get_object(Bucket="versioned", Key="k", VersionId=one)["Body"].read() == b"one"
    s3.delete_object(Bucket="versioned", Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket="versioned", Key="k")["Body"].read() == b"two"


def test_copies_tags_and_attributes(s3: Any) -> None:
    s3.put_object(Bucket="tests", Key="source ü", Body=b"data", Tagging="a=1&b=%C3%BC")
    copied = s3.copy_object(Bucket="tests", Key="copy", CopySource={"Bucket": "tests", "Key": "source ü"})
    assert copied["CopyObjectResult"]["ETag"] == s3.head_object(Bucket="tests", Key="source ü")["ETag"]
    assert {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket="tests", Key="copy")["TagSet"]} == {
        "a": "1", "b": "ü"}
    s3.put_object_tagging(Bucket="tests", Key="copy", Tagging={"TagSet": [{"Key": "c", "Value": ""}]})
    assert s3.head_object(Bucket="tests", Key="copy")["TagCount"] == 1
    s3.delete_object_tagging(Bucket="tests", Key="copy")
    found = s3.get_object_attributes(Bucket="tests", Key="copy", ObjectAttributes=["ETag", "ObjectSize", "Checksum"])
    assert (found["ObjectSize"], found["ETag"]) == (4, "8d777f385d3dfec8815d20f7496026dc")
    assert found["Checksum"]["ChecksumType"] == "FULL_OBJECT"


def test_a_key_of_ones_own(s3: Any) -> None:
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": os.urandom(32)}
    s3.put_object(Bucket="tests", Key="secret", Body=b"secret", **key)
    assert s3.get_object(Bucket="tests", Key="secret", **key)["Body"].read() == b"secret"
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket="tests", Key="secret")
    assert code_of(refused) == ("InvalidRequest", 400)


def test_presigned_urls(s3: Any) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    s3.put_object(Bucket="tests", Key="shown", Body=b"data")
    signer = boto3.client("s3", endpoint_url=s3.meta.endpoint_url, region_name="us-east-1", aws_access_key_id="test",
                    aws_secret_access_key="test", config=Config(signature_version="s3v4"))
    url = signer.generate_presigned_url("get_object", {"Bucket": "tests", "Key": "shown",
                                                       "ResponseContentType": "text/shown"})
    with direct.open(url) as answer:
        assert (answer.read(), answer.headers["content-type"]) == (b"data", "text/shown")


def test_the_cli_moves_files(cloudlet: Cloudlet, s3: Any, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    for name in ("one", "zwei ü", "+"):
        (there / name).write_bytes(os.urandom(50_000))
    cloudlet.aws("s3", "cp", "--recursive", str(there), "s3://tests/cli/")
    back = tmp_path / "back"
    for name in ("one", "zwei ü", "+"):
        cloudlet.aws("s3", "cp", f"s3://tests/cli/{name}", str(back / name))
        assert (back / name).read_bytes() == (there / name).read_bytes()
    cloudlet.aws("s3", "mv", "s3://tests/cli/one", "s3://tests/cli/moved")
    with pytest.raises(ClientError):
        s3.head_object(Bucket="tests", Key="cli/one")
    assert s3.head_object(Bucket="tests", Key="cli/moved")["ContentLength"] == 50_000


def test_streams_of_unknown_seekability(s3: Any) -> None:
    data = os.urandom(2 * MIB)
    s3.upload_fileobj(io.BytesIO(data), "tests", "stream")
    into = io.BytesIO()
    s3.download_fileobj("tests", "stream", into)
    assert into.getvalue() == data
