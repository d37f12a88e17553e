"""Chapter one: an image is pushed, runs as a service, is reached, killed, and comes back."""

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from cloudlet.demo.stage import Failed, Stage

NAME, PORT = "cloudlet-demo", 80
PAGE = ('mkdir -p /www && echo "hello from $(hostname)" > /www/index.html && echo "ready on $(hostname)"'
        f" && exec httpd -f -v -p {PORT} -h /www")


def chapter(stage: Stage) -> None:
    """The container path, from a directory with a binary to replicas that come back."""
    stage.chapter("From an image to a service that comes back")
    if os.geteuid() != 0:
        _without_root(stage)
        return
    image = _push(stage, _build(stage))
    group, subnet = _network(stage)
    _start(stage, image, group, subnet)
    first = _running(stage, 2)
    _reach(stage, group, first)
    _kill(stage, first)
    _read_logs(stage)
    _scale(stage)
    _clean_up(stage, group)


def _without_root(stage: Stage) -> None:
    with stage.step("Make a repository in ECR and find it again"):
        stage.aws("ecr", "create-repository", "--repository-name", f"{NAME}/web")
        found = stage.aws("ecr", "describe-repositories")["repositories"]
        stage.say(found[0]["repositoryUri"])
        _delete_repository(stage)
    stage.say("Left out, since it needs root: building, running, reaching, killing and scaling containers.")
    stage.say("With root: sudo make demo")


def _build(stage: Stage) -> str:
    with stage.step("Build a tiny web image from what this machine has: a static busybox, no base image"):
        busybox = shutil.which("busybox", path=os.environ.get("PATH", "") + ":/bin:/usr/bin")
        if busybox is None:
            raise Failed("busybox is missing: apt install busybox-static")
        shutil.copy(busybox, stage.directory / "busybox")
        (stage.directory / "Containerfile").write_text(
            "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"
            f"ENV PATH=/bin\nEXPOSE {PORT}\nCMD {json.dumps(['/bin/sh', '-c', PAGE])}\n")
        _isolate_podman(stage)
        stage.run("podman", "build", "-q", "-t", "web", ".")
    return "web"


def _isolate_podman(stage: Stage) -> None:
    """A storage of the demo's own, so that nothing of it stays among the user's images."""
    storage = stage.directory / "podman"
    stage.environment["CONTAINERS_STORAGE_CONF"] = str(stage.directory / "storage.conf")
    stage.environment["REGISTRY_AUTH_FILE"] = str(stage.directory / "auth.json")
    (stage.directory / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}/root"\nrunroot = "{storage}/run"\n')
    stage.later("the demo's images", lambda: stage.run("podman", "rmi", "-a", "-f", shown=False, check=False))


def _push(stage: Stage, image: str) -> str:
    with stage.step("Make a repository in ECR, log in, push the image"):
        made = stage.aws("ecr", "create-repository", "--repository-name", f"{NAME}/web")
        stage.later("the repository", lambda: _delete_repository(stage, shown=False))
        uri: str = made["repository"]["repositoryUri"]
        registry = uri.partition("/")[0]
        stage.show(f"aws ecr get-login-password | podman login --tls-verify=false -u AWS --password-stdin {registry}")
        password = stage.run("aws", "ecr", "get-login-password", shown=False)
        stage.run("podman", "login", "--tls-verify=false", "-u", "AWS", "--password-stdin", registry,
                  shown=False, stdin=password, print_output=True)
        stage.run("podman", "tag", image, f"{uri}:v1")
        stage.run("podman", "push", "-q", "--tls-verify=false", f"{uri}:v1")
        listed = stage.aws("ecr", "describe-images", "--repository-name", f"{NAME}/web")["imageDetails"]
        stage.check([detail["imageTags"] for detail in listed] == [["v1"]], "the registry has the image tagged v1")
        stage.say(f"{listed[0]['imageDigest']}, {listed[0]['imageSizeInBytes'] / 1e6:.1f} MB")
    return f"{uri}:v1"


