"""Volumes on the real file system: shared, filled once from the image, measured, gone afterwards."""

import asyncio
import io
import os
import shutil
import tarfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudlet.engines import initial_content
from cloudlet.engines.fake import World
from cloudlet.engines.initial_content import inside
from cloudlet.engines.podman import Podman
from cloudlet.engines.ports import GroupSpec, LogChunk, Mount, Storages, StorageSpec
from cloudlet.engines.process import run as run_command
from cloudlet.engines.storages import FILLING, FRESH_S, PodmanStorages, occupied
from cloudlet.kernel.errors import Refused
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from tests.engines.containers_conformance import until
from tests.engines.podman_ground import PodmanGround, podman_ground, real, root_file_system
from tests.simulation.virtual import VirtualClock, run


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanGround]:
    with podman_ground(tmp_path_factory.mktemp("podman")) as found:
        yield found


async def keeps_the_promises(storages: Storages) -> None:
    assert await storages.observe("one") is None
    assert await storages.usage("one") == 0
    made = await storages.ensure(StorageSpec("one", ("data", "0@0")))
    assert set(made.paths) == {"data", "0@0"}
    assert await storages.ensure(StorageSpec("one", ("data",))) == made == await storages.observe("one")
    more = await storages.ensure(StorageSpec("one", ("more",)))
    assert set(more.paths) == {"data", "0@0", "more"}
    await storages.ensure(StorageSpec("two", ()))
    assert set(await storages.owned()) == {"one", "two"}
    for _ in range(2):
        await storages.destroy("one")
        assert await storages.observe("one") is None
    assert await storages.owned() == ("two",)


def adapter(directory: Path, clock: VirtualClock | None = None) -> PodmanStorages:
    return PodmanStorages(Podman(Site(Installation("abcdef"), directory), directory / "run", clock))


@pytest.mark.parametrize("make", [lambda path: World(VirtualClock()).storages, adapter], ids=["fake", "real"])
def test_promises(make: Callable[[Path], Storages], tmp_path: Path) -> None:
    asyncio.run(keeps_the_promises(make(tmp_path)))


