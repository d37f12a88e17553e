"""kill -9 of the control plane at any moment: what runs goes on, what was promised is kept."""

import hashlib
import http.client
import json
import random
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import running_cloudlet
from tests.images import busybox_layer, login, push_busybox
from tests.running import Cloudlet

pytestmark = [pytest.mark.root, pytest.mark.engine("podman"), pytest.mark.engine("nft")]

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SERVE = ["/bin/sh", "-c", "mkdir -p /www; hostname > /www/index.html; i=0; httpd -p 80 -h /www;"
                          " while true; do echo line $i; i=$((i+1)); sleep 0.05; done"]


@pytest.fixture
def cloudlet(tmp_path: Path) -> Iterator[Cloudlet]:
    with running_cloudlet(tmp_path) as instance:
        yield instance


def wait(what: str, look: Any, timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.05)


def make_service(cloudlet: Cloudlet, count: int) -> None:
    image = push_busybox(cloudlet, command=SERVE)
    ec2, ecs, logs = cloudlet.client("ec2"), cloudlet.client("ecs"), cloudlet.client("logs")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    group = ec2.create_security_group(GroupName="web", Description="web")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
    logs.create_log_group(logGroupName="/web")
    ecs.create_cluster(clusterName="c")
    ecs.register_task_definition(
        family="web", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
        containerDefinitions=[{"name": "web", "image": image, "stopTimeout": 2, "logConfiguration": {
            "logDriver": "awslogs", "options": {"awslogs-group": "/web", "awslogs-region": "us-east-1",
                                                "awslogs-stream-prefix": "t"}}}])
    ecs.create_service(cluster="c", serviceName="web", taskDefinition="web", desiredCount=count, launchType="FARGATE",
                       networkConfiguration={"awsvpcConfiguration": {
                           "subnets": subnets[:2], "securityGroups": [group], "assignPublicIp": "ENABLED"}})


def running_tasks(cloudlet: Cloudlet) -> list[dict[str, Any]]:
    ecs = cloudlet.client("ecs")
    arns = ecs.list_tasks(cluster="c")["taskArns"]
    tasks = ecs.describe_tasks(cluster="c", tasks=arns)["tasks"] if arns else []
    return [task for task in tasks if task["lastStatus"] == "RUNNING"]


def exactly(cloudlet: Cloudlet, count: int) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]] | None:
        tasks = running_tasks(cloudlet)
        return tasks if len(tasks) == count else None
    found: list[dict[str, Any]] = wait(f"{count} tasks run", look)
    return found


def public_addresses(cloudlet: Cloudlet, tasks: list[dict[str, Any]]) -> list[str]:
    ids = [detail["value"] for task in tasks for detail in task["attachments"][0]["details"]
           if detail["name"] == "networkInterfaceId"]
    found = cloudlet.client("ec2").describe_network_interfaces(NetworkInterfaceIds=ids)["NetworkInterfaces"]
    return [interface["Association"]["PublicIp"] for interface in found]


