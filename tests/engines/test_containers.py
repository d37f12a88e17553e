"""Containers on Podman: the suite of the ports, and what a container's specification promises."""

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudlet.engines import consumption, process
from cloudlet.engines.fake import Program, World
from cloudlet.engines.ports import GroupSpec, ImageSpec, InterfaceSpec, Mount, NetworkSpec
from cloudlet.engines.probes import PodmanProbes
from cloudlet.kernel.errors import Refused
from tests.engines.containers_conformance import CHECKS, SLEEPER, SPEAKER, STUBBORN, Check, Ground, until
from tests.engines.podman_ground import PodmanGround, podman_ground, real
from tests.simulation.virtual import VirtualClock, run


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanGround]:
    with podman_ground(tmp_path_factory.mktemp("podman")) as found:
        yield found


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_fake_keeps_the_promises(check: Check) -> None:
    async def main() -> None:
        world = World(VirtualClock())
        world.containers.programs = {
            SLEEPER: Program(("ready",)), STUBBORN: Program(stop_code=None),
            SPEAKER: Program(tuple(f"line {n}" for n in range(1, 6)), exits_after_s=0.1, exit_code=3)}
        await world.networks.ensure_network(NetworkSpec("vpc", ("10.0.0.0/16",), ("10.0.0.1",), "10.0.0.2"))
        await world.networks.ensure_interface(InterfaceSpec("eni", "vpc", ("10.0.0.5",), "10.0.0.1",
                                                              "02:00:00:00:00:05"))
        for program in world.containers.programs:
            await world.images.ensure(ImageSpec(program))
        await check(Ground(world.containers, world.images, world.containers, str, "/run/netns/eni"))
    run(main())


@real
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_podman_keeps_the_promises(ground: PodmanGround, check: Check) -> None:
    async def main() -> None:
        plane = ground.start()
        await check(Ground(plane.containers, plane.images, PodmanProbes(plane.podman),
                           ground.reference.__getitem__, ground.namespace, ground.site.installation.prefix))
    ground.run(main())


