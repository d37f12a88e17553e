"""Listings, multipart uploads and DeleteObjects as boto3 and its transfers see them."""

import io
import os
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.running import Cloudlet

MIB = 1 << 20


@pytest.fixture
def s3(cloudlet: Cloudlet) -> Any:
    client = cloudlet.client("s3")
    client.create_bucket(Bucket="uploads")
    return client


def test_a_transfer_in_parts_and_back(s3: Any) -> None:
    data, config = os.urandom(17 * MIB + 5), TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=6 * MIB)
    s3.upload_fileobj(io.BytesIO(data), "uploads", "big", Config=config, ExtraArgs={"Metadata": {"a": "b"}})
    head = s3.head_object(Bucket="uploads", Key="big", ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["Metadata"], head["ETag"][-3:]) == (len(data), {"a": "b"}, '-3"')
    assert (head["ChecksumType"], head["ChecksumCRC32"][-2:]) == ("COMPOSITE", "-3")
    found = io.BytesIO()
    s3.download_fileobj("uploads", "big", found, Config=config)
    assert found.getvalue() == data
    parts = s3.get_object_attributes(Bucket="uploads", Key="big", ObjectAttributes=["ObjectParts", "Checksum"])
    assert [part["Size"] for part in parts["ObjectParts"]["Parts"]] == [6 * MIB, 6 * MIB, 5 * MIB + 5]
    assert s3.get_object(Bucket="uploads", Key="big", PartNumber=3)["Body"].read() == data[12 * MIB:]
    s3.copy({"Bucket": "uploads", "Key": "big"}, "uploads", "copied", Config=config)  # by UploadPartCopy
    copied = s3.get_object(Bucket="uploads", Key="copied")
    assert (copied["Body"].read(), copied["ETag"][-3:]) == (data, '-3"')


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_that_a_client_chose(s3: Any, algorithm: str) -> None:
    member = f"Checksum{algorithm}"
    upload = s3.create_multipart_upload(Bucket="uploads", Key="sums", ChecksumAlgorithm=algorithm)
    where = {"Bucket": "uploads", "Key": "sums", "UploadId": upload["UploadId"]}
    parts = []
    for number, data in enumerate((bytes(5 * MIB), b"end"), 1):
        part = s3.upload_part(**where, PartNumber=number, Body=data, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": part["ETag"], member: part[member]})
    listed = s3.list_parts(**where)
    assert [{name: part[name] for name in parts[0]} for part in listed["Parts"]] == parts
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert s3.head_object(Bucket="uploads", Key="sums", ChecksumMode="ENABLED")[member] == done[member]
    again = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert (again["ETag"], again[member]) == (done["ETag"], done[member])


def test_uploads_are_listed_and_given_up(s3: Any) -> None:
    keys = ["up/1", "up/2", "up/3"]
    for key in keys:
        s3.create_multipart_upload(Bucket="uploads", Key=key)
    pages = list(s3.get_paginator("list_multipart_uploads").paginate(
        Bucket="uploads", Prefix="up/", PaginationConfig={"PageSize": 2}))
    uploads = [upload for page in pages for upload in page["Uploads"]]
    assert [upload["Key"] for upload in uploads] == keys
    for upload in uploads:
        s3.abort_multipart_upload(Bucket="uploads", Key=upload["Key"], UploadId=upload["UploadId"])
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="uploads", Prefix="up/")
    with pytest.raises(s3.exceptions.NoSuchUpload):
        s3.list_parts(Bucket="uploads", Key="up/1", UploadId=uploads[0]["UploadId"])


def test_pages_of_keys_with_any_character(s3: Any) -> None:
    keys = sorted(["l/a b", "l/a+b", "l/ü", "l/\x01", "l/😀", "l/<&>", "l/100%", "l/d/1", "l/d/2"], key=str.encode)
    for key in keys:
        s3.put_object(Bucket="uploads", Key=key, Body=b"x")
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(Bucket="uploads", Prefix="l/", PaginationConfig={"PageSize": 2})
        assert [one["Key"] for page in pages for one in page["Contents"]] == keys
        rolled = list(s3.get_paginator(operation).paginate(
            Bucket="uploads", Prefix="l/", Delimiter="/", PaginationConfig={"PageSize": 3}))
        assert [one["Prefix"] for page in rolled for one in page.get("CommonPrefixes", ())] == ["l/d/"]
        assert sum(len(page.get("Contents", ())) for page in rolled) == len(keys) - 2
    s3.delete_object(Bucket="uploads", Key="l/\x01")  # XML cannot say it
    keys.remove("l/\x01")
    gone = s3.delete_objects(Bucket="uploads", Delete={"Objects": [{"Key": key} for key in keys]})
    assert sorted(one["Key"] for one in gone["Deleted"]) == sorted(keys)
    assert s3.list_objects_v2(Bucket="uploads", Prefix="l/")["KeyCount"] == 0


def test_a_versioned_bucket_is_emptied(s3: Any) -> None:
    s3.create_bucket(Bucket="emptied")
    s3.put_bucket_versioning(Bucket="emptied", VersioningConfiguration={"Status": "Enabled"})
    for number in range(7):
        s3.put_object(Bucket="emptied", Key=f"k{number % 2}", Body=b"%d" % number)
    s3.delete_object(Bucket="emptied", Key="k0")
    pages = s3.get_paginator("list_object_versions").paginate(Bucket="emptied", PaginationConfig={"PageSize": 3})
    for page in pages:
        every = [{"Key": one["Key"], "VersionId": one["VersionId"]}
                 for one in page.get("Versions", []) + page.get("DeleteMarkers", [])]
        assert "Errors" not in s3.delete_objects(Bucket="emptied", Delete={"Objects": every, "Quiet": True})
    s3.delete_bucket(Bucket="emptied")
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket="emptied")
