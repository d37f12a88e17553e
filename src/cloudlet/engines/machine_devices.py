"""The drives and cards of one running machine: what is plugged in, and plugging and unplugging them by its monitor."""

import fcntl
import os
import re
from dataclasses import replace
from typing import Any

from cloudlet.engines import netns, wires
from cloudlet.engines.machine_command import PORTS, drive_device, drive_id, nic_device, nic_id, port_id
from cloudlet.engines.netlink import Netlink
from cloudlet.engines.ports import Drive, MachineSpec, Nic
from cloudlet.engines.qmp import Monitor
from cloudlet.kernel.errors import Busy, Conflict, EngineError, Refused

_SUFFIX = "-device"
_WIRE = re.compile(r"(n[0-9a-f]{12}): index=\d+,type=tap")
_GIVEN = re.compile(r"(n[0-9a-f]{12}): index=\d+,type=tap,fd=(\d+)")  # one that it did not open itself
_NODE = re.compile(r"(d[0-9a-f]{12})(-[0-9]+)?")  # as `drive_id` and `overlay` name them


class Devices:
    """`network` is the path of the namespace that its cards' devices are in, `pid` its process."""

    def __init__(self, monitor: Monitor, network: str, pid: int) -> None:
        self._monitor, self._network, self._pid = monitor, network, pid
        self._plugged: set[str] = set()
        self._open: set[str] = set()
        self._cut: set[str] = set()  # cards whose wire has been pulled, and which the guest still has

    async def read(self) -> None:
        """Learns what is plugged in, which drives' files are open, and which cards have no wire."""
        found = await self._monitor.ask("qom-list", path="/machine/peripheral")
        self._plugged = {entry["name"].removesuffix(_SUFFIX) for entry in found if entry["name"].endswith(_SUFFIX)}
        nodes = await self._monitor.ask("query-named-block-nodes", flat=True)
        self._open = {match[1] for entry in nodes if (match := _NODE.fullmatch(entry["node-name"]))}
        text = await self._monitor.ask("human-monitor-command", command_line="info network")  # nothing else says it
        self._cut = {name for name in self._plugged if name.startswith("n")} - set(_WIRE.findall(text))

    def deleted(self, device: str) -> None:
        """QEMU says that a device has left."""
        self._plugged.discard(device.removesuffix(_SUFFIX))
        self._cut.discard(device.removesuffix(_SUFFIX))

    @property
    def _held(self) -> set[str]:
        """What the machine has: a drive, until its file is closed too."""
        return self._plugged | self._open

    def present(self, spec: MachineSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The disks and interfaces of `spec` that the machine has."""
        return (tuple(drive.disk for drive in spec.drives if drive_id(drive.disk) in self._held),
                tuple(nic.interface for nic in spec.nics if nic_id(nic.interface) in self._plugged))

    def unwired(self, spec: MachineSpec) -> tuple[str, ...]:
        """The interfaces of cards whose wire leads nowhere, since its device was lost; not those whose wire was
        pulled."""
        wired = [nic for nic in spec.nics if nic_id(nic.interface) in self._plugged - self._cut]
        dead = wires.dead(self._network, [nic.device for nic in wired])
        return tuple(nic.interface for nic in wired if nic.device in dead)

    def matches(self, spec: MachineSpec) -> bool:
        """Whether exactly what `spec` names is plugged in."""
        wanted = {drive_id(drive.disk) for drive in spec.drives} | {nic_id(nic.interface) for nic in spec.nics}
        return wanted == self._plugged and wanted >= self._open and not self._cut and not self.unwired(spec)

    def missing_drives(self, spec: MachineSpec) -> list[Drive]:
        """The drives that are to be plugged in."""
        return [drive for drive in spec.drives if drive_id(drive.disk) not in self._plugged]

    @staticmethod
    def union(known: MachineSpec, wanted: MachineSpec) -> MachineSpec:
        """A machine with everything that it has or is to have."""
        drives = {drive.disk: drive for drive in (*known.drives, *wanted.drives)}
        nics = {nic.interface: nic for nic in (*known.nics, *wanted.nics)}
        return replace(wanted, drives=tuple(drives.values()), nics=tuple(nics.values()))

    async def furnish(self, spec: MachineSpec, known: MachineSpec) -> None:
        """Plugs in what is missing and asks the guest to let go of what is too much. Raises Busy until it has. What
        `known` names and the guest let go of meanwhile is closed. Wires that were lost are mended; Conflict where that
        needs the interface to be made whole."""
        wanted = {drive_id(drive.disk) for drive in spec.drives} | {nic_id(nic.interface) for nic in spec.nics}
        for name in sorted((self._plugged - wanted) | self._cut):
            await self._unplug(name)
        left = {drive_id(drive.disk) for drive in known.drives} | {nic_id(nic.interface) for nic in known.nics}
        for name in sorted(left - wanted - self._plugged):
            await self._forget(name)
        for drive in self.missing_drives(spec):
            await self._plug_drive(drive)
        for nic in spec.nics:
            if nic_id(nic.interface) not in self._plugged:
                await self._plug_nic(nic)
        await self._mend(spec)
        if self._plugged - wanted or self._cut:
            raise Busy("the guest has not let go of a device yet")

    async def _mend(self, spec: MachineSpec) -> None:
        if self.unwired(spec):
            text = await self._monitor.ask("human-monitor-command", command_line="info network")
            numbers = {name: int(number) for name, number in _GIVEN.findall(text)}
            wires.lead(self._pid, {nic.device: numbers.get(name) for nic in spec.nics
                                   if (name := nic_id(nic.interface)) in self._plugged - self._cut}, self._network)
            if unwired := self.unwired(spec):
                raise Conflict(f"nothing comes by the wire of {', '.join(unwired)}")

    # ── Plugging ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _plug_drive(self, drive: Drive) -> None:
        node = drive_id(drive.disk)
        await self._forget_nodes(node)
        file = {"driver": "file", "filename": f"volumes/{drive.disk}.qcow2", "discard": "unmap"}
        await self._monitor.ask("blockdev-add", driver="qcow2", node_name=node, discard="unmap", file=file)
        self._open.add(node)
        try:
            await self._monitor.ask("device_add", **drive_device(drive, await self._free_port()))
        except EngineError:
            await self._forget_nodes(node)
            raise
        self._plugged.add(node)

    async def _plug_nic(self, nic: Nic) -> None:
        name = nic_id(nic.interface)
        await self._forget_netdev(name)
        descriptor = self._open_tap(nic.device)
        try:
            await self._monitor.give(name, descriptor)
        finally:
            os.close(descriptor)
        await self._monitor.ask("netdev_add", type="tap", id=name, fd=name, vhost=False)
        try:
            await self._monitor.ask("device_add", **nic_device(nic, await self._free_port()))
        except EngineError:
            await self._forget_netdev(name)
            raise
        self._plugged.add(name)

    def _open_tap(self, device: str) -> int:
        """The tap, opened for a QEMU that may not do so itself."""
        with netns.inside(self._network):
            with Netlink() as vpc:
                if vpc.link(device) is None:  # to open it would make one that nobody knows
                    raise Conflict(f"the device {device} does not exist")
            descriptor = os.open(wires.TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                fcntl.ioctl(descriptor, wires.TUNSETIFF, wires.request(device))
            except OSError as error:
                os.close(descriptor)
                raise Busy(f"the device {device} cannot be opened: {error.strerror}") from None
        return descriptor

    async def _free_port(self) -> int:
        """The number of an empty port. Raises Refused where there is none."""
        buses = await self._monitor.ask("query-pci")
        taken = {bridge["qdev_id"] for bus in buses for bridge in bus["devices"]
                 if bridge.get("qdev_id", "").startswith("port")
                 and bridge.get("pci_bridge", {}).get("devices")}
        for number in range(PORTS):
            if port_id(number) not in taken:
                return number
        raise Refused(f"a machine has room for {PORTS} further devices, and all are taken")

    async def _unplug(self, name: str) -> None:
        """Asks the guest to let go. A card's wire is pulled before: its device may be gone, and QEMU would read from it
        without a pause."""
        if name.startswith("n"):
            await self._forget_netdev(name)
        try:
            await self._monitor.ask("device_del", id=f"{name}{_SUFFIX}")
        except Refused as refused:
            if "not found" not in str(refused):
                raise Busy(f"the guest has not let go of a device yet: {refused}") from None
            self._plugged.discard(name)
        await self.read()
        if name not in self._plugged:
            await self._forget(name)

    async def _forget(self, name: str) -> None:
        """Closes what was behind a drive or a card that has left."""
        await (self._forget_nodes(name) if name.startswith("d") else self._forget_netdev(name))

    async def _forget_netdev(self, name: str) -> None:
        try:
            await self._monitor.ask("netdev_del", id=name)
        except Refused:
            pass  # there is none

    async def _forget_nodes(self, node: str) -> None:
        """Closes a drive's files, from the top down, if nothing is plugged in over them. Raises Busy where its device
        has left just now: QEMU lets go of the files a moment later."""
        for found in await self._nodes(node):
            try:
                await self._monitor.ask("blockdev-del", node_name=found)
            except Refused as refused:
                raise Busy(f"a drive's file is still open: {refused}") from None
        self._open.discard(node)

    async def _nodes(self, node: str) -> list[str]:
        """A drive's nodes: the one it began with, and those that were put on top of it, the topmost first."""
        found = await self._monitor.ask("query-named-block-nodes", flat=True)
        names = {entry["node-name"] for entry in found
                 if entry["node-name"] == node or entry["node-name"].startswith(f"{node}-")}
        return sorted(names, key=lambda name: int(name.partition("-")[2] or 0), reverse=True)

    async def _open_nodes(self, disk: str) -> list[str]:
        """The nodes of a drive. Raises Busy where it is about to be plugged in, or has just left."""
        nodes = await self._nodes(drive_id(disk))
        if not nodes:
            raise Busy(f"the machine has not opened the disk {disk} yet")
        return nodes

    # ── What happens to a drive's file ───────────────────────────────────────────────────────────────────────────────

    async def resize(self, disk: str, size_bytes: int) -> None:
        """A drive has grown; the guest sees it."""
        top = (await self._open_nodes(disk))[0]
        await self._monitor.ask("block_resize", node_name=top, size=size_bytes)

    async def overlay(self, disk: str, file: str) -> None:
        """Writes go to a new file from now on, on top of what there was."""
        node, nodes = drive_id(disk), await self._open_nodes(disk)
        above = f"{node}-{int(nodes[0].partition('-')[2] or 0) + 1}"
        body: dict[str, Any] = {"driver": "file", "filename": file, "discard": "unmap"}
        await self._monitor.ask("blockdev-add", driver="qcow2", node_name=above, discard="unmap", file=body,
                                backing=None)
        try:
            await self._monitor.ask("blockdev-snapshot", node=nodes[0], overlay=above)
        except EngineError:
            await self._monitor.ask("blockdev-del", node_name=above)
            raise
