"""Who may do what to what: conditions on the tags of EC2's things, on what they are, and on tags at their making."""

import asyncio
import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from cloudlet.kernel.clock import SystemClock
from cloudlet.services.ec2 import ec2
from cloudlet.services.iam import iam, identities
from cloudlet.wire.gateway import Gateway
from tests.services.ec2.conftest import Region
from tests.services.ec2.instances.conftest import IMAGE, Fleet
from tests.wire.exchange import signed, text_of

HERE = "arn:aws:ec2:us-east-1:123456789012"


class Ann:
    """A user, and what EC2 answers her over the wire."""

    def __init__(self, region: Region) -> None:
        self.region, desk = region, region.desk
        desk(iam, "CreateUser", UserName="ann")
        key = desk(iam, "CreateAccessKey", UserName="ann")["AccessKey"]
        self.key, self.secret = key["AccessKeyId"], key["SecretAccessKey"]
        self.gateway = Gateway([ec2], desk.store, desk.clock, identities(desk.site, (ec2, iam)))
        desk.clock.time = SystemClock().now()  # by which requests are signed

    def may(self, *statements: dict[str, Any]) -> None:
        """All that she may from now on."""
        self.region.desk(iam, "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=json.dumps({
            "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*"} | s for s in statements]}))

    def __call__(self, action: str, **given: Any) -> str:
        """"" or the code of the error."""
        body = urlencode({"Action": action, "Version": "2016-11-15",
                          **{name.replace("_", "."): value for name, value in given.items()}}).encode()
        request = signed("ec2", body, headers={"Content-Type": "application/x-www-form-urlencoded"},
                         key=self.key, secret=self.secret)
        text = text_of(asyncio.run(self.gateway.handle(request)))
        code = re.search("<Code>(.*)</Code>", text)
        return code[1] if code else ""


@pytest.fixture
def ann(region: Region) -> Ann:
    return Ann(region)


def when(operator: str, key: str, *values: str) -> dict[str, Any]:
    return {"Condition": {operator: {key: list(values)}}}


@pytest.mark.parametrize("key", ["aws:ResourceTag/team", "ec2:ResourceTag/team"])
def test_tags_say_which_instances(region: Region, ann: Ann, key: str) -> None:
    fleet = Fleet(region)
    mine, other = fleet.launch(2)
    region("CreateTags", Resources=[mine], Tags=[{"Key": "team", "Value": "red"}])
    ann.may({"Action": ["ec2:RebootInstances", "ec2:TerminateInstances"]} | when("StringEquals", key, "red"))
    assert ann("RebootInstances", InstanceId_1=mine) == ""
    assert ann("RebootInstances", InstanceId_1=other) == "UnauthorizedOperation"
    assert ann("TerminateInstances", InstanceId_1=mine, InstanceId_2=other) == "UnauthorizedOperation"
    assert fleet.state(mine) == "pending"


def test_tags_of_everything_that_has_some(region: Region) -> None:
    assert ec2.tags_of is not None
    fleet = Fleet(region)
    (instance,) = fleet.launch()
    ids = [instance, fleet.shown(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"], region.vpc_id,
           region.subnet_id, region.group(), fleet.shown(instance)["NetworkInterfaces"][0]["NetworkInterfaceId"]]
    region("CreateTags", Resources=ids, Tags=[{"Key": "a", "Value": "1"}])
    kinds = "instance", "volume", "vpc", "subnet", "security-group", "network-interface"
    with region.desk.store.tx() as tx:
        for kind, id in zip(kinds, ids, strict=True):
            assert ec2.tags_of(tx, f"{HERE}:{kind}/{id}") == {"a": "1"}, kind
        for nothing in ("*", f"{HERE}:instance/*", f"{HERE}:instance/i-0", f"{HERE}:zoo/1", f"{HERE}:vpc/{instance}",
                        f"arn:aws:ec2:us-east-1::image/{IMAGE}"):
            assert ec2.tags_of(tx, nothing) == {}


@pytest.mark.parametrize(("kind", "operator", "key", "value", "other"), [
    ("instance", "StringEquals", "ec2:InstanceType", "t3.micro", "t3.nano"),
    ("volume", "NumericLessThan", "ec2:VolumeSize", "9", "8"),
    ("subnet", "ArnEquals", "ec2:Vpc", f"{HERE}:vpc/VPC", f"{HERE}:vpc/vpc-0"),
    ("network-interface", "ArnEquals", "ec2:Subnet", f"{HERE}:subnet/SUBNET", f"{HERE}:subnet/subnet-0"),
    ("security-group", "ArnEquals", "ec2:Vpc", f"{HERE}:vpc/VPC", f"{HERE}:vpc/vpc-0"),
    ("instance", "StringEquals", "ec2:Region", "us-east-1", "eu-west-1")])
def test_what_things_are(region: Region, ann: Ann, kind: str, operator: str, key: str, value: str, other: str) -> None:
    fleet = Fleet(region)
    group = region.group()
    instance = fleet.shown(fleet.launch(SecurityGroupIds=[group])[0])
    card = instance["NetworkInterfaces"][0]
    action, given = {
        "instance": ("StopInstances", {"InstanceId_1": instance["InstanceId"]}),
        "volume": ("ModifyVolume", {"VolumeId": instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]}),
        "subnet": ("ModifySubnetAttribute", {"SubnetId": card["SubnetId"]}),
        "network-interface": ("DeleteNetworkInterface", {"NetworkInterfaceId": card["NetworkInterfaceId"]}),
        "security-group": ("DeleteSecurityGroup", {"GroupId": group})}[kind]
    value = value.replace("VPC", card["VpcId"]).replace("SUBNET", card["SubnetId"])
    for said, allowed in ((other, False), (value, True)):
        ann.may({"Action": f"ec2:{action}"} | when(operator, key, said))
        assert (ann(action, **given) != "UnauthorizedOperation") == allowed, said


