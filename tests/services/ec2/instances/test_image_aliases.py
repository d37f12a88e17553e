"""`resolve:ssm:…` for an image: what the parameter says at that moment, for who may read it."""

import json
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services import ec2, iam, ssm
from cloudlet.services.ssm import public
from tests.services.ec2.instances.conftest import IMAGE, LAYER, Fleet

OTHER = "ami-00000000000000002"


def say(fleet: Fleet, value: str, name: str = "/golden", **given: Any) -> None:
    fleet.desk(ssm.ssm, "PutParameter", Name=name, Value=value, Type="String",
               **{"DataType": "aws:ec2:image", "Overwrite": True, **given})


def test_the_parameter_is_read_at_each_launch(fleet: Fleet) -> None:
    fleet.shelve(OTHER, LAYER + "2")
    say(fleet, IMAGE)
    say(fleet, OTHER)
    fleet.desk(ssm.ssm, "LabelParameterVersion", Name="/golden", ParameterVersion=1, Labels=["stable"])
    for alias, image in (("/golden", OTHER), ("/golden:1", IMAGE), ("/golden:stable", IMAGE),
                         ("arn:aws:ssm:us-east-1:123456789012:parameter/golden", OTHER)):
        (id,) = fleet.launch(ImageId=f"resolve:ssm:{alias}")
        assert fleet.shown(id)["ImageId"] == image


def test_a_public_parameter_will_do(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "_publishers", [lambda tx, region: [
        ssm.PublicParameter("/aws/service/debian/release/12/latest/amd64", IMAGE, 0.0, data_type="aws:ec2:image")]])
    (id,) = fleet.launch(ImageId="resolve:ssm:/aws/service/debian/release/12/latest/amd64")
    assert fleet.shown(id)["ImageId"] == IMAGE


def test_what_names_no_image(fleet: Fleet) -> None:
    say(fleet, IMAGE)
    say(fleet, IMAGE, name="/text", DataType="text")
    say(fleet, "ami-00000000000000009", name="/gone")
    assert fleet.refuses(ImageId="resolve:ssm:/nothing")[0] == "SsmInvalidParameter"
    assert fleet.refuses(ImageId="resolve:ssm:/golden:9")[0] == "SsmInvalidParameter"
    assert fleet.refuses(ImageId="resolve:ssm:/text") == (
        "SsmInvalidParameter", "Unsupported data type. The following parameter data types are supported: aws:ec2:image")
    assert fleet.refuses(ImageId="resolve:ssm:/gone")[0] == "InvalidAMIID.NotFound"
    assert fleet.refuses(ImageId="resolve:golden")[0] == "InvalidAMIID.Malformed"


def test_templates_keep_the_parameter_and_launches_resolve_it(fleet: Fleet) -> None:
    say(fleet, IMAGE)
    alias = "resolve:ssm:/golden"
    fleet.region("CreateLaunchTemplate", LaunchTemplateName="web", LaunchTemplateData={
        "ImageId": alias, "InstanceType": "t3.nano"})

    def image(**given: Any) -> str:
        (version,) = fleet.region("DescribeLaunchTemplateVersions", LaunchTemplateName="web", **given)[
            "LaunchTemplateVersions"]
        id: str = version["LaunchTemplateData"]["ImageId"]
        return id
    assert image() == alias
    assert image(ResolveAlias=True) == IMAGE
    launched = fleet.region("RunInstances", MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateName": "web"})
    assert launched["Instances"][0]["ImageId"] == IMAGE
    made = fleet.region("CreateLaunchTemplateVersion", LaunchTemplateName="web", SourceVersion="1", ResolveAlias=True,
                        LaunchTemplateData={"InstanceType": "t3.micro"})["LaunchTemplateVersion"]
    assert made["LaunchTemplateData"] == {"ImageId": IMAGE, "InstanceType": "t3.micro"}
    assert image(Versions=["2"]) == alias


def test_who_launches_must_be_allowed_to_read_it(fleet: Fleet) -> None:
    say(fleet, IMAGE)
    fleet.desk(iam.iam, "CreateUser", UserName="ann")
    key = fleet.desk(iam.iam, "CreateAccessKey", UserName="ann")["AccessKey"]["AccessKeyId"]
    ann = fleet.desk.principal(key)

    def launch() -> str:
        answer = fleet.desk(ec2.ec2, "RunInstances", ann, MinCount=1, MaxCount=1, InstanceType="t3.nano",
                            ImageId="resolve:ssm:/golden")
        image: str = answer["Instances"][0]["ImageId"]
        return image
    with pytest.raises(AwsError) as caught:
        launch()
    assert caught.value.code == "SsmAccessDenied"
    fleet.desk(iam.iam, "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "ssm:GetParameters",
            "Resource": "arn:aws:ssm:us-east-1:123456789012:parameter/golden"}}))
    assert launch() == IMAGE
