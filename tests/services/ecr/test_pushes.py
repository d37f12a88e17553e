"""Pushing: every way in which a blob may come, and what a manifest must be."""

import asyncio
import base64
import errno
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cloudlet.kernel.http import Body, Request
from cloudlet.services.ecr import manifests
from cloudlet.services.ecr.manifests import DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX
from cloudlet.services.ecr.records import Layer, Upload
from cloudlet.store import blobs as files
from cloudlet.store.blobs import digest_of
from tests.services.desk import ACCOUNT, root
from tests.services.ecr.counter import HOST, Counter, allow, image, index, user_with

DATA = os.urandom(300_000)
DIGEST = digest_of(DATA)


def start(counter: Counter, repository: str = "app") -> str:
    answer = counter.ask("POST", f"/v2/{repository}/blobs/uploads/")
    assert answer.status == 202
    assert answer.headers["range"] == "0-0"
    assert answer.headers["location"].endswith(answer.headers["docker-upload-uuid"])
    return answer.headers["location"]


def uploads(counter: Counter) -> list[str]:
    with counter.desk.store.tx() as tx:
        records = [upload.key for upload in tx.find(Upload)]
    assert sorted(records) == sorted(asyncio.run(counter.blobs.uploads()))
    return records


def test_a_blob_in_one_request(counter: Counter) -> None:
    answer = counter.ask("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", DATA)
    assert (answer.status, answer.headers["location"]) == (201, f"/v2/app/blobs/{DIGEST}")
    assert answer.headers["docker-content-digest"] == DIGEST
    assert counter.ask("GET", f"/v2/app/blobs/{DIGEST}").body == DATA
    assert uploads(counter) == []


def test_a_blob_as_docker_sends_it(counter: Counter) -> None:
    location = start(counter)
    answer = counter.ask("PATCH", location, [DATA[:1000], DATA[1000:]])
    assert (answer.status, answer.headers["range"]) == (202, f"0-{len(DATA) - 1}")
    answer = counter.ask("PUT", f"{location}?digest={DIGEST.replace(':', '%3A')}")
    assert answer.status == 201
    assert counter.ask("HEAD", f"/v2/app/blobs/{DIGEST}").headers["content-length"] == str(len(DATA))


def test_a_blob_with_the_closing_request(counter: Counter) -> None:
    assert counter.ask("PUT", f"{start(counter)}?digest={DIGEST}", DATA).status == 201
    assert counter.ask("GET", f"/v2/app/blobs/{DIGEST}").body == DATA


def test_a_blob_in_chunks_resumed_after_a_crash(counter: Counter) -> None:
    location = start(counter)
    assert counter.ask("PATCH", location, DATA[:100_000], content_range="0-99999").status == 202
    counter.restart()
    status = counter.ask("GET", location)
    assert (status.status, status.headers["range"]) == (204, "0-99999")
    for wrong in ("0-99999", "100001-200000", "100000-100050", "nonsense", "200000-100000", "-5"):
        refused = counter.ask("PATCH", location, DATA[:100_000], content_range=wrong)
        assert refused.status == 416, wrong
        assert refused.headers["range"] == "0-99999"
    assert counter.ask("PATCH", location, DATA[100_000:200_000], content_range="100000-199999").status == 202
    last = counter.ask("PUT", f"{location}?digest={DIGEST}", DATA[200_000:], content_range="200000-299999")
    assert last.status == 201
    assert counter.ask("GET", f"/v2/app/blobs/{DIGEST}").body == DATA


def test_an_empty_blob(counter: Counter) -> None:
    assert counter.push_blob(b"") == digest_of(b"")
    assert counter.ask("GET", f"/v2/app/blobs/{digest_of(b'')}").body == b""


def test_a_wrong_digest_is_refused_and_nothing_stays(counter: Counter) -> None:
    other = digest_of(b"other")
    for answer in (counter.ask("POST", f"/v2/app/blobs/uploads/?digest={other}", DATA),
                   counter.ask("PUT", f"{start(counter)}?digest={other}", DATA)):
        assert answer.error == (400, "DIGEST_INVALID", f"the upload's digest is {DIGEST}, not {other}")
    assert uploads(counter) == []
    assert counter.ask("HEAD", f"/v2/app/blobs/{DIGEST}").status == 404
    assert counter.ask("PUT", start(counter), DATA).error[:2] == (400, "DIGEST_INVALID")


