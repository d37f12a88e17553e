"""SSE-C: bytes that only their customer's key opens."""

import base64
import hashlib
import os

import pytest

from cloudlet.services.s3.contents import INLINE_BYTES
from tests.services.s3.counter import Counter

KEY, OTHER = bytes(range(32)), bytes(32)
PREFIX = "x-amz-server-side-encryption-customer-"


def headers(key: bytes, prefix: str = PREFIX, /, **instead: str) -> dict[str, str]:
    said = {"algorithm": "AES256", "key": base64.b64encode(key).decode(),
            "key-MD5": base64.b64encode(hashlib.md5(key).digest()).decode(), **instead}
    return {prefix + name: value for name, value in said.items() if value}


@pytest.mark.parametrize("size", [0, 1000, INLINE_BYTES + 1000, 2 << 20])
def test_only_the_key_opens_it(counter: Counter, size: int) -> None:
    data = os.urandom(size // 2) * 2
    put = counter.ask("PUT", "/bkt/key", data, headers=headers(KEY))
    assert (put.status, put.headers[PREFIX + "algorithm"]) == (200, "AES256")
    assert "x-amz-server-side-encryption" not in put.headers
    got = counter.ask("GET", "/bkt/key", headers=headers(KEY))
    assert (got.body, got.headers["content-length"]) == (data, str(size))
    assert got.headers[PREFIX + "key-md5"] == headers(KEY)[PREFIX + "key-MD5"]
    assert counter.ask("GET", "/bkt/key").code == "InvalidRequest"
    assert counter.ask("HEAD", "/bkt/key").status == 400
    assert counter.ask("GET", "/bkt/key", headers=headers(OTHER)).code == "AccessDenied"
    with counter.store.tx() as tx:
        (body,) = tx.execute("select body from s3_content").fetchone()
    kept = body if body is not None else counter.files()[0].read_bytes()
    assert len(kept) == size
    assert not size or kept != data


@pytest.mark.parametrize("first", [0, 1, 15, 16, 17, 31, 1000])
@pytest.mark.parametrize("size", [2000, INLINE_BYTES + 2000])
def test_ranges_of_it(counter: Counter, size: int, first: int) -> None:
    data = os.urandom(size)
    counter.ask("PUT", "/bkt/key", data, headers=headers(KEY))
    got = counter.ask("GET", "/bkt/key", headers={**headers(KEY), "range": f"bytes={first}-{first + 900}"})
    assert got.body == data[first:first + 901]


def test_a_key_for_what_needs_none(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    assert counter.ask("GET", "/bkt/key", headers=headers(KEY)).code == "InvalidRequest"


SHORT = base64.b64encode(b"short").decode()


@pytest.mark.parametrize(("wrong", "says"), [
    ({"algorithm": "DES"}, "The Encryption request you specified is not valid. Supported value: AES256."),
    ({"algorithm": ""}, "must provide a valid encryption algorithm."),
    ({"key": ""}, "must provide an appropriate secret key."),
    ({"key-MD5": ""}, "must provide the client calculated MD5 of the secret key."),
    ({"key": SHORT}, "The calculated MD5 hash of the key did not match the hash that was provided."),
    ({"key": SHORT, "key-MD5": base64.b64encode(hashlib.md5(b"short").digest()).decode()},
     "The secret key was invalid for the specified algorithm."),
    ({"key": "!"}, "The calculated MD5 hash"), ({"key-MD5": "AAAA"}, "The calculated MD5 hash")])
def test_keys_that_are_none(counter: Counter, wrong: dict[str, str], says: str) -> None:
    refused = counter.ask("PUT", "/bkt/key", b"data", headers=headers(KEY, **wrong))
    assert (refused.status, refused.xml.findtext("ArgumentName")) == (400, "x-amz-server-side-encryption")
    assert refused.code == ("InvalidEncryptionAlgorithmError" if "DES" in wrong.values() else "InvalidArgument")
    assert says in refused.xml.findtext("Message")
    assert counter.ask("HEAD", "/bkt/key").status == 404


def test_both_at_once(counter: Counter) -> None:
    both = {**headers(KEY), "x-amz-server-side-encryption": "AES256"}
    assert counter.ask("PUT", "/bkt/key", b"data", headers=both).code == "InvalidArgument"


@pytest.mark.parametrize(("said", "code"), [
    ({"x-amz-server-side-encryption": "aws:kms"}, "NotImplemented"),
    ({"x-amz-server-side-encryption": "AES256", "x-amz-server-side-encryption-aws-kms-key-id": "k"}, "InvalidArgument"),
    ({"x-amz-server-side-encryption-aws-kms-key-id": "k"}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aes:kms"}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms", **headers(KEY)}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "AES256", **headers(KEY)}, "InvalidArgument")])
def test_what_contradicts_itself_is_wrong_and_what_needs_keys_of_aws_is_not_there(
        counter: Counter, said: dict[str, str], code: str) -> None:
    assert counter.ask("PUT", "/bkt/key", b"x", headers=said).code == code
    assert counter.ask("HEAD", "/bkt/key").status == 404
