"""The emulators that we compare ourselves with, in a virtual environment of their own."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.running import free_port

ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".venv-peers"
PACKAGES = ("ministack==1.5.33", "moto[server]==5.2.5")
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Peer(NamedTuple):
    """A server that runs."""

    port: int
    pid: int


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process has used: what a busy machine changes least."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def install() -> None:
    """Makes the peers' environment, once."""
    stamp = PEERS / ".packages"
    if stamp.exists() and stamp.read_text() == " ".join(PACKAGES):
        return
    print("installing", *PACKAGES, flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    subprocess.run([str(PEERS / "bin/pip"), "-q", "install", *PACKAGES], check=True)
    stamp.write_text(" ".join(PACKAGES))


@contextmanager
def serving(command: list[str], port: int, environment: dict[str, str], cpu: int) -> Iterator[Peer]:
    """A server on one core, until the block ends."""
    process = subprocess.Popen(["taskset", "-c", str(cpu), *command], env={**os.environ, **environment},
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                _direct.open(f"http://127.0.0.1:{port}/", timeout=1)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield Peer(port, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def ministack(cpu: int) -> Iterator[Peer]:
    """MiniStack."""
    port = free_port()
    with serving([str(PEERS / "bin/ministack")], port,
                 {"GATEWAY_PORT": str(port), "LOG_LEVEL": "ERROR", "MINISTACK_HOST": "127.0.0.1"}, cpu) as peer:
        yield peer


@contextmanager
def moto(cpu: int) -> Iterator[Peer]:
    """moto_server."""
    port = free_port()
    with serving([str(PEERS / "bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)], port, {}, cpu) as peer:
        yield peer
