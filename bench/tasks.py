"""RunTask to RUNNING, and a killed task to its replacement, beside a bare `podman run -d` of the same image."""

import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from cloudlet.demo.containers import _pid_of as pid_of
from tests.images import push_busybox
from tests.running import Cloudlet, free_port, free_public_cidr

ROUNDS, REPLACEMENTS = 12, 6


class Bare:
    """`podman run -d` in a network namespace, with storage of its own: as little as a container can cost."""

    def __init__(self, directory: Path, image: str, password: str) -> None:
        self._image = image
        self._podman = ["podman", "--root", str(directory / "root"), "--runroot", str(directory / "run"),
                        "--cgroup-manager", "cgroupfs"]
        self._environment = {**os.environ, "CONTAINERS_CONF": str(directory / "containers.conf")}
        (directory / "containers.conf").write_text('[containers]\ndefault_ulimits = []\n[engine]\nruntime = "runc"\n')
        subprocess.run([*self._podman, "pull", "-q", "--tls-verify=false", f"--creds=AWS:{password}", image],
                       check=True, env=self._environment, stdout=subprocess.DEVNULL)

    def run(self) -> subprocess.Popen[bytes]:
        """One more container, on its way."""
        return subprocess.Popen([*self._podman, "run", "-d", "--network", "ns:/run/netns/cloudlet-bench", "--ulimit",
                                 "nofile=1024:1024", "--ulimit", "nproc=1024:1024", self._image],
                                env=self._environment, stdout=subprocess.DEVNULL)

    def run_many(self, count: int) -> None:
        """So many at once; returns when all run."""
        assert not any(process.wait() for process in [self.run() for _ in range(count)])

    def clear(self) -> None:
        """Removes the containers."""
        subprocess.run([*self._podman, "rm", "-a", "-f", "-t", "0"], env=self._environment, stdout=subprocess.DEVNULL,
                       check=False)

    def __enter__(self) -> "Bare":
        subprocess.run(["ip", "netns", "add", "cloudlet-bench"], check=True)
        return self

    def __exit__(self, *reason: object) -> None:
        self.clear()
        subprocess.run(["ip", "netns", "delete", "cloudlet-bench"], check=False)
        subprocess.run([*self._podman, "system", "reset", "-f"], env=self._environment, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)


def bare_podman(directory: Path, image: str, password: str) -> list[float]:
    """How long each of several takes, one after the other."""
    times = []
    with Bare(directory, image, password) as bare:
        for _ in range(ROUNDS):
            started = time.perf_counter()
            bare.run_many(1)
            times.append(time.perf_counter() - started)
    return times


def running(ecs: Any, arn: str) -> bool:
    (task,) = ecs.describe_tasks(cluster="b", tasks=[arn])["tasks"]
    assert task["lastStatus"] != "STOPPED", task.get("stoppedReason")
    return bool(task["lastStatus"] == "RUNNING")


def measure(cloudlet: Cloudlet, directory: Path) -> tuple[list[float], list[float], list[float]]:
    image = push_busybox(cloudlet)
    ecs, ec2 = cloudlet.client("ecs"), cloudlet.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    network = {"awsvpcConfiguration": {"subnets": [subnet], "assignPublicIp": "ENABLED"}}
    ecs.create_cluster(clusterName="b")
    ecs.register_task_definition(family="b", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256",
                                 memory="512", containerDefinitions=[{"name": "c", "image": image, "stopTimeout": 2}])
    starts = []
    for round_ in range(ROUNDS + 1):
        started = time.perf_counter()
        arn = ecs.run_task(cluster="b", taskDefinition="b", launchType="FARGATE",
                           networkConfiguration=network)["tasks"][0]["taskArn"]
        while not running(ecs, arn):
            time.sleep(0.002)
        if round_:  # the first one pulls the image
            starts.append(time.perf_counter() - started)
        ecs.stop_task(cluster="b", task=arn)
    ecs.create_service(cluster="b", serviceName="s", taskDefinition="b", desiredCount=2, launchType="FARGATE",
                       networkConfiguration=network)
    replacements = []
    for _ in range(REPLACEMENTS):
        tasks = wait_for_two(ecs)
        started = time.perf_counter()
        os.kill(pid_of(tasks[0]["containers"][0]["runtimeId"]), signal.SIGKILL)
        wait_for_two(ecs, tasks[0]["taskArn"])
        replacements.append(time.perf_counter() - started)
    password = cloudlet.aws("ecr", "get-login-password").stdout.strip()
    return starts, replacements, bare_podman(directory, image, password)


def wait_for_two(ecs: Any, without: str = "") -> list[dict[str, Any]]:
    while True:
        arns = [arn for arn in ecs.list_tasks(cluster="b", serviceName="s")["taskArns"] if arn != without]
        tasks = ecs.describe_tasks(cluster="b", tasks=arns)["tasks"] if arns else []
        up = [task for task in tasks if task["lastStatus"] == "RUNNING"]
        if len(up) == 2:
            return up
        time.sleep(0.005)


def main() -> None:
    """Medians, and the ratio of a task's start to a bare container's."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with Cloudlet(directory / "data", free_port(), free_public_cidr()) as cloudlet:
            starts, replacements, bare = measure(cloudlet, directory)
    start, limit = statistics.median(starts), statistics.median(bare)
    print(f"RunTask to RUNNING: p50 {start:.3f} s; podman run -d: p50 {limit:.3f} s; {start / limit:.2f} ×")
    print(f"a killed task's replacement RUNNING: p50 {statistics.median(replacements):.2f} s")
