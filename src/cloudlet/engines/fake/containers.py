"""Images, containers and their volumes without a world: each container runs the program that a test gave its image."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from cloudlet.engines.announcements import Announcements
from cloudlet.engines.ports import (
    Container,
    ContainerSpec,
    DiskUse,
    Image,
    ImageSpec,
    LogChunk,
    LogLine,
    Storage,
    StorageSpec,
    Traffic,
    Usage,
)
from cloudlet.kernel.errors import Conflict, Refused

if TYPE_CHECKING:
    from cloudlet.engines.fake import World


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


class FakeImages:
    """Every reference can be pulled, except those in `refusals` (reference → the registry's reason), and those in
    `logins` without that user name and password. Images declare the `volumes` (reference → paths) of a test."""

    def __init__(self, world: "World") -> None:
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

    def __init__(self, world: "World") -> None:
        self._world = world
        self.bodies: dict[str, Body] = {}
        self.programs: dict[str, Program] = {}
        self.starts: Counter[str] = Counter()
        self.sick: dict[str, int | None] = {}
        self._announcements = Announcements()

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
        """See `ports.Containers`: a hundredth of a core, 16 MiB, and 100 bytes a second from the network."""
        def effect() -> Usage | None:
            body = self.bodies.get(name)
            if body is None or body.seen.state != "running":
                return None
            limit = body.spec.memory_bytes or body.spec.group.memory_bytes or 1 << 30
            lived = self._world.clock.now() - (body.seen.started_at or 0)
            return Usage(lived / 100, 16 << 20, limit, memory_total_bytes=20 << 20, processes=1,
                         memory_details=(("inactive_file", 4 << 20),), host_cpu_seconds=lived,
                         disks=(DiskUse(8, 0, 4096, 512, 1, 1),),
                         traffic=(Traffic("eth0", int(lived) * 100, int(lived), 0, 0, int(lived) * 10, 1, 0, 0),))
        return await self._world.verb("usage", name, effect)

    async def probe(self, name: str, command: tuple[str, ...], timeout_s: float) -> int | None:
        """See `ports.Probes`. What the command says is its program's health, or what `sick` says."""
        def effect() -> int | None:
            body = self.bodies.get(name)
            if body is None or body.seen.state != "running":
                raise Conflict(f"{name} does not run")
            if name in self.sick:
                return self.sick[name]
            lived = max(0.0, self._world.clock.now() - (body.seen.started_at or 0.0))
            return int(lived < self._program(body.spec).healthy_after_s)
        return await self._world.verb("probe", name, effect)

    def events(self) -> AsyncIterator[str]:
        """See `ports.Containers`. Listening begins with the first `anext`."""
        return self._announcements.stream()

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
            self._announcements.tell(name)


class FakeStorages:
    """Volumes by storage, and how much of the disk each storage is said to take (`used`, bytes)."""

    def __init__(self, world: "World") -> None:
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


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
