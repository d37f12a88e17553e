"""The loop of instances: look, decide, make one move, record what was seen. Every step may be cut off and repeated."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.engines.ports import Drive, Engines, Machine, MachineSpec, Nic
from cloudlet.kernel.errors import Busy, Conflict, Refused
from cloudlet.kernel.names import Installation
from cloudlet.services.ec2.fabric import refresh_fabric
from cloudlet.services.ec2.instances.cards import interfaces_of, unplug
from cloudlet.services.ec2.instances.checks import Checks
from cloudlet.services.ec2.instances.plan import (
    START_AGAIN_S,
    Move,
    Parts,
    decide,
    ending,
    is_overdue,
    note,
    noted_boot,
)
from cloudlet.services.ec2.instances.records import Console, Instance, StateReason
from cloudlet.services.ec2.instances.types import catalogue
from cloudlet.services.ec2.interfaces import drop_public, release_interface, vpc_key
from cloudlet.services.ec2.records import ElasticIp, NetworkInterface
from cloudlet.services.ec2.storage.attachments import (
    attached,
    attachment_problem,
    mark_plugged,
    must_stand_still,
    release_volumes,
)
from cloudlet.services.ec2.storage.records import Volume
from cloudlet.store.db import Store, Tx

INSTANCE, CONSOLE = "ec2.instance", "ec2.console"


@dataclass(frozen=True, slots=True)
class _Seen:
    """An instance with what it consists of, as one transaction found them. `held`: an image of it is being made."""

    instance: Instance
    volumes: tuple[Volume, ...]
    interfaces: tuple[NetworkInterface, ...]
    problem: str
    held: bool


class InstanceLoop:
    """Steps of the kinds "ec2.instance" and "ec2.console" (which reads a console because somebody asked)."""

    def __init__(self, store: Store, engines: Engines, installation: Installation, checks: Checks) -> None:
        self._store, self._machines, self._installation = store, engines.machines, installation
        self._checks = checks

    def keeps(self, tx: Tx) -> Iterable[str]:
        """The engine names of machines that records account for."""
        return [instance.machine for instance in tx.find(Instance) if instance.ended_at is None]

    def wakes(self, tx: Tx, name: str) -> tuple[str, str] | None:
        """Whose loop is to look when something happened to the machine of that engine name."""
        return next(((INSTANCE, instance.key) for instance in tx.find(Instance, machine=name)), None)

    async def reconcile(self, key: str) -> Outcome:
        """One step of one instance."""
        with self._store.tx() as tx:
            seen = _read(tx, key)
        if seen is None:
            await self._machines.destroy(self._installation.name("vm", key))
            return Done()
        machine = await self._observe(seen.instance)
        with self._store.tx() as tx:
            noted = note(seen.instance, machine, tx.now)
            if not tx.swap(seen.instance, noted):
                return Again()
            _note_parts(tx, noted, machine)
            seen = _read(tx, key)
            if seen is None or seen.instance != noted:
                return Again()
            move = decide(noted, machine, _parts(seen, machine), tx.now)
        match move.verb:
            case "await-parts":  # their own loops tell us
                return Done()
            case "fail":
                return self._fail(noted, seen.problem)
            case "power-on" | "furnish":
                return await self._ensure(seen, machine)
            case "look":
                return await self._look(noted, move)
            case "press" | "cut":
                return await self._stop(noted, move)
            case "clear":
                return await self._clear(noted)
            case "settle":
                return self._settle(noted)
            case "release":
                return self._release(noted)
            case "rest":
                return self._rest(noted, move)
        return Done()

    async def _observe(self, instance: Instance) -> Machine | None:
        """Its machine. One that does not answer loses its power, if it was to be off by now."""
        try:
            return await self._machines.observe(instance.machine)
        except Busy:
            if not is_overdue(instance, self._store.clock.now()):
                raise
            await self._machines.stop(instance.machine, 0.0)
            return await self._machines.observe(instance.machine)

    # ── Up ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ensure(self, seen: _Seen, machine: Machine | None) -> Outcome:
        """Powers it on, or gives the machine the drives and cards that it is to have now."""
        try:
            await self._machines.ensure(_spec(seen, machine))
        except Refused as error:
            if machine is not None:
                raise  # it runs, whatever cannot be plugged in
            return self._fail(seen.instance, str(error))
        except Conflict:
            self._suspect(seen)
            raise
        return Again()

    def _suspect(self, seen: _Seen) -> None:
        """Something that it needs is not there although it was seen: whoever looks after it is to look again."""
        with self._store.tx() as tx:
            for volume in seen.volumes:
                tx.enqueue("ec2.volume", volume.key)
            for interface in seen.interfaces:
                tx.enqueue("ec2.interface", interface.key)
                tx.enqueue("ec2.network", vpc_key(interface))

    def _fail(self, instance: Instance, problem: str) -> Outcome:
        """It cannot be started: a new instance is terminated, one that was there before is stopped again, as on AWS."""
        reason = StateReason("Server.InternalError", f"Server.InternalError: {problem}")
        with self._store.tx() as tx:
            desired = ending(instance, "terminated" if instance.starts == 1 else "stopped", tx.now, reason)
            tx.swap(instance, desired)
        return Again()

    async def _look(self, instance: Instance, move: Move) -> Outcome:
        """Whether its boot has finished; then whether it answers is asked at once."""
        console = await self._machines.console(instance.machine)
        with self._store.tx() as tx:
            noted = noted_boot(instance, console, tx.now)
            if not tx.swap(instance, noted):
                return Again()
        if noted.booted_at is not None:
            await self._checks.look([noted.key])
            return Done()
        if move.after is None:
            return Done()
        return Again(move.after, "boots")

    # ── Down ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _stop(self, instance: Instance, move: Move) -> Outcome:
        """Presses the power button, or cuts the power; the machine's end is told, unless it was there at once."""
        await self._machines.stop(instance.machine, move.grace_s)
        seen = await self._machines.observe(instance.machine)
        runs = seen is not None and seen.state == "running"
        return Again(move.after or 0.0, "waits for its machine to end") if runs else Again()

    async def _clear(self, instance: Instance) -> Outcome:
        """Its machine is off: keeps the last of its console, and removes it."""
        await self.read_console(instance.key)
        await self._machines.destroy(instance.machine)
        return Again(0.0 if instance.on else START_AGAIN_S)

    def _settle(self, instance: Instance) -> Outcome:
        """It is stopped: a public address that is not the account's own goes back."""
        with self._store.tx() as tx:
            mark_plugged(tx, instance.id, None)
            for interface in interfaces_of(tx, instance.id):
                self._without_public(tx, interface)
        return Done()

    @staticmethod
    def _without_public(tx: Tx, interface: NetworkInterface) -> NetworkInterface:
        elastic = {each.public_ip for each in tx.find(ElasticIp, interface=interface.id)}
        if interface.public_ip is None or interface.public_ip in elastic:
            return interface
        dropped = drop_public(tx, interface)
        tx.put(dropped, wake=False)
        refresh_fabric(tx, vpc_key(dropped))
        return dropped

    def _release(self, instance: Instance) -> Outcome:
        """Its machine is gone for good: what goes with it is deleted, the rest is free."""
        with self._store.tx() as tx:
            if not tx.swap(instance, replace(instance, ended_at=tx.now)):
                return Again()
            release_volumes(tx, instance.id)
            for interface in interfaces_of(tx, instance.id):
                if interface.attachment and interface.attachment.delete_on_termination:
                    release_interface(tx, interface.id)
                else:
                    unplug(tx, self._without_public(tx, interface))
        return Again()

    def _rest(self, instance: Instance, move: Move) -> Outcome:
        """It stays on show for an hour, then goes."""
        if move.after:
            return Again(move.after, "is terminated; stays visible for an hour")
        with self._store.tx() as tx:
            if tx.get(Instance, instance.key) == instance:
                tx.delete(Instance, instance.key)
                tx.delete(Console, instance.key)
        return Done()

    # ── The console ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def read_console(self, key: str) -> Outcome:
        """Keeps what an instance's machine has written to its console until now."""
        with self._store.tx() as tx:
            instance = tx.get(Instance, key)
        if instance is None:
            return Done()
        text = await self._machines.console(instance.machine)
        with self._store.tx() as tx:
            kept = tx.get(Console, key)
            shown = text.decode("utf-8", "replace") if text or kept is None else kept.text
            tx.put(Console(key, shown, tx.now))
        return Done()


