"""What happens to containers when the control plane, Podman, conmon or the machine dies."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from cloudlet.engines import podman
from cloudlet.engines.ports import Container, ContainerSpec
from cloudlet.engines.process import identify
from cloudlet.kernel.errors import Busy, Refused
from tests.engines.containers_conformance import until
from tests.engines.podman_ground import Plane, PodmanGround, podman_ground, real

T = TypeVar("T")

CHILD = textwrap.dedent("""
    import asyncio, os, signal, sys
    from pathlib import Path
    from cloudlet.engines.containers import PodmanContainers
    from cloudlet.engines.podman import Podman
    from cloudlet.engines.ports import ContainerSpec, GroupSpec
    from cloudlet.kernel.names import Installation
    from cloudlet.kernel.site import Site

    mark, data, image, namespace, name, delay, starts = sys.argv[1:]
    site = Site(Installation(mark), Path(data))
    async def main():
        containers = PodmanContainers(Podman(site), site)
        loop = asyncio.get_running_loop()
        if float(delay) >= 0:
            loop.call_later(float(delay), os.kill, os.getpid(), signal.SIGKILL)
        await containers.ensure(ContainerSpec(name, GroupSpec(site.installation.name("task", "g")), image, namespace,
                                              "h", command=("sh", "-c", "echo up; while :; do sleep 0.1; done"),
                                              starts=int(starts)))
        os.kill(os.getpid(), signal.SIGKILL)
    asyncio.run(main())
