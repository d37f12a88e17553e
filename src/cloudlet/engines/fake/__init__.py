"""Every port without a world: objects in memory, lag, faults and amnesia by a seed, and hands for a test to reach in.

`World` is what outlives a control plane. By default it is quick and obliging; `Faults` make it slow and unreliable.
"""

import asyncio
import hashlib
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from cloudlet.engines.fake.machines import FakeDisks, FakeMachines
from cloudlet.engines.ports import (
    Container,
    ContainerSpec,
    Engines,
    Fabric,
    Image,
    ImageSpec,
    Interface,
    InterfaceSpec,
    LogChunk,
    LogLine,
    NetworkSpec,
    Storage,
    StorageSpec,
    Usage,
)
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import Busy, Conflict, Refused

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Faults:
    """How badly the world behaves. `lag_s`: each verb waits up to that long before its effect, and again after it.
    The others are probabilities: `busy` fails before the effect; `lost` after it (the effect stands, its
    acknowledgement does not arrive); `refused` is drawn once for each object, which then is never made; `late`: a verb
    that was cut off before its effect (its caller died) has it after all, up to `lag_s` later; `deaf`: an event that
    nobody hears."""

    lag_s: float = 0.0
    busy: float = 0.0
    lost: float = 0.0
    refused: float = 0.0
    late: float = 0.0
    deaf: float = 0.0


@dataclass(frozen=True, slots=True)
class Program:
    """What an image's containers do: print `lines`, exit by themselves after `exits_after_s` (None: never) with
    `exit_code`; at the stop signal exit with `stop_code`, or ignore it (None) until SIGKILL. Probes succeed from
    `healthy_after_s` on."""

    lines: tuple[str, ...] = ()
    exits_after_s: float | None = None
    exit_code: int = 0
    stop_code: int | None = 0
    healthy_after_s: float = 0.0


class World:
    """The state below the ports, the ports themselves, and what may go wrong with them.

    `trace` is told of every effect. `faults` may be replaced at any time. While `severed`, whoever calls is cut off:
    a killed process cannot clean up.
    """

    def __init__(self, clock: Clock, seed: int = 0, faults: Faults | None = None) -> None:
        self.clock, self.seed, self.faults = clock, seed, faults or Faults()
        self.random = random.Random(seed)
        self.trace: Callable[[str], None] = lambda text: None
        self.severed = False
        self._timers: set[asyncio.Task[None]] = set()
        self.networks = FakeNetworks(self)
        self.images = FakeImages(self)
        self.containers = FakeContainers(self)
        self.storages = FakeStorages(self)
        self.doors = FakeDoors(self)
        self.disks = FakeDisks(self)
        self.machines = FakeMachines(self)
        self.engines = Engines(self.networks, self.images, self.containers, self.storages, self.doors, self.disks,
                               self.machines, probes=self.containers)

    def crash(self) -> None:
        """The control plane's process is gone, and with it the sockets it held."""
        self.doors.open.clear()

    def reboot(self) -> None:
        """The host restarts: every network is gone, every container and machine has ended, and some containers are not
        even remembered."""
        self.trace("reboot")
        self.crash()
        for timer in self._timers:
            timer.cancel()
        self.networks.networks.clear()
        self.networks.interfaces.clear()
        self.networks.fabrics.clear()
        for name, body in sorted(self.containers.bodies.items()):
            if self.random.random() < 0.5:
                self.containers.vanish(name)
            elif body.seen.state == "running":
                self.containers.exit(name, 255)
        for name in self.machines.running():
            self.machines.end(name, "lost")

    async def verb(self, what: str, name: str, effect: Callable[[], T], *, makes: bool = False) -> T:
        """One verb of a port: lag, perhaps a fault, the effect all at once, lag, perhaps a lost acknowledgement."""
        if self.severed:
            raise asyncio.CancelledError
        faults = self.faults
        try:
            await self._lag(faults)
        except asyncio.CancelledError:
            if self.random.random() < faults.late:
                self.after(self.random.uniform(0, faults.lag_s), lambda: self._late(what, name, effect))
            raise
        if makes and faults.refused and random.Random(f"{self.seed} {what} {name}").random() < faults.refused:
            raise Refused(f"{what} {name}: refused by the fake engine")
        if self.random.random() < faults.busy:
            raise Busy(f"{what} {name}: not now")
        self.trace(f"{what} {name}")
        result = effect()
        await self._lag(faults)
        if self.random.random() < faults.lost:
            raise Busy(f"{what} {name}: the answer was lost")
        return result

    async def _lag(self, faults: Faults) -> None:
        if faults.lag_s:
            await self.clock.sleep(self.random.uniform(0, faults.lag_s))

    def _late(self, what: str, name: str, effect: Callable[[], object]) -> None:
        self.trace(f"{what} {name} (late)")
        try:
            effect()
        except (Busy, Conflict, Refused):
            pass  # nobody is left to be told

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        """Lets something happen in the world later, whoever lives then (a reboot ends it)."""
        async def wait() -> None:
            await self.clock.sleep(seconds)
            act()
        self._spawn(wait())

    def _spawn(self, routine: Coroutine[Any, Any, None]) -> None:
        timer = asyncio.get_running_loop().create_task(routine)
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)