def test_a_cancelled_upload_is_gone(counter: Counter) -> None:
    location = start(counter)
    counter.ask("PATCH", location, DATA)
    assert counter.ask("DELETE", location).status == 204
    assert uploads(counter) == []
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert counter.ask(method, f"{location}?digest={DIGEST}").error[:2] == (404, "BLOB_UPLOAD_UNKNOWN")


def test_an_upload_belongs_to_its_repository(counter: Counter) -> None:
    counter("CreateRepository", repositoryName="other")
    location = start(counter)
    assert counter.ask("GET", location.replace("/app/", "/other/")).status == 404


def test_a_body_that_breaks_off_is_not_a_blob(counter: Counter) -> None:
    location = start(counter)
    assert counter.ask("PATCH", location, DATA[:1000], length=5000).error[:2] == (400, "SIZE_INVALID")
    assert counter.ask("GET", location).headers["range"] == "0-999"


def test_two_requests_never_write_to_one_upload(counter: Counter) -> None:
    location = start(counter)

    async def scenario() -> None:
        begun, rest = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"first"
            begun.set()
            await rest.wait()

        password = base64.b64encode(f"AWS:{counter.password}".encode()).decode()
        headers = {"host": HOST, "authorization": f"Basic {password}"}
        first = asyncio.ensure_future(counter.handler(Request("PATCH", location, "", headers, Body(slow()))))
        await begun.wait()
        second = await counter.send("PATCH", location, b"second")
        assert second.error[:2] == (409, "BLOB_UPLOAD_INVALID")
        rest.set()
        assert (await first).status == 202
    asyncio.run(scenario())


def test_a_disk_that_fills_up_leaves_nothing_of_the_upload(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    location = start(counter)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "write", full)
        assert counter.ask("PATCH", location, DATA).error[:2] == (507, "DENIED")
    assert uploads(counter) == []
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fdatasync", lambda descriptor: full(descriptor, b""))
        assert counter.ask("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", DATA).status == 507
    assert uploads(counter) == []
    assert counter.ask("HEAD", f"/v2/app/blobs/{DIGEST}").status == 404
    counter.push_blob(DATA)


def test_a_push_into_a_repository_that_is_deleted_meanwhile(counter: Counter) -> None:
    location = start(counter)
    counter("DeleteRepository", repositoryName="app")
    assert counter.ask("PUT", f"{location}?digest={DIGEST}", DATA).error[:2] == (404, "NAME_UNKNOWN")


def test_blobs_are_seen_only_where_they_were_pushed_or_mounted(counter: Counter) -> None:
    counter("CreateRepository", repositoryName="other")
    counter.push_blob(DATA)
    assert counter.ask("HEAD", f"/v2/other/blobs/{DIGEST}").status == 404
    assert counter.ask("GET", f"/v2/other/blobs/{DIGEST}").error[:2] == (404, "BLOB_UNKNOWN")
    mounted = counter.ask("POST", f"/v2/other/blobs/uploads/?mount={DIGEST}&from=app")
    assert (mounted.status, mounted.headers["location"]) == (201, f"/v2/other/blobs/{DIGEST}")
    assert counter.ask("GET", f"/v2/other/blobs/{DIGEST}").body == DATA


@pytest.mark.parametrize("query", [f"mount={digest_of(b'no')}", f"mount={DIGEST}&from=nosuch", f"mount={DIGEST}&from=",
                                   "mount=sha256:..&from=app", f"mount={DIGEST}&from=../app",
                                   f"mount={digest_of(b'no')}&from=app", f"mount={DIGEST}&from=third"])
def test_what_cannot_be_mounted_is_uploaded(counter: Counter, query: str) -> None:
    counter("CreateRepository", repositoryName="other")
    counter("CreateRepository", repositoryName="third")
    counter.push_blob(DATA)
    assert counter.ask("POST", f"/v2/other/blobs/uploads/?{query}").status == 202


