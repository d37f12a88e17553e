"""What real tasks are given from outside: volumes, secrets, private registries, storage, multi-line logs."""

import io
import json
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.aws.test_ecs import TRUST, Customer, awslogs, until
from tests.engines.test_images import PASSWORD, docker_registry
from tests.images import busybox_layer, login
from tests.running import Cloudlet

pytestmark = [pytest.mark.root, pytest.mark.engine("podman")]

VALUE = "correct horse battery staple"


@pytest.fixture(scope="module")
def customer(cloudlet: Cloudlet) -> Customer:
    return Customer(cloudlet)


def agent_layer() -> bytes:
    """/opt/agent with one file, which belongs to somebody."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, body in (("opt", None), ("opt/agent", None), ("opt/agent/hello", b"from the image\n")):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.uid, entry.gid = 0o755, 1000, 1000
            entry.type, entry.size = (tarfile.DIRTYPE, 0) if body is None else (tarfile.REGTYPE, len(body))
            tar.addfile(entry, io.BytesIO(body) if body else None)
    return out.getvalue()


def volumes_on_disk(cloudlet: Cloudlet) -> list[Path]:
    return list((cloudlet.data_dir / "containers" / "volumes").glob("*/*"))


def test_volumes_are_shared_filled_and_outlive_the_control_plane(customer: Customer) -> None:
    cloudlet = customer.cloudlet
    login(cloudlet).push("busybox", "agent", [busybox_layer(), agent_layer()], ["/bin/sleep", "1000"],
                         Volumes={"/opt/agent": {}})
    agent = customer.image.replace(":latest", ":agent")
    customer.register(
        "volumes",
        awslogs("/bin/sh", "-c", "cat /opt/agent/hello; echo no > /opt/agent/x; echo shared > /data/file; cat /data/go;"
                " while ! cat /data/back; do sleep 0.1; done; sleep 1000",
                mountPoints=[{"sourceVolume": "data", "containerPath": "/data"}],
                volumesFrom=[{"sourceContainer": "agent", "readOnly": True}]),
        {"name": "agent", "image": agent, "essential": False, "command": [
            "/bin/sh", "-c", "echo before > /in/go; while ! cat /in/file; do sleep 0.1; done;"
            " while ! cat /in/restarted; do sleep 0.1; done; echo back > /in/back; sleep 1000"],
         "mountPoints": [{"sourceVolume": "data", "containerPath": "/in"}]},
        volumes=[{"name": "data"}])
    arn = customer.run("volumes")
    customer.runs(arn)
    until(lambda: {"from the image", "before"} <= set(customer.lines(arn)))
    said = customer.lines(arn)
    assert any("Read-only file system" in line for line in said), said
    (data,) = [path for path in volumes_on_disk(cloudlet) if path.name == "data"]
    until(lambda: (data / "file").exists())
    cloudlet.kill()
    (data / "restarted").write_text("now\n")
    time.sleep(0.5)
    cloudlet.start()
    until(lambda: "back" in customer.lines(arn))
    assert customer.task(arn)["lastStatus"] == "RUNNING"
    customer.ecs.stop_task(cluster="c", task=arn)
    customer.stops(arn)
    assert volumes_on_disk(cloudlet) == []


def execution_role(customer: Customer, *statements: dict[str, Any]) -> str:
    """The role, which may do that from now on."""
    iam = customer.cloudlet.client("iam")
    try:
        iam.create_role(RoleName="execution", AssumeRolePolicyDocument=TRUST)
    except iam.exceptions.EntityAlreadyExistsException:
        pass
    iam.put_role_policy(RoleName="execution", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]}))
    return str(iam.get_role(RoleName="execution")["Role"]["Arn"])


def test_secrets_are_in_the_environment_and_shown_nowhere(customer: Customer) -> None:
    cloudlet = customer.cloudlet
    cloudlet.client("ssm").put_parameter(Name="/app/key", Value=VALUE, Type="SecureString")
    secret = cloudlet.client("secretsmanager").create_secret(
        Name="db", SecretString=json.dumps({"user": "app", "password": VALUE}))["ARN"]
    role = execution_role(customer, {"Action": "ssm:GetParameters", "Resource": "arn:aws:ssm:*:*:parameter/app/*"},
                          {"Action": "secretsmanager:GetSecretValue", "Resource": secret})
    customer.register(
        "secrets", awslogs("/bin/sh", "-c", 'echo "$KEY|$PASSWORD" | /bin/busybox sha256sum; echo "$ALL"|'
                           '/bin/busybox tr -d " a-z"; sleep 1000',
                           secrets=[{"name": "KEY", "valueFrom": "/app/key"},
                                    {"name": "PASSWORD", "valueFrom": f"{secret}:password::"},
                                    {"name": "ALL", "valueFrom": secret}]), executionRoleArn=role)
    arn = customer.run("secrets")
    task = customer.runs(arn)
    expected = subprocess.run(["sha256sum"], input=f"{VALUE}|{VALUE}\n".encode(), capture_output=True, check=True)
    until(lambda: len(customer.lines(arn)) == 2)
    assert customer.lines(arn)[0].split()[0] == expected.stdout.decode().split()[0]
    assert customer.lines(arn)[1] == '{"":"","":""}'
    definition = customer.ecs.describe_task_definition(taskDefinition="secrets")
    assert VALUE not in repr((task, definition))
    assert VALUE not in cloudlet.log.read_text()
    for file in cloudlet.data_dir.glob("cloudlet.db*"):
        assert VALUE.encode() not in file.read_bytes()
    customer.ecs.stop_task(cluster="c", task=arn)
    customer.stops(arn)
    execution_role(customer, {"Action": "ssm:GetParameters", "Resource": "*"})  # a moment before
    stopped = customer.stops(customer.run("secrets"))
    assert stopped["stopCode"] == "TaskFailedToStart"
    assert stopped["stoppedReason"].startswith(
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed:"
        " unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret"
        f" {secret}:password:: from secrets manager: AccessDeniedException: User: ")


@pytest.mark.engine("docker-registry")
def test_a_private_registry(customer: Customer, tmp_path: Path) -> None:
    secrets = customer.cloudlet.client("secretsmanager")
    good, bad = (secrets.create_secret(Name=name, SecretString=json.dumps({"username": "AWS", "password": password}))
                 ["ARN"] for name, password in (("good", PASSWORD), ("bad", "wrong")))
    role = execution_role(customer, {"Action": "secretsmanager:GetSecretValue", "Resource": "*"})
    with docker_registry(tmp_path / "registry") as registry:
        registry.push("team/app", "1")
        image = f"127.0.0.1:{registry.port}/team/app:1"

        def run(secret: str | None) -> str:
            given = {"repositoryCredentials": {"credentialsParameter": secret}} if secret else {}
            customer.register("private", {"image": image, **given}, executionRoleArn=role)
            return customer.run("private")
        for secret in (bad, None):
            assert "authorization failed" in customer.stops(run(secret))["stoppedReason"]
        arn = run(good)
        task = customer.runs(arn)
        assert PASSWORD not in repr(task)
        customer.ecs.stop_task(cluster="c", task=arn)
        for secret in (bad, None):  # that the image is here now opens it to nobody else
            assert "authorization failed" in customer.stops(run(secret))["stoppedReason"]


def test_lines_of_a_message_arrive_as_one_and_once_through_kill_9(customer: Customer) -> None:
    given = awslogs("/bin/sh", "-c", "i=0; while [ $i -lt 60 ]; do echo \"ERROR $i\"; echo '  at a'; echo '  at b';"
                    " i=$((i+1)); sleep 0.05; done")
    given["logConfiguration"]["options"]["awslogs-multiline-pattern"] = "^ERROR [0-9]+"
    customer.register("multiline", given)
    arn = customer.run("multiline")
    customer.runs(arn)
    for _ in range(3):
        time.sleep(0.7)
        customer.cloudlet.kill()
        time.sleep(0.1)
        customer.cloudlet.start()
    customer.stops(arn)
    assert customer.lines(arn) == [f"ERROR {number}\n  at a\n  at b\n" for number in range(60)]


@pytest.mark.slow
def test_a_task_that_fills_its_storage_is_stopped(customer: Customer) -> None:
    if shutil.disk_usage(customer.cloudlet.data_dir).free < 40 << 30:
        pytest.skip("needs 40 GB of free disk")
    customer.register("full", {"command": ["/bin/sh", "-c", "/bin/busybox fallocate -l 22000000000 /data/large &&"
                                           " sleep 1000"],
                               "mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]},
                      volumes=[{"name": "data"}])
    arn = customer.run("full")
    task = customer.stops(arn)
    assert task["ephemeralStorage"] == {"sizeInGiB": 20}
    assert task["stopCode"] == "TerminationNotice", task
    assert "MiB of ephemeral storage, more than its 20 GiB" in task["stoppedReason"]
    assert volumes_on_disk(customer.cloudlet) == []
