"""A real Cloudlet as a child process, driven as a customer would."""

import contextlib
import ipaddress
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import boto3
from botocore.config import Config

START_S_MAX = 60.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Whoever is told to end (by `timeout`, which tells twice) takes down what it started, as after Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    raise KeyboardInterrupt


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, and that no outgoing connection takes while a test's Cloudlet is
    away (Linux takes those from 32768 on)."""
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def free_public_cidr() -> str:
    """A /26 of a documentation range (RFC 5737) that no route of this host covers yet."""
    routes = subprocess.run(["ip", "-j", "route", "show", "table", "all"], capture_output=True, text=True, check=False)
    taken = set()
    for route in json.loads(routes.stdout or "[]"):
        with contextlib.suppress(ValueError):
            taken.add(ipaddress.ip_network(route["dst"]))
    for parent in ("198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"):
        for subnet in ipaddress.ip_network(parent).subnets(new_prefix=26):
            if not any(subnet.overlaps(network) for network in taken if network.version == 4 and network.prefixlen):
                return str(subnet)
    raise AssertionError("all documentation ranges are routed on this host; is a run still going?")


class Cloudlet:
    """One installation: started on entry, taken down on exit; `kill` and `start` between."""

    def __init__(self, data_dir: Path, port: int, public_cidr: str) -> None:
        self.data_dir, self.port, self.public_cidr = data_dir, port, public_cidr
        self.url = f"http://localhost:{port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = data_dir.parent / "cloudlet.log"

    @property
    def settings(self) -> list[str]:
        return ["--data-dir", str(self.data_dir), "--port", str(self.port), "--public-cidr", self.public_cidr]

    def start(self) -> None:
        """Starts the control plane in the foreground of a child process; returns when it is healthy."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen([sys.executable, "-m", "cloudlet", "up", *self.settings],
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            start_new_session=True)
        deadline = time.monotonic() + START_S_MAX
        while not self.is_healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Cloudlet did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)

    def is_healthy(self) -> bool:
        try:
            with _direct.open(f"{self.url}/_cloudlet/health", timeout=2) as answer:
                return bool(json.load(answer)["pid"] == self.process.pid) if self.process else False
        except (OSError, ValueError):
            return False

    def kill(self) -> None:
        """kill -9 of the control plane and of nothing else."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A `cloudlet` command on this installation."""
        done = subprocess.run([sys.executable, "-m", "cloudlet", *arguments, "--data-dir", str(self.data_dir)],
                              capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def down(self) -> None:
        """`cloudlet down`."""
        self.command("down")
        if self.process is not None:
            self.process.wait(timeout=30)
            self.process = None

    def client(self, service: str, *, region: str = "us-east-1", key: str = "test", secret: str = "test",
               token: str | None = None, validate: bool = True) -> Any:
        """A boto3 client that never retries, so that a fault shows. `validate`: whether it checks parameters itself."""
        return boto3.client(service, endpoint_url=self.url, region_name=region, aws_access_key_id=key,
                            aws_secret_access_key=secret, aws_session_token=token,
                            config=Config(retries={"max_attempts": 0}, proxies={}, parameter_validation=validate))

    @property
    def environment(self) -> dict[str, str]:
        """For other people's programs."""
        return {**os.environ, "AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": "",
                "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
                "NO_PROXY": "localhost,127.0.0.1"}

    def aws(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The real aws CLI of our virtual environment."""
        program = Path(sys.executable).with_name("aws")
        done = subprocess.run([str(program), "--endpoint-url", self.url, *arguments], env=self.environment,
                              capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def __enter__(self) -> "Cloudlet":
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            self.down()
        finally:
            self.kill()
