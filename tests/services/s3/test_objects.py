"""Objects: PutObject, GetObject, HeadObject, DeleteObject."""

import asyncio
import errno
import hashlib
import os

import pytest

from cloudlet.services.s3.contents import INLINE_BYTES
from tests.services.s3.counter import Counter, body_of

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
            "content-encoding": "gzip", "content-language": "de", "expires": "Wed, 01 Dec 2094 16:00:00 GMT",
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


def test_bytes_take_the_place_of_those_that_go(counter: Counter) -> None:
    ids = []
    for data in (b"first", b"", b"third and longest"):
        counter.ask("PUT", "/bkt/key", data)
        assert counter.ask("GET", "/bkt/key").body == data
        with counter.store.tx() as tx:
            ids += tx.rows("select id from s3_content")
    assert len(ids) == 3 and len(set(ids)) == 1


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


@pytest.mark.parametrize(("wanted", "first", "end"), [
    ("bytes=0-0", 0, 1), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=100-1000000000", 100, None),
    ("bytes=17-40000", 17, 40001)])
@pytest.mark.parametrize("size", [5000, INLINE_BYTES + 5000])
def test_a_range_is_a_part(counter: Counter, size: int, wanted: str, first: int, end: int | None) -> None:
    data = os.urandom(size)
    counter.ask("PUT", "/bkt/key", data)
    for method in ("GET", "HEAD"):
        got = counter.ask(method, "/bkt/key", headers={"range": wanted, "x-amz-checksum-mode": "ENABLED"})
        part = data[first:end]
        at = first % size
        assert (got.status, got.headers["content-range"]) == (206, f"bytes {at}-{at + len(part) - 1}/{size}")
        assert got.headers["content-length"] == str(len(part))
        assert not [name for name in got.headers if name.startswith("x-amz-checksum")]
        assert got.body == (part if method == "GET" else b"")


