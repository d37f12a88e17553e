"""Collecting: what nothing uses goes, what a push relies on stays, a crash changes neither."""

import asyncio
import os
import random
from pathlib import Path

from cloudlet.control.outcome import Again, Done
from cloudlet.services import ecr
from cloudlet.services.ecr.contents import ABANDONED_UPLOAD_S, BLOB, REPOSITORY, UNUSED_LAYER_S, UPLOAD
from cloudlet.services.ecr.manifests import DOCKER_IMAGE
from cloudlet.services.ecr.records import Layer
from cloudlet.store import queue
from cloudlet.store.blobs import digest_of
from tests.services.desk import ACCOUNT
from tests.services.ecr.counter import Counter, image

KEY = f"{ACCOUNT}/us-east-1/app"
DATA = os.urandom(5000)
DIGEST = digest_of(DATA)


def work_through(counter: Counter) -> None:
    """Does all work that is due, as the loop would."""
    reconcilers = ecr.controller(counter.desk.store, counter.blobs).reconcilers

    async def run() -> None:
        for _ in range(100):
            due = [work for work in queue.waiting(counter.desk.store, 1000) if work.due <= counter.desk.clock.time]
            if not due:
                return
            for work in due:
                match await reconcilers[work.kind](work.key):
                    case Again(after, why):
                        queue.postpone(counter.desk.store, work, after, why)
                    case Done():
                        queue.finish(counter.desk.store, work)
        raise AssertionError("the work never ends")
    asyncio.run(run())


def files(counter: Counter) -> list[Path]:
    return [path for path in counter.blobs._blobs.parent.rglob("*") if path.is_file()]


def test_a_deleted_image_frees_its_space(counter: Counter) -> None:
    counter.push("v1")
    keep = counter.push("v2", layer=DATA)
    work_through(counter)
    assert len(files(counter)) == 4
    counter.desk.clock.time += UNUSED_LAYER_S
    counter("BatchDeleteImage", repositoryName="app", imageIds=[{"imageTag": "v1"}])
    work_through(counter)
    assert len(files(counter)) == 2
    assert counter.ask("GET", f"/v2/app/manifests/{keep}").status == 200
    assert counter.ask("GET", f"/v2/app/blobs/{DIGEST}").body == DATA
    counter("DeleteRepository", repositoryName="app", force=True)
    work_through(counter)
    assert files(counter) == []
    assert queue.waiting(counter.desk.store, 10) == []


def test_a_blob_that_another_repository_has_stays(counter: Counter) -> None:
    counter("CreateRepository", repositoryName="other")
    counter.push("v1", layer=DATA)
    counter.push("v1", "other", layer=DATA)
    counter("DeleteRepository", repositoryName="app", force=True)
    counter.desk.clock.time += 2 * UNUSED_LAYER_S
    work_through(counter)
    assert counter.ask("GET", f"/v2/other/blobs/{DIGEST}").body == DATA


def test_a_layer_waits_an_hour_for_its_image(counter: Counter) -> None:
    counter.push_blob(DATA)
    counter.desk.clock.time += UNUSED_LAYER_S - 1
    work_through(counter)
    assert counter.ask("GET", f"/v2/app/blobs/{DIGEST}").status == 200
    counter.desk.clock.time += 1
    work_through(counter)
    assert files(counter) == []


def test_a_layer_that_a_client_was_told_of_waits_again(counter: Counter) -> None:
    counter.push_blob(DATA)
    counter.desk.clock.time += UNUSED_LAYER_S - 1
    assert counter.ask("HEAD", f"/v2/app/blobs/{DIGEST}").status == 200  # "you need not push it"
    counter.desk.clock.time += UNUSED_LAYER_S - 1
    work_through(counter)
    counter.push_blob(b"config")
    assert counter.put_manifest("v1", image(DOCKER_IMAGE, b"config", DATA), DOCKER_IMAGE).status == 201
    counter.desk.clock.time += 10 * UNUSED_LAYER_S
    work_through(counter)
    assert counter.ask("GET", f"/v2/app/blobs/{DIGEST}").body == DATA


def test_a_blob_that_is_being_published_is_left_alone(counter: Counter) -> None:
    counter.push_blob(DATA)
    with counter.desk.store.tx() as tx:
        tx.delete(Layer, f"{KEY}@{DIGEST}")
    with counter.blobs.hold(DIGEST):
        assert isinstance(asyncio.run(counter.collector.blob(DIGEST)), Again)
        assert counter.blobs.size(DIGEST) == len(DATA)
    assert asyncio.run(counter.collector.blob(DIGEST)) == Done()
    assert counter.blobs.size(DIGEST) is None


def test_pushes_and_collections_at_once_lose_nothing(counter: Counter) -> None:
    """The same blob is pushed and collected over and over; each push that was acknowledged can be pulled."""
    async def push() -> None:
        answer = await counter.send("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", DATA)
        assert answer.status == 201
        got = await counter.send("GET", f"/v2/app/blobs/{DIGEST}")
        assert got.body == DATA

    async def collect() -> None:
        for _ in range(40):
            await counter.collector.repository(KEY)
            await counter.collector.blob(DIGEST)

    async def scenario() -> None:
        for _ in range(5):
            counter.desk.clock.time += UNUSED_LAYER_S + 1  # whatever is not being pushed now is old
            await asyncio.gather(collect(), *(push() for _ in range(8)), collect())
    counter.desk.clock.time -= 6 * UNUSED_LAYER_S
    counter.password = counter.login()
    asyncio.run(scenario())


