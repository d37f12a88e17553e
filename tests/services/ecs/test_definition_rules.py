"""What RegisterTaskDefinition takes, fills in and refuses."""

from typing import Any

import pytest

from cloudlet.services.ecs.api import ClientException
from cloudlet.services.ecs.definition_rules import normalized
from cloudlet.services.ecs.fargate import SIZES, check_size, units

AWSLOGS = {"awslogs-group": "g", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}


def request(container: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"family": "web", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256",
            "memory": "512", "containerDefinitions": [{"name": "web", "image": "web:1", **(container or {})}], **more}


def refusal(given: dict[str, Any]) -> str:
    with pytest.raises(ClientException) as caught:
        normalized(given)
    return str(caught.value)


def test_defaults_are_filled_in_as_aws_does() -> None:
    document = normalized(request({"portMappings": [{"containerPort": 80}], "logConfiguration": {
        "logDriver": "awslogs", "options": AWSLOGS}}, taskRoleArn="arn:aws:iam::123456789012:role/r"))
    assert document["containerDefinitions"] == [{
        "name": "web", "image": "web:1", "cpu": 0, "essential": True, "environment": [], "mountPoints": [],
        "volumesFrom": [], "systemControls": [],
        "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}],
        "logConfiguration": {"logDriver": "awslogs", "options": AWSLOGS}}]
    assert document["compatibilities"] == ["EC2", "FARGATE"]
    assert document["volumes"] == document["placementConstraints"] == []
    assert {a["name"] for a in document["requiresAttributes"]} >= {
        "ecs.capability.task-eni", "com.amazonaws.ecs.capability.task-iam-role",
        "com.amazonaws.ecs.capability.logging-driver.awslogs"}


def test_a_no_is_told_as_it_was_given() -> None:
    given = {"privileged": False, "readonlyRootFilesystem": False, "interactive": False, "pseudoTerminal": False}
    (container,) = normalized(request(given))["containerDefinitions"]  # else Terraform would find something to change
    assert {name: container.get(name) for name in given} == given


@pytest.mark.parametrize(("cpu", "memory"), [("256", "512"), (".25 vCPU", "0.5 GB"), ("0.25vcpu", "512")])
def test_sizes_are_written_in_units(cpu: str, memory: str) -> None:
    document = normalized(request(cpu=cpu, memory=memory))
    assert (document["cpu"], document["memory"]) == ("256", "512")


def test_the_table_of_sizes() -> None:
    assert {cpu: (min(sizes), max(sizes), len(sizes)) for cpu, sizes in SIZES.items()} == {
        256: (512, 2048, 3), 512: (1024, 4096, 4), 1024: (2048, 8192, 7), 2048: (4096, 16384, 13),
        4096: (8192, 30720, 23), 8192: (16384, 61440, 12), 16384: (32768, 122880, 12)}
    check_size(1024, 3072)
    with pytest.raises(ClientException, match="No Fargate configuration exists for given values: 1024 CPU, 1024"):
        check_size(1024, 1024)


@pytest.mark.parametrize("text", ["", "x", "1 TB", "-1", "0", "1e3", "9" * 30, ".", "1.00001 GB", "１"])
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(ClientException, match="Invalid 'memory' setting for task"):
        units(text, "memory")


@pytest.mark.parametrize(("change", "words"), [
    ({"networkMode": "bridge"}, "Fargate only supports network mode ‘awsvpc’."),
    ({"cpu": None}, "Fargate requires that 'cpu' be defined at the task level."),
    ({"memory": None}, "Fargate requires that 'memory' be defined at the task level."),
    ({"memory": "4096"}, "No Fargate configuration exists for given values: 256 CPU, 4096 memory."),
    ({"family": "a b"}, "Family contains invalid characters."),
    ({"containerDefinitions": []}, "Container list cannot be empty."),
    ({"requiresCompatibilities": ["EC2"]}, "The launch type EC2 is not supported by Cloudlet yet."),
    ({"requiresCompatibilities": None, "networkMode": None}, "Cloudlet registers only what can run on Fargate."),
    ({"runtimePlatform": {"cpuArchitecture": "ARM64"}}, "CPU architecture ARM64 is not supported by Cloudlet yet."),
    ({"taskRoleArn": "admin"}, "is not the ARN of a role"),
    ({"placementConstraints": [{"type": "memberOf"}]}, "do not support placementConstraints"),
    ({"inferenceAccelerators": [{"deviceName": "a", "deviceType": "b"}]}, "do not support inferenceAccelerators"),
    ({"ipcMode": "task"}, "do not support ipcMode"),
    ({"pidMode": "task"}, "pidMode is not supported by Cloudlet yet."),
    ({"enableFaultInjection": True}, "enableFaultInjection is not supported by Cloudlet yet."),
])
def test_refused_for_a_task(change: dict[str, Any], words: str) -> None:
    assert words in refusal(request(**change))


