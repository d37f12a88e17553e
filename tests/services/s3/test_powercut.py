"""Power cuts at any moment of a busy store: what clients were told is there with its bytes, nothing half-written is,
and no file is left over."""

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cloudlet.services import s3
from cloudlet.services.iam import iam
from cloudlet.services.s3 import contents
from cloudlet.services.s3.garbage import Collector
from cloudlet.store import blobs as blobs_module
from cloudlet.store.db import Store
from tests.powercut import LOSSES, Names, Recorder, Sync, Told, after_power_cut
from tests.services.s3.counter import Answer, Counter

SIZES = (0, 900, 70_000, 150_000)
VERSIONED = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


class Step(NamedTuple):
    """What a client did to a key (of `/BUCKET/KEY`), and between which events; `data` None: deleted it."""

    path: str
    data: bytes | None
    start: int
    end: int
    version: str = ""


class Lost(AssertionError):
    """Something that a client was told is not so."""


class Story:
    """Clients of a store that is recorded, and all that they were told."""

    def __init__(self, directory: Path, narrow: bool = False) -> None:
        """`narrow`: all of them put and delete one and the same key, on a disk that is slow."""
        directory.mkdir()
        self.recorder, self.narrow = Recorder(directory, pause_s=0.003 if narrow else 0.0005), narrow
        self.steps: list[Step] = []
        self.parts: dict[tuple[str, int], tuple[bytes, int]] = {}  # of uploads that stay open
        self.begun = 0

    def tell(self, directory: Path, clients: int = 5, rounds: int = 5) -> None:
        with self.recorder.recording():
            self.counter = Counter(directory, (s3.s3, iam))
            for bucket in ("bkt", "ver"):
                assert self.counter.ask("PUT", f"/{bucket}").status == 200
            assert self.counter.ask("PUT", "/ver", VERSIONED.encode(), versioning="").status == 200
            self.begun = self.recorder.tell("buckets")
            asyncio.run(self._all(clients, rounds))
            self.counter.close()
            self.counter.store.close()

    async def _all(self, clients: int, rounds: int) -> None:
        async def collect() -> None:
            while True:
                await self.counter.collector.files("files")
                await self.counter.collector.look()
                if not self.narrow:
                    await asyncio.get_running_loop().run_in_executor(None, self.counter.store.checkpoint)
                    await asyncio.sleep(0.002)
        collector = asyncio.ensure_future(collect())
        await asyncio.gather(*(self._client(number, rounds) for number in range(clients)))
        collector.cancel()
        await asyncio.gather(collector, return_exceptions=True)

    async def ask(self, method: str, path: str, body: bytes = b"", **more: Any) -> Answer:
        answer = await self.counter.answer(self.counter.signed(method, path, body, **more))
        assert answer.status in (200, 204), (method, path, answer)
        return answer

    async def _step(self, path: str, data: bytes | None, work: Callable[[], Any]) -> None:
        start = len(self.recorder.events)
        place = len(self.steps)
        self.steps.append(Step(path, data, start, 1 << 60))
        answer = await work()
        self.steps[place] = Step(path, data, start, self.recorder.tell(path),
                                 answer.headers.get("x-amz-version-id", ""))

    async def _client(self, number: int, rounds: int) -> None:
        drawn = random.Random(number)
        source = b"the source of %d" % number + drawn.randbytes(66_000)
        await self._step(f"/bkt/source{number}", source, lambda: self.ask("PUT", f"/bkt/source{number}", source))
        upload = await self._begin(f"/bkt/open{number}")
        for turn in range(rounds):
            data = b"%d %d " % (number, turn) + drawn.randbytes(drawn.choice(SIZES))
            path = drawn.choice(["/bkt/shared", f"/bkt/{number}", f"/ver/{number}", "/ver/shared"])
            what = drawn.choice(["put", "put", "put", "delete", "copy", "parts", "part"])
            if self.narrow:
                path, what, data = "/bkt/shared", drawn.choice(["put", "delete"]), data.ljust(70_000)
            match what:
                case "put":
                    await self._step(path, data, lambda p=path, d=data: self.ask("PUT", p, d))
                case "delete":
                    await self._step(path, None, lambda p=path: self.ask("DELETE", p))
                case "copy":
                    await self._step(path, source, lambda p=path: self.ask(
                        "PUT", p, headers={"x-amz-copy-source": f"/bkt/source{number}"}))
                case "parts":
                    await self._step(path, data, lambda p=path, d=data: self._in_parts(p, d))
                case "part":
                    await self.ask("PUT", f"/bkt/open{number}", data, uploadId=upload, partNumber=str(turn + 1))
                    self.parts[upload, turn + 1] = data, self.recorder.tell("part")

    async def _begin(self, path: str) -> str:
        return str((await self.ask("POST", path, uploads="")).xml.findtext("UploadId"))

    async def _in_parts(self, path: str, data: bytes) -> Answer:
        upload = await self._begin(path)
        etag = (await self.ask("PUT", path, data, uploadId=upload, partNumber="3")).headers["etag"]
        asked = f"<CompleteMultipartUpload><Part><PartNumber>3</PartNumber><ETag>{etag}</ETag></Part>"
        answer = await self.ask("POST", path, f"{asked}</CompleteMultipartUpload>".encode(), uploadId=upload)
        assert answer.xml.findtext("ETag")
        return answer

    # ── What must hold ───────────────────────────────────────────────────────────────────────────────────────────

    def check(self, at: int, loss: str, seed: int, directory: Path) -> None:
        """Raises Lost unless a store on the disk as it may be after a power cut holds what it must."""
        after_power_cut(self.recorder.events, at, loss, seed, directory)
        counter = Counter(directory, (s3.s3, iam))
        try:
            self._check(counter, at)
            asyncio.run(counter.collector.look())
            counter.work()
            self._check(counter, at)
            with counter.store.tx() as tx:
                kept = {name for (name,) in tx.execute("select file from s3_content where file is not null")}
                (wrong,) = tx.execute(
                    "select count(*) from s3_content c where refs !="
                    " (select count(*) from s3_version where content=c.id)"
                    " + (select count(*) from s3_part where content=c.id)").fetchone()
            there = {path.name for path in counter.files()}
            _require(there >= kept, "files are missing")
            _require(there <= kept, "files are left over")
            _require(not wrong, "bytes are counted wrong")
        finally:
            counter.close()
            counter.store.close()

    def _check(self, counter: Counter, at: int) -> None:
        began = [step for step in self.steps if step.start < at]
        for path in {step.path for step in began}:
            answer = counter.ask("GET", path)
            _require(answer.status in (200, 404), f"{path} cannot be read: {answer.status} {answer.code}")
            found = answer.body if answer.status == 200 else None
            steps = [step for step in began if step.path == path]
            acknowledged = [step for step in steps if step.end < at]
            before = [Step(path, None, -1, -1)] if found is None else []
            _require(any(step.data == found and not any(step.end < other.start for other in acknowledged)
                         for step in before + steps), f"{path} is not what it was said to be")
            for step in acknowledged:
                if step.version and step.data is not None:
                    one = counter.ask("GET", path, versionId=step.version)
                    _require((one.status, one.body) == (200, step.data), f"a version of {path} is lost")
        self._check_listing(counter, began)
        for (upload, number), (data, end) in self.parts.items():
            if end < at:
                with counter.store.tx() as tx:
                    row = tx.execute("select size from s3_part where upload=? and number=?",
                                     (upload, number)).fetchone()
                _require(row == (len(data),), "a part is lost")

    @staticmethod
    def _check_listing(counter: Counter, began: list[Step]) -> None:
        whole = {(step.path, step.data) for step in began}
        for entry in counter.ask("GET", "/ver", versions="").xml.findall("Version"):
            path, version = f"/ver/{entry.findtext('Key')}", str(entry.findtext("VersionId"))
            answer = counter.ask("GET", path, versionId=version)
            _require((path, answer.body) in whole and answer.status == 200, "a version is half-written")
        for key in counter.ask("GET", "/bkt", list_type="2").xml.findall("Contents/Key"):
            answer = counter.ask("GET", f"/bkt/{key.text}")
            _require((f"/bkt/{key.text}", answer.body) in whole, "a listed object is half-written")

    def moments(self, drawn: random.Random, count: int) -> Iterator[tuple[int, str, int]]:
        """Where the power may go, and what is lost: after each answer, and around names and syncs."""
        events = self.recorder.events
        if self.narrow:
            names = [number + 1 for number, event in enumerate(events)
                     if isinstance(event, Names) and number > self.begun]
            for turn in range(count):
                yield drawn.choice(names), drawn.choice(("data", "data", "some")), turn
            return
        answers = [number + 1 for number, event in enumerate(events)
                   if isinstance(event, Told) and number >= self.begun]
        others = [number + drawn.choice((0, 1)) for number, event in enumerate(events)
                  if isinstance(event, Names | Sync) and number > self.begun]
        for turn in range(count):
            at = drawn.choice(answers if turn % 3 == 0 else others)
            yield at, ("everything", "data")[turn % 2] if turn % 3 == 0 else drawn.choice(LOSSES), turn


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Lost(otherwise)