def _network(stage: Stage) -> tuple[str, str]:
    with stage.step("Make a security group in the default VPC; nothing may come in yet"):
        vpc = stage.aws("ec2", "describe-vpcs", "--filters", "Name=is-default,Values=true")["Vpcs"][0]["VpcId"]
        subnets = stage.aws("ec2", "describe-subnets", "--filters", f"Name=vpc-id,Values={vpc}")["Subnets"]
        group: str = stage.aws("ec2", "create-security-group", "--group-name", NAME, "--description",
                               "web server of the demo", "--vpc-id", vpc)["GroupId"]
        stage.later("the security group", lambda: stage.aws("ec2", "delete-security-group", "--group-id", group,
                                                            shown=False))
        stage.say(f"{group} in {vpc}, {len(subnets)} subnets")
    return group, ",".join(subnet["SubnetId"] for subnet in subnets[:2])


def _start(stage: Stage, image: str, group: str, subnets: str) -> None:
    with stage.step("Make a cluster, a Fargate task definition that logs to CloudWatch, and a service of 2 replicas"):
        stage.aws("ecs", "create-cluster", "--cluster-name", NAME)
        stage.later("the cluster", lambda: stage.aws("ecs", "delete-cluster", "--cluster", NAME, shown=False))
        stage.aws("logs", "create-log-group", "--log-group-name", f"/{NAME}")
        stage.later("the log group", lambda: stage.aws("logs", "delete-log-group", "--log-group-name", f"/{NAME}",
                                                       shown=False))
        container = {"name": "web", "image": image, "portMappings": [{"containerPort": PORT}],
                     "logConfiguration": {"logDriver": "awslogs", "options": {
                         "awslogs-group": f"/{NAME}", "awslogs-region": "us-east-1",
                         "awslogs-stream-prefix": "demo"}}, "stopTimeout": 2}
        (stage.directory / "containers.json").write_text(json.dumps([container], indent=2))
        stage.aws("ecs", "register-task-definition", "--family", NAME, "--requires-compatibilities", "FARGATE",
                  "--network-mode", "awsvpc", "--cpu", "256", "--memory", "512",
                  "--container-definitions", "file://containers.json")
        stage.aws("ecs", "create-service", "--cluster", NAME, "--service-name", "web", "--task-definition", NAME,
                  "--desired-count", "2", "--launch-type", "FARGATE", "--network-configuration",
                  f"awsvpcConfiguration={{subnets=[{subnets}],securityGroups=[{group}],assignPublicIp=ENABLED}}")
        stage.later("the service", lambda: _delete_service(stage, shown=False))


def _tasks(stage: Stage) -> list[dict[str, Any]]:
    arns = stage.aws("ecs", "list-tasks", "--cluster", NAME, "--service-name", "web", shown=False)["taskArns"]
    if not arns:
        return []
    tasks: list[dict[str, Any]] = stage.aws("ecs", "describe-tasks", "--cluster", NAME, "--tasks", *arns,
                                            shown=False)["tasks"]
    return tasks


def _running(stage: Stage, count: int, without: str = "") -> dict[str, dict[str, Any]]:
    """Public address → task, once exactly `count` run (none of them the task `without`)."""
    def look() -> list[dict[str, Any]] | None:
        tasks = [task for task in _tasks(stage) if task["lastStatus"] == "RUNNING" and task["taskArn"] != without]
        return tasks if len(tasks) == count else None

    with stage.step(f"Wait until {count} tasks are RUNNING, and look up their addresses"):
        stage.show(f"aws ecs describe-tasks --cluster {NAME} --tasks …")
        tasks = stage.until(f"{count} tasks are RUNNING", look)
        interfaces = [_detail(task, "networkInterfaceId") for task in tasks]
        found = stage.aws("ec2", "describe-network-interfaces", "--network-interface-ids", *interfaces)
        public = {item["NetworkInterfaceId"]: item["Association"]["PublicIp"] for item in found["NetworkInterfaces"]}
        addresses = {public[_detail(task, "networkInterfaceId")]: task for task in tasks}
        for address, task in addresses.items():
            stage.say(f"{task['taskArn'].rpartition('/')[2]}: private {_detail(task, 'privateIPv4Address')},"
                      f" public {address}")
    return addresses


def _detail(task: dict[str, Any], name: str) -> str:
    values = {detail["name"]: detail["value"] for detail in task["attachments"][0]["details"]}
    value: str = values[name]
    return value


def _fetch(stage: Stage, address: str, *, shown: bool = True) -> str | None:
    said = stage.run("curl", "-sS", "-m", "1", f"http://{address}/", shown=shown, check=False)
    return said.strip() if said.startswith("hello from") else None