def serves(address: str) -> str | None:
    try:
        with _direct.open(f"http://{address}/", timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def test_running_tasks_serve_on_and_are_adopted_not_restarted(cloudlet: Cloudlet) -> None:
    make_service(cloudlet, 3)
    before = exactly(cloudlet, 3)
    addresses = public_addresses(cloudlet, before)
    for address in addresses:
        wait(f"{address} answers", lambda address=address: serves(address))
    dice = random.Random(7)
    for _ in range(5):
        stop = threading.Event()
        load = threading.Thread(target=_load, args=(cloudlet, stop))
        load.start()
        time.sleep(dice.uniform(0, 0.6))
        cloudlet.kill()
        assert all(serves(address) for address in addresses), "tasks serve while the control plane is dead"
        stop.set()
        load.join()
        cloudlet.start()
    after = {task["taskArn"]: task for task in exactly(cloudlet, 3)}
    assert set(after) == {task["taskArn"] for task in before}
    for task in before:
        now = after[task["taskArn"]]
        assert now["containers"][0]["runtimeId"] == task["containers"][0]["runtimeId"]
        assert now["startedAt"] == task["startedAt"]
    assert all(serves(address) for address in addresses)


def _load(cloudlet: Cloudlet, stop: threading.Event) -> None:
    ec2 = cloudlet.client("ec2")
    while not stop.is_set():
        try:
            ec2.describe_vpcs()
            ec2.create_vpc(CidrBlock="10.0.0.0/16")
        except (ClientError, BotoCoreError):
            time.sleep(0.01)


def test_tasks_asked_for_before_the_kill_are_neither_lost_nor_doubled(cloudlet: Cloudlet) -> None:
    make_service(cloudlet, 2)
    exactly(cloudlet, 2)
    ecs = cloudlet.client("ecs")
    dice = random.Random(11)
    for round_, wanted in enumerate((5, 3, 6, 2)):
        ecs.update_service(cluster="c", service="web", desiredCount=wanted)
        time.sleep(dice.uniform(0, 0.8))
        cloudlet.kill()
        cloudlet.start()
        exactly(cloudlet, wanted)
        ecs.get_waiter("services_stable").wait(cluster="c", services=["web"],
                                               WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        assert len(running_tasks(cloudlet)) == wanted, f"round {round_}"


def test_every_acknowledged_push_can_be_pulled(cloudlet: Cloudlet) -> None:
    cloudlet.client("ecr").create_repository(repositoryName="kept")
    acknowledged: list[tuple[str, str]] = []
    stop = threading.Event()

    def push() -> None:
        registry, count = login(cloudlet), 0
        while not stop.is_set():
            try:
                tag = f"v{count}"
                acknowledged.append((tag, registry.push("kept", tag, [busybox_layer() + bytes(count)], ["/bin/sh"])))
                count += 1
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)

    worker = threading.Thread(target=push)
    worker.start()
    dice = random.Random(3)
    for _ in range(4):
        time.sleep(dice.uniform(0.3, 1.2))
        cloudlet.kill()
        cloudlet.start()
    stop.set()
    worker.join()
    assert acknowledged
    registry = login(cloudlet)
    for tag, digest in acknowledged:
        manifest = registry.call("GET", f"/v2/kept/manifests/{tag}").read()
        assert "sha256:" + hashlib.sha256(manifest).hexdigest() == digest
        for layer in json.loads(manifest)["layers"]:
            body = registry.call("GET", f"/v2/kept/blobs/{layer['digest']}").read()
            assert "sha256:" + hashlib.sha256(body).hexdigest() == layer["digest"]


def test_no_log_line_is_lost_or_doubled(cloudlet: Cloudlet) -> None:
    make_service(cloudlet, 1)
    exactly(cloudlet, 1)
    dice = random.Random(5)
    for _ in range(4):
        time.sleep(dice.uniform(0.2, 1.0))
        cloudlet.kill()
        time.sleep(0.3)
        cloudlet.start()
    wanted = len(lines_of(cloudlet)) + 40  # from before the last kill, and from after it
    lines = wait(f"{wanted} lines", lambda: len(found := lines_of(cloudlet)) >= wanted and found)
    assert lines == [f"line {n}" for n in range(len(lines))]


def lines_of(cloudlet: Cloudlet) -> list[str]:
    """What the one task wrote, as far as it has arrived."""
    logs = cloudlet.client("logs")
    (stream,) = logs.describe_log_streams(logGroupName="/web")["logStreams"] or [{}]
    lines: list[str] = []
    token = None
    while stream:
        page = logs.get_log_events(logGroupName="/web", logStreamName=stream["logStreamName"], startFromHead=True,
                                   **({"nextToken": token} if token else {}))
        lines += [event["message"] for event in page["events"] if event["message"].startswith("line ")]
        if page["nextForwardToken"] == token:
            break
        token = page["nextForwardToken"]
    return lines