def tell(tmp_path: Path, moments: int, narrow: bool = False, **more: int) -> None:
    """Lets a story happen, and the power go at so many of its moments."""
    story = Story(tmp_path / "data", narrow)
    story.tell(tmp_path / "data", **more)
    for number, (at, loss, seed) in enumerate(story.moments(random.Random(len(story.steps)), moments)):
        try:
            story.check(at, loss, seed, tmp_path / f"disk{number}")
        except Lost as lost:
            raise Lost(f"{lost}, where the power goes after {at} of {len(story.recorder.events)} events"
                       f" and {loss} is lost, draw {seed}") from None


class Without:
    """A module or an object but for what is given."""

    def __init__(self, whole: Any, **otherwise: Any) -> None:
        self._whole, self._otherwise = whole, otherwise

    def __getattr__(self, name: str) -> Any:
        return self._otherwise.get(name) or getattr(self._whole, name)


async def no_flush(*_: Any) -> None:
    await asyncio.sleep(0)


def plant_file(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(blobs_module, "os", Without(os, fdatasync=lambda descriptor: None))


def plant_directory(which: Callable[[Path], bool]) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(patch: pytest.MonkeyPatch) -> None:
        whole = blobs_module._sync_directory
        patch.setattr(blobs_module, "_sync_directory", lambda path: None if which(path) else whole(path))
    return plant


def plant_answer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Store, "flush", no_flush)


