"""Objects: PutObject, GetObject, HeadObject, DeleteObject."""

import asyncio
import hashlib
import os

import pytest

from cloudlet.services.s3.contents import INLINE_BYTES
from tests.services.s3.counter import Counter

SIZES = (0, 1, 1000, INLINE_BYTES, INLINE_BYTES + 1, 3 << 20)


@pytest.mark.parametrize("size", SIZES)
def test_what_goes_in_comes_out(counter: Counter, size: int) -> None:
    data = os.urandom(size)
    put = counter.ask("PUT", "/bkt/key", data)
    assert (put.status, put.headers["etag"]) == (200, f'"{hashlib.md5(data).hexdigest()}"')
    got = counter.ask("GET", "/bkt/key")
    assert (got.status, got.body, got.headers["etag"]) == (200, data, put.headers["etag"])
    assert got.headers["content-length"] == str(size)
    head = counter.ask("HEAD", "/bkt/key")
    assert {**head.headers, "x-amz-request-id": "", "x-amz-id-2": ""} == {
        **got.headers, "x-amz-request-id": "", "x-amz-id-2": ""}
    assert len(counter.files()) == (size > INLINE_BYTES)


@pytest.mark.parametrize("key", ["a//b", "../../etc/passwd", "..", "%41", "a+b", "a b", "ü/é☃", "k=v&x", "/lead",
                                 "end/", "?q", "#f", "~", "'\"<>", "\t", "x" * 1024])
def test_any_character_may_stand_in_a_key(counter: Counter, key: str) -> None:
    assert counter.ask("PUT", f"/bkt/{key}", key.encode()).status == 200
    assert counter.ask("GET", f"/bkt/{key}").body == key.encode()
    assert counter.ask("DELETE", f"/bkt/{key}").status == 204
    assert counter.ask("GET", f"/bkt/{key}").code == "NoSuchKey"


def test_what_is_said_of_an_object_is_said_again(counter: Counter) -> None:
    said = {"content-type": "text/x", "cache-control": "no-store", "content-disposition": "inline",
            "content-encoding": "gzip", "content-language": "de", "expires": "Thu, 01 Dec 2094 16:00:00 GMT",
            "x-amz-meta-one": "1", "x-amz-meta-two": "zwei"}
    counter.ask("PUT", "/bkt/key", b"x", headers=said)
    headers = counter.ask("GET", "/bkt/key").headers
    assert {name: headers[name] for name in said} == said
    counter.ask("PUT", "/bkt/key", b"x")
    assert counter.ask("HEAD", "/bkt/key").headers["content-type"] == "binary/octet-stream"


def test_what_is_not_there(counter: Counter) -> None:
    assert counter.ask("GET", "/bkt/none").code == "NoSuchKey"
    assert counter.ask("GET", "/nowhere/none").code == "NoSuchBucket"
    assert counter.ask("PUT", "/nowhere/none", bytes(INLINE_BYTES + 1)).code == "NoSuchBucket"
    assert counter.ask("HEAD", "/bkt/none").status == 404
    assert counter.ask("DELETE", "/bkt/none").status == 204
    assert counter.files() == []


def test_a_key_that_is_too_long(counter: Counter) -> None:
    assert counter.ask("PUT", "/bkt/" + "é" * 513, b"").code == "KeyTooLongError"


def test_bytes_go_when_nothing_has_them_any_more(counter: Counter) -> None:
    for size in (10, INLINE_BYTES + 1, 10):
        counter.ask("PUT", "/bkt/key", bytes(size))
        assert counter.rows("s3_content") == 1
    counter.work()
    assert counter.files() == []
    counter.ask("PUT", "/bkt/key", bytes(INLINE_BYTES + 1))
    counter.ask("DELETE", "/bkt/key")
    counter.work()
    assert (counter.rows("s3_content"), counter.rows("s3_garbage"), counter.files()) == (0, 0, [])


def test_wrong_bytes_change_nothing(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"right")
    for size in (10, INLINE_BYTES + 1):
        answer = counter.ask("PUT", "/bkt/key", bytes(size), headers={"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="})
        assert answer.code == "BadDigest"
    assert counter.ask("GET", "/bkt/key").body == b"right"
    assert counter.files() == []


def test_conditional_writes(counter: Counter) -> None:
    none = {"if-none-match": "*"}
    assert counter.ask("PUT", "/bkt/key", b"1", headers=none).status == 200
    assert counter.ask("PUT", "/bkt/key", b"2", headers=none).code == "PreconditionFailed"
    etag = counter.ask("HEAD", "/bkt/key").headers["etag"]
    assert counter.ask("PUT", "/bkt/key", b"2", headers={"if-match": '"0"'}).code == "PreconditionFailed"
    assert counter.ask("PUT", "/bkt/other", b"2", headers={"if-match": etag}).code == "NoSuchKey"
    assert counter.ask("PUT", "/bkt/key", b"3", headers={"if-match": etag}).status == 200
    assert counter.ask("GET", "/bkt/key").body == b"3"


def test_a_sweep_takes_what_a_crash_left(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", bytes(INLINE_BYTES + 1))
    stray = counter.blobs._blobs / "ab" / ("ab" * 16)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"stray")
    (counter.blobs._incoming / ("cd" * 16)).write_bytes(b"half")
    asyncio.run(counter.collector.look())
    assert len(counter.files()) == 1
    assert counter.ask("GET", "/bkt/key").body == bytes(INLINE_BYTES + 1)
