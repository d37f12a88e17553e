"""CreateMultipartUpload, UploadPart, UploadPartCopy, ListParts, ListMultipartUploads, AbortMultipartUpload and
CompleteMultipartUpload."""

import asyncio
import base64
import hashlib
import os
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cloudlet.kernel.digests import digest_of
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Sendable
from cloudlet.services.s3 import reading, uploads
from tests.services.s3.counter import Answer, Counter, body_of

MIN = 5 << 20
BIG = os.urandom(MIN)


def begin(counter: Counter, key: str = "key", headers: dict[str, str] | None = None) -> str:
    answer = counter.ask("POST", f"/bkt/{key}", headers=headers, uploads="")
    assert answer.status == 200, answer.body
    return str(answer.xml.findtext("UploadId"))


def send(counter: Counter, upload: str, number: int, data: bytes, key: str = "key",
         headers: dict[str, str] | None = None) -> Answer:
    return counter.ask("PUT", f"/bkt/{key}", data, headers=headers, partNumber=str(number), uploadId=upload)


def document(parts: list[Any]) -> bytes:
    """Of (number, ETag) or (number, ETag, more)."""
    return b"<CompleteMultipartUpload>" + b"".join(
        f"<Part><PartNumber>{part[0]}</PartNumber><ETag>{part[1]}</ETag>{''.join(part[2:])}</Part>".encode()
        for part in parts) + b"</CompleteMultipartUpload>"


def complete(counter: Counter, upload: str, parts: list[Any], key: str = "key",
             headers: dict[str, str] | None = None) -> Answer:
    return counter.ask("POST", f"/bkt/{key}", document(parts), headers=headers, uploadId=upload)


def sent(counter: Counter, upload: str, *datas: bytes, key: str = "key") -> list[tuple[int, str]]:
    return [(number, send(counter, upload, number, data, key).headers["etag"])
            for number, data in enumerate(datas, 1)]


def sum_of(algorithm: str, data: bytes) -> str:
    return base64.b64encode(digest_of(algorithm, data)).decode()


def test_parts_become_an_object_and_are_not_copied(counter: Counter) -> None:
    said = {"content-type": "video/x", "x-amz-meta-a": "b"}
    upload = begin(counter, headers=said)
    parts = sent(counter, upload, BIG, b"middle" + BIG, b"end")
    files = counter.files()
    assert counter.ask("GET", "/bkt/key").code == "NoSuchKey"
    answer = complete(counter, upload, parts)
    md5s = b"".join(hashlib.md5(data).digest() for data in (BIG, b"middle" + BIG, b"end"))
    whole, etag = BIG + b"middle" + BIG + b"end", f'"{hashlib.md5(md5s).hexdigest()}-3"'
    assert (answer.status, answer.xml.findtext("ETag"), answer.xml.findtext("Key")) == (200, etag, "key")
    assert answer.xml.findtext("Location") == "http://localhost:4566/bkt/key"
    assert (answer.xml.findtext("ChecksumCRC64NVME"), answer.xml.findtext("ChecksumType")) == (
        sum_of("crc64nvme", whole), "FULL_OBJECT")
    got = counter.ask("GET", "/bkt/key")
    assert (got.body, got.headers["etag"]) == (whole, etag)
    assert {name: got.headers[name] for name in said} == said
    assert (counter.files(), counter.rows("s3_upload")) == (files, 0)
    for wanted in ((0, 10), (MIN - 3, MIN + 9), (MIN, MIN), (2 * MIN, len(whole) - 1)):
        part = counter.ask("GET", "/bkt/key", headers={"range": f"bytes={wanted[0]}-{wanted[1]}"})
        assert (part.status, part.body) == (206, whole[wanted[0]:wanted[1] + 1])
    second = counter.ask("GET", "/bkt/key", partNumber="2")
    assert (second.body, second.headers["x-amz-mp-parts-count"]) == (b"middle" + BIG, "3")
    assert counter.ask("GET", "/bkt", list_type="2").xml.findtext("Contents/ETag") == etag