def _reach(stage: Stage, group: str, addresses: dict[str, dict[str, Any]]) -> None:
    address = next(iter(addresses))
    with stage.step("The port is closed: no rule of the security group lets anybody in"):
        complaint = stage.run("curl", "-sS", "-m", "1", f"http://{address}/", check=False, print_output=True)
        stage.check("timed out" in complaint, "the packets of a client are dropped before the rule")
    with stage.step("Open port 80 in the security group, and reach both replicas on their public addresses"):
        stage.aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port",
                  str(PORT), "--cidr", "0.0.0.0/0")
        pages = set()
        for address in addresses:
            stage.until(f"{address} answers", partial(_fetch, stage, address, shown=False))
            page = _fetch(stage, address)
            stage.say(page or "")
            pages.add(page)
        stage.check(len(pages - {None}) == len(addresses), "every replica answers for itself")


def _kill(stage: Stage, addresses: dict[str, dict[str, Any]]) -> None:
    task = next(iter(addresses.values()))
    with stage.step("Kill the web server of one replica, as a crash would"):
        pid = _pid_of(task["containers"][0]["runtimeId"])
        stage.run("kill", "-9", str(pid))
    replaced = _running(stage, 2, without=task["taskArn"])
    with stage.step("The service has replaced it: the new replica answers"):
        new = next(address for address, found in replaced.items()
                   if found["taskArn"] not in {old["taskArn"] for old in addresses.values()})
        stage.say(stage.until(f"{new} answers", lambda: _fetch(stage, new, shown=False)))
        stopped = stage.aws("ecs", "describe-tasks", "--cluster", NAME, "--tasks", task["taskArn"])["tasks"][0]
        stage.say(f"the old one: {stopped['lastStatus']}, {stopped['stoppedReason']},"
                  f" exit code {stopped['containers'][0]['exitCode']}")


def _pid_of(runtime_id: str) -> int:
    """The first process of a container, found by the container's id in its cgroup."""
    for cgroup in sorted(Path("/proc").glob("[0-9]*/cgroup"), key=lambda path: int(path.parts[2])):
        try:
            if runtime_id in cgroup.read_text() and b"conmon" not in (cgroup.parent / "comm").read_bytes():
                return int(cgroup.parts[2])
        except OSError:
            continue
    raise Failed(f"no process of container {runtime_id} is there")


def _read_logs(stage: Stage) -> None:
    with stage.step("Read what the replicas wrote, in CloudWatch Logs"):
        events = stage.aws("logs", "filter-log-events", "--log-group-name", f"/{NAME}")["events"]
        ready = [event for event in events if event["message"].startswith("ready on")]
        stage.check(len(ready) == 3, "each of three replicas said once that it was ready")
        for event in events[-3:]:
            stage.say(f"{event['logStreamName'][-8:]}  {event['message']}")


def _scale(stage: Stage) -> None:
    for count in (5, 2):
        with stage.step(f"Scale to {count}"):
            stage.aws("ecs", "update-service", "--cluster", NAME, "--service", "web", "--desired-count", str(count))
        _running(stage, count)


def _delete_service(stage: Stage, *, shown: bool = True) -> None:
    stage.aws("ecs", "delete-service", "--cluster", NAME, "--service", "web", "--force", shown=shown)
    stage.until("it is INACTIVE and its tasks have stopped", lambda: _service_status(stage) == "INACTIVE" or None)


def _service_status(stage: Stage) -> str:
    status: str = stage.aws("ecs", "describe-services", "--cluster", NAME, "--services", "web",
                            shown=False)["services"][0]["status"]
    return status


def _clean_up(stage: Stage, group: str) -> None:
    with stage.step("Delete it all"):
        _delete_service(stage)
        stage.forget("the service")
        stage.aws("ecs", "delete-cluster", "--cluster", NAME)
        stage.forget("the cluster")
        stage.until("its interfaces are gone", lambda: True if not stage.aws(
            "ec2", "describe-network-interfaces", "--filters", f"Name=group-id,Values={group}",
            shown=False)["NetworkInterfaces"] else None)
        stage.aws("ec2", "delete-security-group", "--group-id", group)
        stage.forget("the security group")
        stage.aws("logs", "delete-log-group", "--log-group-name", f"/{NAME}")
        stage.forget("the log group")
        _delete_repository(stage)


def _delete_repository(stage: Stage, *, shown: bool = True) -> None:
    stage.aws("ecr", "delete-repository", "--repository-name", f"{NAME}/web", "--force", shown=shown)
    stage.forget("the repository")
