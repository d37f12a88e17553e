"""RestoreObject: what is archived can be read for some days, and no longer."""

import pytest

from tests.services.s3.counter import Answer, Counter

DAY_S = 86_400
TIER = "<GlacierJobParameters><Tier>{}</Tier></GlacierJobParameters>"


def restore(counter: Counter, inner: str, key: str = "key") -> Answer:
    return counter.ask("POST", f"/bkt/{key}", f"<RestoreRequest>{inner}</RestoreRequest>".encode(), restore="")


def test_what_is_archived_is_readable_for_some_days(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data", headers={"x-amz-storage-class": "GLACIER"})
    copy = {"x-amz-copy-source": "/bkt/key"}
    assert counter.ask("GET", "/bkt/key").code == "InvalidObjectState"
    assert counter.ask("PUT", "/bkt/copy", headers=copy).code == "InvalidObjectState"
    assert "x-amz-restore" not in counter.ask("HEAD", "/bkt/key").headers
    assert restore(counter, f"<Days>1</Days>{TIER.format('Bulk')}").status == 202
    got = counter.ask("GET", "/bkt/key")
    assert (got.body, got.headers["x-amz-storage-class"]) == (b"data", "GLACIER")
    assert got.headers["x-amz-restore"] == 'ongoing-request="false", expiry-date="Thu, 16 Nov 2023 00:00:00 GMT"'
    assert counter.ask("PUT", "/bkt/copy", headers=copy).status == 200
    assert restore(counter, "<Days>2</Days>").status == 200
    counter.desk.clock.time += 2 * DAY_S
    assert counter.ask("GET", "/bkt/key").status == 200
    counter.desk.clock.time += DAY_S
    assert counter.ask("GET", "/bkt/key").code == "InvalidObjectState"
    assert "x-amz-restore" not in counter.ask("HEAD", "/bkt/key").headers


@pytest.mark.parametrize(("inner", "code"), [
    ("", "MalformedXML"), ("<Days>0</Days>", "InvalidArgument"),
    ("<Days>1</Days><Type>SELECT</Type>", "NotImplemented"),
    (f"<Days>1</Days>{TIER.format('Expedited')}", "InvalidArgument")])
def test_what_is_no_restore(counter: Counter, inner: str, code: str) -> None:
    counter.ask("PUT", "/bkt/key", b"data", headers={"x-amz-storage-class": "DEEP_ARCHIVE"})
    assert restore(counter, inner).code == code
    assert counter.ask("GET", "/bkt/key").code == "InvalidObjectState"


def test_what_is_not_archived(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    assert restore(counter, "<Days>1</Days>").code == "InvalidObjectState"
    assert restore(counter, "<Days>1</Days>", "none").code == "NoSuchKey"
