"""Requests per second of two control-plane calls, beside MiniStack and moto, under the same load generator (wrk).

Server and generator have a core each. Every request bears a valid SigV4 signature (which we verify).
"""

import json
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench import peers
from tests.running import Cloudlet, free_port, free_public_cidr

SECONDS, ROUNDS, CONNECTIONS, SERVER_CPU, LOAD_CPU = 4, 3, 16, 0, 1
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def signed(port: int, service: str, headers: dict[str, str], body: str) -> str:
    """A wrk script that repeats one signed request."""
    request = AWSRequest("POST", f"http://127.0.0.1:{port}/", data=body, headers=headers)
    SigV4Auth(Credentials("test", "test"), service, "us-east-1").add_auth(request)
    lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in request.headers.items()]
    return "\n".join(['wrk.method = "POST"', f"wrk.body = {json.dumps(body)}", *lines])


def identity(port: int) -> str:
    return signed(port, "sts", {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
                  "Action=GetCallerIdentity&Version=2011-06-15")


def describe_tasks(port: int) -> str:
    body = json.dumps({"cluster": "bench", "tasks": ["0123456789abcdef0123456789abcdef"]})
    return signed(port, "ecs", {"Content-Type": "application/x-amz-json-1.1",
                                "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeTasks"}, body)


def prepare(port: int) -> None:
    ecs = boto3.client("ecs", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
                       aws_access_key_id="test", aws_secret_access_key="test")
    ecs.create_cluster(clusterName="bench")


class Load(NamedTuple):
    """What a server did under load: requests per second, and how long they took in milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float


def loaded(port: int, script: str, seconds: int = SECONDS) -> Load:
    """What a server does under wrk; fails where an answer is not a 2xx."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "request.lua"
        file.write_text(script)
        said = subprocess.run(["taskset", "-c", str(LOAD_CPU), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s",
                               "--latency", "-s", str(file), f"http://127.0.0.1:{port}/"],
                              capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if "Non-2xx" in said or not found:
        raise AssertionError(said)
    took = {share: float(number) * _MS[unit]
            for share, number, unit in re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s)\s*$", said, re.MULTILINE)}
    return Load(float(found.group(1)), took["50"], took["99"])


def rate(port: int, script: str, seconds: int = SECONDS) -> float:
    """Requests per second; fails where an answer is not a 2xx."""
    return loaded(port, script, seconds).rate


def ours(directory: Path) -> Cloudlet:
    return Cloudlet(directory / "data", free_port(), free_public_cidr())


def pin(cloudlet: Cloudlet) -> None:
    """Gives it the core that its peers have, and no other."""
    assert cloudlet.process
    subprocess.run(["taskset", "-a", "-cp", str(SERVER_CPU), str(cloudlet.process.pid)], check=True,
                   stdout=subprocess.DEVNULL)


def main() -> None:
    """Rounds of all three servers in turn, so that a drift of the machine meets all alike."""
    peers.install()
    calls: dict[str, Callable[[int], str]] = {"sts get-caller-identity": identity, "ecs describe-tasks": describe_tasks}
    found: dict[tuple[str, str], list[float]] = {}

    def measure(server: str, port: int) -> None:
        prepare(port)
        for name, script in calls.items():
            rate_found = rate(port, script(port))
            found.setdefault((server, name), []).append(rate_found)

    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as directory, ours(Path(directory)) as cloudlet:
            pin(cloudlet)
            measure("cloudlet", cloudlet.port)
        with peers.ministack(SERVER_CPU) as peer:
            measure("ministack", peer.port)
        with peers.moto(SERVER_CPU) as peer:
            measure("moto", peer.port)
    for name in calls:
        medians = {server: statistics.median(found[server, name]) for server in ("cloudlet", "ministack", "moto")}
        print(f"{name}: " + ", ".join(f"{server} {median:,.0f}/s" for server, median in medians.items())
              + f"; {medians['cloudlet'] / medians['ministack']:.1f} × MiniStack,"
                f" {medians['cloudlet'] / medians['moto']:.1f} × moto")