class FakeNetworks:
    """Networks, interfaces and the fabric last applied to each network. Packets are not simulated."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.networks: dict[str, NetworkSpec] = {}
        self.interfaces: dict[str, InterfaceSpec] = {}
        self.fabrics: dict[str, Fabric] = {}

    async def ensure_network(self, spec: NetworkSpec) -> None:
        """See `ports.Networks`."""
        def effect() -> None:
            self.networks[spec.name] = spec
        await self._world.verb("ensure_network", spec.name, effect, makes=True)

    async def ensure_interface(self, spec: InterfaceSpec) -> Interface:
        """See `ports.Networks`. Conflict where its network is missing, or another interface has its address."""
        def effect() -> Interface:
            if spec.network not in self.networks:
                raise Conflict(f"the network {spec.network} does not exist")
            for other in self.interfaces.values():
                if (other.network, other.address) == (spec.network, spec.address) and other.name != spec.name:
                    raise Conflict(f"{spec.address} belongs to {other.name}")
            self.interfaces[spec.name] = spec
            return self._interface(spec)
        return await self._world.verb("ensure_interface", spec.name, effect, makes=True)

    async def apply(self, fabric: Fabric) -> None:
        """See `ports.Networks`. Conflict where the network is missing."""
        def effect() -> None:
            if fabric.network not in self.networks:
                raise Conflict(f"the network {fabric.network} does not exist")
            now = self.fabrics.get(fabric.network)
            if now is None or now.revision <= fabric.revision:
                self.fabrics[fabric.network] = fabric
        await self._world.verb("apply", fabric.network, effect)

    async def observe(self, name: str) -> Interface | None:
        """See `ports.Networks`."""
        def effect() -> Interface | None:
            spec = self.interfaces.get(name)
            return self._interface(spec) if spec else None
        return await self._world.verb("observe", name, effect)

    async def destroy(self, name: str) -> None:
        """See `ports.Networks`."""
        def effect() -> None:
            self.interfaces.pop(name, None)
            if self.networks.pop(name, None):
                self.fabrics.pop(name, None)
                for inner in [i.name for i in self.interfaces.values() if i.network == name]:
                    del self.interfaces[inner]
        await self._world.verb("destroy", name, effect)

    async def owned(self) -> tuple[str, ...]:
        """See `ports.Networks`."""
        return await self._world.verb("owned", "networks", lambda: (*self.networks, *self.interfaces))

    async def listen(self, network: str, address: str, port: int) -> socket.socket:
        """A socket on a free port of the host's loopback: the fake has no namespaces. Conflict: no such network."""
        if network not in self.networks:
            raise Conflict(f"the network {network} does not exist")
        return socket.create_server(("127.0.0.1", 0))

    def vanish(self, name: str) -> None:
        """Somebody removed it behind our back."""
        self.interfaces.pop(name, None)

    @staticmethod
    def _interface(spec: InterfaceSpec) -> Interface:
        return Interface(spec.name, f"/run/netns/{spec.name}" if spec.workload == "namespace" else spec.name)


