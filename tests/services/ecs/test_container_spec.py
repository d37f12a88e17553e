"""From a definition and its overrides to what the engine is asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cloudlet.engines.ports import GroupSpec
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.services.ec2 import NetworkInterface
from cloudlet.services.ec2.records import PrivateAddress
from cloudlet.services.ecs.container_spec import container_name, container_spec, handle_in
from cloudlet.services.ecs.definition_rules import normalized
from cloudlet.services.ecs.records import Attachment, Definition, Task, TaskContainer, handle
from tests.services.ecs.test_definition_rules import request

SITE = Site(Installation("abcdef"), Path("/x"), port=4599)
MIB = 1 << 20


def definition(**container: Any) -> Definition:
    return Definition("k", "1", "eu-west-1", "web", 3, normalized(request(container)), 0.0, "me")


def task(**more: Any) -> Task:
    held = Attachment("x", "eni", "subnet", "z", "m", "10.0.0.5", "ip-10-0-0-5.ec2.internal")
    return Task("1/eu-west-1/c/t", "1", "eu-west-1", "c", "t", "k", "web:3",
                (TaskContainer("web", "id", "token", "web:1", reference="localhost:4599/web@sha256:1"),), held, 512,
                1024, 0.0, "family:web", **more)


INTERFACE = NetworkInterface("k", "eni-1", "1", "eu-west-1", "vpc-1", "subnet-1", "10.0.0.0/24", "z",
                             (PrivateAddress("10.0.0.5"),), "10.0.0.2", "m", (), "cl-abcdef-vpc-1", "e", 0.0,
                             path="/run/netns/e")


def test_a_plain_container_leaves_what_the_image_says() -> None:
    spec = container_spec(SITE, task(), definition(), 0, INTERFACE)
    assert spec.group == GroupSpec(f"cl-abcdef-task-{handle(task().key)}", 0.5, 1024 * MIB)
    assert (spec.entry_point, spec.command, spec.user, spec.working_directory, spec.memory_bytes) == (None,) * 5
    assert (spec.image, spec.namespace) == ("localhost:4599/web@sha256:1", "/run/netns/e")
    assert (spec.hostname, spec.resolvers, spec.search) == (
        INTERFACE.private_dns_name, ("10.0.0.2",), ("eu-west-1.compute.internal",))
    assert spec.stop_timeout_s == 30
    assert dict(spec.environment) == {
        "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://169.254.170.2:4599",
        "ECS_AGENT_URI": "http://169.254.170.2/api/token",
        "ECS_CONTAINER_METADATA_URI": "http://169.254.170.2/v3/token",
        "ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/token"}


def test_everything_that_is_said_arrives() -> None:
    spec = container_spec(SITE, task(credentials="uuid", task_role="r"), definition(
        entryPoint=["sh", "-c"], command=["a"], user="1000:1000", workingDirectory="/w", readonlyRootFilesystem=True,
        cpu=128, memory=256, memoryReservation=128, stopTimeout=5, pseudoTerminal=True, interactive=True,
        ulimits=[{"name": "nofile", "softLimit": 10, "hardLimit": 20}], dockerLabels={"l": "v"},
        linuxParameters={"initProcessEnabled": True, "capabilities": {"add": ["SYS_PTRACE"], "drop": ["CHOWN"]}},
        systemControls=[{"namespace": "net.core.somaxconn", "value": "9"}],
        environment=[{"name": "A", "value": "1"}, {"name": "AWS_REGION", "value": "mine"}]), 0, INTERFACE)
    assert (spec.entry_point, spec.command) == (("sh", "-c"), ("a",))
    assert (spec.user, spec.working_directory, spec.read_only, spec.init, spec.tty, spec.stdin) == (
        "1000:1000", "/w", True, True, True, True)
    assert (spec.cpu_shares, spec.memory_bytes, spec.memory_reservation_bytes) == (128, 256 * MIB, 128 * MIB)
    assert (spec.ulimits, spec.sysctls) == ((("nofile", 10, 20),), (("net.core.somaxconn", "9"),))
    assert (spec.add_capabilities, spec.drop_capabilities, spec.stop_timeout_s) == (("SYS_PTRACE",), ("CHOWN",), 5)
    labels = dict(spec.labels)
    assert (labels["l"], labels["com.amazonaws.ecs.task-definition-version"]) == ("v", "3")
    environment = dict(spec.environment)
    assert (environment["A"], environment["AWS_REGION"]) == ("1", "mine")
    assert environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] == "/v2/credentials/uuid"


def test_overrides_win() -> None:
    override = {"name": "web", "command": ["b"], "memory": 300, "cpu": 64,
                "environment": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]}
    given = task(overrides={"containerOverrides": [override]})
    defined = definition(command=["a"], environment=[{"name": "A", "value": "1"}])
    spec = container_spec(SITE, given, defined, 0, INTERFACE)
    assert (spec.command, spec.memory_bytes, spec.cpu_shares) == (("b",), 300 * MIB, 64)
    assert (dict(spec.environment)["A"], dict(spec.environment)["B"]) == ("2", "3")


def test_the_name_leads_back_to_the_task() -> None:
    one = task()
    long = replace(one, containers=(replace(one.containers[0], name="x" * 255),))
    for given in (one, long):
        name = container_name(SITE.installation, given, 0)
        assert handle_in(SITE.installation, name) == handle(one.key)
        assert len(name) < 80
    assert handle_in(SITE.installation, "cl-abcdef-eni-0123456789") is None
    assert handle_in(Installation("fedcba"), container_name(SITE.installation, one, 0)) is None