def test_completing_again_answers_the_same(counter: Counter) -> None:
    upload = begin(counter)
    parts = sent(counter, upload, b"all")
    first = complete(counter, upload, parts)
    again = complete(counter, upload, parts)
    assert (again.status, again.xml.findtext("ETag")) == (200, first.xml.findtext("ETag"))
    assert complete(counter, upload, [(1, '"0"')]).code == "NoSuchUpload"
    assert counter.rows("s3_version") == 1
    assert send(counter, upload, 2, b"late").code == "NoSuchUpload"
    counter.ask("PUT", "/bkt/key", b"other")
    assert complete(counter, upload, parts).code == "NoSuchUpload"
    assert counter.ask("GET", "/bkt/key").body == b"other"


def test_what_is_not_named_or_replaced_goes(counter: Counter) -> None:
    upload = begin(counter)
    sent(counter, upload, BIG, BIG + b"1", BIG + b"2")
    etag = send(counter, upload, 2, BIG + b"new").headers["etag"]
    counter.work()
    assert len(counter.files()) == 3
    assert complete(counter, upload, [(2, etag)]).status == 200
    counter.work()
    assert (counter.ask("GET", "/bkt/key").body, len(counter.files())) == (BIG + b"new", 1)
    counter.ask("DELETE", "/bkt/key")
    counter.work()
    assert [counter.rows(table) for table in ("s3_content", "s3_part", "s3_upload", "s3_version")] == [0, 0, 0, 0]
    assert counter.files() == []


def test_an_upload_given_up_leaves_nothing(counter: Counter) -> None:
    upload = begin(counter)
    sent(counter, upload, BIG, b"x")
    assert counter.ask("DELETE", "/bkt/key", uploadId=upload).status == 204
    counter.work()
    assert [counter.rows(table) for table in ("s3_content", "s3_part", "s3_upload")] == [0, 0, 0]
    assert counter.files() == []
    for answer in (counter.ask("DELETE", "/bkt/key", uploadId=upload), send(counter, upload, 1, b"x"),
                   counter.ask("GET", "/bkt/key", uploadId=upload), complete(counter, upload, [(1, "x")])):
        assert (answer.status, answer.code) == (404, "NoSuchUpload")


def test_an_upload_of_another_key_is_none(counter: Counter) -> None:
    upload = begin(counter)
    assert send(counter, upload, 1, b"x", key="other").code == "NoSuchUpload"
    assert counter.ask("PUT", "/second").status == 200
    assert counter.ask("PUT", "/second/key", b"x", partNumber="1", uploadId=upload).code == "NoSuchUpload"


def test_a_bucket_is_deleted_with_its_uploads(counter: Counter) -> None:
    sent(counter, begin(counter), BIG)
    assert counter.ask("DELETE", "/bkt").status == 204
    counter.work()
    assert ([counter.rows(table) for table in ("s3_content", "s3_part", "s3_upload")], counter.files()) == ([0] * 3, [])


def test_an_object_s_parts_are_counted_without_gaps(counter: Counter) -> None:
    upload = begin(counter, headers={"x-amz-checksum-algorithm": "SHA256"})
    said = []
    for number, data in ((3, BIG), (700, b"end")):
        digest = sum_of("sha256", data)
        part = send(counter, upload, number, data, headers={"x-amz-checksum-sha256": digest})
        said.append((number, part.headers["etag"], f"<ChecksumSHA256>{digest}</ChecksumSHA256>"))
    assert complete(counter, upload, said).status == 200
    second = counter.ask("GET", "/bkt/key", partNumber="2", headers={"x-amz-checksum-mode": "ENABLED"})
    assert (second.status, second.body) == (206, b"end")
    assert second.headers["x-amz-checksum-sha256"] == sum_of("sha256", b"end")
    assert counter.ask("GET", "/bkt/key", partNumber="3").code == "InvalidPartNumber"
    whole = counter.ask("HEAD", "/bkt/key", headers={"x-amz-checksum-mode": "ENABLED"}).headers["x-amz-checksum-sha256"]
    told = counter.ask("GET", "/bkt/key", attributes="", headers={"x-amz-object-attributes": "Checksum"})
    assert (whole[-2:], told.xml.findtext("Checksum/ChecksumSHA256")) == ("-2", whole[:-2])  # as AWS says it


@pytest.mark.parametrize("number", ["0", "10001", "-1", "x"])
def test_numbers_that_no_part_has(counter: Counter, number: str) -> None:
    answer = counter.ask("PUT", "/bkt/key", b"x", partNumber=number, uploadId=begin(counter))
    assert (answer.status, answer.code) == (400, "InvalidArgument")