def test_tags_at_the_making_need_permission_of_their_own(region: Region, ann: Ann) -> None:
    fleet = Fleet(region)
    launch = {"ImageId": IMAGE, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    tags = {"TagSpecification_1_ResourceType": "instance", "TagSpecification_1_Tag_1_Key": "team",
            "TagSpecification_1_Tag_1_Value": "red"}
    run = {"Action": "ec2:RunInstances"}
    ann.may(run)
    assert ann("RunInstances", **launch) == ""
    assert ann("RunInstances", **launch, **tags) == "UnauthorizedOperation"
    tagging = {"Action": "ec2:CreateTags", "Resource": f"{HERE}:*/*"}
    ann.may(run, tagging | when("StringEquals", "ec2:CreateAction", "CreateVolume"))
    assert ann("RunInstances", **launch, **tags) == "UnauthorizedOperation"
    ann.may(run, tagging | when("StringEquals", "ec2:CreateAction", "RunInstances"))
    assert ann("RunInstances", **launch, **tags) == ""
    (id,) = [i["InstanceId"] for r in region("DescribeInstances")["Reservations"] for i in r["Instances"]
             if i["Tags"]]
    assert ann("CreateTags", ResourceId_1=id, Tag_1_Key="team", Tag_1_Value="blue") == "UnauthorizedOperation"
    assert fleet.shown(id)["Tags"] == [{"Key": "team", "Value": "red"}]


def test_so_do_those_of_a_launch_template(region: Region, ann: Ann) -> None:
    Fleet(region)
    region("CreateLaunchTemplate", LaunchTemplateName="red", LaunchTemplateData={
        "ImageId": IMAGE, "InstanceType": "t3.nano", "TagSpecifications": [
            {"ResourceType": "volume", "Tags": [{"Key": "team", "Value": "red"}]}]})
    launch = {"LaunchTemplate_LaunchTemplateName": "red", "MinCount": 1, "MaxCount": 1}
    own = {"TagSpecification_1_ResourceType": "volume", "TagSpecification_1_Tag_1_Key": "team",
           "TagSpecification_1_Tag_1_Value": "blue"}
    run, tagging = {"Action": "ec2:RunInstances"}, {"Action": "ec2:CreateTags"}
    ann.may(run)
    assert ann("RunInstances", **launch) == "UnauthorizedOperation"
    for key, other, value in (("ec2:CreateAction", "CreateVolume", "RunInstances"), ("ec2:Region", "eu-west-1", "*"),
                              ("aws:RequestTag/team", "blue", "red"), ("aws:TagKeys", "cost", "team")):
        for said, code in ((other, "UnauthorizedOperation"), (value, "")):
            ann.may(run, tagging | when("StringLike", key, said))
            assert ann("RunInstances", **launch) == code, (key, said)
    ann.may(run, tagging | {"Resource": f"{HERE}:*:instance/*"})
    assert ann("RunInstances", **launch) == "UnauthorizedOperation"
    ann.may(run, tagging | when("StringEquals", "aws:RequestTag/team", "blue"))
    assert ann("RunInstances", **launch, **own) == ""  # which counts instead of the template's
    made = [tag["Value"] for volume in region("DescribeVolumes")["Volumes"] for tag in volume["Tags"]]
    assert sorted(made) == ["blue", *["red"] * 4]
