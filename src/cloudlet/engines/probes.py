"""Commands run inside Podman's containers by the low-level runtime itself.

Podman's own `exec` would start a conmon, a Podman and a database transaction for each; this starts one process, which
takes the container's environment, user, limits and control group as the runtime knows them.
"""

import os
import signal
from functools import cached_property
from pathlib import Path

from cloudlet.engines import process
from cloudlet.engines.container_record import Record
from cloudlet.engines.podman import Podman
from cloudlet.kernel.errors import Busy, Conflict


class PodmanProbes:
    """Probes of one installation's containers; one at a time for a container."""

    def __init__(self, podman: Podman) -> None:
        self._podman = podman

    @cached_property
    def _runtime(self) -> list[str]:
        return self._podman.runtime_command()

    async def probe(self, name: str, command: tuple[str, ...], timeout_s: float) -> int | None:
        """See the port."""
        records = self._podman.records
        record = records.find(name)
        if record is None or not record.id or records.running(record) is None:
            raise Conflict(f"{name} does not run")
        pidfile = records.path(name, "probe.pid")
        pidfile.unlink(missing_ok=True)
        try:
            said = await process.run([*self._runtime, "exec", "--pid-file", str(pidfile), record.id, *command],
                                     timeout_s=timeout_s, mute=True)
        except Busy:
            self._kill(record, pidfile)
            return None
        if said.status and records.running(record) is None:
            raise Conflict(f"{name} ended meanwhile")
        return said.status

    @staticmethod
    def _kill(record: Record, pidfile: Path) -> None:
        """Ends the command whose time was up, if it is the process that it was: one in the container's own group."""
        try:
            pid = int(pidfile.read_text())
            if record.id in Path(f"/proc/{pid}/cgroup").read_text():
                os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            pass  # it has ended, or never began
