"""Browsers' forms and bodies that do not say how long they are, into real buckets."""

import asyncio
import hashlib
import os

import boto3
import pytest
from botocore.config import Config
from msgspec.structs import replace

from cloudlet.kernel.http import Body
from cloudlet.services.s3 import contents
from cloudlet.services.s3.contents import INLINE_BYTES
from tests.services.s3.counter import Counter
from tests.wire.exchange import HOST, once
from tests.wire.test_s3_forms import Fields, form_of, request_of

SIZES = (0, 5, INLINE_BYTES, INLINE_BYTES + 1, (1 << 20) + 5, 3 << 20)


def fields_of(key: str, bucket: str = "bkt", **more: str) -> Fields:
    client = boto3.client("s3", endpoint_url=f"http://{HOST}", region_name="us-east-1", aws_access_key_id="test",
                          aws_secret_access_key="test", config=Config(signature_version="s3v4"))
    conditions = [{name: value} for name, value in more.items()]
    made = client.generate_presigned_post(bucket, key, Fields=more, Conditions=conditions)
    return list(made["fields"].items())


@pytest.mark.parametrize("size", SIZES)
def test_a_file_from_a_form_is_an_object_like_any(counter: Counter, size: int) -> None:
    data = os.urandom(size)
    fields = fields_of("up/${filename}", **{"Content-Type": "image/x", "x-amz-meta-a": "b"})
    put = asyncio.run(counter.answer(request_of(form_of(fields, data, filename="x.png"), "/bkt", step=100_000)))
    assert (put.status, put.headers["etag"]) == (204, f'"{hashlib.md5(data).hexdigest()}"')
    got = counter.ask("GET", "/bkt/up/x.png")
    assert (got.body, got.headers["content-type"], got.headers["x-amz-meta-a"]) == (data, "image/x", "b")
    assert len(counter.files()) == (size > INLINE_BYTES)


def test_a_form_may_do_no_more_than_its_signer(counter: Counter) -> None:
    anonymous = asyncio.run(counter.answer(request_of(form_of([("key", "k")]), "/bkt")))
    assert (anonymous.status, anonymous.code) == (403, "AccessDenied")
    nowhere = asyncio.run(counter.answer(request_of(form_of([("key", "k")]), "/nowhere")))
    assert nowhere.status in (403, 404)
    assert counter.rows("s3_version") == 0


def test_a_form_is_signed_for_the_bucket_s_region(counter: Counter) -> None:
    counter.ask("PUT", "/far", b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint>"
                b"</CreateBucketConfiguration>")
    fields = fields_of("k", "far")
    refused = asyncio.run(counter.answer(request_of(form_of(fields), "/far")))
    assert (refused.status, refused.code, refused.xml.findtext("Message"), refused.xml.findtext("ArgumentValue")) == (
        400, "InvalidArgument", "the region 'us-east-1' is wrong; expecting 'eu-west-1'", dict(fields)[
            "x-amz-credential"])


@pytest.mark.parametrize("size", SIZES)
def test_a_body_need_not_say_how_long_it_is(counter: Counter, size: int) -> None:
    data = os.urandom(size)
    request = counter.signed("PUT", "/bkt/key", data)
    parts = [data[at:at + 70_000] for at in range(0, size, 70_000)]
    put = asyncio.run(counter.answer(replace(request, body=Body(once(*parts), None))))
    assert put.status == 200
    assert counter.ask("GET", "/bkt/key").body == data


def test_but_it_may_not_be_endless(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "UPLOAD_BYTES_MAX", 3 << 20)
    data = os.urandom(5 << 20)
    request = counter.signed("PUT", "/bkt/key", data)
    answer = asyncio.run(counter.answer(replace(request, body=Body(once(data[:2 << 20], data[2 << 20:]), None))))
    assert (answer.status, answer.code) == (400, "EntityTooLarge")
    assert counter.ask("PUT", "/bkt/key", data).code == "EntityTooLarge"
    assert (counter.ask("GET", "/bkt/key").code, counter.files()) == ("NoSuchKey", [])
