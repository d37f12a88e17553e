"""Disks and machines without a world: what a guest would do is done by a test's hands."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from cloudlet.engines.announcements import Announcements
from cloudlet.engines.ports import Disk, DiskSpec, LayerSource, Machine, MachineSpec, Place, Shelved
from cloudlet.kernel.errors import Busy, Conflict, Full, Refused

if TYPE_CHECKING:
    from cloudlet.engines.fake import World


@dataclass(slots=True)
class Content:
    """What a fake disk or layer holds: a text, which a test or a guest writes, and the layer it began as."""

    seen: Disk
    text: str = ""
    base: str | None = None


class FakeDisks:
    """Disks and layers whose content is a text. `files` are the host's files that can be received (path → text), with
    their `sizes` where they are not as long as the text;
    `shelf` are the images that lie there, by name, and `problems` what was said of them; `full`: nothing new finds
    space."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.disks: dict[str, Content] = {}
        self.layers: dict[str, Content] = {}
        self.files: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.shelf: dict[str, Shelved] = {}
        self.problems: dict[str, str] = {}
        self.full = False

    async def ensure(self, spec: DiskSpec) -> Disk:
        """See `ports.Disks`."""
        def effect() -> Disk:
            found = self.disks.get(spec.name)
            if found is None:
                self._require_space()
                base = self.layers.get(spec.base) if spec.base else None
                if spec.base and base is None:
                    raise Conflict(f"the layer {spec.base} does not exist")
                found = Content(Disk(spec.name, 0, 0), base.text if base else "", spec.base)
                self.disks[spec.name] = found
                found.seen = replace(found.seen, size_bytes=base.seen.size_bytes if base else 0)
            found.seen = replace(found.seen, size_bytes=max(spec.size_bytes, found.seen.size_bytes))
            return found.seen
        return await self._world.verb("ensure_disk", spec.name, effect, makes=True)

    async def seal(self, disk: str, layer: str) -> Disk:
        """See `ports.Disks`."""
        def effect() -> Disk:
            if layer not in self.layers:
                found = self.disks.get(disk)
                if found is None:
                    raise Conflict(f"the disk {disk} does not exist")
                self._require_space()
                self.layers[layer] = Content(replace(found.seen, name=layer), found.text, found.base)
            return self.layers[layer].seen
        return await self._world.verb("seal", layer, effect)

    async def receive(self, layer: str, source: LayerSource) -> Disk:
        """See `ports.Disks`."""
        def effect() -> Disk:
            if layer not in self.layers:
                if source.path not in self.files:
                    raise Refused(f"{source.path} is no disk")
                self._require_space()
                text = self.files[source.path]
                size_bytes = self.sizes.get(source.path, len(text))
                self.layers[layer] = Content(Disk(layer, size_bytes, len(text), source.kernel is not None), text)
            return self.layers[layer].seen
        return await self._world.verb("receive", layer, effect, makes=True)

    async def observe(self, name: str) -> Disk | None:
        """See `ports.Disks`."""
        def effect() -> Disk | None:
            found = self.disks.get(name) or self.layers.get(name)
            return found.seen if found else None
        return await self._world.verb("observe_disk", name, effect)

    async def destroy(self, name: str) -> None:
        """See `ports.Disks`."""
        def effect() -> None:
            if self._world.machines.holder(name):
                raise Conflict(f"a machine has the disk {name}")
            self.disks.pop(name, None)
            self.layers.pop(name, None)
        await self._world.verb("destroy_disk", name, effect)

    async def owned(self) -> tuple[str, ...]:
        """See `ports.Disks`."""
        return await self._world.verb("owned", "disks", lambda: (*self.disks, *self.layers))

    def _require_space(self) -> None:
        if self.full:
            raise Full("there is no space left on the host's disk")

    async def survey(self) -> Place:
        """See `ports.Disks`."""
        def effect() -> Place:
            return Place(0 if self.full else 1 << 40, tuple(self.shelf.values()))
        return await self._world.verb("survey", "disks", effect)

    async def unshelve(self, image: str, problem: str = "") -> None:
        """See `ports.Disks`."""
        def effect() -> None:
            if image in self.shelf and self.shelf[image].removed:
                del self.shelf[image]
            elif image in self.shelf:
                self.shelf[image] = replace(self.shelf[image], source=None)
                self.problems[image] = problem
        await self._world.verb("unshelve", image, effect)


@dataclass(slots=True)
class Box:
    """One machine of the fake: as ordered, as observed, and what it wrote to its console. `deaf`: its guest does not
    react to the power button; `mute`: nor does it answer on its network; `frozen`: its monitor does not answer. `wires`
    are the births of the interfaces that its cards lead to."""

    spec: MachineSpec
    seen: Machine
    console: bytes = b""
    deaf: bool = False
    mute: bool = False
    frozen: bool = False
    wires: dict[str, int] = field(default_factory=dict)


