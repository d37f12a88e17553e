"""ECS as customers use it: boto3 and its waiters, real containers, real addresses."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.images import push_busybox
from tests.running import Cloudlet

pytestmark = [pytest.mark.root, pytest.mark.engine("podman")]

TRUST = json.dumps({"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]})


class Customer:
    """One cluster, one image, and what every test asks of them."""

    def __init__(self, cloudlet: Cloudlet) -> None:
        self.cloudlet = cloudlet
        self.ecs, self.ec2, self.logs = (cloudlet.client(name) for name in ("ecs", "ec2", "logs"))
        self.image = push_busybox(cloudlet)
        self.subnets = [subnet["SubnetId"] for subnet in self.ec2.describe_subnets()["Subnets"]][:2]
        self.ecs.create_cluster(clusterName="c")

    def network(self, **more: Any) -> dict[str, Any]:
        return {"awsvpcConfiguration": {"subnets": self.subnets, **more}}

    def register(self, family: str, *containers: dict[str, Any], **more: Any) -> str:
        given = [{"name": "web", "image": self.image, "stopTimeout": 2, **container}
                 for container in containers or ({},)]
        answer = self.ecs.register_task_definition(**{
            "family": family, "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256",
            "memory": "512", "containerDefinitions": given, **more})
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def run(self, definition: str, **more: Any) -> str:
        answer = self.ecs.run_task(**{"cluster": "c", "taskDefinition": definition, "launchType": "FARGATE",
                                      "networkConfiguration": self.network(), **more})
        return str(answer["tasks"][0]["taskArn"])

    def task(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ecs.describe_tasks(cluster="c", tasks=[arn])["tasks"][0]
        return found

    def runs(self, arn: str) -> dict[str, Any]:
        self.ecs.get_waiter("tasks_running").wait(cluster="c", tasks=[arn], WaiterConfig={"Delay": 1})
        return self.task(arn)

    def stops(self, arn: str) -> dict[str, Any]:
        self.ecs.get_waiter("tasks_stopped").wait(cluster="c", tasks=[arn], WaiterConfig={"Delay": 1})
        return self.task(arn)

    def lines(self, arn: str, container: str = "web") -> list[str]:
        events = self.logs.get_log_events(logGroupName="/c", startFromHead=True,
                                          logStreamName=f"p/{container}/{arn.rsplit('/', 1)[1]}")["events"]
        return [event["message"] for event in events]


def awslogs(*command: str, **more: Any) -> dict[str, Any]:
    return {"command": list(command), "logConfiguration": {"logDriver": "awslogs", "options": {
        "awslogs-group": "/c", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p",
        "awslogs-create-group": "true"}}, **more}


def until(true: Callable[[], Any], within_s: float = 30.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return found


def processes(runtime_id: str) -> list[int]:
    """The pids of a container, by its control group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if runtime_id in entry.read_text():
                found.append(int(entry.parts[2]))
        except OSError:
            continue
    return sorted(found)


@pytest.fixture(scope="module")
def customer(cloudlet: Cloudlet) -> Customer:
    return Customer(cloudlet)


def test_a_task_says_what_it_wrote_and_how_it_ended(customer: Customer) -> None:
    customer.register("says", awslogs("/bin/sh", "-c", "echo hello; echo $GREETING >&2; exit 3"))
    arn = customer.run("says", overrides={"containerOverrides": [
        {"name": "web", "environment": [{"name": "GREETING", "value": "world"}]}]})
    task = customer.stops(arn)
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited", "Essential container in task exited")
    assert task["containers"][0]["exitCode"] == 3
    assert task["containers"][0]["imageDigest"].startswith("sha256:")
    assert sorted(customer.lines(arn)) == ["hello", "world"]


def test_containers_of_a_task_share_an_address(customer: Customer) -> None:
    customer.register(
        "pair",
        awslogs("/bin/sh", "-c", "mkdir -p /tmp/w; echo hi > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"),
        awslogs("/bin/sh", "-c", "until wget -qO- http://127.0.0.1:8080/; do sleep 0.1; done; sleep 100", name="side",
                essential=False))
    arn = customer.run("pair")
    customer.runs(arn)
    until(lambda: "hi" in customer.lines(arn, "side"))
    customer.ecs.stop_task(cluster="c", task=arn, reason="enough")
    task = customer.stops(arn)
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert {container["exitCode"] for container in task["containers"]} <= {0, 137, 143}


