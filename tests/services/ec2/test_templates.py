"""Launch templates: versions of what RunInstances is asked, and launches from them."""

from typing import Any

import pytest

from tests.services.ec2.conftest import Region
from tests.services.ec2.instances.conftest import IMAGE, Fleet

DATA = {"ImageId": IMAGE, "InstanceType": "t3.small"}


@pytest.fixture
def fleet(region: Region) -> Fleet:
    return Fleet(region)


def make(region: Region, name: str = "web", data: dict[str, Any] | None = None, **given: Any) -> str:
    answer = region("CreateLaunchTemplate", LaunchTemplateName=name, LaunchTemplateData=data or DATA, **given)
    id: str = answer["LaunchTemplate"]["LaunchTemplateId"]
    return id


def numbers(region: Region, id: str, **given: Any) -> list[int]:
    answer = region("DescribeLaunchTemplateVersions", LaunchTemplateId=id, **given)
    return [version["VersionNumber"] for version in answer["LaunchTemplateVersions"]]


def test_a_template_and_its_first_version(region: Region) -> None:
    id = make(region, VersionDescription="first", TagSpecifications=[
        {"ResourceType": "launch-template", "Tags": [{"Key": "a", "Value": "b"}]}])
    (shown,) = region("DescribeLaunchTemplates", LaunchTemplateNames=["web"])["LaunchTemplates"]
    assert shown["LaunchTemplateId"] == id
    assert id.startswith("lt-")
    assert (shown["DefaultVersionNumber"], shown["LatestVersionNumber"]) == (1, 1)
    assert shown["CreatedBy"] == "arn:aws:iam::123456789012:root"
    assert shown["Tags"] == [{"Key": "a", "Value": "b"}]
    (version,) = region("DescribeLaunchTemplateVersions", LaunchTemplateName="web")["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"] == DATA
    assert (version["VersionDescription"], version["DefaultVersion"]) == ("first", True)
    assert region("DescribeLaunchTemplates", Filters=[{"Name": "tag:a", "Values": ["c"]}])["LaunchTemplates"] == []


def test_versions(region: Region) -> None:
    id = make(region)
    more = region("CreateLaunchTemplateVersion", LaunchTemplateId=id, SourceVersion="1",
                  LaunchTemplateData={"KeyName": "me"})["LaunchTemplateVersion"]
    assert (more["VersionNumber"], more["DefaultVersion"]) == (2, False)
    assert more["LaunchTemplateData"] == {**DATA, "KeyName": "me"}
    region("CreateLaunchTemplateVersion", LaunchTemplateName="web", LaunchTemplateData={"InstanceType": "t3.nano"})
    assert numbers(region, id) == [3, 2, 1]
    assert numbers(region, id, Versions=["$Latest", "$Default"]) == [3, 1]
    assert numbers(region, id, MinVersion="2", MaxVersion="2") == [2]
    assert numbers(region, id, Filters=[{"Name": "instance-type", "Values": ["t3.nano"]}]) == [3]
    assert numbers(region, id, Filters=[{"Name": "is-default-version", "Values": ["true"]}]) == [1]
    changed = region("ModifyLaunchTemplate", LaunchTemplateId=id, DefaultVersion="2")["LaunchTemplate"]
    assert changed["DefaultVersionNumber"] == 2
    answer = region("DeleteLaunchTemplateVersions", LaunchTemplateId=id, Versions=["1", "2", "9"])
    assert [v["VersionNumber"] for v in answer["SuccessfullyDeletedLaunchTemplateVersions"]] == [1]
    assert [v["ResponseError"]["Code"] for v in answer["UnsuccessfullyDeletedLaunchTemplateVersions"]] == [
        "operationNotPermitted", "launchTemplateVersionDoesNotExist"]
    region("CreateLaunchTemplateVersion", LaunchTemplateId=id, LaunchTemplateData=DATA)
    assert numbers(region, id) == [4, 3, 2], "no number is used again"
    every = region("DescribeLaunchTemplateVersions", Versions=["$Default"])["LaunchTemplateVersions"]
    assert [v["VersionNumber"] for v in every] == [2]
    region("DeleteLaunchTemplate", LaunchTemplateName="web")
    assert region("DescribeLaunchTemplates")["LaunchTemplates"] == []
    other = make(region)
    assert numbers(region, other) == [1]