def test_a_volume_is_open_to_everybody_whatever_our_umask_and_keeps_what_it_was_given(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        storages = adapter(tmp_path)
        volume = Path(asyncio.run(storages.ensure(StorageSpec("one", ("data",)))).paths["data"])
        assert volume.stat().st_mode & 0o7777 == 0o755
        volume.chmod(0o1777)
        (volume / "kept").write_text("yes")
        asyncio.run(storages.ensure(StorageSpec("one", ("data",))))
        assert volume.stat().st_mode & 0o7777 == 0o1777
        assert (volume / "kept").read_text() == "yes"
        (volume.parent / "cut.making").mkdir()  # by a crash
        assert set(asyncio.run(storages.ensure(StorageSpec("one", ("cut",)))).paths) == {"data", "cut"}
    finally:
        os.umask(before)


def test_what_is_counted(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x" * 1_000_000)
    os.link(tree / "file", tree / "same")
    (tree / "hole").touch()
    os.truncate(tree / "hole", 1 << 40)
    (tree / "away").symlink_to("/")
    size = occupied([str(tree), str(tmp_path / "nothing")])
    assert size is not None
    assert 1_000_000 <= size < 1_100_000


def test_a_path_too_long_to_name_does_not_hide_anything(tmp_path: Path) -> None:
    storages = adapter(tmp_path, VirtualClock())

    async def main() -> None:
        volume = (await storages.ensure(StorageSpec("one", ("data",)))).paths["data"]
        # As a program inside a container would: one step at a time.
        here = os.open(volume, os.O_RDONLY)
        for _ in range(50):
            os.mkdir("d" * 200, dir_fd=here)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        hidden = os.open("hidden", os.O_WRONLY | os.O_CREAT, dir_fd=here)
        os.write(hidden, b"x" * 3_000_000)
        os.close(hidden)
        os.close(here)
        assert occupied([volume]) is None
        assert await storages.usage("one") > 3_000_000
        await storages.destroy("one")
        assert await storages.owned() == ()
    asyncio.run(main())


def test_a_measurement_is_good_for_a_while(tmp_path: Path) -> None:
    clock = VirtualClock()
    storages = adapter(tmp_path, clock)

    async def main() -> None:
        volume = Path((await storages.ensure(StorageSpec("one", ("data",)))).paths["data"])
        before = await storages.usage("one")
        (volume / "file").write_bytes(b"x" * 1_000_000)
        assert await storages.usage("one") == before
        clock.offset += FRESH_S + 1
        assert await storages.usage("one") >= before + 1_000_000
    run(main())


def test_links_of_an_image_are_followed_inside_it_only(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "run" / "app").mkdir(parents=True)
    (tmp_path / "var" / "run").symlink_to("/run")
    (tmp_path / "up").symlink_to("../../../../run/app")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    root = str(tmp_path)
    assert inside(root, "/var/run/app") == f"{root}/run/app"
    assert inside(root, "/up") == f"{root}/run/app"
    assert inside(root, "/var/../run") == f"{root}/run"
    assert [inside(root, path) for path in ("/loop", "/file", "/nothing/at/all", "/file/below")] == [None] * 4


def site_image(ground: PodmanGround) -> str:
    """Declares /site as a volume, with two files that belong to the user app."""
    out = io.BytesIO(root_file_system())
    with tarfile.open(fileobj=out, mode="a") as tar:
        for name, body in (("site", None), ("site/index.html", b"hello\n"), ("site/link", None)):
            entry = tarfile.TarInfo(name)
            entry.uid = entry.gid = 1000
            entry.mode = 0o750
            if body is not None:
                entry.size = len(body)
            elif name == "site/link":
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                entry.type = tarfile.DIRTYPE
            tar.addfile(entry, io.BytesIO(body) if body else None)
    return ground.import_image("site", ["sleep", "1000"], "VOLUME /site", "VOLUME /nowhere/", tar=out.getvalue())


@real
def test_volumes_are_shared_filled_once_and_counted(ground: PodmanGround) -> None:
    reference = site_image(ground)

    async def main() -> None:
        plane = ground.start()
        image = await plane.images.observe(reference)
        assert image is not None
        assert image.volumes == ("/nowhere", "/site")
        group = GroupSpec(plane.name("shared"))
        volumes = (await plane.storages.ensure(StorageSpec(group.name, ("site", "empty")))).paths
        site, empty = Mount(volumes["site"], "/site", fill=True), Mount(volumes["empty"], "/nowhere", fill=True)
        scripts = ("ls -l /site; cat /site/index.html; echo ours > /site/index.html; ls /nowhere; sleep 1000",
                   "echo no > /site/x; cat /site/index.html; dd if=/dev/zero of=/big bs=1M count=8; sleep 1000")
        one = plane.spec("one", scripts[0], group=group, image=reference, mounts=(site, empty))
        two = plane.spec("two", scripts[1], group=group, image=reference, mounts=(replace(site, read_only=True), empty))
        await plane.containers.ensure(one)
        said = await plane.spoken(one.name)
        assert any("index.html" in line for line in said)
        status = (Path(volumes["site"]).stat(), (Path(volumes["site"]) / "index.html").stat())
        assert [(each.st_uid, each.st_mode & 0o777) for each in status] == [(1000, 0o750), (1000, 0o750)]
        assert os.readlink(f"{volumes['site']}/link") == "/etc/passwd"

        async def ours() -> bool:
            return (Path(volumes["site"]) / "index.html").read_text() == "ours\n"
        await _until(ours)
        await plane.containers.ensure(two)

        async def written() -> bool:
            return await plane.storages.usage(group.name) > 8 << 20
        await _until(written)
        lines = [line.text for line in (await plane.containers.read_log(two.name, 0)).lines]
        assert "ours" in lines, "what is there is not filled again"
        assert any("Read-only" in line for line in lines)
        assert not list(Path(volumes["site"]).parent.glob("*" + FILLING))
        for spec in (one, two):
            await plane.containers.destroy(spec.name)
        await plane.storages.destroy(group.name)
        assert not Path(volumes["site"]).parent.exists()
    ground.run(main())


async def _until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await look():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)


@real
def test_a_filling_that_was_cut_off_begins_anew(ground: PodmanGround, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = site_image(ground)

    async def main() -> None:
        plane = ground.start()
        group = GroupSpec(plane.name("cut"))
        volume = Path((await plane.storages.ensure(StorageSpec(group.name, ("site",)))).paths["site"])
        spec = plane.spec("cut", "cat /site/index.html", group=group, image=reference,
                          mounts=(Mount(str(volume), "/site", fill=True),))

        async def full(command: list[str], **more: float) -> object:
            if command[0] == "cp":  # some of it arrives
                Path(command[-1]).mkdir()
                (Path(command[-1]) / "index.html").write_text("hal")
                return await run_command(["sh", "-c", "echo 'No space left on device' >&2; exit 1"], timeout_s=10)
            return await run_command(command, **more)
        with monkeypatch.context() as patch:
            patch.setattr(initial_content, "run", full)
            with pytest.raises(Refused, match=r"CannotStartContainerError: .*No space left"):
                await plane.containers.ensure(spec)
        assert await plane.containers.observe(spec.name) is None
        assert (await plane.storages.ensure(StorageSpec(group.name, ("site",)))).paths == {"site": str(volume)}
        await plane.containers.ensure(spec)
        assert await plane.output(spec.name) == ["hello"]
        assert os.listdir(volume.parent) == ["site"]
        await plane.containers.destroy(spec.name)
        await plane.storages.destroy(group.name)
    ground.run(main())


@real
def test_a_link_in_a_shared_volume_leads_no_copy_astray(ground: PodmanGround, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that runs already may put there what it likes, at any moment."""
    reference = site_image(ground)
    (tmp_path / "victim").write_text("untouched")
    monkeypatch.setattr(initial_content, "wanting", lambda mount: True)  # it was empty a moment ago

    async def main() -> None:
        plane = ground.start()
        group = GroupSpec(plane.name("led"))
        volume = Path((await plane.storages.ensure(StorageSpec(group.name, ("site",)))).paths["site"])
        (volume / "index.html").symlink_to(tmp_path / "victim")
        spec = plane.spec("led", "cat /site/index.html", group=group, image=reference,
                          mounts=(Mount(str(volume), "/site", fill=True),))
        await plane.containers.ensure(spec)
        assert await plane.output(spec.name) == ["hello"]
        assert (tmp_path / "victim").read_text() == "untouched"
        await plane.containers.destroy(spec.name)
        await plane.storages.destroy(group.name)
    ground.run(main())


@real
def test_output_that_nobody_keeps(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        spec = plane.spec("mute", "echo into the void; exit 4", keep_log=False)
        await plane.containers.ensure(spec)
        assert (await plane.ended(spec.name)).exit_code == 4

        async def whole() -> LogChunk | None:  # who waits for its end may hear of it a moment after we do
            chunk = await plane.containers.read_log(spec.name, 0)
            return chunk if chunk.whole else None
        assert (await until(whole)).lines == ()
        await plane.containers.destroy(spec.name)
    ground.run(main())


def test_a_full_disk_makes_no_volume(tmp_path: Path) -> None:
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers" / "volumes").write_text("a file where the directory should be")
    with pytest.raises(Refused, match="ResourceInitializationError: failed to create a volume"):
        asyncio.run(adapter(tmp_path).ensure(StorageSpec("one", ("data",))))