def test_a_task_acts_with_its_role_and_nothing_configured(customer: Customer) -> None:
    """boto3 in the container's network and environment finds the endpoint and the credentials by itself."""
    iam = customer.cloudlet.client("iam")
    role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    iam.put_role_policy(RoleName="worker", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecs:List*", "Resource": "*"}]}))
    customer.register("worker", taskRoleArn=role)
    arn = customer.run("worker")
    task = customer.runs(arn)
    pid = processes(task["containers"][0]["runtimeId"])[0]
    pairs = (item.partition("=") for item in Path(f"/proc/{pid}/environ").read_text().split("\0") if item)
    environment = {name: value for name, _, value in pairs} | {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    program = """
import boto3, json, urllib.request, os
print(boto3.client("sts").get_caller_identity()["Arn"])
print(boto3.client("ecs").list_clusters()["clusterArns"][0])
try:
    boto3.client("ecs").create_cluster(clusterName="no")
except Exception as error:
    print(type(error).__name__)
for path in ("", "/task", "/stats"):
    found = json.load(urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + path))
    print(found.get("Name") or found.get("TaskARN") or found["memory_stats"]["limit"])
"""
    done = subprocess.run(["nsenter", "-t", str(pid), "-n", sys.executable, "-c", program], env=environment,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    identity, cluster, refused, *metadata = done.stdout.split("\n")[:6]
    assert identity == f"arn:aws:sts::000000000000:assumed-role/worker/{arn.rsplit('/', 1)[1]}"
    assert cluster.endswith(":cluster/c")
    assert refused == "AccessDeniedException"
    assert metadata == ["web", arn, str(512 << 20)]
    customer.ecs.stop_task(cluster="c", task=arn)


def test_a_service_keeps_its_number_rolls_and_goes(customer: Customer) -> None:
    ecs = customer.ecs
    customer.register("web")
    ecs.create_service(cluster="c", serviceName="web", taskDefinition="web", desiredCount=2, launchType="FARGATE",
                       networkConfiguration=customer.network(assignPublicIp="ENABLED"))
    stable = ecs.get_waiter("services_stable")
    stable.wait(cluster="c", services=["web"], WaiterConfig={"Delay": 1})
    first = set(ecs.list_tasks(cluster="c", serviceName="web")["taskArns"])
    victim = customer.task(sorted(first)[0])
    for pid in processes(victim["containers"][0]["runtimeId"]):
        os.kill(pid, 9)
    assert customer.stops(victim["taskArn"])["containers"][0]["exitCode"] == 137
    stable.wait(cluster="c", services=["web"], WaiterConfig={"Delay": 1})
    assert len(set(ecs.list_tasks(cluster="c", serviceName="web")["taskArns"]) & first) == 1
    customer.register("web")
    ecs.update_service(cluster="c", service="web", taskDefinition="web:2")
    stable.wait(cluster="c", services=["web"], WaiterConfig={"Delay": 1})
    tasks = ecs.describe_tasks(cluster="c", tasks=ecs.list_tasks(cluster="c", serviceName="web")["taskArns"])["tasks"]
    assert [task["taskDefinitionArn"].rsplit("/", 1)[1] for task in tasks] == ["web:2", "web:2"]
    ecs.delete_service(cluster="c", service="web", force=True)
    ecs.get_waiter("services_inactive").wait(cluster="c", services=["web"], WaiterConfig={"Delay": 1})
    until(lambda: not ecs.list_tasks(cluster="c", serviceName="web")["taskArns"])


def test_an_image_that_is_not_there(customer: Customer) -> None:
    customer.register("missing", {"image": customer.image.replace(":latest", ":nothing")})
    task = customer.stops(customer.run("missing"))
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError: ")
    assert "not found" in task["stoppedReason"]


def test_a_program_that_is_not_in_the_image(customer: Customer) -> None:
    customer.register("nothing", {"command": ["/no/such/program"]})
    task = customer.stops(customer.run("nothing"))
    assert task["stopCode"] == "TaskFailedToStart"
    assert "/no/such/program" in task["stoppedReason"]
    assert "\n" not in task["stoppedReason"]


def test_more_memory_than_it_may_have(customer: Customer) -> None:
    customer.register("hungry", {"command": ["/bin/busybox", "tail", "/dev/zero"], "memory": 32})
    task = customer.stops(customer.run("hungry"))
    assert task["containers"][0]["exitCode"] == 137
    assert task["containers"][0]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_idempotency_tokens_and_paging(customer: Customer) -> None:
    customer.register("once")
    one, two = (customer.run("once", clientToken="token") for _ in range(2))
    assert one == two
    with pytest.raises(ClientError, match=r"idempotent|Idempotent|token"):
        customer.run("once", clientToken="token", startedBy="somebody else")
    customer.run("once")
    pages = customer.ecs.get_paginator("list_tasks").paginate(cluster="c", family="once",
                                                              PaginationConfig={"PageSize": 1})
    found = [page["taskArns"] for page in pages]
    assert [len(arns) for arns in found if arns] == [1, 1]
    for arns in found:
        for arn in arns:
            customer.ecs.stop_task(cluster="c", task=arn)


def test_containers_start_in_order_get_well_and_are_told_so(customer: Customer) -> None:
    """A set-up that must succeed, a server that must be healthy, a client that asks it on the task's loopback."""
    serve = "sleep 2; echo well > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"
    ask = ("wget -q -O - http://127.0.0.1:8080/index.html; wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/taskWithTags;"
           " echo; wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/stats; echo; exec sleep 1000")
    customer.register("ordered", awslogs(
        "sh", "-c", ask, name="client", restartPolicy={"enabled": True},
        dependsOn=[{"containerName": "server", "condition": "HEALTHY"},
                   {"containerName": "setup", "condition": "SUCCESS"}]),
        {"name": "setup", "essential": False, "command": ["sh", "-c", "exit 0"]},
        {"name": "server", "command": ["sh", "-c", serve], "healthCheck": {
            "command": ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1:8080/index.html || exit 1"],
            "interval": 5, "retries": 10}})
    arn = customer.run("ordered", tags=[{"key": "k", "value": "v"}])
    task = customer.runs(arn)
    told = {container["name"]: (container["lastStatus"], container["healthStatus"], container.get("exitCode"))
            for container in task["containers"]}
    assert told == {"client": ("RUNNING", "UNKNOWN", None), "setup": ("STOPPED", "UNKNOWN", 0),
                    "server": ("RUNNING", "HEALTHY", None)}
    assert task["healthStatus"] == "UNKNOWN"  # the client has no check
    until(lambda: len(customer.lines(arn, "client")) >= 3)
    lines = customer.lines(arn, "client")
    assert lines[0] == "well"
    metadata, stats = json.loads(lines[1]), json.loads(lines[2])
    assert metadata["TaskTags"] == {"k": "v"}
    by_name = {container["Name"]: container for container in metadata["Containers"]}
    assert by_name["server"]["Health"]["status"] == "HEALTHY"
    assert stats["memory_stats"]["usage"] > 0
    assert stats["cpu_stats"]["system_cpu_usage"] > stats["precpu_stats"]["system_cpu_usage"] > 0
    (counts,) = stats["networks"].values()
    assert counts["rx_bytes"] > 0 < counts["tx_bytes"]
    customer.ecs.stop_task(cluster="c", task=arn)
    ended = {container["name"]: container for container in customer.stops(arn)["containers"]}
    assert set(ended) == {"client", "setup", "server"}


def test_a_task_that_gets_sick_is_replaced_and_a_protected_one_is_spared(customer: Customer) -> None:
    customer.register("sick", {
        "command": ["sh", "-c", "exec sleep 1000"],
        "healthCheck": {"command": ["CMD-SHELL", "[ ! -e /tmp/sick ] && echo > /tmp/sick"], "interval": 5,
                        "retries": 1}})
    customer.ecs.create_service(cluster="c", serviceName="sick", taskDefinition="sick", desiredCount=1,
                                launchType="FARGATE", networkConfiguration=customer.network())
    found = until(lambda: customer.ecs.list_tasks(cluster="c", serviceName="sick",
                                                  desiredStatus="STOPPED")["taskArns"], 60)
    ended = customer.stops(found[0])
    assert (ended["stopCode"], ended["stoppedReason"]) == (
        "ServiceSchedulerInitiated", "Task failed container health checks")
    customer.ecs.delete_service(cluster="c", service="sick", force=True)
    customer.register("calm")
    customer.ecs.create_service(cluster="c", serviceName="calm", taskDefinition="calm", desiredCount=1,
                                launchType="FARGATE", networkConfiguration=customer.network())
    customer.ecs.get_waiter("services_stable").wait(cluster="c", services=["calm"], WaiterConfig={"Delay": 1})
    (arn,) = customer.ecs.list_tasks(cluster="c", serviceName="calm")["taskArns"]
    asked = customer.ecs.update_task_protection(cluster="c", tasks=[arn], protectionEnabled=True, expiresInMinutes=5)
    assert asked["protectedTasks"][0]["protectionEnabled"]
    assert asked["protectedTasks"][0]["expirationDate"].tzinfo is not None
    customer.ecs.update_service(cluster="c", service="calm", desiredCount=0)
    time.sleep(2)
    assert customer.task(arn)["lastStatus"] == "RUNNING"
    customer.ecs.update_task_protection(cluster="c", tasks=[arn], protectionEnabled=False)
    assert customer.stops(arn)["stopCode"] == "ServiceSchedulerInitiated"
    customer.ecs.delete_service(cluster="c", service="calm", force=True)
