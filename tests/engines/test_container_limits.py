"""Limits that a task's containers share, as the kernel keeps them; and the hierarchies of both versions."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlet.engines import consumption
from cloudlet.engines.cgroups import Cgroups
from cloudlet.engines.ports import DiskUse, GroupSpec
from cloudlet.kernel.errors import Refused, Unavailable
from tests.engines.podman_ground import PodmanGround, podman_ground, real

BURN = "while :; do :; done"
EAT = "dd if=/dev/zero of=/dev/null bs=200M count=1"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanGround]:
    with podman_ground(tmp_path_factory.mktemp("podman")) as found:
        yield found


@real
def test_processor_time_is_a_quota_for_all_together(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        group = GroupSpec(plane.name("burners"), cpus=0.25)
        specs = [plane.spec(f"burner {n}", BURN, group=group) for n in range(2)]
        await asyncio.gather(*map(plane.containers.ensure, specs))

        async def used() -> float:
            counts = [await plane.containers.usage(spec.name) for spec in specs]
            return sum(count.cpu_seconds for count in counts if count)
        loop = asyncio.get_running_loop()
        at, first = loop.time(), await used()
        await asyncio.sleep(1.5)
        cores = (await used() - first) / (loop.time() - at)
        assert 0 < cores <= 0.3, cores
        await plane.containers.destroy_all()
    ground.run(main())


@real
def test_memory_is_a_limit_for_all_together(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        group = GroupSpec(plane.name("eaters"), memory_bytes=64 << 20)
        eater = plane.spec("eater", "exec " + EAT, group=group)
        bystander = plane.spec("bystander", group=group)
        parent = plane.spec("parent", EAT + "; exit 0", group=group)
        await plane.containers.ensure(bystander)
        await plane.containers.ensure(eater)
        ended = await plane.ended(eater.name)
        assert (ended.exit_code, ended.out_of_memory) == (137, True)
        count = await plane.containers.usage(bystander.name)
        assert count is not None
        assert count.memory_limit_bytes == 64 << 20
        await plane.containers.stop(bystander.name, 0)
        ended = bystander_ended = await plane.ended(bystander.name)
        assert (ended.exit_code, ended.out_of_memory) == (137, False)  # killed by us, not for memory
        await plane.containers.ensure(parent)
        ended = await plane.ended(parent.name)
        assert (ended.exit_code, ended.out_of_memory) == (0, False)  # it went on without its child
        await plane.containers.destroy(eater.name)
        assert (await plane.ended(bystander.name)) == bystander_ended
        await plane.containers.destroy_all()
        assert consumption.usage(plane.podman.cgroups, f"{plane.podman.cgroup}/{group.name}") is None
    ground.run(main())


@real
def test_memory_is_a_limit_for_one(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        spec = plane.spec("glutton", "exec " + EAT, memory_bytes=32 << 20)
        await plane.containers.ensure(spec)
        ended = await plane.ended(spec.name)
        assert (ended.exit_code, ended.out_of_memory) == (137, True)
        await plane.containers.destroy_all()
    ground.run(main())


@real
def test_a_limit_that_the_kernel_does_not_take_is_refused(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        with pytest.raises(Refused, match="limits of"):
            await plane.containers.ensure(plane.spec("tiny", group=GroupSpec("tiny", memory_bytes=-5)))
        assert await plane.containers.owned() == ()
    ground.run(main())


# ── Without a kernel ─────────────────────────────────────────────────────────────────────────────────────────────

V1 = """tmpfs {root} tmpfs rw 0 0
cgroup {root}/cpu cgroup rw,relatime,cpu,cpuacct 0 0
cgroup {root}/memory cgroup rw,relatime,memory 0 0
cgroup {root}/systemd cgroup rw,relatime,xattr,name=systemd 0 0
"""


def test_every_layout_is_recognised(tmp_path: Path) -> None:
    first = Cgroups.find(V1.format(root=tmp_path))
    assert (first.unified, first.hybrid) == (False, False)
    assert first.controllers == {"cpu": tmp_path / "cpu", "cpuacct": tmp_path / "cpu", "memory": tmp_path / "memory"}
    hybrid = Cgroups.find(V1.format(root=tmp_path) + f"cgroup2 {tmp_path}/unified cgroup2 rw 0 0\n")
    assert (hybrid.unified, hybrid.hybrid) == (False, True)
    assert tmp_path / "unified" in hybrid.hierarchies
    second = Cgroups.find(f"cgroup2 {tmp_path} cgroup2 rw,nosuid 0 0\n")
    assert (second.unified, second.hybrid, second.hierarchies) == (True, False, (tmp_path,))


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """A directory that looks like a version 2 hierarchy with one task of one container in it."""
    for depth, group in enumerate(("", "/cloudlet-1", "/cloudlet-1/task", "/cloudlet-1/task/libpod-1")):
        here = tmp_path / group.strip("/")
        here.mkdir(exist_ok=True)
        (here / "cgroup.controllers").write_text("cpuset cpu io memory pids")
        (here / "cgroup.subtree_control").write_text("cpu" if depth == 0 else "")
        (here / "memory.max").write_text("max\n" if depth in (1, 3) else "268435456\n")
        (here / "memory.swap.max").write_text("max\n")
    (here / "memory.current").write_text("5000\n")
    (here / "memory.stat").write_text("anon 1000\ninactive_file 2000\n")
    (here / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 4\n"
                                   "nr_throttled 3\nthrottled_usec 2000000\n")
    (here / "io.stat").write_text("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n7:1\n")
    (here / "pids.current").write_text("6\n")
    (here / "memory.peak").write_text("7000\n")
    (here / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    (here.parent / "memory.events").write_text("low 0\noom 0\noom_kill 0\n")
    return tmp_path


def test_version_2_limits_and_counts(unified: Path) -> None:
    groups = Cgroups.find(f"cgroup2 {unified} cgroup2 rw 0 0\n")
    groups.ensure("/cloudlet-1/task", GroupSpec("task", 0.25, 64 << 20))
    task = unified / "cloudlet-1/task"
    assert (task / "cpu.max").read_text() == "25000 100000"
    assert (task / "memory.max").read_text() == str(64 << 20)
    assert (task / "memory.swap.max").read_text() == "0"
    assert (unified / "cgroup.subtree_control").read_text() == "+cpuset +io +memory +pids"  # cpu was there
    assert (task / "cgroup.subtree_control").read_text() == "+cpuset +cpu +io +memory +pids"
    count = consumption.usage(groups, "/cloudlet-1/task/libpod-1")
    assert count is not None
    assert (count.cpu_seconds, count.memory_bytes, count.memory_limit_bytes) == (1.5, 3000, 64 << 20)
    assert (count.memory_total_bytes, count.memory_peak_bytes, dict(count.memory_details)["anon"]) == (5000, 7000, 1000)
    assert (count.user_seconds, count.kernel_seconds, count.throttled, count.processes) == (1.0, 0.5, (4, 3, 2.0), 6)
    assert count.disks == (DiskUse(8, 0, 1, 2, 3, 4), DiskUse(7, 1, 0, 0, 0, 0))
    assert consumption.usage(groups, "/cloudlet-1/task/libpod-2") is None
    assert groups.out_of_memory("/cloudlet-1/task/libpod-1")
    assert not groups.out_of_memory("/cloudlet-1/task")
    assert not groups.out_of_memory("/cloudlet-1/gone")


def test_version_2_without_controllers_says_so(unified: Path) -> None:
    groups = Cgroups.find(f"cgroup2 {unified} cgroup2 ro 0 0\n")
    (unified / "cgroup.subtree_control").unlink()
    (unified / "cgroup.subtree_control").mkdir()
    with pytest.raises((Unavailable, Refused)):
        groups.ensure("/cloudlet-1/task", GroupSpec("task", 0.25))