class FakeImages:
    """Every reference can be pulled, except those in `refusals` (reference → the registry's reason), and those in
    `logins` without that user name and password. Images declare the `volumes` (reference → paths) of a test."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.images: dict[str, Image] = {}
        self.refusals: dict[str, str] = {}
        self.logins: dict[str, tuple[str, str]] = {}
        self.volumes: dict[str, tuple[str, ...]] = {}

    async def ensure(self, spec: ImageSpec) -> Image:
        """See `ports.Images`."""
        def effect() -> Image:
            if spec.reference in self.refusals:
                raise Refused(self.refusals[spec.reference])
            if self.logins.get(spec.reference, (spec.username, spec.password)) != (spec.username, spec.password):
                raise Refused(f"{spec.reference}: authorization failed")
            digest = spec.reference.partition("@")[2] or "sha256:" + _hex(spec.reference)
            return self.images.setdefault(spec.reference, Image(
                spec.reference, _hex("image " + digest), digest, self.volumes.get(spec.reference, ())))
        return await self._world.verb("pull", spec.reference, effect, makes=True)

    async def observe(self, reference: str) -> Image | None:
        """See `ports.Images`."""
        return await self._world.verb("observe", reference, lambda: self.images.get(reference))

    async def destroy(self, reference: str) -> None:
        """See `ports.Images`."""
        def effect() -> None:
            if any(body.spec.image == reference for body in self._world.containers.bodies.values()):
                raise Conflict(f"{reference} is in use")
            self.images.pop(reference, None)
        await self._world.verb("destroy", reference, effect)

    async def owned(self) -> tuple[str, ...]:
        """See `ports.Images`."""
        return await self._world.verb("owned", "images", lambda: tuple(self.images))


@dataclass(slots=True)
class Body:
    """One container of the fake: as ordered, as observed, and its output so far (offsets count text and newlines)."""

    spec: ContainerSpec
    seen: Container
    lines: list[LogLine] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)  # the offset behind each line


class FakeContainers:
    """Containers that run the `Program` of their image (`programs`; by default one that never ends).

    `starts` counts how often each name was started. Tests reach in with `exit`, `vanish`, `write`, and `sick`: the
    names of those whose probes fail, with an exit code, or with None by not ending.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.bodies: dict[str, Body] = {}
        self.programs: dict[str, Program] = {}
        self.starts: Counter[str] = Counter()
        self.sick: dict[str, int | None] = {}
        self._listeners: set[asyncio.Queue[str]] = set()

    async def ensure(self, spec: ContainerSpec) -> Container:
        """See `ports.Containers`. Conflict where its image or its network namespace is missing."""
        def effect() -> Container:
            body = self.bodies.get(spec.name)
            if body is None or body.seen.state == "created":
                body = self._start(spec)
            elif body.seen.state == "exited" and body.seen.starts < spec.starts:
                body = self._start(spec, body)
            return body.seen
        return await self._world.verb("start", spec.name, effect, makes=True)

    async def observe(self, name: str) -> Container | None:
        """See `ports.Containers`."""
        def effect() -> Container | None:
            body = self.bodies.get(name)
            return body.seen if body else None
        return await self._world.verb("observe", name, effect)

    async def stop(self, name: str, grace_s: float) -> None:
        """See `ports.Containers`."""
        def effect() -> None:
            body = self.bodies.get(name)
            if body is None or body.seen.state != "running":
                return
            seen, code = body.seen, self._program(body.spec).stop_code
            if code is not None:
                self.exit(name, code)
            else:
                self._world.after(grace_s, lambda: self._kill(name, seen))
        await self._world.verb("stop", name, effect)

    async def destroy(self, name: str) -> None:
        """See `ports.Containers`."""
        await self._world.verb("destroy", name, lambda: self.vanish(name))

    async def owned(self) -> tuple[str, ...]:
        """See `ports.Containers`."""
        return await self._world.verb("owned", "containers", lambda: tuple(self.bodies))

    async def read_log(self, name: str, offset: int, limit: int = 10_000) -> LogChunk:
        """See `ports.Containers`. A container that is gone has nothing more to say."""
        def effect() -> LogChunk:
            body = self.bodies.get(name)
            if body is None:
                return LogChunk((), offset, whole=True)
            first = sum(1 for end in body.ends if end <= offset)
            lines = tuple(body.lines[first:first + limit])
            last = first + len(lines)
            return LogChunk(lines, body.ends[last - 1] if last else offset,
                            whole=body.seen.state == "exited" and last == len(body.lines))
        return await self._world.verb("read_log", name, effect)

    async def usage(self, name: str) -> Usage | None:
        """See `ports.Containers`: a hundredth of a core and 16 MiB."""
        def effect() -> Usage | None:
            body = self.bodies.get(name)
            if body is None or body.seen.state != "running":
                return None
            limit = body.spec.memory_bytes or body.spec.group.memory_bytes or 1 << 30
            return Usage((self._world.clock.now() - (body.seen.started_at or 0)) / 100, 16 << 20, limit)
        return await self._world.verb("usage", name, effect)

    async def probe(self, name: str, command: tuple[str, ...], timeout_s: float) -> int | None:
        """See `ports.Probes`. What the command says is its program's health, or what `sick` says."""
        def effect() -> int | None:
            body = self.bodies.get(name)
            if body is None or body.seen.state != "running":
                raise Conflict(f"{name} does not run")
            if name in self.sick:
                return self.sick[name]
            lived = self._world.clock.now() - (body.seen.started_at or 0.0)
            return int(lived < self._program(body.spec).healthy_after_s)
        return await self._world.verb("probe", name, effect)

    async def events(self) -> AsyncIterator[str]:
        """See `ports.Containers`. Listening begins with the first `anext`."""
        heard: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.add(heard)
        try:
            while True:
                yield await heard.get()
        finally:
            self._listeners.discard(heard)

    def exit(self, name: str, code: int = 0, *, out_of_memory: bool = False) -> None:
        """A running container ends by itself."""
        body = self.bodies[name]
        body.seen = replace(body.seen, state="exited", pid=None, exit_code=code, out_of_memory=out_of_memory,
                            finished_at=self._world.clock.now())
        self._world.trace(f"exited {name} {code}")
        self._tell(name)

    def vanish(self, name: str) -> None:
        """It is gone, with its log: destroyed, or somebody removed it behind our back."""
        self.bodies.pop(name, None)

    def write(self, name: str, text: str, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        """A container prints one line."""
        body = self.bodies[name]
        body.lines.append(LogLine(self._world.clock.now(), stream, text))
        body.ends.append((body.ends[-1] if body.ends else 0) + len(text.encode()) + 1)

    def running(self) -> list[str]:
        """The names of the containers that run, in order."""
        return sorted(name for name, body in self.bodies.items() if body.seen.state == "running")

    def _start(self, spec: ContainerSpec, before: Body | None = None) -> Body:
        world = self._world
        image = next((i for i in world.images.images.values() if spec.image in (i.reference, i.id, i.digest)), None)
        if image is None:
            raise Conflict(f"the image {spec.image} is not here")
        inside = spec.namespace.removeprefix("/run/netns/")
        if inside != spec.namespace and inside not in world.networks.interfaces:
            raise Conflict(f"the namespace {spec.namespace} does not exist")
        self.starts[spec.name] += 1
        made = before.seen.id if before else _hex(f"{spec.name} {self.starts[spec.name]}")
        seen = Container(spec.name, made, "running", image.digest, pid=int(made[:5], 16) + 1 + self.starts[spec.name],
                         started_at=world.clock.now(), starts=before.seen.starts + 1 if before else 1)
        body = self.bodies[spec.name] = Body(spec, seen, *((before.lines, before.ends) if before else ()))
        program = self._program(spec)
        for line in program.lines:
            self.write(spec.name, line)
        self._tell(spec.name)
        if program.exits_after_s is not None:
            world.after(program.exits_after_s, lambda: self._kill(spec.name, seen, program.exit_code))
        return body

    def _kill(self, name: str, seen: Container, code: int = 137) -> None:
        body = self.bodies.get(name)
        if body and (body.seen.id, body.seen.starts) == (seen.id, seen.starts) and body.seen.state == "running":
            self.exit(name, code)

    def _program(self, spec: ContainerSpec) -> Program:
        for image in self._world.images.images.values():
            if spec.image in (image.id, image.digest):
                return self.programs.get(image.reference, Program())
        return self.programs.get(spec.image, Program())

    def _tell(self, name: str) -> None:
        if self._world.random.random() >= self._world.faults.deaf:
            for heard in self._listeners:
                heard.put_nowait(name)


class FakeStorages:
    """Volumes by storage, and how much of the disk each storage is said to take (`used`, bytes)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.storages: dict[str, tuple[str, ...]] = {}
        self.used: dict[str, int] = {}

    async def ensure(self, spec: StorageSpec) -> Storage:
        """See `ports.Storages`."""
        def effect() -> Storage:
            known = self.storages.get(spec.name, ())
            self.storages[spec.name] = tuple(dict.fromkeys((*known, *spec.volumes)))
            return self._storage(spec.name)
        return await self._world.verb("ensure_storage", spec.name, effect, makes=True)

    async def observe(self, name: str) -> Storage | None:
        """See `ports.Storages`."""
        return await self._world.verb("observe", name,
                                      lambda: self._storage(name) if name in self.storages else None)

    async def usage(self, name: str) -> int:
        """See `ports.Storages`."""
        return await self._world.verb("storage_usage", name, lambda: self.used.get(name, 0))

    async def destroy(self, name: str) -> None:
        """See `ports.Storages`."""
        def effect() -> None:
            self.storages.pop(name, None)
        await self._world.verb("destroy", name, effect)

    async def owned(self) -> tuple[str, ...]:
        """See `ports.Storages`."""
        return await self._world.verb("owned", "storages", lambda: tuple(self.storages))

    def _storage(self, name: str) -> Storage:
        return Storage(name, {volume: f"/volumes/{name}/{volume}" for volume in self.storages[name]})


class FakeDoors:
    """Which networks have their doors open (`open`)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.open: set[str] = set()

    async def ensure(self, network: str) -> None:
        """See `ports.Doors`. Conflict where the network is missing."""
        def effect() -> None:
            if network not in self._world.networks.networks:
                raise Conflict(f"the network {network} does not exist")
            self.open.add(network)
        await self._world.verb("open", network, effect)

    async def destroy(self, network: str) -> None:
        """See `ports.Doors`."""
        await self._world.verb("shut", network, lambda: self.open.discard(network))


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