def test_a_range_of_everything_tells_the_checksum_of_it(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    for asked in ({"range": "bytes=0-3"}, {"range": "bytes=-9"}, {}):
        query = {} if asked else {"partNumber": "1"}
        got = counter.ask("GET", "/bkt/key", headers={**asked, "x-amz-checksum-mode": "ENABLED"}, **query)
        assert (got.status, got.headers["content-range"], got.headers["x-amz-checksum-type"]) == (
            206, "bytes 0-3/4", "FULL_OBJECT")
        assert got.headers["x-amz-checksum-crc64nvme"] == counter.ask("PUT", "/bkt/key", b"data").headers[
            "x-amz-checksum-crc64nvme"]


def test_a_range_that_is_not_there(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    answer = counter.ask("GET", "/bkt/key", headers={"range": "bytes=4-"})
    assert (answer.status, answer.code, answer.xml.findtext("ActualObjectSize")) == (416, "InvalidRange", "4")


def test_part_numbers_of_an_object_that_came_whole(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    got = counter.ask("GET", "/bkt/key", partNumber="1")
    assert (got.status, got.body, got.headers["content-range"]) == (206, b"data", "bytes 0-3/4")
    assert "x-amz-mp-parts-count" not in got.headers
    assert counter.ask("GET", "/bkt/key", partNumber="2").code == "InvalidPartNumber"
    assert counter.ask("GET", "/bkt/key", partNumber="0").code == "InvalidArgument"
    assert counter.ask("GET", "/bkt/key", partNumber="1", headers={"range": "bytes=0-0"}).code == "InvalidRequest"


def test_conditional_reads(counter: Counter) -> None:
    etag = counter.ask("PUT", "/bkt/key", b"data", headers={"cache-control": "max-age=5"}).headers["etag"]
    assert counter.ask("GET", "/bkt/key", headers={"if-match": etag}).status == 200
    assert counter.ask("GET", "/bkt/key", headers={"if-match": '"other"'}).code == "PreconditionFailed"
    same = counter.ask("GET", "/bkt/key", headers={"if-none-match": etag})
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    assert (same.headers["cache-control"], "content-type" in same.headers) == ("max-age=5", False)
    assert same.headers["last-modified"] == counter.ask("HEAD", "/bkt/key").headers["last-modified"]


def test_what_is_yet_to_come_is_no_condition(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    then = {"if-modified-since": "Wed, 01 Dec 2094 16:00:00 GMT"}
    assert counter.ask("GET", "/bkt/key", headers=then).body == b"data"
    copy = {"x-amz-copy-source": "/bkt/key", **{f"x-amz-copy-source-{name}": date for name, date in then.items()}}
    assert counter.ask("PUT", "/bkt/copy", headers=copy).status == 200


def test_a_part_s_number_is_looked_at_before_the_object(counter: Counter) -> None:
    refused = counter.ask("GET", "/bkt/none", partNumber="0")
    assert (refused.code, refused.xml.findtext("ArgumentName")) == ("InvalidArgument", "partNumber")
    assert counter.ask("GET", "/bkt/none", partNumber="1", headers={"range": "bytes=0-1"}).code == "InvalidRequest"
    assert counter.ask("GET", "/bkt/none", partNumber="1").code == "NoSuchKey"


@pytest.mark.parametrize("body", [b"no XML", b"<Tagging>", b"<!DOCTYPE Tagging><Tagging/>", b"\xff"])
def test_of_a_document_that_is_none_no_more_is_said(counter: Counter, body: bytes) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    refused = counter.ask("PUT", "/bkt/key", body, tagging="")
    assert (refused.status, refused.code, refused.xml.findtext("Message")) == (
        400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published"
        " schema")


@pytest.mark.parametrize("header", ["if-modified-since", "if-unmodified-since"])
@pytest.mark.parametrize("date", ["yesterday", "2020-01-01", "", "Mon, 99 Jan 2020 00:00:00 GMT"])
def test_a_date_that_is_none_asks_nothing(counter: Counter, header: str, date: str) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    assert counter.ask("GET", "/bkt/key", headers={header: date}).body == b"data"
    assert counter.ask("HEAD", "/bkt/key", headers={header: date}).status == 200


@pytest.mark.parametrize(("method", "header", "says"), [
    ("PUT", "x-amz-copy-source-if-modified-since", "yesterday is not a valid Timestamp"),
    ("PUT", "x-amz-object-lock-retain-until-date", "The retain until date must be provided in ISO 8601 format"),
    ("DELETE", "x-amz-bypass-governance-retention", "yesterday is not a valid Boolean"),
    ("GET", "x-amz-max-parts", "Provided x-amz-max-parts not an integer or within integer range")])
def test_headers_that_cannot_be_read(counter: Counter, method: str, header: str, says: str) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    headers = {header: "yesterday"} | ({"x-amz-copy-source": "/bkt/key"} if "copy" in header else {}) | (
        {"x-amz-object-attributes": "ObjectParts"} if method == "GET" else {})
    refused = counter.ask(method, "/bkt/key", headers=headers, **({"attributes": ""} if method == "GET" else {}))
    assert (refused.status, refused.code, refused.xml.findtext("Message")) == (400, "InvalidArgument", says)
    assert (refused.xml.findtext("ArgumentName"), refused.xml.findtext("ArgumentValue")) == (header, "yesterday")
    assert counter.ask("GET", "/bkt/key").body == b"data"


def test_answers_as_the_request_wants_them(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data", headers={"content-type": "text/plain", "cache-control": "no-store"})
    got = counter.ask("GET", "/bkt/key", response_content_type="image/png", response_content_disposition="attachment",
                      response_expires="Wed, 01 Dec 2094 16:00:00 GMT")
    assert (got.headers["content-type"], got.headers["content-disposition"]) == ("image/png", "attachment")
    assert (got.headers["expires"], got.headers["cache-control"]) == ("Wed, 01 Dec 2094 16:00:00 GMT", "no-store")


def test_metadata_has_a_limit_and_any_character(counter: Counter) -> None:
    fits = {"x-amz-meta-a": "x" * 2047}
    assert counter.ask("PUT", "/bkt/key", b"", headers=fits).status == 200
    assert counter.ask("PUT", "/bkt/key", b"", headers={"x-amz-meta-ab": "x" * 2047}).code == "MetadataTooLarge"
    counter.ask("PUT", "/bkt/key", b"", headers={"x-amz-meta-u": "=?UTF-8?Q?=C3=84M?="})
    assert counter.ask("HEAD", "/bkt/key").headers["x-amz-meta-u"] == "=?UTF-8?B?w4RN?="
    counter.ask("PUT", "/bkt/key", b"", headers={"x-amz-meta-u": "=?what?="})
    assert counter.ask("HEAD", "/bkt/key").headers["x-amz-meta-u"] == "=?what?="


def test_storage_classes(counter: Counter) -> None:
    assert counter.ask("PUT", "/bkt/key", b"", headers={"x-amz-storage-class": "TAPE"}).code == "InvalidStorageClass"
    counter.ask("PUT", "/bkt/key", b"x", headers={"x-amz-storage-class": "STANDARD_IA"})
    assert counter.ask("GET", "/bkt/key").headers["x-amz-storage-class"] == "STANDARD_IA"
    counter.ask("PUT", "/bkt/key", b"x", headers={"x-amz-storage-class": "GLACIER"})
    assert counter.ask("GET", "/bkt/key").code == "InvalidObjectState"
    assert counter.ask("HEAD", "/bkt/key").headers["x-amz-storage-class"] == "GLACIER"
    counter.ask("PUT", "/bkt/key", b"x")
    assert "x-amz-storage-class" not in counter.ask("GET", "/bkt/key").headers


def test_a_redirect_of_a_website(counter: Counter) -> None:
    where = {"x-amz-website-redirect-location": "/elsewhere"}
    counter.ask("PUT", "/bkt/key", b"x", headers=where)
    assert counter.ask("GET", "/bkt/key").headers["x-amz-website-redirect-location"] == "/elsewhere"
    where = {"x-amz-website-redirect-location": "elsewhere"}
    assert counter.ask("PUT", "/bkt/key", b"x", headers=where).code == "InvalidRedirectLocation"


def test_conditional_deletes(counter: Counter) -> None:
    etag = counter.ask("PUT", "/bkt/key", b"data").headers["etag"]
    assert counter.ask("DELETE", "/bkt/key", headers={"if-match": '"other"'}).code == "PreconditionFailed"
    assert counter.ask("DELETE", "/bkt/none", headers={"if-match": "*"}).code == "NoSuchKey"
    assert counter.ask("DELETE", "/bkt/key", headers={"x-amz-if-match-size": "4"}).status == 501
    assert counter.ask("DELETE", "/bkt/key", headers={"if-match": etag}).status == 204
    assert counter.ask("GET", "/bkt/key").code == "NoSuchKey"


def test_what_is_not_here(counter: Counter) -> None:
    for header, value in (("x-amz-server-side-encryption", "aws:kms"), ("x-amz-write-offset-bytes", "5"),
                          ("x-amz-server-side-encryption-bucket-key-enabled", "true")):
        assert counter.ask("PUT", "/bkt/key", b"data", headers={header: value}).status == 501
    assert counter.ask("HEAD", "/bkt/key").status == 404
    assert counter.ask("PUT", "/bkt/key", b"data", headers={"x-amz-server-side-encryption": "AES256"}).headers[
        "x-amz-server-side-encryption"] == "AES256"


def test_rotten_bytes_are_never_answered(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/small", b"data")
    counter.ask("PUT", "/bkt/large", bytes(INLINE_BYTES + 1))
    with counter.store.tx() as tx:
        tx.execute("update s3_content set body=? where body is not null", (b"date",))
    (file,) = counter.files()
    file.write_bytes(bytes(INLINE_BYTES))
    for key in ("small", "large"):
        assert counter.ask("GET", f"/bkt/{key}").code == "InternalError"
    file.unlink()
    assert counter.ask("GET", "/bkt/large").code == "InternalError"


def test_what_is_read_stays_whole(counter: Counter) -> None:
    data = os.urandom(2 << 20)
    counter.ask("PUT", "/bkt/key", data)

    async def read_while_deleting() -> bytes:
        response = await counter.gateway.handle(counter.signed("GET", "/bkt/key"))
        await counter.gateway.handle(counter.signed("DELETE", "/bkt/key"))
        await counter.collector.files("files")
        assert counter.files() == []
        return await body_of(response)
    assert asyncio.run(read_while_deleting()) == data


def test_a_full_disk_loses_nothing(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    counter.ask("PUT", "/bkt/key", b"old")

    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("cloudlet.store.blobs.os.write", full)
    answer = counter.ask("PUT", "/bkt/key", bytes(INLINE_BYTES + 1))
    monkeypatch.undo()
    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    assert (counter.ask("GET", "/bkt/key").body, counter.files()) == (b"old", [])
    assert counter.ask("PUT", "/bkt/key", bytes(INLINE_BYTES + 1)).status == 200


def test_a_body_says_its_length(counter: Counter) -> None:
    request = counter.signed("PUT", "/bkt/key")
    del request.headers["content-length"]
    answer = asyncio.run(counter.answer(request))
    assert (answer.status, answer.code) == (411, "MissingContentLength")


@pytest.mark.parametrize("version", ["bogus", "x" * 31, "x" * 33, "+" * 32, "x" * 32, "F" * 32])
def test_what_is_no_version_s_id(counter: Counter, version: str) -> None:
    counter.ask("PUT", "/bkt/key", b"x")
    answer = counter.ask("GET", "/bkt/key", versionId=version)
    assert (answer.status, answer.xml.findtext("Message")) == (400, "Invalid version id specified")
    assert counter.ask("GET", "/bkt/key", versionId="f" * 32).code == "NoSuchVersion"
    empty = counter.ask("GET", "/bkt/key", versionId="").xml
    assert empty.findtext("Message") == "Version id cannot be the empty string"


@pytest.mark.parametrize(("header", "value", "says"), [
    ("x-amz-acl", "nobody", ""), ("x-amz-object-lock-mode", "NEVER", "Unknown wormMode directive."),
    ("x-amz-object-lock-legal-hold", "MAYBE", "Legal Hold must be either of 'ON' or 'OFF'")])
def test_headers_with_words_that_there_are_not(counter: Counter, header: str, value: str, says: str) -> None:
    wrong = counter.ask("PUT", "/bkt/key", b"x", headers={header: value})
    assert (wrong.status, wrong.code, wrong.xml.findtext("Message")) == (400, "InvalidArgument", says)
    assert (wrong.xml.findtext("ArgumentName"), wrong.xml.findtext("ArgumentValue")) == (header, value)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_reads_says_nothing_of_encryption(counter: Counter, method: str) -> None:
    counter.ask("PUT", "/bkt/key", b"x", headers={"x-amz-server-side-encryption": "AES256"})
    assert counter.ask(method, "/bkt/key", headers={"x-amz-server-side-encryption": "AES256"}).status == 400
    assert counter.ask(method, "/bkt/key").headers["x-amz-server-side-encryption"] == "AES256"


def test_many_put_one_new_key_at_once(counter: Counter) -> None:
    """Their commit is one, and what each has written is put off until then; still there is one version, the last."""
    counter.ask("PUT", "/bkt")
    pushed = [counter.signed("PUT", f"/bkt/{key}", b"%d" % number) for number in range(6) for key in ("same", number)]

    async def all_at_once() -> list[int]:
        return [answer.status for answer in await asyncio.gather(*map(counter.answer, pushed))]
    assert set(asyncio.run(all_at_once())) == {200}
    assert counter.ask("GET", "/bkt/same").body == b"5"
    assert (counter.rows("s3_version"), counter.rows("s3_content")) == (7, 7)
