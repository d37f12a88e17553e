"""CompleteMultipartUpload, as far as it is conditional."""

import hashlib

import pytest

from tests.services.s3.counter import Counter
from tests.services.s3.test_uploads import begin, complete, sent, sum_of


@pytest.mark.parametrize(("headers", "code"), [
    ({"x-amz-mp-object-size": "3"}, ""), ({"x-amz-mp-object-size": "4"}, "InvalidRequest"),
    ({"x-amz-mp-object-size": "-1"}, "InvalidRequest"), ({"if-none-match": "*"}, "PreconditionFailed"),
    ({"if-match": '"other"'}, "PreconditionFailed"), ({"if-match": f'"{hashlib.md5(b"old").hexdigest()}"'}, ""),
    ({"x-amz-checksum-crc64nvme": sum_of("crc64nvme", b"new")}, ""), ({"x-amz-checksum-type": "FULL_OBJECT"}, ""),
    ({"x-amz-checksum-crc64nvme": sum_of("crc64nvme", b"old")}, "BadDigest"),
    ({"x-amz-checksum-type": "COMPOSITE"}, "InvalidRequest")])
def test_conditions_of_completing(counter: Counter, headers: dict[str, str], code: str) -> None:
    counter.ask("PUT", "/bkt/key", b"old")
    upload = begin(counter)
    parts = sent(counter, upload, b"new")
    assert complete(counter, upload, parts, headers=headers).code == code
    assert counter.ask("GET", "/bkt/key").body == (b"old" if code else b"new")
    assert counter.rows("s3_upload") == bool(code)


def test_a_condition_on_what_is_not_there(counter: Counter) -> None:
    upload = begin(counter)
    parts = sent(counter, upload, b"new")
    assert complete(counter, upload, parts, headers={"if-match": '"x"'}).code == "NoSuchKey"
    assert complete(counter, upload, parts, headers={"if-none-match": "*"}).status == 200


def test_a_condition_holds_only_for_what_was_there_when_the_upload_began(counter: Counter) -> None:
    md5 = hashlib.md5(b"old").hexdigest()
    upload = begin(counter)
    parts = sent(counter, upload, b"new")
    counter.desk.clock.time += 1
    counter.ask("PUT", "/bkt/key", b"old")
    assert complete(counter, upload, parts, headers={"if-match": '"x"'}).code == "PreconditionFailed"
    refused = complete(counter, upload, parts, headers={"if-match": md5})
    assert (refused.status, refused.code, refused.xml.findtext("Condition"), refused.xml.findtext("Key")) == (
        409, "ConditionalRequestConflict", "If-Match", "key")
    assert complete(counter, upload, parts, headers={"if-none-match": "*"}).code == "PreconditionFailed"
    counter.ask("DELETE", "/bkt/key")
    refused = complete(counter, upload, parts, headers={"if-none-match": "*"})
    assert (refused.code, refused.xml.findtext("Condition")) == ("ConditionalRequestConflict", "If-None-Match")
    again = begin(counter)
    parts = sent(counter, again, b"new")
    assert complete(counter, again, parts, headers={"if-none-match": "*"}).status == 200
    counter.ask("DELETE", "/bkt/key")
    assert complete(counter, upload, sent(counter, upload, b"new")).status == 200  # without one nobody minds