@pytest.mark.parametrize("query", [{"partNumber": "1"}, {"uploadId": "x"}])
def test_half_of_a_part_is_no_object(counter: Counter, query: dict[str, str]) -> None:
    for headers in ({}, {"x-amz-copy-source": "bkt/other"}):
        answer = counter.ask("PUT", "/bkt/key", b"" if headers else b"x", headers=headers, **query)
        assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert counter.ask("HEAD", "/bkt/key").status == 404


def test_what_cannot_be_completed(counter: Counter) -> None:
    upload = begin(counter)
    one, two = sent(counter, upload, BIG, b"small")
    three = (3, send(counter, upload, 3, b"last").headers["etag"])
    for parts, code in (([two, one], "InvalidPartOrder"), ([one, one], "InvalidPartOrder"), ([], "MalformedXML"),
                        ([one, (4, one[1])], "InvalidPart"), ([(1, two[1])], "InvalidPart"),
                        ([one, two, three], "EntityTooSmall"), ([(0, one[1])], "InvalidArgument")):
        assert complete(counter, upload, parts).code == code
    assert counter.ask("POST", "/bkt/key", b"<CompleteMultipartUpload/>", uploadId=upload).code == "MalformedXML"
    nothing = counter.ask("POST", "/bkt/key", b"", uploadId=upload)
    assert (nothing.code, nothing.xml.findtext("Message")) == (
        "InvalidRequest", "You must specify at least one part")
    small = complete(counter, upload, [one, two, three]).xml
    assert (small.findtext("PartNumber"), small.findtext("ProposedSize")) == ("2", "5")
    assert counter.ask("HEAD", "/bkt/key").status == 404
    assert complete(counter, upload, [one, (2, two[1].strip('"'))]).status == 200


@pytest.mark.parametrize(("algorithm", "kind"), [
    ("crc32", "COMPOSITE"), ("crc32", "FULL_OBJECT"), ("crc32c", "FULL_OBJECT"), ("crc64nvme", "FULL_OBJECT"),
    ("sha1", "COMPOSITE"), ("sha256", "COMPOSITE"), ("xxhash128", "COMPOSITE")])
def test_checksums_of_parts_and_of_the_whole(counter: Counter, algorithm: str, kind: str) -> None:
    tag = f"Checksum{algorithm.upper()}"
    upload = begin(counter, headers={"x-amz-checksum-algorithm": algorithm.upper(), "x-amz-checksum-type": kind})
    datas, parts = [BIG, b"end"], []
    for number, data in enumerate(datas, 1):
        value = sum_of(algorithm, data)
        answer = send(counter, upload, number, data, headers={f"x-amz-checksum-{algorithm}": value})
        assert answer.headers[f"x-amz-checksum-{algorithm}"] == value
        parts.append((number, answer.headers["etag"], f"<{tag}>{value}</{tag}>"))
    listed = counter.ask("GET", "/bkt/key", uploadId=upload).xml
    assert [each.findtext(tag) for each in listed.findall("Part")] == [sum_of(algorithm, data) for data in datas]
    assert (listed.findtext("ChecksumAlgorithm"), listed.findtext("ChecksumType")) == (algorithm.upper(), kind)
    whole = sum_of(algorithm, b"".join(datas))
    if kind == "COMPOSITE":
        whole = sum_of(algorithm, b"".join(digest_of(algorithm, data) for data in datas)) + "-2"
    wrong = [parts[0], (*parts[1][:2], f"<{tag}>{sum_of(algorithm, b'wrong')}</{tag}>")]
    assert complete(counter, upload, wrong).code == "InvalidPart"
    untold = complete(counter, upload, [part[:2] for part in parts], headers={"x-amz-mp-object-size": "1"})
    assert ("include the checksum for each part" in untold.xml.findtext("Message")) == (kind == "COMPOSITE")
    bad = {f"x-amz-checksum-{algorithm}": sum_of(algorithm, b"wrong")}
    assert complete(counter, upload, parts, headers=bad).code == "BadDigest"
    done = complete(counter, upload, parts, headers={f"x-amz-checksum-{algorithm}": whole})
    assert (done.xml.findtext(tag), done.xml.findtext("ChecksumType")) == (whole, kind)
    head = counter.ask("HEAD", "/bkt/key", headers={"x-amz-checksum-mode": "ENABLED"}).headers
    assert (head[f"x-amz-checksum-{algorithm}"], head["x-amz-checksum-type"]) == (whole, kind)


