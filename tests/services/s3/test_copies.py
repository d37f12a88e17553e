"""CopyObject: shared bytes, or read and received anew; what comes along and what does not."""

import os
from urllib.parse import quote, quote_plus

import pytest

from cloudlet.services.s3.contents import INLINE_BYTES
from tests.services.s3.counter import Answer, Counter
from tests.services.s3.test_encryption import KEY, OTHER, headers
from tests.services.s3.test_versions import set_versioning

COPY_KEY = "x-amz-copy-source-server-side-encryption-customer-"


def copy(counter: Counter, to: str, source: str = "/bkt/key", **said: str) -> Answer:
    return counter.ask("PUT", to, headers={"x-amz-copy-source": source,
                                           **{name.replace("_", "-"): value for name, value in said.items()}})


@pytest.mark.parametrize("size", [10, INLINE_BYTES + 1])
def test_a_copy_shares_the_bytes_and_outlives_its_source(counter: Counter, size: int) -> None:
    data = os.urandom(size)
    put = counter.ask("PUT", "/bkt/key", data, headers={"content-type": "text/x", "x-amz-meta-a": "1",
                                                        "x-amz-tagging": "t=1"})
    counter.desk.clock.time += 0.75
    copied = copy(counter, "/bkt/copy")
    assert (copied.status, copied.xml.tag, copied.xml.findtext("ETag")) == (200, "CopyObjectResult",
                                                                             put.headers["etag"])
    listed = counter.ask("GET", "/bkt", list_type="2", prefix="copy").xml.findtext("Contents/LastModified")
    assert copied.xml.findtext("LastModified") == listed  # in whole seconds, as HTTP's dates have them
    assert counter.rows("s3_content") == 1
    for key in ("key", "copy"):
        got = counter.ask("GET", f"/bkt/{key}")
        assert got.body == data
        assert {got.headers[name] for name in ("content-type", "x-amz-meta-a", "x-amz-tagging-count")} == {"text/x",
                                                                                                            "1"}
        counter.ask("DELETE", f"/bkt/{key}")
    counter.work()
    assert (counter.rows("s3_content"), counter.files()) == (0, [])


@pytest.mark.parametrize("size", [10, INLINE_BYTES + 1])
def test_what_is_put_over_one_of_two_leaves_the_other_its_bytes(counter: Counter, size: int) -> None:
    data = os.urandom(size)
    counter.ask("PUT", "/bkt/key", data)
    copy(counter, "/bkt/copy")
    for body in (b"other", b"another"):
        counter.ask("PUT", "/bkt/key", body)
        assert (counter.ask("GET", "/bkt/key").body, counter.ask("GET", "/bkt/copy").body) == (body, data)
        assert counter.rows("s3_content") == 2
    counter.ask("PUT", "/bkt/copy", b"")
    counter.work()
    assert (counter.rows("s3_content"), counter.files()) == (2, [])


def test_what_a_directive_replaces(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"x", headers={
        "content-type": "text/x", "x-amz-meta-a": "1", "x-amz-tagging": "t=1", "x-amz-storage-class": "STANDARD_IA",
        "x-amz-website-redirect-location": "/w"})
    copy(counter, "/bkt/copy", x_amz_metadata_directive="REPLACE", x_amz_meta_b="2", cache_control="no-store",
         x_amz_tagging_directive="REPLACE", x_amz_tagging="a=1&b=2")
    got = counter.ask("HEAD", "/bkt/copy").headers
    assert (got["content-type"], got["cache-control"], got["x-amz-meta-b"]) == (
        "binary/octet-stream", "no-store", "2")
    assert got["x-amz-tagging-count"] == "2"
    assert not {"x-amz-meta-a", "x-amz-storage-class", "x-amz-website-redirect-location"} & got.keys()
    assert copy(counter, "/bkt/copy", x_amz_metadata_directive="MERGE").code == "InvalidArgument"


def test_a_copy_onto_itself_must_change_something(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"x")
    assert copy(counter, "/bkt/key").code == "InvalidRequest"
    assert copy(counter, "/bkt/key", x_amz_metadata_directive="REPLACE", x_amz_meta_b="2").status == 200
    assert copy(counter, "/bkt/key", x_amz_storage_class="STANDARD_IA").status == 200
    got = counter.ask("GET", "/bkt/key")
    assert (got.body, got.headers["x-amz-meta-b"], got.headers["x-amz-storage-class"]) == (b"x", "2", "STANDARD_IA")
    assert counter.rows("s3_content") == 1


@pytest.mark.parametrize(("source", "message"), [
    ("bkt/%ZZ", "Invalid copy source encoding"), ("bkt/a%", "Invalid copy source encoding"),
    ("192.168.1.1/key", "Invalid copy source bucket name"), ("arn:aws:s3/key", "Invalid copy source bucket name"),
    ("bkt/key?versionId=", "Version id cannot be the empty string"),
    ("/", "Invalid copy source bucket name"), ("bkt", "Invalid copy source object key"),
    ("bkt/", "Invalid copy source object key")])
def test_what_is_no_source(counter: Counter, source: str, message: str) -> None:
    answer = copy(counter, "/bkt/copy", source)
    assert (answer.code, answer.xml.findtext("Message")) == ("InvalidArgument", message)
    assert answer.xml.findtext("ArgumentValue") == ("x-amz-copy-source" if message.endswith("key") else source)