@pytest.mark.parametrize(("operation", "given", "code"), [
    ("CreateLaunchTemplate", {"LaunchTemplateName": "a", "LaunchTemplateData": DATA},
     "InvalidLaunchTemplateName.MalformedException"),
    ("CreateLaunchTemplate", {"LaunchTemplateName": "web", "LaunchTemplateData": DATA},
     "InvalidLaunchTemplateName.AlreadyExistsException"),
    ("CreateLaunchTemplate", {"LaunchTemplateName": "new", "LaunchTemplateData": {}}, "MissingParameter"),
    ("CreateLaunchTemplate", {"LaunchTemplateName": "new", "LaunchTemplateData": {"InstanceType": "huge"}},
     "InvalidParameterValue"),
    ("CreateLaunchTemplate", {"LaunchTemplateName": "new", "LaunchTemplateData": {
        "InstanceMarketOptions": {"MarketType": "spot"}}}, "UnsupportedOperation"),
    ("CreateLaunchTemplate", {"LaunchTemplateName": "new", "VersionDescription": "x" * 256,
                              "LaunchTemplateData": DATA}, "InvalidParameterValue"),
    ("CreateLaunchTemplateVersion", {"LaunchTemplateName": "web", "SourceVersion": "7", "LaunchTemplateData": DATA},
     "InvalidLaunchTemplateId.VersionNotFound"),
    ("DescribeLaunchTemplates", {"LaunchTemplateIds": ["lt-0"]}, "InvalidLaunchTemplateId.NotFound"),
    ("DescribeLaunchTemplates", {"LaunchTemplateIds": ["web"]}, "InvalidLaunchTemplateId.Malformed"),
    ("DescribeLaunchTemplateVersions", {}, "MissingParameter"),
    ("DescribeLaunchTemplateVersions", {"LaunchTemplateName": "web", "Versions": ["1"], "MinVersion": "1"},
     "InvalidParameterCombination"),
    ("DescribeLaunchTemplateVersions", {"LaunchTemplateName": "web", "Versions": ["new"]}, "InvalidParameterValue"),
    ("ModifyLaunchTemplate", {"LaunchTemplateName": "web"}, "MissingParameter"),
    ("ModifyLaunchTemplate", {"LaunchTemplateName": "web", "DefaultVersion": "5"},
     "InvalidLaunchTemplateId.VersionNotFound"),
    ("DeleteLaunchTemplate", {}, "MissingParameter"),
    ("DeleteLaunchTemplate", {"LaunchTemplateName": "no"}, "InvalidLaunchTemplateName.NotFoundException"),
    ("DeleteLaunchTemplate", {"LaunchTemplateName": "web", "LaunchTemplateId": "lt-0"},
     "InvalidParameterCombination"),
    ("GetLaunchTemplateData", {"InstanceId": "i-0"}, "InvalidInstanceID.NotFound")])
def test_bad_requests(region: Region, operation: str, given: dict[str, Any], code: str) -> None:
    make(region)
    assert region.fails(operation, **given)[0] == code
    assert len(region("DescribeLaunchTemplates")["LaunchTemplates"]) == 1


def test_a_launch_takes_what_the_template_says_and_it_does_not(fleet: Fleet) -> None:
    region = fleet.region
    group = region.group()
    id = make(region, data={
        **DATA, "SecurityGroupIds": [group], "Monitoring": {"Enabled": True}, "UserData": "aGVsbG8=",
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 12}}],
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [{"Key": "from", "Value": "template"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "from", "Value": "template"}]}]})
    launched = region("RunInstances", MinCount=1, MaxCount=1, InstanceType="t3.nano",
                      LaunchTemplate={"LaunchTemplateId": id}, TagSpecifications=[
                          {"ResourceType": "instance", "Tags": [{"Key": "from", "Value": "launch"}]}])
    shown = launched["Instances"][0]
    assert (shown["ImageId"], shown["InstanceType"], shown["Monitoring"]) == (IMAGE, "t3.nano", {"State": "enabled"})
    assert shown["SecurityGroups"][0]["GroupId"] == group
    assert {t["Key"]: t["Value"] for t in shown["Tags"]} == {
        "from": "launch", "aws:ec2launchtemplate:id": id, "aws:ec2launchtemplate:version": "1"}
    volume = region("DescribeVolumes")["Volumes"][0]
    assert (volume["Size"], volume["Tags"]) == (12, [{"Key": "from", "Value": "template"}])
    assert fleet.record(shown["InstanceId"]).user_data == "aGVsbG8="


def test_versions_of_a_launch(fleet: Fleet) -> None:
    region = fleet.region
    make(region)
    region("CreateLaunchTemplateVersion", LaunchTemplateName="web", SourceVersion="1",
           LaunchTemplateData={"InstanceType": "m5.large"})

    def launched(**given: str) -> str:
        answer = region("RunInstances", MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateName": "web", **given})
        type: str = answer["Instances"][0]["InstanceType"]
        return type
    assert launched() == launched(Version="$Default") == launched(Version="1") == "t3.small"
    assert launched(Version="$Latest") == launched(Version="2") == "m5.large"
    assert region.fails("RunInstances", MinCount=1, MaxCount=1, LaunchTemplate={
        "LaunchTemplateName": "web", "Version": "3"})[0] == "InvalidLaunchTemplateId.VersionNotFound"


def test_the_one_interface_of_a_template_takes_the_subnet_of_the_launch(fleet: Fleet) -> None:
    region = fleet.region
    make(region, data={**DATA, "NetworkInterfaces": [{"DeviceIndex": 0, "AssociatePublicIpAddress": True}]})
    vpc = region.vpc()
    subnet = region.subnet(vpc)
    shown = region("RunInstances", MinCount=1, MaxCount=1, SubnetId=subnet,
                   LaunchTemplate={"LaunchTemplateName": "web"})["Instances"][0]
    assert shown["SubnetId"] == subnet
    assert shown["PublicIpAddress"]


def test_a_template_made_of_an_instance_launches_its_like(fleet: Fleet) -> None:
    region = fleet.region
    id = fleet.run(DisableApiStop=True, UserData="aGVsbG8=", InstanceType="t3.nano")
    data = region("GetLaunchTemplateData", InstanceId=id)["LaunchTemplateData"]
    assert (data["InstanceType"], data["DisableApiStop"], data["UserData"]) == ("t3.nano", True, "aGVsbG8=")
    data["NetworkInterfaces"][0].pop("PrivateIpAddresses")
    make(region, data=data)
    again = region("RunInstances", MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateName": "web"})
    shown, first = again["Instances"][0], fleet.shown(id)
    for member in ("InstanceType", "ImageId", "SubnetId", "SecurityGroups", "Placement", "MetadataOptions"):
        assert shown[member] == first[member], member