def test_a_mount_needs_permission_on_the_source(counter: Counter) -> None:
    for name in ("mine", "secret"):
        counter("CreateRepository", repositoryName=name)
    counter.push_blob(DATA, "secret")
    arn = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/"
    push = {"Effect": "Allow", "Action": "ecr:*", "Resource": f"{arn}mine"}
    ann = user_with(counter.desk, push)
    password = counter.login(ann)
    for query in (f"mount={DIGEST}&from=secret", f"mount={DIGEST}"):
        assert counter.ask("POST", f"/v2/mine/blobs/uploads/?{query}", password=password).status == 202
    assert counter.ask("HEAD", f"/v2/mine/blobs/{DIGEST}", password=password).status == 404
    read = {"Effect": "Allow", "Action": ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"],
            "Resource": f"{arn}secret"}
    allow(counter.desk, push, {**read, "Action": read["Action"][:1]})
    assert counter.ask("POST", f"/v2/mine/blobs/uploads/?mount={DIGEST}&from=secret", password=password).status == 202
    allow(counter.desk, push, read)
    for query in (f"mount={DIGEST}&from=secret", f"mount={DIGEST}"):
        assert counter.ask("POST", f"/v2/mine/blobs/uploads/?{query}", password=password).status == 201
    assert counter.ask("GET", f"/v2/mine/blobs/{DIGEST}", password=password).body == DATA


def test_nothing_is_mounted_from_another_registry(counter: Counter) -> None:
    counter.push_blob(DATA)
    stranger, other = counter.login(root("999999999999")), counter.login(region="eu-west-1")
    counter("CreateRepository", root("999999999999"), repositoryName="app")
    counter("CreateRepository", region="eu-west-1", repositoryName="app")
    for password in (stranger, other):
        assert counter.ask("POST", f"/v2/app/blobs/uploads/?mount={DIGEST}", password=password).status == 202


# ── Manifests ────────────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("media_type", [DOCKER_IMAGE, OCI_IMAGE])
def test_an_image_by_tag_and_by_digest(counter: Counter, media_type: str) -> None:
    layer, config = counter.push_blob(b"layer"), counter.push_blob(b"config")
    body = image(media_type, b"config", b"layer")
    answer = counter.put_manifest("v1", body, media_type)
    digest = digest_of(body)
    assert (answer.status, answer.headers["docker-content-digest"]) == (201, digest)
    assert answer.headers["location"] == f"/v2/app/manifests/{digest}"
    assert counter.put_manifest(digest, body, media_type).status == 201
    for reference in ("v1", digest):
        got = counter.ask("GET", f"/v2/app/manifests/{reference}")
        assert (got.body, got.headers["content-type"]) == (body, media_type)
        assert got.headers["docker-content-digest"] == digest
    (detail,) = counter.images()
    assert detail["imageTags"] == ["v1"]
    assert detail["imageSizeInBytes"] == len(b"layer") + len(b"config")
    assert {layer, config} == {digest_of(b"layer"), digest_of(b"config")}


def test_a_list_needs_its_images_and_takes_the_largest_size(counter: Counter) -> None:
    small, large = counter.push("a", layer=b"s"), counter.push("b", layer=b"l" * 5000)
    counter.push_list("all", small, large)
    sizes = {tag: detail["imageSizeInBytes"] for detail in counter.images() for tag in detail["imageTags"]}
    assert sizes == {"a": 41, "b": 5040, "all": 5040}
    missing = counter.put_manifest("all", index(digest_of(b"no")), OCI_INDEX)
    assert missing.error[:2] == (404, "MANIFEST_BLOB_UNKNOWN")


def test_an_image_needs_its_blobs_in_this_repository(counter: Counter) -> None:
    counter("CreateRepository", repositoryName="other")
    counter.push_blob(b"layer", "other")
    counter.push_blob(b"config")
    answer = counter.put_manifest("v1", image(DOCKER_IMAGE, b"config", b"layer"), DOCKER_IMAGE)
    assert answer.error[:2] == (404, "MANIFEST_BLOB_UNKNOWN")
    assert digest_of(b"layer") in answer.error[2]
    assert counter.images() == []