""")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanGround]:
    with podman_ground(tmp_path_factory.mktemp("podman")) as found:
        yield found


def die_in_ensure(ground: PodmanGround, name: str, delay: float = -1, starts: int = 1) -> None:
    """A control plane that makes a container, or starts it again, is killed after `delay`, or when that is done."""
    killed = subprocess.run([sys.executable, "-c", CHILD, ground.site.installation.id, str(ground.site.data_dir),
                             ground.reference["sleeper"], ground.namespace, name, str(delay),
                             str(starts)], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL


async def until_not_busy(verb: Callable[[], Awaitable[T]]) -> T:
    """As a loop does: what is busy is tried once more."""
    for _ in range(100):
        try:
            return await verb()
        except Busy:
            await asyncio.sleep(0.1)
    raise AssertionError("busy for ever")


async def again(plane: Plane, spec: ContainerSpec) -> Container:
    return await until_not_busy(lambda: plane.containers.ensure(spec))


@real
def test_a_container_outlives_the_control_plane_that_made_it(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        name = plane.name("outlives")
        await asyncio.to_thread(die_in_ensure, ground, name)
        seen = await plane.containers.observe(name)
        assert seen is not None
        assert seen.state == "running"
        assert seen.pid
        assert await plane.spoken(name) == ["up"]
        record = plane.containers._records.find(name)
        assert record is not None
        groups = Path(f"/proc/{record.conmon[0]}/cgroup").read_text()
        assert f"/cloudlet-{ground.site.installation.id}/podman" in groups  # not in a group that dies with us
        assert os.getsid(record.conmon[0]) not in (os.getsid(0), os.getpid())
        hearing = asyncio.ensure_future(anext(plane.containers.events()))
        await asyncio.sleep(0.3)
        assert not hearing.done()
        os.kill(seen.pid, signal.SIGKILL)
        assert await hearing == name  # an adopted one's end is heard, too
        await plane.containers.destroy(name)
    ground.run(main())


@real
def test_killed_at_any_moment_of_making_a_container(ground: PodmanGround) -> None:
    async def after(moment: int) -> None:
        plane = ground.start()
        name = plane.name(f"moment {moment}")
        seen = await plane.containers.observe(name)
        assert seen is None or seen.state in ("created", "running")
        spec = plane.spec(f"moment {moment}", "echo up; exec sleep 1000")
        made = await again(plane, spec)
        assert made.state == "running"
        if seen is not None and seen.state == "running":
            assert made.id == seen.id
        listed = (await plane.podman.ask("GET", "/containers/json?all=true")).json
        assert [entry["Names"] for entry in listed] == [[name]]
        assert (await plane.spoken(name)).count("up") == 1
        await plane.containers.destroy(name)
    for moment in range(5):
        plane = ground.start()
        die_in_ensure(ground, plane.name(f"moment {moment}"), 0.03 * moment)
        ground.run(after(moment))


@real
def test_killed_at_any_moment_of_starting_a_container_again(ground: PodmanGround) -> None:
    async def ended(plane: Plane, spec: ContainerSpec) -> None:
        await plane.containers.ensure(spec)
        await plane.spoken(spec.name)
        await plane.containers.stop(spec.name, 0)
        await plane.ended(spec.name)

    async def after(plane: Plane, spec: ContainerSpec) -> None:
        seen = await plane.containers.observe(spec.name)
        assert seen is not None
        assert (seen.state, seen.starts) in (("exited", 1), ("created", 2), ("running", 2))
        made = await again(plane, replace(spec, starts=2))
        assert (made.state, made.starts) == ("running", 2)

        async def twice() -> bool:
            lines = (await plane.containers.read_log(spec.name, 0)).lines
            return [line.text for line in lines] == ["up", "up"]
        await until(twice)
        assert await again(plane, replace(spec, starts=2)) == made
        await plane.containers.destroy(spec.name)
    for moment in range(5):
        plane = ground.start()
        spec = plane.spec(f"anew {moment}", "echo up; while :; do sleep 0.1; done")
        ground.run(ended(plane, spec))
        die_in_ensure(ground, spec.name, 0.02 * moment + 0.01, 2)
        ground.run(after(ground.start(), spec))


@real
def test_a_cancelled_ensure_leaves_all_or_nothing(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        for moment in range(6):
            spec = plane.spec("cancelled")
            making = asyncio.create_task(plane.containers.ensure(spec))
            await asyncio.sleep(0.02 * moment)
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
            await plane.containers.destroy(spec.name)  # waits for what was begun
            assert await plane.containers.owned() == ()
            assert (await plane.podman.ask("GET", "/containers/json?all=true")).json == []
    ground.run(main())


@real
def test_podmans_api_is_killed_at_any_moment(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        for moment in range(8):
            spec = plane.spec("unlucky", "echo up; exec sleep 1000")
            await plane.podman.ask("GET", "/_ping")
            making = asyncio.create_task(plane.containers.ensure(spec))
            await asyncio.sleep(0.018 * moment)
            os.kill(json.loads((plane.podman.runtime / "podman.json").read_text())[0], signal.SIGKILL)
            await asyncio.gather(making, return_exceptions=True)
            assert (await again(plane, spec)).state == "running"
            assert await plane.spoken(spec.name) == ["up"]
            listed = await until_not_busy(lambda: plane.podman.ask("GET", "/containers/json?all=true"))
            assert [entry["Names"] for entry in listed.json] == [[spec.name]]
            await until_not_busy(partial(plane.containers.destroy, spec.name))
    ground.run(main())


@real
def test_podmans_api_may_die_or_hang(ground: PodmanGround, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        plane = ground.start()
        first = plane.spec("first")
        await plane.containers.ensure(first)
        monkeypatch.setattr(podman, "_PING_S", 0.5)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            pid = json.loads((plane.podman.runtime / "podman.json").read_text())[0]
            os.kill(pid, number)
            seen = await plane.containers.observe(first.name)
            assert seen is not None
            assert seen.state == "running"
            if number == signal.SIGSTOP:
                with pytest.raises(Busy, match="did not answer"):
                    await plane.podman.ask("GET", "/_ping", timeout_s=0.5)
                assert identify(pid) is None
            second = plane.spec("second")
            assert (await again(plane, second)).state == "running"
            await until_not_busy(partial(plane.containers.destroy, second.name))
        await plane.containers.destroy(first.name)
    ground.run(main())


@real
def test_conmon_may_be_killed(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        spec = plane.spec("orphan", "echo up; exec sleep 1000")
        made = await plane.containers.ensure(spec)
        await plane.spoken(spec.name)
        record = plane.containers._records.find(spec.name)
        assert record is not None
        os.kill(record.conmon[0], signal.SIGKILL)
        await asyncio.sleep(0.1)
        assert await plane.containers.observe(spec.name) == made
        assert made.pid
        os.kill(made.pid, signal.SIGKILL)
        ended = await plane.ended(spec.name)
        assert (ended.exit_code, ended.finished_at) == (None, None)  # nobody saw it
        assert (await plane.containers.read_log(spec.name, 0)).whole
        await plane.containers.destroy(spec.name)
    ground.run(main())


@real
def test_a_stop_goes_on_after_a_restart(ground: PodmanGround) -> None:
    async def before() -> None:
        plane = ground.start()
        spec = plane.spec("stopping", "trap 'echo asked' TERM; echo up; while :; do sleep 0.05; done")
        await plane.containers.ensure(spec)
        await plane.spoken(spec.name)
        await plane.containers.stop(spec.name, 1000)
        await plane.containers.close()

    async def after() -> None:
        plane = ground.start()
        name = plane.name("stopping")
        await plane.containers.stop(name, 0.5)
        ended = await plane.ended(name)
        assert ended.exit_code == 137
        assert await plane.output(name) == ["up", "asked"]  # once
        await plane.containers.destroy(name)
    ground.run(before())
    ground.run(after())


@real
def test_a_reboot(ground: PodmanGround) -> None:
    async def before() -> None:
        plane = ground.start()
        for short, script in (("runs", "echo up; exec sleep 1000"), ("ended", "exit 4")):
            await plane.containers.ensure(plane.spec(short, script))
        await plane.spoken(plane.name("runs"))
        await plane.ended(plane.name("ended"))
        await plane.containers.close()
        await plane.podman.destroy()  # all processes, mounts, control groups and files in /run are gone

    async def after() -> None:
        plane = ground.start()
        for short, code in (("runs", None), ("ended", 4)):
            ended = await plane.containers.observe(plane.name(short))
            assert ended is not None
            assert (ended.state, ended.exit_code, ended.pid) == ("exited", code, None)
        assert await plane.output(plane.name("runs")) == ["up"]  # what it said is not lost
        spec = plane.spec("runs", "echo again; exec sleep 1000")
        assert (await plane.containers.ensure(spec)).state == "exited"
        await plane.containers.destroy(spec.name)
        assert (await plane.containers.ensure(spec)).state == "running"
        assert await plane.spoken(spec.name) == ["again"]
        await plane.containers.destroy_all()
        assert await plane.containers.owned() == ()
    ground.run(before())
    record = ground.site.data_dir / "containers" / "state" / ground.start().name("runs") / "record.json"
    text = record.read_text()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert boot in text
    record.write_text(text.replace(boot, "another boot"))
    ground.run(after())


@real
def test_a_record_that_a_power_cut_damaged(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        spec = plane.spec("damaged")
        first = await plane.containers.ensure(spec)
        plane.containers._records.path(spec.name, "record.json").write_bytes(b"\0" * 100)
        seen = await plane.containers.observe(spec.name)
        assert seen is not None
        assert seen.state == "created"
        made = await plane.containers.ensure(spec)
        assert (made.state, made.id != first.id) == ("running", True)  # made again: whose it was is not known
        assert len((await plane.podman.ask("GET", "/containers/json?all=true")).json) == 1
        await plane.containers.destroy(spec.name)
    ground.run(main())


@real
@pytest.mark.skipif(not shutil.which("mount"), reason="needs mount")
def test_a_full_disk_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    try:
        with podman_ground(disk) as ground:
            async def main() -> None:
                plane = ground.start()
                spec = plane.spec("full")
                filler = disk / "filler"
                with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * 4096)
                with pytest.raises(Refused, match="o space left"):
                    await plane.containers.ensure(spec)
                filler.unlink()
                assert await plane.containers.owned() == ()
                assert (await plane.containers.ensure(spec)).state == "running"
            ground.run(main())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
