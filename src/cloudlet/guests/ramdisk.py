"""The first program of a machine without a boot loader: it loads the drivers of the root disk and hands over.

Debian's own takes seconds to unpack and to search for disks that are not there.
"""

import stat
from collections.abc import Sequence
from pathlib import Path

# In the order in which they need each other; those for the network card as well, so that it is there at once.
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk",
           "failover", "net_failover", "virtio_net")
_DIRECTORIES = ("bin", "dev", "modules", "proc", "root", "sys")
# The machine's id is its firmware's UUID, as systemd would have it, without being written to a disk that becomes an
# image: so no two machines share it. That it is there already keeps systemd from looking through all units for what
# a first boot should enable, which takes an emulated processor three seconds. A machine that will be saved
# (`cloudlet.hold`) writes nothing to its disk, for it stands for all that begin like it.
_INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
for module in {modules}; do /bin/busybox insmod "/modules/$module.ko"; done
tries=0
until [ -b /dev/vda ] || [ $tries = 100 ]; do /bin/busybox sleep 0.1; tries=$((tries + 1)); done
how=rw
case " $(/bin/busybox cat /proc/cmdline) " in *" cloudlet.hold "*) how=ro ;; esac
/bin/busybox mount -t ext4 -o "$how,noatime" /dev/vda /root
cd /root
/bin/busybox mount -t tmpfs -o nosuid,nodev,mode=755,size=20%,nr_inodes=800k run run
if [ ! -s etc/machine-id ] && [ -r /sys/class/dmi/id/product_uuid ]; then
  /bin/busybox tr -d - </sys/class/dmi/id/product_uuid | /bin/busybox tr A-F a-f >run/machine-id
  /bin/busybox chmod 444 run/machine-id
  /bin/busybox mount -o bind run/machine-id etc/machine-id
fi
/bin/busybox umount /proc /sys
exec /bin/busybox switch_root /root /sbin/init
"""


def ramdisk(busybox: Path, modules: Path, wanted: Sequence[str] = MODULES) -> bytes:
    """The archive, in the kernel's "newc" format. `busybox` is the static program, `modules` the kernel's directory
    below /lib/modules. Raises FileNotFoundError where a driver is missing; one that the kernel has built in is fine.

    https://www.kernel.org/doc/html/latest/driver-api/early-userspace/buffer-format.html
    """
    built_in = {Path(line).stem for line in (modules / "modules.builtin").read_text().split()}
    wanted = [name for name in wanted if name not in built_in]
    archive = Archive()
    for directory in _DIRECTORIES:
        archive.add(directory, stat.S_IFDIR | 0o755)
    archive.add("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes())
    archive.add("init", stat.S_IFREG | 0o755, _INIT.format(modules=" ".join(wanted)).encode())
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    for name in wanted:
        found = next(iter((modules / "kernel").rglob(f"{name}.ko")), None)
        if found is None:
            raise FileNotFoundError(f"the kernel has no driver {name}")
        archive.add(f"modules/{name}.ko", stat.S_IFREG | 0o644, found.read_bytes())
    return archive.close()


class Archive:
    """A cpio archive, entry by entry."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._count = 0

    def add(self, name: str, mode: int, body: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        """One entry, owned by root, as old as time."""
        self._count += 1
        title = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(body), 0, 0, *device, len(title), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + title
        self._parts += [head, bytes(-len(head) % 4), body, bytes(-len(body) % 4)]

    def close(self) -> bytes:
        """The whole archive."""
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)
