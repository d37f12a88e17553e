"""Holds a machine that began like all others of its image until it is told who it is.

The host saves its memory while it holds, and starts others from copies of that. What must not be shared is either not
there yet (network, host keys, journal), exchanged by the host in the copy (the firmware's UUID, the machine's id, the
boot's id, the card's address), or renewed here: the clock, and the kernel's random numbers. The letter that tells a
copy who it is stands in its memory in place of a page that the host knows by what is on it.
"""

import calendar
import fcntl
import json
import os
import struct
import subprocess
import time
from pathlib import Path

PAGE = 4096
LETTER = Path("/run/cloudlet-letter")  # a file in memory has its page to itself
MARK_BYTES = 16  # of chance, with which the page is filled
_ADD_ENTROPY, _RESEED = 0x40085203, 0x5207  # RNDADDENTROPY, RNDRESEEDCRNG: random(4)
_READ_TIME = 0x80247009  # RTC_RD_TIME: rtc(4)
_CARDS = Path("/sys/bus/virtio/drivers/virtio_net")
# What a launch will run: it is in memory then, with the libraries that it needs.
_PROGRAMS = ("/usr/sbin/sshd", "/usr/bin/ssh-keygen", "/usr/sbin/useradd", "/usr/bin/passwd", "/usr/sbin/resize2fs",
             "/lib/systemd/systemd-journald", "/lib/systemd/systemd-random-seed", "/lib/systemd/systemd-remount-fs",
             "/lib/systemd/systemd-user-sessions", "/usr/bin/journalctl", "/usr/bin/systemd-tmpfiles", "/usr/bin/tee",
             "/usr/bin/sed", "/usr/bin/env", "/usr/bin/mount", "/usr/sbin/ip", "/bin/bash", "/usr/bin/dbus-daemon",
             "/lib/systemd/systemd-logind", "/sbin/agetty")


def hold() -> int:
    """Returns in each copy, never in the one that was saved."""
    subprocess.run(["udevadm", "settle"], check=False)
    for module in Path("/usr/lib").glob("*/security/pam_*.so"):
        module.read_bytes()
    for path in _PROGRAMS:
        if os.path.exists(path):
            Path(path).read_bytes()
            subprocess.run([path, "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)
    cards = [path.name for path in _CARDS.glob("virtio*")]
    for card in cards:  # each copy looks at its own anew
        (_CARDS / "unbind").write_text(card)
    mark = os.urandom(MARK_BYTES)
    LETTER.write_bytes(mark * (PAGE // MARK_BYTES))
    _say(f"cloudlet holds: {mark.hex()} {_boot_id()}")
    while (page := LETTER.read_bytes()).startswith(mark):
        time.sleep(0.01)
    LETTER.unlink()
    size, = struct.unpack("<I", page[:4])
    told = json.loads(page[4:4 + size])
    if (told["uuid"], told["boot"]) != (_uuid(), _boot_id()) or told["uuid"].replace("-", "") != _machine_id():
        _say("cloudlet holds on: this is not who the letter is for")
        while True:  # everything else waits for our end
            time.sleep(1000)
    _renew(float(told["time"]), bytes.fromhex(told["seed"]))
    for card in cards:
        (_CARDS / "bind").write_text(card)
    Path("/sys/block/vda/uevent").write_text("change")  # the names of its disk
    _say("cloudlet goes on")
    return 0


def _renew(host_time: float, seed: bytes) -> None:
    """The clock, by the host's as it was before memory was loaded and by its real-time clock, which knows no parts of a
    second; and the kernel's random numbers."""
    with open("/dev/rtc0", "rb") as clock:
        now = fcntl.ioctl(clock, _READ_TIME, bytes(36))
    second, minute, hour, day, month, year = struct.unpack("6i", now[:24])
    seconds = calendar.timegm((year + 1900, month + 1, day, hour, minute, second))
    time.clock_settime(time.CLOCK_REALTIME, max(host_time, float(seconds)))
    with open("/dev/urandom", "wb") as device:
        fcntl.ioctl(device, _ADD_ENTROPY, struct.pack("ii", len(seed) * 8, len(seed)) + seed)
        fcntl.ioctl(device, _RESEED)


def _uuid() -> str:
    return Path("/sys/class/dmi/id/product_uuid").read_text().strip().lower()


def _machine_id() -> str:
    return Path("/etc/machine-id").read_text().strip()


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _say(text: str) -> None:
    with open("/dev/ttyS0", "w") as console:
        console.write(text + "\n")
