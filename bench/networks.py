"""A task's way into its network (`ensure_interface` and `apply`), beside the `ip` commands that make as much.

Then fabrics of 200 members in 50 groups, and how long the event loop stood still meanwhile. `python -m bench networks`.
"""

import asyncio
import json
import secrets
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from cloudlet.engines.networks import FabricNetworks
from cloudlet.engines.ports import Fabric, InterfaceSpec, Member, NetworkSpec, Rule
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site

MEMBERS, GROUPS, AT_ONCE, ROUNDS = 200, 50, 50, 30
PUBLIC_CIDR = "198.18.77.0/24"  # of the range for measurements (RFC 2544)
ANYWHERE = ("0.0.0.0/0",)


class Scene:
    """One installation with one VPC."""

    def __init__(self, directory: Path) -> None:
        self.installation = Installation(secrets.token_hex(3))
        self.networks = FabricNetworks(Site(self.installation, directory, public_cidr=PUBLIC_CIDR))
        self.vpc = self.installation.name("vpc", "bench")
        self.members: list[Member] = []
        self.revision = 0

    def interface(self, number: int) -> InterfaceSpec:
        return InterfaceSpec(self.installation.name("eni", str(number)), self.vpc,
                             f"172.31.{number // 250}.{number % 250 + 4}", "172.31.0.1",
                             f"0a:00:00:00:{number // 256:02x}:{number % 256:02x}")

    def join(self, number: int) -> None:
        spec = self.interface(number)
        self.members.append(Member(spec.name, spec.address, (f"sg-{number % GROUPS}",), f"198.18.77.{number + 2}",
                                   ANYWHERE, (f"ip-{spec.address.replace('.', '-')}.ec2.internal",)))

    def fabric(self, *more: Rule) -> Fabric:
        self.revision += 1
        return Fabric(self.vpc, self.revision, tuple(self.members), {
            f"sg-{n}": (Rule("egress", "-1", None, None, "0.0.0.0/0"), Rule("ingress", "tcp", 80, 80, "0.0.0.0/0"),
                        Rule("ingress", "-1", None, None, f"sg-{n}"), *(more if n == 0 else ()))
            for n in range(GROUPS)})

    async def enter(self, number: int) -> None:
        await self.networks.ensure_interface(self.interface(number))
        self.join(number)
        await self.networks.apply(self.fabric())


def bare(number: int) -> None:
    """A namespace with one end of a veth pair and an address, as a shell would make it."""
    name = f"bench-{number}"
    for line in (f"netns add {name}", f"link add {name} type veth peer name eth0 netns {name}",
                 f"-n {name} address add 172.31.9.9/32 dev eth0", f"-n {name} link set eth0 up", f"link set {name} up",
                 f"-n {name} route add default dev eth0"):
        subprocess.run(["ip", *line.split()], check=True)


def clear(number: int) -> None:
    subprocess.run(["ip", "link", "delete", f"bench-{number}"], check=True)
    subprocess.run(["ip", "netns", "delete", f"bench-{number}"], check=True)


async def timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def median(rounds: int, work: Callable[[int], Awaitable[object]]) -> float:
    return statistics.median([await timed(work(number)) for number in range(rounds)])


async def stalls(done: asyncio.Event) -> list[float]:
    """How late the event loop was, each time it was asked for the next millisecond."""
    found = []
    while not done.is_set():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        found.append(time.perf_counter() - began - 0.001)
    return found


async def measure(directory: Path) -> dict[str, float]:
    scene, loop = Scene(directory), asyncio.get_running_loop()
    await scene.networks.ensure_network(NetworkSpec(scene.vpc, ("172.31.0.0/16",), ("172.31.0.1",), "172.31.0.2"))
    await scene.networks.apply(scene.fabric())
    try:
        ours, theirs = [], []
        for number in range(ROUNDS):
            theirs.append(await timed(loop.run_in_executor(None, bare, number)))
            ours.append(await timed(scene.enter(number)))
            await loop.run_in_executor(None, clear, number)
        done = asyncio.Event()
        watch = asyncio.create_task(stalls(done))
        crowd = range(ROUNDS, ROUNDS + AT_ONCE)
        at_once = await timed(asyncio.gather(*(scene.networks.ensure_interface(scene.interface(n)) for n in crowd)))
        for number in range(ROUNDS + AT_ONCE, MEMBERS):
            await scene.networks.ensure_interface(scene.interface(number))
        for number in range(ROUNDS, MEMBERS):
            scene.join(number)
        await scene.networks.apply(scene.fabric())
        alone = [scene.members.pop()]
        async def come_or_go(number: int) -> None:
            (scene.members.append(alone.pop()) if alone else alone.append(scene.members.pop()))
            await scene.networks.apply(scene.fabric())
        member = await median(ROUNDS, come_or_go)
        rule = await median(ROUNDS, lambda n: scene.networks.apply(
            scene.fabric(Rule("ingress", "tcp", n, n, "0.0.0.0/0"))))
        async def afresh(number: int) -> None:
            await FabricNetworks(Site(scene.installation, directory, public_cidr=PUBLIC_CIDR)).apply(scene.fabric())
        whole = await median(5, afresh)
        look = await median(ROUNDS, lambda n: scene.networks.observe(scene.interface(n).name))
        done.set()
        late = sorted(await watch)
        end = await timed(scene.networks.destroy_all())
    finally:
        await scene.networks.destroy_all()
    return {"one: bare ip commands ms": statistics.median(theirs) * 1e3,
            "one: ensure + apply ms (at most 40)": statistics.median(ours) * 1e3,
            "one: ratio (at most 2)": statistics.median(ours) / statistics.median(theirs),
            f"{AT_ONCE} interfaces at once ms": at_once * 1e3, "observe ms": look * 1e3,
            f"{MEMBERS} members, {GROUPS} groups: one more or less ms": member * 1e3,
            f"{MEMBERS} members, {GROUPS} groups: one rule ms": rule * 1e3,
            f"{MEMBERS} members, {GROUPS} groups: all of it ms": whole * 1e3,
            "event loop late p99 ms": late[len(late) * 99 // 100] * 1e3, "event loop late at most ms": late[-1] * 1e3,
            f"down with {MEMBERS} interfaces ms": end * 1e3}


def main() -> None:
    """Prints medians in milliseconds."""
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(measure(Path(directory)))
    print(json.dumps({what: round(value, 2) for what, value in found.items()}, indent=1))


if __name__ == "__main__":
    main()