def test_which_checksum_a_part_may_bring(counter: Counter) -> None:
    crc32 = {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(b"x").to_bytes(4, "big")).decode()}
    composite = begin(counter, headers={"x-amz-checksum-algorithm": "SHA1"})
    assert "expected checksum Type: sha1, actual checksum Type: crc32" in str(
        send(counter, composite, 1, b"x", headers=crc32).body)
    assert "actual checksum Type: null" in str(send(counter, composite, 1, b"x").body)
    full = begin(counter, headers={"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"})
    assert send(counter, full, 1, b"x").headers["x-amz-checksum-crc32"] == crc32["x-amz-checksum-crc32"]
    assert send(counter, begin(counter), 1, b"x", headers=crc32).status == 200
    assert send(counter, full, 1, b"y", headers=crc32).code == "BadDigest"
    refused = counter.ask("POST", "/bkt/key", headers={"x-amz-checksum-type": "COMPOSITE"}, uploads="")
    assert (refused.status, refused.code) == (400, "InvalidRequest")


def test_pages_of_parts(counter: Counter) -> None:
    upload = begin(counter)
    for number in (1, 2, 5, 9):
        send(counter, upload, number, b"x" * number)
    first = counter.ask("GET", "/bkt/key", uploadId=upload, max_parts="3").xml
    assert [each.findtext("PartNumber") for each in first.findall("Part")] == ["1", "2", "5"]
    assert (first.findtext("IsTruncated"), first.findtext("NextPartNumberMarker")) == ("true", "5")
    rest = counter.ask("GET", "/bkt/key", uploadId=upload, part_number_marker="5").xml
    assert [(each.findtext("PartNumber"), each.findtext("Size")) for each in rest.findall("Part")] == [("9", "9")]
    assert (rest.findtext("IsTruncated"), rest.findtext("Initiator/ID")) == ("false", rest.findtext("Owner/ID"))
    assert counter.ask("GET", "/bkt/key", uploadId=upload, max_parts="-1").code == "InvalidArgument"


def test_uploads_under_way(counter: Counter) -> None:
    ids = []
    for key in ("b", "a", "a", "c/d", "c/e"):
        counter.desk.clock.time += 1
        ids.append(begin(counter, key))
    listed = counter.ask("GET", "/bkt", uploads="").xml
    assert [(each.findtext("Key"), each.findtext("UploadId")) for each in listed.findall("Upload")] == [
        ("a", ids[1]), ("a", ids[2]), ("b", ids[0]), ("c/d", ids[3]), ("c/e", ids[4])]
    page = counter.ask("GET", "/bkt", uploads="", delimiter="/", max_uploads="1").xml
    assert (page.findtext("NextKeyMarker"), page.findtext("NextUploadIdMarker")) == ("a", ids[1])
    rest = counter.ask("GET", "/bkt", uploads="", delimiter="/", key_marker="a", upload_id_marker=ids[1]).xml
    assert [each.findtext("UploadId") for each in rest.findall("Upload")] == [ids[2], ids[0]]
    assert rest.findtext("CommonPrefixes/Prefix") == "c/"
    assert counter.ask("GET", "/bkt", uploads="", prefix="c/", key_marker="c/d").xml.findtext("Upload/Key") == "c/e"
    assert counter.ask("GET", "/nowhere", uploads="").code == "NoSuchBucket"
    alone = counter.ask("GET", "/bkt", uploads="", upload_id_marker=ids[1]).xml
    assert (alone.findtext("UploadIdMarker") or "", len(alone.findall("Upload"))) == ("", 5)
    for other in ("x", ids[0]):  # which is none, and which is of another key
        wrong = counter.ask("GET", "/bkt", uploads="", key_marker="a", upload_id_marker=other)
        assert wrong.xml.findtext("Message") == "Invalid uploadId marker"
    counter.ask("DELETE", "/bkt/a", uploadId=ids[1])
    assert counter.ask("GET", "/bkt", uploads="", key_marker="a", upload_id_marker=ids[1]).xml.findtext(
        "Upload/UploadId") == ids[2]