def plant_collector(patch: pytest.MonkeyPatch) -> None:
    whole = Collector.__init__
    patch.setattr(Collector, "__init__", lambda self, store, blobs: whole(
        self, Without(store, flush=no_flush), blobs))


def known(tx: Any, file: str) -> bool:
    return tx.execute("select 1 from s3_content where file=?", (file,)).fetchone() is not None


def plant_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(contents, "is_known", known)


def plant_sweep(patch: pytest.MonkeyPatch) -> None:
    async def discard_strays(self: Any, names: list[str]) -> None:
        await self._store.flush()
        with self._store.tx() as tx:
            for name in names:
                if not known(tx, name):
                    self._blobs.discard(name)
    patch.setattr(Collector, "_discard_strays", discard_strays)


@pytest.mark.parametrize(("plant", "narrow"), [
    pytest.param(plant_file, False, id="the bytes of a file are not synced"),
    pytest.param(plant_directory(lambda path: path.parent.name == "files"), False, id="its name is not"),
    pytest.param(plant_directory(lambda path: path.name == "files"), False, id="the name of its directory is not"),
    pytest.param(plant_directory(lambda path: path.name in ("data", "objects")), False, id="nor those above"),
    pytest.param(plant_answer, False, id="answers do not wait for the disk"),
    pytest.param(plant_collector, True, id="nor does the collector"),
    pytest.param(plant_end, True, id="what was replaced meanwhile is taken for never kept"),
    pytest.param(plant_sweep, True, id="what goes while the sweep syncs is taken by it"),
])
def test_a_power_cut_shows(plant: Callable[[pytest.MonkeyPatch], None], narrow: bool, tmp_path: Path,
                           monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    def tell_again_and_again() -> None:
        for turn in range(10):
            (tmp_path / str(turn)).mkdir()
            tell(tmp_path / str(turn), 60, narrow)
    with pytest.raises(Lost):
        tell_again_and_again()


@pytest.mark.parametrize(("narrow", "moments"), [(False, 30), (True, 30)])
def test_nothing_acknowledged_is_lost(narrow: bool, moments: int, tmp_path: Path) -> None:
    tell(tmp_path, moments, narrow)


@pytest.mark.slow
@pytest.mark.parametrize("run", range(4))
def test_nothing_acknowledged_is_lost_in_long_runs(run: int, tmp_path: Path) -> None:
    tell(tmp_path, 150, narrow=run == 3, clients=4 + run, rounds=10)
