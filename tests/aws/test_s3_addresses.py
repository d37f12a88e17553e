"""S3 by path and by virtual host, with keys that invite mistakes, and by browsers' forms, as real clients send them."""

import os
import socket
import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.running import Cloudlet
from tests.wire.test_s3_forms import BOUNDARY, form_of

KEYS = ["a//b", "/lead", "end/", "a/../b", "../up", "..", "./x", "%", "%2F", "a+b c", "ü/é☃", "k=v&x", "?q", "#f",
        "~'\"<>"]
HOSTS = ["localhost", "s3.localhost", "s3.eu-west-1.localhost", "127.0.0.1"]
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every machine resolves *.localhost."""
    resolve = socket.getaddrinfo

    def local(host: Any, *arguments: Any, **options: Any) -> Any:
        is_ours = isinstance(host, str) and host.endswith(".localhost")
        return resolve("127.0.0.1" if is_ours else host, *arguments, **options)
    monkeypatch.setattr(socket, "getaddrinfo", local)


def client_of(cloudlet: Cloudlet, host: str, style: str) -> Any:
    return boto3.client("s3", endpoint_url=f"http://{host}:{cloudlet.port}", region_name="eu-west-1",
                        aws_access_key_id="test", aws_secret_access_key="test",
                        config=Config(s3={"addressing_style": style}, signature_version="s3v4", proxies={},
                                      retries={"max_attempts": 0}))


@pytest.mark.parametrize(("host", "style"), [(host, style) for host in HOSTS for style in ("path", "virtual")
                                             if (host, style) != ("127.0.0.1", "virtual")])
def test_any_key_by_any_address(cloudlet: Cloudlet, host: str, style: str) -> None:
    s3 = client_of(cloudlet, host, style)
    bucket = f"by-{style}-{host.replace('.', '-')}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert sorted(found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]) == sorted(KEYS)
    for key in KEYS:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
        with _direct.open(s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key})) as answer:
            assert answer.read() == key.encode()
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)


def test_a_form_of_a_browser(cloudlet: Cloudlet) -> None:
    s3 = client_of(cloudlet, "localhost", "path")
    s3.create_bucket(Bucket="forms", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    made = s3.generate_presigned_post("forms", "up/${filename}", Fields={"success_action_status": "201"}, Conditions=[
        {"success_action_status": "201"}, ["content-length-range", 1, 5 << 20]])
    file = os.urandom(3 << 20)

    def post(data: bytes) -> Any:
        return _direct.open(urllib.request.Request(made["url"], form_of(list(made["fields"].items()), data), {
            "content-type": f"multipart/form-data; boundary={BOUNDARY}"}))
    with post(file) as answer:
        assert (answer.status, b"<Key>up/a.txt</Key>" in answer.read()) == (201, True)
    assert s3.get_object(Bucket="forms", Key="up/a.txt")["Body"].read() == file
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(bytes(6 << 20))
    assert (refused.value.code, b"<Code>EntityTooLarge</Code>" in refused.value.read()) == (400, True)


def test_a_presigned_upload(cloudlet: Cloudlet) -> None:
    s3 = client_of(cloudlet, "localhost", "path")
    s3.create_bucket(Bucket="presigned", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    url = s3.generate_presigned_url("put_object", {"Bucket": "presigned", "Key": "k", "ContentType": "text/x"})
    _direct.open(urllib.request.Request(url, b"data", {"content-type": "text/x"}, method="PUT")).close()
    got = s3.get_object(Bucket="presigned", Key="k")
    assert (got["Body"].read(), got["ContentType"]) == (b"data", "text/x")
    with pytest.raises(urllib.error.HTTPError) as refused:
        _direct.open(urllib.request.Request(url, b"data", {"content-type": "text/y"}, method="PUT"))
    assert (refused.value.code, b"<Code>SignatureDoesNotMatch</Code>" in refused.value.read()) == (403, True)
