"""Instances as boto3 and its waiters see them: the real control plane over the wire, on engines without a world."""

import base64
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.town import IMAGE, Town

QUICK = {"Delay": 0, "MaxAttempts": 2000}  # a wait is as long as a question takes


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Town(tmp_path_factory.mktemp("town")) as made:
        yield made


@pytest.fixture(scope="module")
def ec2(town: Town) -> Any:
    client = boto3.client("ec2", endpoint_url=town.url, region_name="us-east-1", aws_access_key_id="test",
                          aws_secret_access_key="test", config=Config(retries={"max_attempts": 1}))
    client.get_waiter("image_available").wait(ImageIds=[IMAGE], WaiterConfig=QUICK)
    return client


def launch(ec2: Any, **given: Any) -> str:
    answer = ec2.run_instances(**{"ImageId": IMAGE, "InstanceType": "t3.micro", "MinCount": 1,
                                  "MaxCount": 1, **given})
    id: str = answer["Instances"][0]["InstanceId"]
    return id


def wait(ec2: Any, name: str, id: str) -> None:
    ec2.get_waiter(name).wait(InstanceIds=[id], WaiterConfig=QUICK)


def says(town: Town, text: bytes) -> None:
    def write(machines: Any) -> None:
        for name in machines.running():
            machines.boxes[name].console += text
    town.guest(write)


def test_a_life_by_botocores_waiters(town: Town, ec2: Any) -> None:
    id = launch(ec2, UserData="#!/bin/sh\necho hello\n")
    wait(ec2, "instance_exists", id)
    wait(ec2, "instance_running", id)
    wait(ec2, "system_status_ok", id)
    says(town, b"debian login: ")
    wait(ec2, "instance_status_ok", id)
    told = ec2.describe_instance_attribute(InstanceId=id, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(told) == b"#!/bin/sh\necho hello\n"
    assert ec2.get_console_output(InstanceId=id, Latest=True)["Output"] == "debian login: "
    ec2.stop_instances(InstanceIds=[id])
    wait(ec2, "instance_stopped", id)
    ec2.modify_instance_attribute(InstanceId=id, UserData={"Value": b"other"})
    told = ec2.describe_instance_attribute(InstanceId=id, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(told) == b"other"
    assert ec2.get_console_output(InstanceId=id)["Output"] == "debian login: ", "the last of its life"
    ec2.start_instances(InstanceIds=[id])
    wait(ec2, "instance_running", id)
    ec2.terminate_instances(InstanceIds=[id])
    wait(ec2, "instance_terminated", id)


def test_a_guest_that_powers_off_is_seen_by_its_event(town: Town, ec2: Any) -> None:
    id = launch(ec2)
    wait(ec2, "instance_running", id)
    town.guest(lambda machines: [machines.end(name, "guest") for name in machines.running()])
    wait(ec2, "instance_stopped", id)
    (found,) = ec2.describe_instances(InstanceIds=[id])["Reservations"]
    assert found["Instances"][0]["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    ec2.terminate_instances(InstanceIds=[id])


def test_tokens_dry_runs_and_errors(ec2: Any) -> None:
    first, again = launch(ec2, ClientToken="same"), launch(ec2, ClientToken="same")
    assert first == again
    with pytest.raises(ClientError) as caught:
        launch(ec2, ClientToken="same", InstanceType="t3.small")
    assert caught.value.response["Error"]["Code"] == "IdempotentParameterMismatch"
    with pytest.raises(ClientError) as caught:
        launch(ec2, DryRun=True)
    assert caught.value.response["Error"]["Code"] == "DryRunOperation"
    with pytest.raises(ClientError) as caught:
        launch(ec2, InstanceType="t4g.nano")
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValue"
    ec2.terminate_instances(InstanceIds=[first])


def test_pages_and_templates(ec2: Any) -> None:
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={
        "ImageId": IMAGE, "InstanceType": "t3.nano",
        "UserData": base64.b64encode(b"hello").decode(),
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "of", "Value": "pages"}]}]})
    ids = [ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateName": "web"})["Instances"][0][
        "InstanceId"] for _ in range(7)]
    pages = list(ec2.get_paginator("describe_instances").paginate(
        Filters=[{"Name": "tag:of", "Values": ["pages"]}], PaginationConfig={"PageSize": 3}))
    assert [len(page["Reservations"]) for page in pages] == [3, 3, 1]
    assert sorted(r["Instances"][0]["InstanceId"] for page in pages for r in page["Reservations"]) == sorted(ids)
    types = [each["InstanceType"] for page in ec2.get_paginator("describe_instance_types").paginate(
        PaginationConfig={"PageSize": 40}) for each in page["InstanceTypes"]]
    assert len(types) == len(set(types)) == 93
    ec2.terminate_instances(InstanceIds=ids)
    for id in ids:
        wait(ec2, "instance_terminated", id)


def test_instances_by_the_resource_interface(town: Town) -> None:
    resource = boto3.resource("ec2", endpoint_url=town.url, region_name="us-east-1", aws_access_key_id="test",
                              aws_secret_access_key="test")
    (instance,) = resource.create_instances(ImageId=IMAGE, InstanceType="t2.micro", MinCount=1,
                                            MaxCount=1)
    instance.meta.client.get_waiter("instance_running").wait(InstanceIds=[instance.id], WaiterConfig=QUICK)
    instance.reload()
    assert instance.state == {"Code": 16, "Name": "running"}
    assert instance.public_ip_address
    assert [volume.size for volume in instance.volumes.all()] == [1]
    assert instance.network_interfaces[0].subnet.id == instance.subnet_id
    assert instance.key_name is None
    instance.terminate()