def test_a_layer_kept_elsewhere_need_not_be_here(counter: Counter) -> None:
    counter.push_blob(b"config")
    tree = json.loads(image(DOCKER_IMAGE, b"config", b"windows"))
    tree["layers"][0]["urls"] = ["https://example.com/layer"]
    assert counter.put_manifest("v1", json.dumps(tree).encode(), DOCKER_IMAGE).status == 201


def changed(**members: Any) -> bytes:
    tree = json.loads(image(DOCKER_IMAGE, b"config", b"layer"))
    tree.update(members)
    return json.dumps({name: value for name, value in tree.items() if value is not ...}).encode()


GOOD = {"digest": digest_of(b"config"), "size": 6}


@pytest.mark.parametrize(("body", "media_type"), [
    (b"", DOCKER_IMAGE), (b"{", DOCKER_IMAGE), (b"[]", DOCKER_IMAGE), (b"\xff\xfe", DOCKER_IMAGE),
    (b"[" * 100_000, DOCKER_IMAGE), (b"null", DOCKER_IMAGE),
    (changed(schemaVersion=1), DOCKER_IMAGE), (changed(schemaVersion=...), DOCKER_IMAGE),
    (changed(mediaType=OCI_IMAGE), DOCKER_IMAGE), (changed(mediaType=...), DOCKER_IMAGE),
    (changed(), OCI_IMAGE), (changed(), OCI_INDEX), (changed(), "text/plain"),
    (changed(mediaType="text/plain"), "application/json"), (changed(mediaType=...), ""),
    (changed(mediaType=..., manifests=[]), OCI_IMAGE), (changed(mediaType=..., manifests=[]), OCI_INDEX),
    (changed(config=...), DOCKER_IMAGE), (changed(config=[]), DOCKER_IMAGE), (changed(layers=...), DOCKER_IMAGE),
    (changed(layers={}), DOCKER_IMAGE), (changed(layers=[1]), DOCKER_IMAGE), (changed(layers=[{}]), DOCKER_IMAGE),
    (changed(config={**GOOD, "digest": "sha256:../../etc/passwd"}), DOCKER_IMAGE),
    (changed(config={**GOOD, "digest": 5}), DOCKER_IMAGE), (changed(config={**GOOD, "size": -1}), DOCKER_IMAGE),
    (changed(config={**GOOD, "size": "6"}), DOCKER_IMAGE), (changed(config={**GOOD, "size": True}), DOCKER_IMAGE),
    (changed(config={**GOOD, "size": 7}), DOCKER_IMAGE), (changed(subject="x"), DOCKER_IMAGE),
    (changed(layers=[GOOD] * (manifests.PARTS_MAX + 1)), DOCKER_IMAGE),
    (json.dumps({"schemaVersion": 2, "mediaType": DOCKER_LIST}).encode(), DOCKER_LIST),
])
def test_what_is_no_manifest_is_refused(counter: Counter, body: bytes, media_type: str) -> None:
    counter.push_blob(b"config")
    counter.push_blob(b"layer")
    answer = counter.put_manifest("v1", body, media_type)
    assert answer.error[:2] == (400, "MANIFEST_INVALID")
    assert counter.images() == []


def test_the_media_type_may_stand_in_the_document_alone(counter: Counter) -> None:
    counter.push_blob(b"config")
    counter.push_blob(b"layer")
    assert counter.put_manifest("v1", changed(), "application/json").status == 201
    assert counter.put_manifest("v2", changed(), DOCKER_IMAGE + "; charset=utf-8").status == 201


def test_a_manifest_has_at_most_four_mebibytes(counter: Counter) -> None:
    counter.push_blob(b"config")
    counter.push_blob(b"layer")
    bare = len(changed(annotations={"a": ""}))
    for size, status in ((4 << 20, 201), ((4 << 20) + 1, 413)):
        body = changed(annotations={"a": "x" * (size - bare)})
        assert len(body) == size
        assert counter.put_manifest("v1", body, DOCKER_IMAGE).status == status
        assert counter.ask("PUT", "/v2/app/manifests/v1", [body[:99], body[99:]],
                           content_type=DOCKER_IMAGE).status == status