def test_mounts_and_collections_at_once_lose_nothing(counter: Counter) -> None:
    """A blob that nothing uses any more is mounted elsewhere while it is collected: what was mounted can be pulled."""
    counter("CreateRepository", repositoryName="other")

    async def mount() -> bool:
        await asyncio.sleep(random.random() / 100)
        answer = await counter.send("POST", f"/v2/other/blobs/uploads/?mount={DIGEST}&from=app")
        if answer.status == 201:
            assert (await counter.send("GET", f"/v2/other/blobs/{DIGEST}")).body == DATA
        return answer.status == 201

    async def collect() -> None:
        for _ in range(10):
            await counter.collector.repository(KEY)
            await counter.collector.blob(DIGEST)

    async def scenario() -> None:
        for _ in range(10):
            await counter.send("DELETE", f"/v2/other/blobs/{DIGEST}")
            assert (await counter.send("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", DATA)).status == 201
            counter.desk.clock.time += UNUSED_LAYER_S + 1
            mounted = await asyncio.gather(*(mount() for _ in range(5)), collect())
            if any(mounted):
                await counter.collector.blob(DIGEST)
                assert (await counter.send("GET", f"/v2/other/blobs/{DIGEST}")).body == DATA
    asyncio.run(scenario())


def test_deletes_during_a_push_leave_a_whole_image_or_none(counter: Counter) -> None:
    body = image(DOCKER_IMAGE, b"config", DATA)

    async def push() -> int:
        for blob in (b"config", DATA):
            await counter.send("POST", f"/v2/app/blobs/uploads/?digest={digest_of(blob)}", blob)
        answer = await counter.send("PUT", "/v2/app/manifests/v1", body, content_type=DOCKER_IMAGE)
        if answer.status == 201:
            # Deleted with its image at most: a blob of an image that is here is here as well.
            got = await counter.send("GET", f"/v2/app/blobs/{DIGEST}")
            assert got.status == 200 or (await counter.send("HEAD", "/v2/app/manifests/v1")).status == 404
        return answer.status

    async def delete() -> None:
        for _ in range(20):
            await counter.send("DELETE", f"/v2/app/blobs/{DIGEST}")
            await counter.send("DELETE", f"/v2/app/manifests/{digest_of(body)}")
            await counter.collector.blob(DIGEST)
            await asyncio.sleep(0.001)

    async def scenario() -> None:
        statuses = [status for _ in range(5) for status in await asyncio.gather(push(), push(), delete())]
        assert set(statuses) <= {201, 404, None}
        await push()
        assert (await counter.send("GET", f"/v2/app/blobs/{DIGEST}")).body == DATA
    asyncio.run(scenario())


def test_an_abandoned_upload_ends_after_a_day(counter: Counter) -> None:
    location = counter.ask("POST", "/v2/app/blobs/uploads/").headers["location"]
    for status in (204, 204, 404):  # written to at the start, after half a day, and never again
        counter.desk.clock.time += ABANDONED_UPLOAD_S / 2
        counter.password = counter.login()
        asyncio.run(counter.collector.look())
        work_through(counter)
        assert counter.ask("GET", location).status == status
        if files(counter) and not os.path.getsize(files(counter)[0]):
            assert counter.ask("PATCH", location, DATA).status == 202
    assert files(counter) == []


def test_an_upload_under_way_is_never_abandoned(counter: Counter) -> None:
    async def scenario() -> None:
        upload = await counter.blobs.begin("0123456789abcdef")
        upload.busy = True
        assert isinstance(await counter.collector.upload("0123456789abcdef"), Again)
        upload.busy = False
        assert await counter.collector.upload("0123456789abcdef") == Done()
    asyncio.run(scenario())
    assert files(counter) == []


def test_uploads_of_a_deleted_repository_go(counter: Counter) -> None:
    location = counter.ask("POST", "/v2/app/blobs/uploads/").headers["location"]
    counter.ask("PATCH", location, DATA)
    counter("DeleteRepository", repositoryName="app")
    work_through(counter)
    assert files(counter) == []


def test_what_a_crash_left_is_found(counter: Counter) -> None:
    keep = counter.push("v1")

    async def crash() -> None:
        upload = await counter.blobs.begin("0123456789abcdef")
        await upload.write(aiter(_Once(DATA)))
        await upload.publish(DIGEST)  # and no record was written
        await counter.blobs.begin("fedcba9876543210")
    asyncio.run(crash())
    counter.restart()
    assert len(files(counter)) == 4
    asyncio.run(counter.collector.look())
    asked = {(work.kind, work.key) for work in queue.waiting(counter.desk.store, 10) if work.kind != REPOSITORY}
    assert {(BLOB, DIGEST), (UPLOAD, "fedcba9876543210")} <= asked
    work_through(counter)
    assert len(files(counter)) == 2
    assert counter.ask("GET", f"/v2/app/manifests/{keep}").status == 200


class _Once:
    def __init__(self, data: bytes) -> None:
        self.parts = [data]

    def __aiter__(self) -> "_Once":
        return self

    async def __anext__(self) -> bytes:
        if not self.parts:
            raise StopAsyncIteration
        return self.parts.pop()
