"""From `cloudlet up` to healthy, and what an idle control plane holds in memory."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.running import Cloudlet, free_port, free_public_cidr

ROUNDS = 5


def interpreter() -> float:
    """The physical limit: an interpreter that starts and ends."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import asyncio, json"], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Medians of a few rounds, beside a bare interpreter's start in the same rounds."""
    starts, bare, memory = [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as directory:
            cloudlet = Cloudlet(Path(directory) / "data", free_port(), free_public_cidr())
            started = time.perf_counter()
            with cloudlet:
                starts.append(time.perf_counter() - started)
                assert cloudlet.process
                time.sleep(2)
                status = Path(f"/proc/{cloudlet.process.pid}/status").read_text()
                memory.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
        bare.append(interpreter())
    start, limit = statistics.median(starts), statistics.median(bare)
    print(f"up to healthy: {start:.2f} s ({start / limit:.0f} × a bare interpreter's {limit * 1000:.0f} ms)")
    print(f"idle memory: {statistics.median(memory):.0f} MB")