@pytest.mark.parametrize(("change", "words"), [
    ({"name": None}, "Container.name should not be null or empty."),
    ({"name": "a/b"}, "Container.name contains invalid characters."),
    ({"image": ""}, "Container.image should not be null or empty."),
    ({"image": "../../etc/passwd"}, "Container.image contains invalid characters."),
    ({"image": "web:1\n--privileged"}, "Container.image contains invalid characters."),
    ({"essential": False}, "Task definition doesn't have any essential container."),
    ({"cpu": 512}, "The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'."),
    ({"memory": 1024}, "'memory' cannot be greater than the value of the task 'memory'."),
    ({"memory": 128, "memoryReservation": 256}, "must be greater than or equal to 'memoryReservation'"),
    ({"memory": 1}, "must be at least 6 MiB"),
    ({"portMappings": [{"containerPort": 80, "hostPort": 8080}]}, "host ports and container ports in port mappings"),
    ({"portMappings": [{"containerPort": 0}]}, "Container port must be between 1 and 65535."),
    ({"stopTimeout": 121}, "container stop timeout of less than 120 seconds"),
    ({"privileged": True}, "privileged"),
    ({"links": ["db"]}, "Links are not supported when networkMode=awsvpc."),
    ({"hostname": "h"}, "Hostname is not supported"),
    ({"extraHosts": [{"hostname": "h", "ipAddress": "1.1.1.1"}]}, "Extra hosts are not supported"),
    ({"dependsOn": [{"containerName": "x", "condition": "START"}]}, "'web' depends on the container 'x', which is not"),
    ({"dependsOn": [{"containerName": "web", "condition": "START"}]}, "dependencies of web form a cycle"),
    ({"startTimeout": 121}, "container start timeout of less than 120 seconds"),
    ({"startTimeout": 1}, "Granular start timeout on container 'web' must be at least 2 seconds."),
    ({"healthCheck": {"command": ["true"]}}, "must start with CMD or CMD-SHELL"),
    ({"healthCheck": {"command": ["CMD"]}}, "The health check has no command"),
    ({"healthCheck": {"command": ["CMD-SHELL", "a", "b"]}}, "more than one for the shell"),
    ({"healthCheck": {"command": ["CMD", "true"], "interval": 4}}, "interval of a health check must be between 5 and"),
    ({"healthCheck": {"command": ["CMD", "true"], "timeout": 61}}, "timeout of a health check must be between 2 and"),
    ({"healthCheck": {"command": ["CMD", "true"], "retries": 0}}, "retries of a health check must be between 1 and 10"),
    ({"healthCheck": {"command": ["CMD", "true"], "startPeriod": 301}}, "startPeriod of a health check must be"),
    ({"restartPolicy": {"enabled": True, "restartAttemptPeriod": 59}}, "must be between 60 and 1800"),
    ({"restartPolicy": {"enabled": False, "ignoredExitCodes": [0]}}, "must be enabled to have settings"),
    ({"restartPolicy": {"enabled": True, "ignoredExitCodes": [*range(51)]}}, "ignore at most 50 exit codes"),
    ({"resourceRequirements": [{"type": "GPU", "value": "1"}]}, "do not support resourceRequirements"),
    ({"portMappings": [{"containerPortRange": "90-80"}]}, "The container port range '90-80' is not valid"),
    ({"portMappings": [{"containerPortRange": "80-90", "containerPort": 80}]}, "either containerPort or"),
    ({"portMappings": [{"containerPortRange": "80-90"}, {"containerPort": 85}]}, "share a container port"),
    ({"portMappings": [{"containerPort": 80, "name": "Web"}]}, "The port mapping name 'Web'"),
    ({"portMappings": [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]}, "must be unique"),
    ({"ulimits": [{"name": "nproc", "softLimit": 1, "hardLimit": 1}]}, "only support the nofile ulimit"),
    ({"linuxParameters": {"capabilities": {"add": ["NET_ADMIN"]}}}, "only the capability SYS_PTRACE"),
    ({"linuxParameters": {"tmpfs": [{"containerPath": "/t", "size": 1}]}}, "do not support tmpfs"),
    ({"systemControls": [{"namespace": "kernel.panic", "value": "1"}]}, "net.*"),
    ({"environment": [{"name": "A=B", "value": ""}]}, "Environment variable names must not be empty or contain '='"),
    ({"logConfiguration": {"logDriver": "splunk"}}, "splunk is not supported by Cloudlet yet."),
    ({"logConfiguration": {"logDriver": "syslog"}}, "Must be one of [awslogs,splunk,awsfirelens]"),
    ({"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}}},
     "Log driver awslogs requires options: awslogs-region, awslogs-group"),
])
def test_refused_for_a_container(change: dict[str, Any], words: str) -> None:
    assert words in refusal(request(change))


def test_containers_have_names_and_ports_of_their_own() -> None:
    two = [{"name": "a", "image": "i", "portMappings": [{"containerPort": 80}]},
           {"name": "b", "image": "i", "portMappings": [{"containerPort": 80}]}]
    assert "share a container port" in refusal(request(containerDefinitions=two))
    assert "Container names must be unique." in refusal(request(containerDefinitions=[two[0], two[0]]))
    assert "at most 10 containers" in refusal(request(containerDefinitions=two * 6))


def test_health_checks_and_restart_policies_get_their_defaults() -> None:
    document = normalized(request({
        "healthCheck": {"command": ["CMD-SHELL", "true"]}, "restartPolicy": {"enabled": True},
        "startTimeout": 2, "systemControls": [{"namespace": "kernel.shmmax", "value": "1"}],
        "portMappings": [{"containerPortRange": "8000-8010", "name": "p-1", "appProtocol": "grpc"}]}))
    (container,) = document["containerDefinitions"]
    assert container["healthCheck"] == {"command": ["CMD-SHELL", "true"], "interval": 30, "timeout": 5, "retries": 3}
    assert container["restartPolicy"] == {"enabled": True, "restartAttemptPeriod": 300}
    assert container["portMappings"] == [
        {"containerPortRange": "8000-8010", "name": "p-1", "appProtocol": "grpc", "protocol": "tcp"}]
    assert {a["name"] for a in document["requiresAttributes"]} >= {
        "ecs.capability.container-ordering", "ecs.capability.container-health-check",
        "ecs.capability.container-restart-policy"}
    (container,) = normalized(request({"restartPolicy": {"enabled": False},
                                       "healthCheck": {"command": ["NONE"]}}))["containerDefinitions"]
    assert container["restartPolicy"] == {"enabled": False}


def test_dependencies_must_be_possible() -> None:
    def depends(condition: str, **db: Any) -> dict[str, Any]:
        return request(containerDefinitions=[
            {"name": "web", "image": "i", "dependsOn": [{"containerName": "db", "condition": condition}]},
            {"name": "db", "image": "i", **db}])
    for condition in ("SUCCESS", "COMPLETE"):
        assert refusal(depends(condition)) == (
            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container")
        normalized(depends(condition, essential=False))
    assert "being HEALTHY, which has no health check" in refusal(depends("HEALTHY"))
    normalized(depends("HEALTHY", healthCheck={"command": ["CMD", "true"]}))
    back = [{"containerName": "web", "condition": "START"}]
    assert "dependencies of db, web form a cycle" in refusal(depends("START", dependsOn=back))