def _read(tx: Tx, key: str) -> _Seen | None:
    instance = tx.get(Instance, key)
    if instance is None:
        return None
    return _Seen(instance, attached(tx, instance.id, instance.root_device_name),
                 tuple(i for i in interfaces_of(tx, instance.id) if i.attachment and i.attachment.wanted),
                 attachment_problem(tx, instance.id), must_stand_still(tx, key))


def _fit(seen: _Seen, machine: Machine | None) -> tuple[list[Volume], list[NetworkInterface]]:
    """The volumes and interfaces that the machine is to have now: those that are there, and those that it has."""
    drives, nics = (machine.drives, machine.nics) if machine else ((), ())
    return ([v for v in seen.volumes if v.disk_ready or v.disk in drives],
            [i for i in seen.interfaces if i.ready or i.fabric_name in nics])


def _parts(seen: _Seen, machine: Machine | None) -> Parts:
    volumes, interfaces = _fit(seen, machine)
    missing = len(volumes) < len(seen.volumes) or len(interfaces) < len(seen.interfaces) or not interfaces
    return Parts((frozenset(v.disk for v in volumes), frozenset(i.fabric_name for i in interfaces)),
                 missing or not volumes or seen.held, seen.problem)


def _spec(seen: _Seen, machine: Machine | None) -> MachineSpec:
    """The machine as engines take it. The volume that it starts from says which kernel starts it."""
    instance, type = seen.instance, catalogue()[seen.instance.type]
    volumes, interfaces = _fit(seen, machine)
    digits = f"ec2{instance.id[2:]:0<29}"[:32]
    return MachineSpec(
        instance.machine, seen.interfaces[0].network, type.vcpus, type.memory_bytes,
        tuple(Drive(v.disk, v.serial) for v in volumes),
        tuple(Nic(i.fabric_name, i.path, i.mac) for i in interfaces), volumes[0].kernel,
        "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))


def _note_parts(tx: Tx, instance: Instance, machine: Machine | None) -> None:
    """Records which volumes and interfaces the machine has. Of a stopped instance, everything stands as it is; what an
    instance that is yet to be started has, nobody has seen."""
    running = machine is not None and machine.state == "running"
    if not running and (machine is not None or instance.desired != "stopped"):
        return
    mark_plugged(tx, instance.id, machine.drives if running and machine else None)
    for interface in interfaces_of(tx, instance.id):
        attachment = interface.attachment
        has = machine is None or interface.fabric_name in machine.nics
        if attachment is None:
            continue
        if not attachment.wanted and (machine is None or not has):
            unplug(tx, interface)
        elif attachment.wanted and attachment.plugged != has:
            tx.put(replace(interface, attachment=replace(attachment, plugged=has)), wake=False)