def test_a_manifest_is_what_its_digest_says(counter: Counter) -> None:
    counter.push_blob(b"config")
    counter.push_blob(b"layer")
    answer = counter.put_manifest(digest_of(b"other"), changed(), DOCKER_IMAGE)
    assert answer.error[:2] == (400, "DIGEST_INVALID")


def test_a_tag_moves_unless_the_repository_is_immutable(counter: Counter) -> None:
    first, second = counter.push("v1"), counter.push("v1")
    assert counter.ask("HEAD", "/v2/app/manifests/v1").headers["docker-content-digest"] == second
    assert {detail["imageDigest"]: detail.get("imageTags") for detail in counter.images()} == {
        first: None, second: ["v1"]}
    counter("CreateRepository", repositoryName="fixed", imageTagMutability="IMMUTABLE")
    digest = counter.push("v1", "fixed")
    body = counter.ask("GET", "/v2/fixed/manifests/v1").body
    assert counter.put_manifest("v1", body, DOCKER_IMAGE, "fixed").status == 201  # the same image again is no change
    for data in (b"layer", b"config"):
        counter.push_blob(data, "fixed")
    assert counter.put_manifest("v1", changed(), DOCKER_IMAGE, "fixed").error == (
        400, "TAG_INVALID", "The image tag 'v1' already exists in the 'fixed' repository and cannot be overwritten "
        "because the repository is immutable.")
    assert counter.ask("HEAD", "/v2/fixed/manifests/v1").headers["docker-content-digest"] == digest


def test_deleting_by_tag_and_by_digest(counter: Counter) -> None:
    digest = counter.push("v1")
    counter.put_manifest("v2", counter.ask("GET", "/v2/app/manifests/v1").body, DOCKER_IMAGE)
    assert counter.ask("DELETE", "/v2/app/manifests/v1").status == 202
    assert counter.ask("GET", "/v2/app/manifests/v1").status == 404
    assert counter.ask("GET", "/v2/app/manifests/v2").status == 200
    whole = counter.push_list("all", digest)
    refused = counter.ask("DELETE", f"/v2/app/manifests/{digest}")
    assert refused.error == (403, "DENIED", f"Requested image referenced by manifest list: [{whole}]")
    for gone in (whole, digest):
        assert counter.ask("DELETE", f"/v2/app/manifests/{gone}").status == 202
        assert counter.ask("DELETE", f"/v2/app/manifests/{gone}").error[:2] == (404, "MANIFEST_UNKNOWN")
    assert counter.images() == []


def test_what_was_acknowledged_is_there_after_a_crash(counter: Counter) -> None:
    digest = counter.push("v1", layer=DATA)
    counter.restart()
    assert counter.ask("HEAD", "/v2/app/manifests/v1").headers["docker-content-digest"] == digest
    assert counter.ask("GET", f"/v2/app/blobs/{DIGEST}").body == DATA


def test_a_201_comes_after_the_syncs(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data before its name, the name before the record, the record before the answer."""
    seen: list[str] = []
    sync, rename, fsync = os.fdatasync, os.rename, os.fsync
    flush = counter.desk.store.flush

    async def flushed(tx: Any = None) -> None:
        with counter.desk.store.tx() as tx:
            seen.append("flush" if tx.find(Layer) else "flush without record")
        await flush(tx)
    monkeypatch.setattr(files.os, "fdatasync", lambda fd: (seen.append("data"), sync(fd))[1])
    monkeypatch.setattr(files.os, "rename", lambda a, b: (seen.append("rename"), rename(a, b))[1])
    monkeypatch.setattr(files.os, "fsync", lambda fd: (seen.append("directory"), fsync(fd))[1])
    monkeypatch.setattr(counter.desk.store, "flush", flushed)
    counter.push_blob(DATA)
    assert [step for step in seen if step != "directory"][:3] == ["data", "rename", "flush"]
    assert seen[seen.index("rename") + 1] == "directory"
    seen.clear()
    counter.push_blob(b"config")
    seen.clear()
    assert counter.put_manifest("v1", image(DOCKER_IMAGE, b"config", DATA), DOCKER_IMAGE).status == 201
    assert seen[0] == "flush"
