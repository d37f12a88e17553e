"""A very small machine for tests: Debian's cloud kernel, and a ramdisk in which busybox takes orders over the network.

The kernel is a package, fetched by apt once and kept; where that cannot be, tests that boot are skipped.
"""

import contextlib
import os
import shutil
import stat
import subprocess
from functools import cache
from pathlib import Path

import pytest

from cloudlet.guests.ramdisk import MODULES, Archive

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloudlet-tests" / "kernel"
PORT = 7
READY, LEASED = b"guest: ready", b"guest: leased"
_PACKAGE = "linux-image-cloud-amd64"
_MODULES = (*MODULES, "button", "evdev", "hed", "shpchp")  # those that the kernel has as modules are taken along
_LEASE = """#!/bin/busybox sh
[ "$1" = deconfig ] && exit 0
ip addr flush dev $interface
ip addr add $ip/$mask dev $interface
ip route add default via $router
"""
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in {modules}; do insmod "/modules/$module.ko" 2>/dev/null; done
ifconfig lo up
echo "guest: up"
(ifconfig eth0 up && udhcpc -i eth0 -q -f -n -t 60 -T 1 -s /lease >/dev/null 2>&1 && echo "guest: leased") &
(while true; do nc -lp {port} -e sh; done) 2>/dev/null &
(for input in /dev/input/event*; do dd if=$input bs=24 count=1 >/dev/null 2>&1 && poweroff -f & done) &
echo "guest: ready"
while true; do sleep 1000; done
"""


# What `guests/debian/files/usr/lib/cloudlet/hold.py` does, as far as this guest has anything of its own.
_HOLD = """
case " $(cat /proc/cmdline) " in *" cloudlet.hold "*)
  cd /sys/bus/virtio/drivers/virtio_net; card=$(echo virtio*); echo $card >unbind
  dd if=/dev/urandom of=/mark bs=16 count=1 2>/dev/null; mark=$(xxd -p /mark)
  for turn in $(seq 256); do cat /mark; done >/letter
  echo "cloudlet holds: $mark $(cat /proc/sys/kernel/random/boot_id)"
  until [ "$(dd if=/letter bs=16 count=1 2>/dev/null | xxd -p)" != "$mark" ]; do usleep 20000; done
  for name in /sys/class/dmi/id/product_uuid /proc/sys/kernel/random/boot_id; do
    grep -q "$(cat $name)" /letter || {{ echo "cloudlet holds on"; sleep 1000; }}
  done
  echo $card >bind; echo "cloudlet goes on" ;;
esac
"""


def kernel() -> Path:
    """The kernel's file. Skips the test where there is none."""
    return _files()[0]


def ramdisk(directory: Path, *, holds: bool = False) -> Path:
    """The ramdisk, made in a directory; `holds`: of a guest that can be saved. Skips the test where there is no
    kernel."""
    _, modules = _files()
    archive = Archive()
    for name in ("bin", "dev", "proc", "sys", "modules", "tmp"):
        archive.add(name, stat.S_IFDIR | 0o755)
    busybox = shutil.which("busybox")
    assert busybox
    archive.add("bin/busybox", stat.S_IFREG | 0o755, Path(busybox).read_bytes())
    found = [(name, next((modules / "kernel").rglob(f"{name}.ko"), None)) for name in _MODULES]
    present = [(name, path) for name, path in found if path is not None]
    init = _INIT.replace("(ifconfig eth0", _HOLD + "(ifconfig eth0", 1) if holds else _INIT
    archive.add("init", stat.S_IFREG | 0o755,
                init.format(modules=" ".join(name for name, _ in present), port=PORT).encode())
    archive.add("lease", stat.S_IFREG | 0o755, _LEASE.encode())
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    for name, path in present:
        archive.add(f"modules/{name}.ko", stat.S_IFREG | 0o644, path.read_bytes())
    made = directory / "ramdisk"
    made.write_bytes(archive.close())
    return made


@cache
def _files() -> tuple[Path, Path]:
    for program in ("qemu-system-x86_64", "qemu-img", "busybox", "dpkg-deb", "apt-get"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if not (CACHE / "boot").is_dir():
        _fetch()
    return next((CACHE / "boot").glob("vmlinuz-*")), next((CACHE / "lib" / "modules").iterdir())


def _fetch() -> None:
    draft = CACHE.with_name(f"{CACHE.name}.{os.getpid()}")
    draft.mkdir(parents=True, exist_ok=True)
    try:
        said = subprocess.run(["apt-cache", "depends", _PACKAGE], capture_output=True, text=True, check=True).stdout
        name = next(line.split()[-1] for line in said.splitlines() if "Depends: linux-image-" in line)
        subprocess.run(["apt-get", "download", name], cwd=draft, capture_output=True, check=True, timeout=120)
        subprocess.run(["dpkg-deb", "-x", str(next(draft.glob("*.deb"))), str(draft / "tree")], check=True)
        with contextlib.suppress(OSError):  # somebody else was quicker
            os.rename(draft / "tree", CACHE)
    except (subprocess.SubprocessError, StopIteration):
        pytest.skip(f"Debian's package {_PACKAGE} cannot be had")
    finally:
        shutil.rmtree(draft, ignore_errors=True)