@real
def test_every_field_of_a_specification_is_honoured(ground: PodmanGround, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the host\n")
    script = """exec 2>&1
        echo "$MULTI|$EMPTY|$QUOTED"; id -u; hostname; pwd; cat /etc/resolv.conf /etc/hosts /mnt/ro/secret
        echo no > /mnt/ro/secret; echo yes > /mnt/rw/new; echo no > /file
        ulimit -Sn; ulimit -Hn; ulimit -Sc; cat /proc/sys/net/ipv4/tcp_syncookies; cat /proc/1/cmdline; echo
        busybox grep CapEff /proc/self/status; cat; echo args "$0" "$@" """
    async def main() -> None:
        plane = ground.start()
        tmp_path.chmod(0o777)
        (tmp_path / "rw").mkdir()
        (tmp_path / "rw").chmod(0o777)
        spec = replace(
            plane.spec("fields"), entry_point=("sh", "-c"), command=(script, "zero", "a b", "$x"),
            resolvers=("10.0.0.2", "10.0.0.3"), search=("ec2.internal",), hosts=(("db.local", "10.1.2.3"),),
            environment=(("MULTI", "one\ntwo"), ("EMPTY", ""), ("QUOTED", "\"' é=")), working_directory="/srv",
            user="app", read_only=True, init=True, hostname="ip-10-0-0-1.ec2.internal",
            add_capabilities=("SYS_PTRACE",), ulimits=(("nofile", 512, 1024), ("core", 0, 0)),
            sysctls=(("net.ipv4.tcp_syncookies", "0"),), drop_capabilities=("NET_RAW",),
            mounts=(Mount(str(tmp_path), "/mnt/ro", read_only=True), Mount(str(tmp_path / "rw"), "/mnt/rw")),
            labels=(("team", "blue"),), cpu_shares=128, memory_bytes=64 << 20, memory_reservation_bytes=32 << 20)
        await plane.containers.ensure(spec)
        lines = await plane.output(spec.name)
        assert lines[:3] == ["one", "two||\"' é=", "1000"]
        assert lines[3:5] == ["ip-10-0-0-1.ec2.internal", "/srv"]
        assert lines[5:8] == ["search ec2.internal", "nameserver 10.0.0.2", "nameserver 10.0.0.3"]
        assert {"127.0.0.1 localhost", "10.1.2.3 db.local", "from the host"} <= set(lines)
        assert sum("Read-only file system" in line for line in lines) == 2
        assert (tmp_path / "rw" / "new").read_text() == "yes\n"
        at = lines.index("512")
        assert lines[at:at + 4] == ["512", "1024", "0", "0"]
        assert "init" in lines[at + 4]
        assert lines[-1] == "args zero a b $x"
        inspected = (await plane.podman.ask("GET", f"/containers/{spec.name}/json")).json
        assert inspected["Config"]["Labels"]["team"] == "blue"
        assert inspected["Config"]["Labels"]["cloudlet.installation"] == ground.site.installation.id
        assert inspected["HostConfig"]["CpuShares"] == 128
        assert inspected["HostConfig"]["Memory"] == 64 << 20
        assert inspected["HostConfig"]["MemoryReservation"] == 32 << 20
        assert "CAP_SYS_PTRACE" in inspected["HostConfig"]["CapAdd"]
        assert "CAP_NET_RAW" in inspected["HostConfig"]["CapDrop"]
        await plane.containers.destroy(spec.name)
    ground.run(main())


@real
def test_probes_see_what_the_container_sees(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        probes = PodmanProbes(plane.podman)
        spec = plane.spec("probed", "echo up; exec sleep 1000", user="app", environment=(("HERE", "yes"),),
                          working_directory="/srv")
        await plane.containers.ensure(spec)
        await plane.spoken(spec.name)

        async def ask(script: str, timeout_s: float = 20.0) -> int | None:
            return await probes.probe(spec.name, ("/bin/sh", "-c", script), timeout_s)
        assert await ask("exit 7") == 7
        assert await ask('[ "$HERE $(id -u) $PWD $(hostname)" = "yes 1000 /srv host-1" ]') == 0
        assert await ask("kill -0 1; kill -9 $$") not in (0, None)
        assert await probes.probe(spec.name, ("nothing-like-this",), 20) not in (0, None)
        assert await ask("yes | head -c 100000000") == 0  # nobody listens
        assert await ask("exec sleep 987654", 1.0) is None
        await until_gone("sleep 987654")
        seen = await plane.containers.observe(spec.name)
        assert seen is not None
        assert seen.state == "running"
        await plane.containers.destroy(spec.name)
    ground.run(main())


async def until_gone(command: str) -> None:
    async def look() -> bool:
        listed = await process.run(["ps", "-eo", "args"], timeout_s=10)
        return command.encode() not in listed.stdout
    await until(look)


@real
def test_what_a_container_uses_is_counted(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        spec = plane.spec("counted", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; exec sleep 1000")
        await plane.containers.ensure(spec)
        await plane.spoken(spec.name)
        seen = await plane.containers.usage(spec.name)
        assert seen is not None
        assert 0 < seen.cpu_seconds < seen.host_cpu_seconds
        assert seen.processes == 1
        assert seen.memory_total_bytes >= seen.memory_bytes > 0
        assert {"pgfault", "inactive_file"} <= set(dict(seen.memory_details))
        assert seen.traffic == ()  # the namespace of these tests has lo only
        await plane.containers.destroy(spec.name)
    ground.run(main())


@real
def test_the_image_says_what_the_specification_leaves_open(ground: PodmanGround) -> None:
    reference = ground.import_image("says", ["hello"], 'ENTRYPOINT ["sh", "-c", "trap \\"echo usr1; exit 5\\" USR1; '
                                    'echo $0 $HOME $FROM; while :; do sleep 1000 & wait; done"]',
                                    "STOPSIGNAL SIGUSR1", "ENV FROM=image", "WORKDIR /srv")
    async def main() -> None:
        plane = ground.start()
        spec = plane.spec("says", image=reference)
        await plane.containers.ensure(spec)
        await plane.spoken(spec.name)
        await plane.containers.stop(spec.name, 1000)
        assert await plane.output(spec.name) == ["hello / image", "usr1"]
        ended = await plane.containers.observe(spec.name)
        assert ended is not None
        assert ended.exit_code == 5
        await plane.containers.destroy(spec.name)
        script = "trap 'exit 6' TERM; echo ready; while :; do sleep 1000 & wait; done"
        own = replace(spec, entry_point=("sh", "-c", script), stop_signal="SIGTERM")
        await plane.containers.ensure(own)
        await plane.spoken(own.name)
        await plane.containers.stop(own.name, 1000)
        assert (await plane.ended(own.name)).exit_code == 6
        await plane.containers.destroy(own.name)
        await plane.images.destroy(reference)
    ground.run(main())


@real
@pytest.mark.parametrize(("change", "said"), [
    ({"entry_point": ("/nothing",)}, "CannotStartContainerError"),
    ({"user": "nobody-here"}, "unable to find user nobody-here"),
    ({"working_directory": "relative"}, "relative"),
    ({"stop_signal": "SIGNONSENSE"}, "invalid stop signal"),
    ({"ulimits": (("nonsense", 1, 1),)}, "nonsense"),
    ({"mounts": (Mount("/nothing/here", "/mnt"),)}, "/nothing/here"),
    ({"sysctls": (("kernel.nonsense", "1"),)}, "kernel.nonsense"),
    ({"add_capabilities": ("NONSENSE",)}, "NONSENSE"),
    ({"name": "../escape"}, "no name"),
    ({"group": GroupSpec("../../escape")}, "no name"),
], ids=str)
def test_what_cannot_be_is_refused_and_leaves_nothing(ground: PodmanGround, change: dict[str, object],
                                                     said: str) -> None:
    async def main() -> None:
        plane = ground.start()
        spec = replace(plane.spec("refused"), **change)
        for _ in range(2):
            with pytest.raises(Refused, match=said):
                await plane.containers.ensure(spec)
            assert await plane.containers.owned() == ()
            assert (await plane.podman.ask("GET", "/containers/json?all=true")).json == []
        assert not consumption.usage(plane.podman.cgroups, f"{plane.podman.cgroup}/{spec.group.name}")
    ground.run(main())


@real
def test_many_at_once(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        specs = [plane.spec(f"many {n}", group=GroupSpec(plane.name(f"task {n % 8}"))) for n in range(16)]
        made = await asyncio.gather(*map(plane.containers.ensure, specs))
        assert {container.state for container in made} == {"running"}
        assert len({container.pid for container in made}) == 16
        assert set(await plane.containers.owned()) == {spec.name for spec in specs}
        await asyncio.gather(*(plane.containers.destroy(spec.name) for spec in specs))
        assert await plane.containers.owned() == ()
        for spec in specs:
            assert consumption.usage(plane.podman.cgroups, f"{plane.podman.cgroup}/{spec.group.name}") is None
    ground.run(main())


@real
def test_two_installations_do_not_meet(ground: PodmanGround, tmp_path: Path) -> None:
    with podman_ground(tmp_path) as other:
        async def main() -> None:
            here, there = ground.start(), other.start()
            mine, theirs = here.spec("mine"), replace(there.spec("theirs"), name=here.name("mine"))
            await asyncio.gather(here.containers.ensure(mine), there.containers.ensure(theirs))
            await here.containers.destroy(mine.name)
            assert await here.containers.owned() == ()
            assert await there.containers.owned() == (theirs.name,)
            await here.podman.stop()
            seen = await there.containers.observe(theirs.name)
            assert seen is not None
            assert seen.state == "running"
            await there.containers.destroy(theirs.name)
        ground.run(main())


@real
def test_a_terminal_and_an_open_stdin(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        spec = plane.spec("tty", "busybox tty && echo terminal; cat; echo closed", tty=True, stdin=True)
        await plane.containers.ensure(spec)
        assert (await plane.spoken(spec.name))[0].startswith("/dev/pts/")
        seen = await plane.containers.observe(spec.name)
        assert seen is not None
        assert seen.state == "running"  # cat waits for more
        await plane.containers.destroy(spec.name)
    ground.run(main())


@real
@pytest.mark.engine("fuse-overlayfs")
@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs /dev/fuse")
def test_a_data_directory_on_an_overlay(tmp_path: Path) -> None:
    """As inside a container, whose own file system is one."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    where = tmp_path / "merged"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,"
                    f"workdir={tmp_path}/work", str(where)], check=True)
    try:
        with podman_ground(where) as ground:
            async def main() -> None:
                plane = ground.start()
                spec = plane.spec("stacked", "echo written > /file; cat /file; exit 3")
                await plane.containers.ensure(spec)
                assert await plane.output(spec.name) == ["written"]
                assert (await plane.ended(spec.name)).exit_code == 3
            ground.run(main())
    finally:
        subprocess.run(["umount", str(where)], check=True)