def test_what_a_listing_of_uploads_tells_where_no_page_follows(counter: Counter) -> None:
    def told(**query: str) -> tuple[str, str, bool]:
        listed = counter.ask("GET", "/bkt", uploads="", **query).xml
        prefix = listed.find("Prefix")
        return listed.findtext("NextKeyMarker"), listed.findtext("NextUploadIdMarker"), prefix is not None
    assert told() == ("", "", False)
    upload = begin(counter, "c/d")
    assert told() == ("c/d", upload, False)
    assert told(prefix="c/") == ("c/d", upload, True)
    assert told(delimiter="/") == ("", "", False)
    begin(counter, "e/f")
    assert told(delimiter="/", max_uploads="1") == ("c/", "", False)  # AWS tells nothing, so that nobody could go on
    assert told(max_uploads="") == told(max_uploads="1000")


def test_numbers_that_are_left_empty(counter: Counter) -> None:
    upload = begin(counter)
    send(counter, upload, 1, b"x")
    listed = counter.ask("GET", "/bkt/key", uploadId=upload, max_parts="", part_number_marker="").xml
    assert (listed.findtext("MaxParts"), listed.findtext("PartNumberMarker")) == ("1000", "0")
    for query in ({}, {"list_type": "2"}, {"versions": ""}):
        assert counter.ask("GET", "/bkt", max_keys="", **query).xml.findtext("MaxKeys") == "1000"