class FakeMachines:
    """Machines whose guests do what a test tells them. `starts` counts how often each was powered on; `refusals` are
    names that the host cannot run."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.boxes: dict[str, Box] = {}
        self.starts: Counter[str] = Counter()
        self.refusals: dict[str, str] = {}
        self._announcements = Announcements()

    async def ensure(self, spec: MachineSpec) -> Machine:
        """See `ports.Machines`."""
        def effect() -> Machine:
            if spec.name in self.refusals:
                raise Refused(self.refusals[spec.name])
            box = self.boxes.get(spec.name)
            if box is not None and box.seen.state == "off":
                return box.seen
            self._require_parts(spec)
            if box is None:
                self.starts[spec.name] += 1
                box = self.boxes[spec.name] = Box(spec, Machine(
                    spec.name, "running", False, pid=1000 + len(self.boxes), started_at=self._world.clock.now()))
                self._tell(spec.name)
            box.spec = spec
            box.seen = replace(box.seen, drives=tuple(drive.disk for drive in spec.drives),
                               nics=tuple(nic.interface for nic in spec.nics))
            box.wires = {nic.interface: self._world.networks.births[nic.interface] for nic in spec.nics}
            return box.seen
        return await self._world.verb("power_on", spec.name, effect, makes=True)

    def _require_parts(self, spec: MachineSpec) -> None:
        if spec.network not in self._world.networks.networks:
            raise Conflict(f"the network {spec.network} does not exist")
        for drive in spec.drives:
            if drive.disk not in self._world.disks.disks:
                raise Conflict(f"the disk {drive.disk} does not exist")
            if self.holder(drive.disk) not in (None, spec.name):
                raise Conflict(f"another machine has the disk {drive.disk}")
        for nic in spec.nics:
            if nic.interface not in self._world.networks.interfaces:
                raise Conflict(f"the interface {nic.interface} does not exist")

    async def observe(self, name: str) -> Machine | None:
        """See `ports.Machines`."""
        def effect() -> Machine | None:
            box = self.boxes.get(name)
            if box is not None and box.frozen and box.seen.state == "running":
                raise Busy(f"the monitor of {name} does not answer")
            return replace(box.seen, unwired=self._unwired(box)) if box else None
        return await self._world.verb("observe_machine", name, effect)

    def _unwired(self, box: Box) -> tuple[str, ...]:
        networks = self._world.networks
        return tuple(name for name in box.seen.nics
                     if name not in networks.interfaces or networks.births[name] != box.wires.get(name))

    async def stop(self, name: str, grace_s: float) -> None:
        """See `ports.Machines`."""
        def effect() -> None:
            box = self.boxes.get(name)
            if box is None or box.seen.state == "off":
                return
            if box.deaf and grace_s > 0:
                self._world.after(grace_s, lambda: self._cut(name, box))
            else:
                self.end(name, "host")
        await self._world.verb("stop_machine", name, effect)

    async def destroy(self, name: str) -> None:
        """See `ports.Machines`."""
        def effect() -> None:
            self.boxes.pop(name, None)
        await self._world.verb("destroy_machine", name, effect)

    async def owned(self) -> tuple[str, ...]:
        """See `ports.Machines`."""
        return await self._world.verb("owned", "machines", lambda: tuple(self.boxes))

    async def console(self, name: str) -> bytes:
        """See `ports.Machines`."""
        def effect() -> bytes:
            box = self.boxes.get(name)
            return box.console[-65536:] if box else b""
        return await self._world.verb("console", name, effect)

    def events(self) -> AsyncIterator[str]:
        """See `ports.Machines`. Listening begins with the first `anext`."""
        return self._announcements.stream()

    def end(self, name: str, why: Literal["guest", "host", "reboot", "lost"] = "guest") -> None:
        """A machine goes off: by a guest's `poweroff`, by the host, with it, or because its process is
        gone."""
        box = self.boxes.get(name)
        if box is None or box.seen.state == "off":
            return
        box.seen = replace(box.seen, state="off", pid=None, ended=why, drives=(), nics=())
        self._world.trace(f"off {name} {why}")
        self._tell(name)

    def _cut(self, name: str, box: Box) -> None:
        if self.boxes.get(name) is box:
            self.end(name, "host")

    def running(self) -> list[str]:
        """The names of the machines that run, in order."""
        return sorted(name for name, box in self.boxes.items() if box.seen.state == "running")

    def answers(self, interface: str) -> bool:
        """Whether a guest behind that interface answers."""
        return any(interface in box.seen.nics and not (box.mute or box.frozen or box.seen.stalled)
                   for box in self.boxes.values())

    def holder(self, disk: str) -> str | None:
        """The machine that has a disk now."""
        return next((name for name, box in self.boxes.items() if disk in box.seen.drives), None)

    def _tell(self, name: str) -> None:
        if self._world.random.random() >= self._world.faults.deaf:
            self._announcements.tell(name)
