"""From a machine as ordered to the words that start QEMU. Pure.

The board is fixed, so that a machine means the same to every QEMU: a q35 whose first drive and card sit on the root
bus, and empty ports for those that come and go while it runs.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

from cloudlet.engines.machine_memory import TRANSLATIONS_BYTES, guest_bytes
from cloudlet.engines.machine_record import user_of
from cloudlet.engines.ports import Drive, MachineSpec, Nic

PORTS = 16  # how many drives and cards may come and go beside the first of each
_PER_SLOT = 8  # functions of a PCI slot
KERNEL_LINE = "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet"
_HOLD = " cloudlet.hold"


Saved = Literal["", "to be", "was"]


def drive_id(disk: str) -> str:
    """The name of a drive in QEMU."""
    return f"d{hashlib.blake2s(disk.encode(), digest_size=6).hexdigest()}"


def nic_id(interface: str) -> str:
    """The name of a card in QEMU."""
    return f"n{hashlib.blake2s(interface.encode(), digest_size=6).hexdigest()}"


def port_id(number: int) -> str:
    """The name of an empty port."""
    return f"port{number}"


def command(spec: MachineSpec, *, accelerated: bool, monitor: str, pid_file: str, disks: Sequence[str],
            kernel: str | None = None, ramdisk: str | None = None,
            saved: Saved = "") -> list[str]:
    """The words. `disks` are the files of the drives and `kernel` that of the kernel, as seen from where QEMU is to
    stand; `monitor` is the path of its socket. A machine that is "to be" saved holds, and its cards lead nowhere; one
    that `was` saved waits for its memory."""
    accelerator = "kvm" if accelerated else f"tcg,thread=multi,tb-size={TRANSLATIONS_BYTES >> 20}"
    memory = guest_bytes(spec.memory_bytes, spec.cpus, accelerated=accelerated) >> 20
    user = user_of(spec.name)
    words = [
        "qemu-system-x86_64", "-name", spec.name, "-nodefaults", "-no-user-config", "-display", "none",
        "-machine", "q35,vmport=off", "-accel", accelerator, "-cpu", "host" if accelerated else "max",
        "-smp", str(spec.cpus), "-m", f"{memory}M", "-uuid", spec.uuid,
        "-smbios", f"type=1,manufacturer=Amazon EC2,serial={spec.uuid},uuid={spec.uuid}",
        "-no-shutdown",  # a guest that powered off stays until we have seen that it did
        "-sandbox", "on,obsolete=deny,spawn=deny,resourcecontrol=deny",
        "-runas", f"{user}:{user}", "-pidfile", pid_file,
        "-chardev", f"socket,id=monitor,path={monitor},server=on,wait=off", "-mon", "chardev=monitor,mode=control",
        "-chardev", "ringbuf,id=console,size=65536", "-serial", "chardev:console",
    ]
    for number in range(PORTS):
        slot, function = divmod(number, _PER_SLOT)
        multi = ",multifunction=on" if function == 0 else ""
        words += ["-device", f"pcie-root-port,id={port_id(number)},chassis={number + 1},bus=pcie.0,"
                             f"addr=0x{0x10 + slot:x}.{function}{multi}"]
    for place, (drive, file) in enumerate(zip(spec.drives, disks, strict=True)):
        words += ["-blockdev", f"driver=qcow2,node-name={drive_id(drive.disk)},discard=unmap,"
                               f"file.driver=file,file.filename={file},file.discard=unmap"]
        words += ["-device", _joined(drive_device(drive, None if place == 0 else place - 1))]
    for place, nic in enumerate(spec.nics):
        if saved == "to be":
            unplugged = {name: value for name, value in nic_device(nic, None).items() if name != "netdev"}
            words += ["-device", _joined(unplugged)]
            continue
        words += ["-netdev", f"tap,id={nic_id(nic.interface)},ifname={nic.device},script=no,downscript=no,vhost=off"]
        words += ["-device", _joined(nic_device(nic, None if place == 0 else len(spec.drives) - 2 + place))]
    if kernel is not None:
        words += ["-kernel", kernel, "-append", KERNEL_LINE + (_HOLD if saved == "to be" else "")]
    if ramdisk is not None:
        words += ["-initrd", ramdisk]
    if saved == "was":
        words += ["-incoming", "defer"]
    return words


def drive_device(drive: Drive, port: int | None) -> dict[str, str]:
    """A drive on virtio: unlike QEMU's NVMe it grows while it is used, and a machine whose host has no space left waits
    instead of seeing an error. `port` None: on the root bus, for ever."""
    return {"driver": "virtio-blk-pci", "id": f"{drive_id(drive.disk)}-device", "drive": drive_id(drive.disk),
            "serial": drive.serial, "werror": "enospc", **_place(port, "0x4")}


def nic_device(nic: Nic, port: int | None) -> dict[str, str]:
    """A network card."""
    return {"driver": "virtio-net-pci", "id": f"{nic_id(nic.interface)}-device", "netdev": nic_id(nic.interface),
            "mac": nic.mac, "romfile": "", **_place(port, "0x5")}


def _place(port: int | None, address: str) -> dict[str, str]:
    return {"bus": "pcie.0", "addr": address} if port is None else {"bus": port_id(port)}


def _joined(device: dict[str, str]) -> str:
    return ",".join([device["driver"], *(f"{name}={value}" for name, value in device.items() if name != "driver")])