def test_what_is_no_checksum_of_a_part_or_of_the_whole(counter: Counter) -> None:
    upload = begin(counter, headers={"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"})
    etag = send(counter, upload, 1, b"x").headers["etag"]
    crc, sha1 = sum_of("crc32", b"x"), sum_of("sha1", b"x")
    for said, code in (("<ChecksumCRC32>crc</ChecksumCRC32>", "InvalidArgument"),
                       (f"<ChecksumCRC32>{crc}</ChecksumCRC32><ChecksumSHA1>{sha1}</ChecksumSHA1>", "InvalidArgument"),
                       (f"<ChecksumSHA1>{sha1}</ChecksumSHA1>", "BadDigest"),
                       ("<ChecksumCRC32>AAAAAA==</ChecksumCRC32>", "InvalidPart")):
        assert complete(counter, upload, [(1, etag, said)]).code == code
    for headers, code in (({"x-amz-checksum-crc32": "x"}, "InvalidRequest"),
                          ({"x-amz-checksum-crc32": f"{crc}-a"}, "InvalidRequest"),
                          ({"x-amz-checksum-crc32": crc, "x-amz-checksum-sha1": sha1}, "InvalidRequest"),
                          ({"x-amz-checksum-type": "x"}, "InvalidRequest"),
                          ({"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest")):
        assert complete(counter, upload, [(1, etag)], headers=headers).code == code
    assert complete(counter, upload, [(1, etag)], headers={"x-amz-checksum-crc32": crc}).status == 200


def copy(counter: Counter, upload: str, number: int, source: str, **headers: str) -> Answer:
    said = {"x-amz-copy-source": source} | {name.replace("_", "-"): value for name, value in headers.items()}
    return counter.ask("PUT", "/bkt/key", headers=said, partNumber=str(number), uploadId=upload)


def test_parts_that_are_copied(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/src", BIG)
    upload = begin(counter)
    files = counter.files()
    whole = copy(counter, upload, 1, "/bkt/src").xml
    assert (whole.findtext("ETag"), counter.files()) == (f'"{hashlib.md5(BIG).hexdigest()}"', files)
    part = copy(counter, upload, 2, "/bkt/src", x_amz_copy_source_range="bytes=10-99999").xml
    assert part.findtext("ETag") == f'"{hashlib.md5(BIG[10:100_000]).hexdigest()}"'
    counter.ask("DELETE", "/bkt/src")
    done = complete(counter, upload, [(1, whole.findtext("ETag")), (2, part.findtext("ETag"))]).xml
    expected = BIG + BIG[10:100_000]
    assert done.findtext("ChecksumCRC64NVME") == sum_of("crc64nvme", expected)
    counter.work()
    assert counter.ask("GET", "/bkt/key").body == expected
    again = begin(counter)  # of an object that has parts itself
    etag = copy(counter, again, 1, "/bkt/key").xml.findtext("ETag")
    assert etag == f'"{hashlib.md5(expected).hexdigest()}"'
    assert complete(counter, again, [(1, etag)]).status == 200
    counter.work()
    assert (counter.ask("GET", "/bkt/key").body, counter.rows("s3_content")) == (expected, 1)


def test_what_cannot_be_copied_as_a_part(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/src", b"0123456789")
    upload = begin(counter)
    for headers, code in (({"x_amz_copy_source_range": "bytes=0-10"}, "InvalidArgument"),
                          ({"x_amz_copy_source_range": "0-5"}, "InvalidArgument"),
                          ({"x_amz_copy_source_if_match": '"no"'}, "PreconditionFailed")):
        assert copy(counter, upload, 1, "bkt/src", **headers).code == code
    assert copy(counter, upload, 1, "bkt/none").code == "NoSuchKey"
    assert copy(counter, "none", 1, "bkt/src").code == "NoSuchUpload"
    counter.ask("POST", "/bkt/key", headers={"x-amz-checksum-algorithm": "SHA256"}, uploads="")


def test_the_checksum_of_a_copied_part(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/src", b"0123456789")
    upload = begin(counter, headers={"x-amz-checksum-algorithm": "SHA256"})
    answer = copy(counter, upload, 1, "bkt/src").xml
    assert answer.findtext("ChecksumSHA256") == sum_of("sha256", b"0123456789")


def customer(secret: bytes) -> dict[str, str]:
    prefix = "x-amz-server-side-encryption-customer-"
    return {f"{prefix}algorithm": "AES256", f"{prefix}key": base64.b64encode(secret).decode(),
            f"{prefix}key-md5": base64.b64encode(hashlib.md5(secret).digest()).decode()}


def test_parts_encrypted_with_a_customers_key(counter: Counter) -> None:
    key, other = customer(b"k" * 32), customer(b"o" * 32)
    upload = begin(counter, headers=key)
    assert "initiate requested encryption" in str(send(counter, upload, 1, BIG).body)
    plain = begin(counter)
    assert "initiate requested encryption" in str(send(counter, plain, 1, BIG, headers=key).body)
    assert "did not match the ones used originally" in str(send(counter, upload, 1, BIG, headers=other).body)
    parts = [(number, send(counter, upload, number, data, headers=key).headers["etag"])
             for number, data in enumerate((BIG, b"end"), 1)]
    done = complete(counter, upload, parts).xml
    assert done.findtext("ChecksumCRC64NVME") == sum_of("crc64nvme", BIG + b"end")
    assert counter.ask("GET", "/bkt/key", headers=key).body == BIG + b"end"
    assert counter.ask("GET", "/bkt/key").code == "InvalidRequest"


def test_versions_made_of_parts(counter: Counter) -> None:
    counter.ask("PUT", "/bkt", b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
                versioning="")
    ids = []
    for data in (b"one", b"two"):
        upload = begin(counter)
        ids.append(complete(counter, upload, sent(counter, upload, data)).headers["x-amz-version-id"])
    assert [counter.ask("GET", "/bkt/key", versionId=version).body for version in ids] == [b"one", b"two"]
    counter.ask("DELETE", "/bkt/key", versionId=ids[1])
    assert counter.ask("GET", "/bkt/key").body == b"one"


def test_ten_thousand_parts(counter: Counter) -> None:
    upload = begin(counter)
    with counter.store.tx() as tx:  # as if each had come with 5 MiB of nothing
        tx.execute("insert into s3_content (refs, size, body, file, crc64, nonce, scrubbed_ms) values"
                   " (10000,?,null,'none',?,null,0)", (MIN, digest_of("crc64nvme", bytes(MIN))))
        content, etag, crc64 = tx.last_id(), hashlib.md5(b"").hexdigest(), digest_of("crc64nvme", bytes(MIN))
        for number in range(1, 10_001):
            tx.execute("insert into s3_part (upload, number, size, etag, modified_ms, about, crc64, content, start)"
                       " values (?,?,?,?,0,'{}',?,?,0)", (upload, number, MIN, etag, crc64, content))
    parts = [(number, hashlib.md5(b"").hexdigest()) for number in range(1, 10_001)]
    answer = complete(counter, upload, parts, headers={"x-amz-mp-object-size": str(MIN * 10_000)})
    assert answer.xml.findtext("ETag") == f'"{hashlib.md5(hashlib.md5(b"").digest() * 10_000).hexdigest()}-10000"'
    head = counter.ask("HEAD", "/bkt/key", partNumber="10000").headers
    assert head["content-range"] == f"bytes {MIN * 9_999}-{MIN * 10_000 - 1}/{MIN * 10_000}"


@pytest.mark.parametrize(("count", "order"), [(1, ["completed", "another"]), (5000, ["another", "completed"])])
def test_a_long_document_is_read_in_a_turn_of_its_own(counter: Counter, monkeypatch: pytest.MonkeyPatch, count: int,
                                                      order: list[str]) -> None:
    happened, find = [], uploads.find

    def found(*arguments: Any) -> Any:
        happened.append("completed")
        return find(*arguments)

    async def another() -> None:
        happened.append("another")

    async def both() -> None:
        asked = document([(number + 1, hashlib.md5(b"").hexdigest()) for number in range(count)])
        completion = counter.gateway.handle(counter.signed("POST", "/bkt/key", asked, uploadId=upload))
        await asyncio.gather(completion, another())
    upload = begin(counter)
    monkeypatch.setattr(uploads, "find", found)
    asyncio.run(both())
    assert happened == order


@pytest.mark.parametrize(("datas", "part"), [
    ((b"small",), None), ((b"",), None), ((BIG, b"end"), None), ((BIG, b"end"), "bytes=-2"), ((BIG, b""), "bytes=-2"),
    ((BIG, BIG), "bytes=9-9")])
def test_parts_reach_a_socket(counter: Counter, datas: tuple[bytes, ...], part: str | None) -> None:
    upload = begin(counter)
    complete(counter, upload, sent(counter, upload, *datas))
    whole = b"".join(datas)
    expected = {None: whole, "bytes=-2": whole[-2:], "bytes=9-9": whole[9:10]}[part]
    response = asyncio.run(counter.gateway.handle(counter.signed(
        "GET", "/bkt/key", headers={} if part is None else {"range": part})))
    if isinstance(response.body, bytes):
        assert response.body == expected
        return
    assert isinstance(response.body, Sendable)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with ThreadPoolExecutor(1) as pool, theirs.makefile("rb") as stream:
            got = pool.submit(stream.read, len(expected) + 4)
            asyncio.run(response.body.send_to(ours.fileno(), b"head"))
            assert got.result(10) == b"head" + expected


@pytest.mark.parametrize("looked_at", [1, 100])
def test_parts_are_read_though_their_object_goes_meanwhile(counter: Counter, monkeypatch: pytest.MonkeyPatch,
                                                           looked_at: int) -> None:
    monkeypatch.setattr(reading, "LOOKED_AT_MAX", looked_at)
    upload = begin(counter)
    complete(counter, upload, sent(counter, upload, BIG, BIG[::-1], b"end"))

    async def read() -> bytes:
        response = await counter.gateway.handle(counter.signed("GET", "/bkt/key"))
        await counter.gateway.handle(counter.signed("DELETE", "/bkt/key"))
        await counter.collector.files("files")
        assert counter.rows("s3_part") == counter.rows("s3_content") == 0
        return await body_of(response)
    assert asyncio.run(read()) == BIG + BIG[::-1] + b"end"
    counter.work()
    assert counter.files() == []


@pytest.mark.parametrize(("looked_at", "harm", "begins"), [
    (1, "a file is gone", True), (2, "a file is gone", False), (1, "a content is rotten", False)])
def test_what_is_known_to_be_lost_of_many_parts_is_said_before_the_answer_begins(
        counter: Counter, monkeypatch: pytest.MonkeyPatch, looked_at: int, harm: str, begins: bool) -> None:
    monkeypatch.setattr(reading, "LOOKED_AT_MAX", looked_at)
    upload = begin(counter)
    complete(counter, upload, sent(counter, upload, BIG, BIG[::-1], b"end"))
    with counter.store.tx() as tx:
        ((content, file),) = tx.execute("select c.id, c.file from s3_part p join s3_content c on c.id=p.content"
                                        " where p.number=2").fetchall()
        if harm == "a content is rotten":
            tx.execute("update s3_content set rotten=1 where id=?", (content,))
        else:
            counter.blobs.discard(file)
    response = asyncio.run(counter.gateway.handle(counter.signed("GET", "/bkt/key")))
    assert response.status == (200 if begins else 500)
    if begins:
        with pytest.raises(AwsError):
            asyncio.run(body_of(response))