def test_a_version_becomes_the_newest_by_a_copy_onto_itself(counter: Counter) -> None:
    set_versioning(counter, "Enabled")
    one = counter.ask("PUT", "/bkt/key", b"one").headers["x-amz-version-id"]
    counter.ask("PUT", "/bkt/key", b"two")
    assert copy(counter, "/bkt/key").code == "InvalidRequest"
    again = copy(counter, "/bkt/key", f"/bkt/key?versionId={one}")
    assert (again.status, counter.ask("GET", "/bkt/key").body) == (200, b"one")
    newest = again.headers["x-amz-version-id"]
    assert copy(counter, "/bkt/key", f"/bkt/key?versionId={newest}").status == 200  # also of what is there now


def test_a_default_encryption_that_was_chosen_lets_a_copy_be_made_onto_itself(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"x")
    counter.ask("PUT", "/bkt", b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>"
                b"<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>"
                b"</ServerSideEncryptionConfiguration>", encryption="")
    assert copy(counter, "/bkt/key").status == 200


@pytest.mark.parametrize(("source", "code"), [
    ("/bkt/none", "NoSuchKey"), ("/nowhere/key", "NoSuchBucket"), ("bkt", "InvalidArgument"), ("/", "InvalidArgument"),
    ("/bkt/key?versionId=" + "f" * 32, "NoSuchVersion"), ("/bkt/key?versionId=" + "x" * 32, "InvalidArgument")])
def test_sources_that_are_not_there(counter: Counter, source: str, code: str) -> None:
    counter.ask("PUT", "/bkt/key", b"x")
    assert copy(counter, "/bkt/copy", source).code == code


@pytest.mark.parametrize("key", ["a b", "ü+%", "a//b", "k?v"])
def test_sources_are_encoded(counter: Counter, key: str) -> None:
    counter.ask("PUT", f"/bkt/{key}", b"x")
    assert copy(counter, "/bkt/copy", f"bkt/{quote(key)}").status == 200
    assert copy(counter, "/bkt/copy", quote_plus(f"bkt/{key}")).status == 200  # as Terraform does


def test_conditions_on_the_source(counter: Counter) -> None:
    etag = counter.ask("PUT", "/bkt/key", b"x").headers["etag"]
    assert copy(counter, "/bkt/copy", x_amz_copy_source_if_match='"0"').code == "PreconditionFailed"
    assert copy(counter, "/bkt/copy", x_amz_copy_source_if_none_match=etag).code == "PreconditionFailed"
    assert copy(counter, "/bkt/copy", x_amz_copy_source_if_match=etag, if_none_match="*").status == 200
    assert copy(counter, "/bkt/copy", if_none_match="*").code == "PreconditionFailed"


def test_versions_are_copied_and_said(counter: Counter) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    counter.ask("PUT", "/bkt", enabled, versioning="")
    one = counter.ask("PUT", "/bkt/key", b"one").headers["x-amz-version-id"]
    counter.ask("PUT", "/bkt/key", b"two")
    restored = copy(counter, "/bkt/key", f"/bkt/key?versionId={one}")
    assert restored.headers["x-amz-copy-source-version-id"] == one
    assert restored.headers["x-amz-version-id"] != one
    assert counter.ask("GET", "/bkt/key").body == b"one"
    counter.ask("PUT", "/bkt", enabled.replace(b"Enabled", b"Suspended"), versioning="")
    suspended = copy(counter, "/bkt/key", "/bkt/key", x_amz_metadata_directive="REPLACE").headers
    assert suspended["x-amz-version-id"] == "null"
    assert suspended["x-amz-copy-source-version-id"] == restored.headers["x-amz-version-id"]
    assert "x-amz-copy-source-version-id" not in copy(counter, "/bkt/copy").headers  # of what is null, as on AWS
    counter.ask("PUT", "/bkt", enabled, versioning="")
    marker = counter.ask("DELETE", "/bkt/key").headers["x-amz-version-id"]
    assert copy(counter, "/bkt/copy").code == "NoSuchKey"
    assert copy(counter, "/bkt/copy", f"/bkt/key?versionId={marker}").code == "InvalidRequest"


@pytest.mark.parametrize("size", [10, INLINE_BYTES + 1])
def test_what_is_encrypted_is_received_anew(counter: Counter, size: int) -> None:
    data = os.urandom(size)
    counter.ask("PUT", "/bkt/key", data, headers=headers(KEY))
    assert copy(counter, "/bkt/copy").code == "InvalidRequest"
    assert copy(counter, "/bkt/copy", **headers(OTHER, COPY_KEY)).code == "AccessDenied"
    assert copy(counter, "/bkt/copy", **headers(KEY, COPY_KEY), **headers(OTHER)).status == 200
    assert copy(counter, "/bkt/plain", **headers(KEY, COPY_KEY)).status == 200
    assert counter.rows("s3_content") == 3
    assert counter.ask("GET", "/bkt/copy", headers=headers(OTHER)).body == data
    assert counter.ask("GET", "/bkt/plain").body == data


def test_another_checksum_is_computed(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"123456789")
    copied = copy(counter, "/bkt/copy", x_amz_checksum_algorithm="CRC32")
    assert copied.xml.findtext("ChecksumCRC32") == "y/Q5Jg=="
    got = counter.ask("HEAD", "/bkt/copy", headers={"x-amz-checksum-mode": "ENABLED"})
    assert (got.headers["x-amz-checksum-crc32"], got.headers["x-amz-checksum-type"]) == ("y/Q5Jg==", "FULL_OBJECT")
