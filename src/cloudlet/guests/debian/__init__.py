"""Debian from its packages: a tree by mmdebstrap, trimmed for a quick first boot, as one file system without a boot
loader.

https://wiki.debian.org/Cloud/AmazonEC2Image names the images, their owner and their user.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from cloudlet.engines.ports import Card
from cloudlet.guests.ramdisk import ramdisk
from cloudlet.guests.shelf import Shelf

SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}
OWNER = "136693071363"  # Debian's account on AWS
SIZE_GIB = 8
PACKAGES = (
    "linux-image-cloud-amd64", "systemd", "systemd-sysv", "udev", "dbus", "openssh-server",
    "cloud-init", "cloud-guest-utils", "iproute2", "iputils-ping", "isc-dhcp-client", "netbase", "sudo",
    "ca-certificates", "curl", "less", "vim-tiny", "procps", "kmod", "e2fsprogs", "fdisk", "tzdata", "python3", "apt",
    "gpgv")
_FILES = Path(__file__).parent / "files"
# What no instance needs: apt's own timers, terminals that nobody sees, drivers that nobody asked for, and what a second
# look at an empty disk finds. Each costs an emulated processor a part of a second.
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
    "fstrim.timer", "systemd-timesyncd.service", "getty@tty1.service", "systemd-pstore.service", "modprobe@.service",
    "systemd-networkd-wait-online.service", "networking.service", "cloud-init-local.service",
    "cloud-init-hotplugd.socket", "cloud-init-hotplugd.service", "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount",
    "systemd-machine-id-commit.service", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount",
    "dev-mqueue.mount", "systemd-boot-system-token.service", "man-db.timer", "systemd-firstboot.service",
    "kmod-static-nodes.service", "systemd-sysusers.service")
# Programs that systemd runs before anything else, to find what this image says by itself: that cloud-init is wanted,
# and where a console is. (cloud-init's own looks for every cloud there is.)
_GENERATORS = (
    "cloud-init-generator", "systemd-gpt-auto-generator", "systemd-hibernate-resume-generator",
    "systemd-cryptsetup-generator", "systemd-veritysetup-generator", "systemd-integritysetup-generator",
    "systemd-bless-boot-generator", "systemd-system-update-generator", "systemd-rc-local-generator",
    "systemd-run-generator", "systemd-debug-generator", "systemd-getty-generator", "systemd-sysv-generator")
_WANTED = (  # unit, the target that wants it, where it is
    ("systemd-networkd.service", "multi-user", "/lib/systemd/system"),
    ("cloud-init.target", "multi-user", "/lib/systemd/system"),
    ("serial-getty@ttyS0.service", "getty", "/lib/systemd/system/serial-getty@.service"),
    ("cloudlet-stages.service", "sysinit", "/etc/systemd/system"),
    ("cloudlet-hold.service", "sysinit", "/etc/systemd/system"),
    ("cloudlet-online.service", "cloud-init", "/etc/systemd/system"))
_UNWANTED = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/i18n",
             "var/cache/apt", "var/lib/apt/lists", "etc/machine-id", "var/lib/dbus/machine-id")
Say = Callable[[str], None]


class Failed(Exception):
    """A recipe could not be followed; the text says at which step, and in whose words why."""


def build(recipe: str, shelf: Shelf, say: Say) -> Card:
    """Makes the image and puts it on the shelf. Raises Failed."""
    suite = SUITES[recipe]
    now = time.time()
    name = f"{recipe}-amd64-{time.strftime('%Y%m%d-%H%M', time.gmtime(now))}"
    place = shelf.place(name)
    try:
        tree = place / "tree"
        say(f"installing {len(PACKAGES)} packages and what they need ({suite})")
        _run("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
             '--aptopt=Apt::Install-Recommends "false"', "--dpkgopt=path-exclude=/usr/share/man/*",
             "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
             suite, str(tree), *_sources(suite))
        say("arranging it for a quick first boot")
        arrange(tree)
        [modules] = (tree / "lib/modules").iterdir()
        (place / "ramdisk").write_bytes(ramdisk(_busybox(), modules))
        shutil.copyfile(next((tree / "boot").glob("vmlinuz-*")), place / "kernel")
        say("writing the file system")
        make_file_system(tree, place / "disk.raw", SIZE_GIB)
        shutil.rmtree(tree)
        card = Card(name, f"Debian {recipe.removeprefix('debian-')} ({suite}), made by Cloudlet from Debian's packages",
                    OWNER, "/dev/xvda", "admin", "disk.raw", "raw", SIZE_GIB, now, kernel="kernel", ramdisk="ramdisk",
                    tags={"recipe": recipe})
        shelf.put(place, card)
        return card
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _sources(suite: str) -> list[str]:
    """The sources of this host, where it is the same Debian: whoever has a mirror or a proxy uses it here too."""
    release = Path("/etc/os-release").read_text()
    apt = Path("/etc/apt")
    found = [path for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.sources")))
             if path.exists() and path.stat().st_size and suite in path.read_text()]
    return [str(path) for path in found] if f"VERSION_CODENAME={suite}" in release else []


def _busybox() -> Path:
    found = shutil.which("busybox")
    if found is None:
        raise Failed("busybox is not installed: apt-get install busybox-static")
    return Path(found)


def arrange(tree: Path) -> None:
    """Everything that makes a tree of packages an image: what is masked, added, and taken away."""
    units = tree / "etc/systemd/system"
    for unit in _MASKED:
        _link(units / unit, "/dev/null")
    for generator in _GENERATORS:
        _link(tree / "etc/systemd/system-generators" / generator, "/dev/null")
    for path in _UNWANTED:
        _empty(tree / path)
    shutil.rmtree(tree / "etc/update-motd.d", ignore_errors=True)  # five programs at each login, to say its release
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for source in sorted(path for path in _FILES.rglob("*") if path.is_file()):
        target = tree / source.relative_to(_FILES)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if source.read_bytes()[:2] == b"#!" else 0o644)
    (tree / "etc/machine-id").write_text("")  # the ramdisk says it
    (tree / "etc/hostname").write_text("localhost\n")
    for unit, wanted_by, where in _WANTED:
        _link(units / f"{wanted_by}.target.wants" / unit, where if where.endswith(".service") else f"{where}/{unit}")
    _link(tree / "etc/resolv.conf", "/run/cloudlet-resolv.conf")
    _run("chroot", str(tree), "systemd-sysusers")
    _run("chroot", str(tree), "python3", "-m", "compileall", "-q", "/usr/lib/python3", "/usr/lib/cloudlet")


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _empty(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            shutil.rmtree(inner) if inner.is_dir() and not inner.is_symlink() else inner.unlink()
    else:
        path.unlink(missing_ok=True)


def make_file_system(tree: Path, file: Path, size_gib: int) -> None:
    """The tree as an ext4 file system, whose tables are written now: a guest would write them at its first boot."""
    with open(file, "wb") as disk:
        disk.truncate(size_gib << 30)
    _run("mkfs.ext4", "-q", "-F", "-L", "root", "-m", "1", "-E", "lazy_itable_init=0,lazy_journal_init=0",
         "-d", str(tree), str(file))


def _run(*command: str) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
                   "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not installed: apt-get install mmdebstrap e2fsprogs") from None
    if done.returncode != 0:
        raise Failed(f"{command[0]}: {(done.stderr or done.stdout).strip()[-2000:]}")
