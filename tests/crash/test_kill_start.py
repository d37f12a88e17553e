"""kill -9 of the control plane while tasks get their volumes and secrets: none twice, none half, none left."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.test_ecs import Customer, awslogs, until
from tests.aws.test_ecs_volumes import VALUE, agent_layer, execution_role, volumes_on_disk
from tests.conftest import running_cloudlet
from tests.images import busybox_layer, login
from tests.running import Cloudlet

pytestmark = [pytest.mark.root, pytest.mark.engine("podman"), pytest.mark.slow]
ROUNDS = 6


@pytest.fixture
def cloudlet(tmp_path: Path) -> Iterator[Cloudlet]:
    with running_cloudlet(tmp_path) as instance:
        yield instance


def test_a_start_that_is_cut_off_anywhere_is_finished(cloudlet: Cloudlet) -> None:
    customer = Customer(cloudlet)
    secret = cloudlet.client("secretsmanager").create_secret(
        Name="s", SecretString=json.dumps({"password": VALUE}))["ARN"]
    role = execution_role(customer, {"Action": "secretsmanager:GetSecretValue", "Resource": secret})
    login(cloudlet).push("busybox", "agent", [busybox_layer(), agent_layer()], ["/bin/sleep", "1000"],
                         Volumes={"/opt/agent": {}})
    customer.register(
        "all", awslogs("/bin/sh", "-c", "cat /opt/agent/hello; echo \"${#PASSWORD}\"; echo once >> /opt/agent/hello;"
                       " sleep 1000", image=customer.image.replace(":latest", ":agent"),
                       mountPoints=[{"sourceVolume": "data", "containerPath": "/opt/agent"}],
                       secrets=[{"name": "PASSWORD", "valueFrom": f"{secret}:password::"}]),
        volumes=[{"name": "data"}], executionRoleArn=role)
    dice, arns = random.Random(17), list[str]()
    for _ in range(ROUNDS):
        arns.append(customer.run("all"))
        time.sleep(dice.uniform(0, 0.7))
        cloudlet.kill()
        cloudlet.start()
    for arn in arns:
        customer.runs(arn)
        until(lambda arn=arn: len(customer.lines(arn)) >= 2)
        assert customer.lines(arn) == ["from the image", str(len(VALUE))]
    volumes = volumes_on_disk(cloudlet)
    assert [path.name for path in volumes] == ["data"] * ROUNDS
    assert {(path / "hello").read_text() for path in volumes} == {"from the image\nonce\n"}
    for arn in arns:
        customer.ecs.stop_task(cluster="c", task=arn)
        time.sleep(dice.uniform(0, 0.3))
        cloudlet.kill()
        cloudlet.start()
    for arn in arns:
        customer.stops(arn)
    assert volumes_on_disk(cloudlet) == []
