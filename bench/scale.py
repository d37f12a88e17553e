"""A service from 1 to 50 tasks beside fifty bare `podman run -d`; 200 tasks' idle cost; DescribeTasks of 100."""

import http.client
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.parsers import create_parser

from bench.tasks import Bare
from tests.images import push_busybox
from tests.running import Cloudlet, free_port, free_public_cidr

MANY, CROWD, DESCRIBED, ROUNDS = 50, 200, 100, 3
SETTLE_S, IDLE_S, ASKED = 20.0, 60.0, 60
COMMAND = ["/bin/sleep", "100000"]


def prepare(cloudlet: Cloudlet, image: str) -> Any:
    """A service of one task whose output goes to CloudWatch Logs, as most do; the client."""
    ecs, ec2 = cloudlet.client("ecs"), cloudlet.client("ec2")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    cloudlet.client("logs").create_log_group(logGroupName="/s")
    ecs.create_cluster(clusterName="s")
    ecs.register_task_definition(
        family="s", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
        containerDefinitions=[{"name": "c", "image": image, "stopTimeout": 2, "logConfiguration": {
            "logDriver": "awslogs", "options": {"awslogs-group": "/s", "awslogs-region": "us-east-1",
                                                "awslogs-stream-prefix": "s"}}}])
    ecs.create_service(cluster="s", serviceName="s", taskDefinition="s", desiredCount=1, launchType="FARGATE",
                       networkConfiguration={"awsvpcConfiguration": {"subnets": subnets, "assignPublicIp": "DISABLED"}})
    return ecs


def scale(ecs: Any, count: int) -> float:
    """Seconds until so many tasks run and none other is left."""
    began = time.perf_counter()
    ecs.update_service(cluster="s", service="s", desiredCount=count)
    while True:
        cluster = ecs.describe_clusters(clusters=["s"])["clusters"][0]
        if cluster["runningTasksCount"] == count and not cluster["pendingTasksCount"]:
            return time.perf_counter() - began
        time.sleep(0.02)


def alive() -> int:
    """How many of our containers have a process."""
    with os.scandir("/proc") as processes:
        return sum(1 for entry in processes if entry.name.isdigit() and _command(entry.name) == COMMAND)


def _command(pid: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """What a process and the children it has waited for have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def idle(pid: int) -> float:
    """The share of one core over a minute in which nobody asks for anything."""
    time.sleep(SETTLE_S)
    before, began = cpu_seconds(pid), time.perf_counter()
    time.sleep(IDLE_S)
    return (cpu_seconds(pid) - before) / (time.perf_counter() - began)


def described(cloudlet: Cloudlet, ecs: Any) -> tuple[float, float, float]:
    """DescribeTasks of 100, medians in seconds: over one connection of bare HTTP, through boto3, and what botocore
    takes to parse such an answer, which is the least that boto3 can take."""
    arns = ecs.list_tasks(cluster="s", maxResults=100)["taskArns"][:DESCRIBED]
    body = json.dumps({"cluster": "s", "tasks": arns})
    request = AWSRequest("POST", f"{cloudlet.url}/", data=body, headers={
        "Content-Type": "application/x-amz-json-1.1", "Host": f"localhost:{cloudlet.port}",
        "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeTasks"})
    SigV4Auth(Credentials("test", "test"), "ecs", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("localhost", cloudlet.port)

    def ask() -> bytes:
        connection.request("POST", "/", body, dict(request.headers.items()))
        return connection.getresponse().read()

    def bare() -> None:
        assert len(json.loads(ask())["tasks"]) == DESCRIBED

    def boto() -> None:
        assert len(ecs.describe_tasks(cluster="s", tasks=arns)["tasks"]) == DESCRIBED

    parser, answer = create_parser("json"), {"status_code": 200, "headers": {}, "body": ask()}
    shape = ecs.meta.service_model.operation_model("DescribeTasks").output_shape
    times: dict[Callable[[], object], list[float]] = {bare: [], boto: [], lambda: parser.parse(answer, shape): []}
    for _ in range(ASKED):  # in turn, so that noise falls on all
        for do, found in times.items():
            began = time.perf_counter()
            do()
            found.append(time.perf_counter() - began)
    raw, through, parsing = map(statistics.median, times.values())
    return raw, through, parsing


def measure(cloudlet: Cloudlet, directory: Path) -> None:
    image = push_busybox(cloudlet, command=COMMAND)
    ecs = prepare(cloudlet, image)
    scale(ecs, 1)
    password = cloudlet.aws("ecr", "get-login-password").stdout.strip()
    ours, theirs = [], []
    with Bare(directory, image, password) as bare:
        for _ in range(ROUNDS):
            ours.append((MANY - 1) / scale(ecs, MANY))
            scale(ecs, 1)
            while alive() > 1:
                time.sleep(0.05)
            time.sleep(2.0)  # until their last traces are gone, too
            began = time.perf_counter()
            bare.run_many(MANY)
            theirs.append(MANY / (time.perf_counter() - began))
            bare.clear()
    rate, limit = statistics.median(ours), statistics.median(theirs)
    print(f"1 → {MANY} tasks: {rate:.1f}/s; {MANY} × podman run -d at once: {limit:.1f}/s; {rate / limit:.2f} ×")
    print(f"{MANY} → {CROWD} tasks: {scale(ecs, CROWD):.0f} s")
    assert cloudlet.process
    print(f"idle with {CROWD} tasks: {idle(cloudlet.process.pid):.1%} of a core")
    raw, boto, parsing = described(cloudlet, ecs)
    print(f"DescribeTasks of {DESCRIBED}: p50 {raw * 1e3:.1f} ms, through boto3 {boto * 1e3:.1f} ms, of which botocore"
          f" parses for {parsing * 1e3:.1f} ms")
    scale(ecs, 0)


def main() -> None:
    """Medians and ratios."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with Cloudlet(directory / "data", free_port(), free_public_cidr()) as cloudlet:
            try:
                measure(cloudlet, directory)
            except BaseException:
                subprocess.run(["tail", "-40", str(cloudlet.log)], check=False)
                raise
