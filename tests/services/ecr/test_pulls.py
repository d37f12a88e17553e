"""Pulling: whole and in parts, as the client accepts it, page by page."""

import os
from email import message_from_bytes

import pytest

from cloudlet.services.ecr.manifests import DOCKER_IMAGE, OCI_IMAGE
from cloudlet.store.blobs import digest_of
from tests.services.ecr.counter import Counter

DATA = os.urandom(700_000)


def test_a_blob_whole(counter: Counter) -> None:
    digest = counter.push_blob(DATA)
    got, head = counter.ask("GET", f"/v2/app/blobs/{digest}"), counter.ask("HEAD", f"/v2/app/blobs/{digest}")
    assert (got.status, head.status, head.body) == (200, 200, b"")
    assert got.body == DATA
    for answer in (got, head):
        assert answer.headers["content-length"] == str(len(DATA))
        assert answer.headers["docker-content-digest"] == digest
        assert answer.headers["accept-ranges"] == "bytes"
    same = counter.ask("GET", f"/v2/app/blobs/{digest}", if_none_match=got.headers["etag"])
    assert (same.status, same.body) == (304, b"")


@pytest.mark.parametrize(("wanted", "start", "end"), [
    ("bytes=0-0", 0, 1), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=100-299999", 100, 300_000),
    ("bytes=699999-9999999", 699_999, None), ("bytes=-9999999", 0, None)])
def test_a_blob_in_part(counter: Counter, wanted: str, start: int, end: int | None) -> None:
    digest = counter.push_blob(DATA)
    answer = counter.ask("GET", f"/v2/app/blobs/{digest}", range=wanted)
    assert answer.status == 206
    assert answer.body == DATA[start:end]
    first = start % len(DATA)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.body) - 1}/{len(DATA)}"


@pytest.mark.parametrize("wanted", ["bytes=", "bytes=-", "lines=1-2", "bytes=a-b", "bytes=1-2;", "bytes=1-2,",
                                    "bytes=" + "9" * 200 + "-", "bytes=" + "1-2," * 16 + "5-6", "bytes=0-,0-"])
def test_a_range_that_is_none_is_ignored(counter: Counter, wanted: str) -> None:
    digest = counter.push_blob(DATA)
    answer = counter.ask("GET", f"/v2/app/blobs/{digest}", range=wanted)
    assert (answer.status, answer.body) == (200, DATA)


@pytest.mark.parametrize("wanted", ["bytes=700000-", "bytes=800000-900000", "bytes=-0", "bytes=5-2",
                                    "bytes=700000-,800000-"])
def test_a_range_beyond_the_end(counter: Counter, wanted: str) -> None:
    digest = counter.push_blob(DATA)
    answer = counter.ask("GET", f"/v2/app/blobs/{digest}", range=wanted)
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


def test_a_blob_in_several_parts(counter: Counter) -> None:
    digest = counter.push_blob(DATA)
    answer = counter.ask("GET", f"/v2/app/blobs/{digest}", range="bytes=0-9, 900000-, 5-299999,-3")
    assert answer.status == 206
    whole = message_from_bytes(b"content-type: " + answer.headers["content-type"].encode() + b"\r\n" + answer.body)
    parts = [(part["content-type"], part["content-range"], part.get_payload(decode=True))
             for part in whole.get_payload()]
    assert parts == [("application/octet-stream", f"bytes {start}-{end - 1}/{len(DATA)}", DATA[start:end])
                     for start, end in ((0, 10), (5, 300_000), (len(DATA) - 3, len(DATA)))]
    one = counter.ask("GET", f"/v2/app/blobs/{digest}", range="bytes=0-9,900000-")
    assert (one.status, one.body, one.headers["content-type"]) == (206, DATA[:10], "application/octet-stream")


def test_a_part_only_of_the_blob_that_the_client_has(counter: Counter) -> None:
    digest = counter.push_blob(DATA)
    for tag, status in ((f'"{digest}"', 206), ('"another"', 200), ("Wed, 21 Oct 2015 07:28:00 GMT", 200)):
        assert counter.ask("GET", f"/v2/app/blobs/{digest}", range="bytes=0-9", if_range=tag).status == status


def test_a_blob_whose_file_was_lost_is_unknown_and_can_be_pushed_again(counter: Counter) -> None:
    digest = counter.push_blob(DATA)
    counter.blobs.discard(digest)
    assert counter.ask("HEAD", f"/v2/app/blobs/{digest}").status == 404
    assert counter.ask("GET", f"/v2/app/blobs/{digest}").error[:2] == (404, "BLOB_UNKNOWN")
    counter.push_blob(DATA)
    assert counter.ask("GET", f"/v2/app/blobs/{digest}").body == DATA


@pytest.mark.parametrize(("accept", "status"), [
    ("", 200), ("*/*", 200), (f"{OCI_IMAGE}, {DOCKER_IMAGE}", 200), (f"{OCI_IMAGE};q=0.5", 200),
    ("application/*", 200), (DOCKER_IMAGE, 404), ("text/html", 404)])
def test_a_manifest_as_the_client_accepts_it(counter: Counter, accept: str, status: int) -> None:
    counter.push("v1", media_type=OCI_IMAGE)
    for method in ("GET", "HEAD"):
        answer = counter.ask(method, "/v2/app/manifests/v1", accept=accept)
        assert answer.status == status


def test_an_unknown_manifest(counter: Counter) -> None:
    for reference in ("nosuch", digest_of(b"nosuch")):
        assert counter.ask("GET", f"/v2/app/manifests/{reference}").error == (
            404, "MANIFEST_UNKNOWN", "Requested image not found")


def test_a_pull_is_recorded_and_a_look_is_not(counter: Counter) -> None:
    counter.push("v1")
    counter.ask("HEAD", "/v2/app/manifests/v1")
    assert "lastRecordedPullTime" not in counter.images()[0]
    counter.desk.clock.time += 100
    counter.ask("GET", "/v2/app/manifests/v1")
    assert counter.images()[0]["lastRecordedPullTime"] == counter.desk.clock.time


def test_tags_in_order_and_page_by_page(counter: Counter) -> None:
    for tag in ("b", "a", "C", "a1", "_x"):
        counter.push(tag)
    assert counter.ask("GET", "/v2/app/tags/list").body == b'{"name":"app","tags":["C","_x","a","a1","b"]}'
    seen, url = [], "/v2/app/tags/list?n=2"
    while url:
        answer = counter.ask("GET", url)
        seen.append(answer.body)
        link = answer.headers.get("link", "")
        assert not link or link.endswith('; rel="next"')
        url = link[1:].partition(">")[0]
    assert seen == [b'{"name":"app","tags":["C","_x"]}', b'{"name":"app","tags":["a","a1"]}',
                    b'{"name":"app","tags":["b"]}']
    assert counter.ask("GET", "/v2/app/tags/list?n=0").body == b'{"name":"app","tags":[]}'
    assert counter.ask("GET", "/v2/app/tags/list?last=a").body == b'{"name":"app","tags":["a1","b"]}'
    assert counter.ask("GET", "/v2/app/tags/list?n=5").headers.get("link") is None
