"""Whether this host's KVM starts an ordinary kernel: tried once a boot of the host, and remembered.

/dev/kvm may be there and still hang, or abort, as soon as a kernel unpacks itself (nested virtualization).
"""

import asyncio
import contextlib
import os
from pathlib import Path

from cloudlet.engines import process
from cloudlet.kernel.errors import EngineError

PROBE_S = 10.0
_SIGN = b"Linux version"  # the first line of any kernel


class Acceleration:
    """`file` keeps the answer. Without a kernel to try, and without an answer, there is no acceleration."""

    def __init__(self, file: Path, device: Path = Path("/dev/kvm")) -> None:
        self._file, self._device = file, device
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._lock = asyncio.Lock()

    def known(self) -> bool | None:
        """What was found out in this boot of the host; None where nothing was."""
        if not os.access(self._device, os.R_OK | os.W_OK):
            return False
        with contextlib.suppress(OSError, ValueError):
            boot, answer = self._file.read_text().split()
            if boot == self._boot:
                return answer == "kvm"
        return None

    async def works(self, kernel: Path | None) -> bool:
        """Whether machines are to be started with KVM."""
        async with self._lock:
            known = self.known()
            if known is not None or kernel is None:
                return bool(known)
            answer = await self._try(kernel)
            self._file.write_text(f"{self._boot} {'kvm' if answer else 'tcg'}\n")
            return answer

    @staticmethod
    async def _try(kernel: Path) -> bool:
        """Starts the kernel without a disk: it says who it is, panics, and QEMU ends."""
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35",
                   "-accel", "kvm", "-cpu", "host", "-m", "256M", "-no-reboot", "-serial", "stdio",
                   "-kernel", str(kernel), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"]
        try:
            result = await process.run(command, timeout_s=PROBE_S)
        except EngineError:
            return False
        return result.status == 0 and _SIGN in result.stdout
