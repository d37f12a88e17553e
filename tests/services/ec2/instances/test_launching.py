"""RunInstances: what may be asked, what comes of it, and what is refused without leaving a trace."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2 import ec2
from cloudlet.services.ec2.pool import ground
from cloudlet.services.iam import iam
from tests.services.desk import Desk
from tests.services.ec2.conftest import Region
from tests.services.ec2.instances.conftest import IMAGE, Fleet


def test_the_answer_shows_what_was_made(fleet: Fleet) -> None:
    answer = fleet.region("RunInstances", ImageId=IMAGE, InstanceType="t3.micro", MinCount=2, MaxCount=2)
    assert answer["ReservationId"].startswith("r-")
    assert answer["OwnerId"] == fleet.region.account
    first, second = answer["Instances"]
    assert (first["AmiLaunchIndex"], second["AmiLaunchIndex"]) == (0, 1)
    assert first["InstanceId"].startswith("i-")
    assert len(first["InstanceId"]) == 19
    assert first["State"] == {"Code": 0, "Name": "pending"}
    assert first["Placement"]["AvailabilityZone"] == "us-east-1a"
    assert first["SecurityGroups"][0]["GroupName"] == "default"
    assert (first["RootDeviceName"], first["Hypervisor"], first["VirtualizationType"]) == ("/dev/xvda", "xen", "hvm")
    assert first["CpuOptions"] == {"CoreCount": 1, "ThreadsPerCore": 2}
    assert first["MetadataOptions"] == {
        "State": "applied", "HttpTokens": "optional", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled",
        "HttpProtocolIpv6": "disabled", "InstanceMetadataTags": "disabled"}
    assert first["Monitoring"] == {"State": "disabled"}
    assert first["PrivateDnsName"] == f"ip-{first['PrivateIpAddress'].replace('.', '-')}.ec2.internal"
    assert first["PublicDnsName"].startswith("ec2-")
    assert first["PrivateIpAddress"] != second["PrivateIpAddress"]
    assert "KeyName" not in first
    described = fleet.region("DescribeInstances")["Reservations"]
    assert [r["ReservationId"] for r in described] == [answer["ReservationId"]]
    assert described[0]["Instances"] == answer["Instances"]


def test_key_pair_user_data_and_options_are_kept(fleet: Fleet) -> None:
    fleet.region("CreateKeyPair", KeyName="me", KeyType="ed25519")
    data = base64.b64encode(b"#!/bin/sh\necho hello\n").decode()
    id = fleet.launch(
        KeyName="me", UserData=data, Monitoring={"Enabled": True}, DisableApiTermination=True, DisableApiStop=True,
        InstanceInitiatedShutdownBehavior="terminate", EbsOptimized=True,
        CreditSpecification={"CpuCredits": "standard"}, ClientToken="token",
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 3, "HttpEndpoint": "disabled",
                         "InstanceMetadataTags": "enabled"})[0]
    record = fleet.record(id)
    assert record.public_key.startswith("ssh-ed25519 ")
    assert record.public_key.endswith(" me")
    assert record.user_data == data
    shown = fleet.shown(id)
    assert (shown["KeyName"], shown["EbsOptimized"], shown["ClientToken"]) == ("me", True, "token")
    assert shown["Monitoring"] == {"State": "enabled"}
    assert shown["MetadataOptions"]["HttpTokens"] == "required"
    assert shown["MetadataOptions"]["HttpPutResponseHopLimit"] == 3
    assert shown["MetadataOptions"]["HttpEndpoint"] == "disabled"
    fleet.region("DeleteKeyPair", KeyName="me")
    assert fleet.record(id).public_key, "instances keep their copy"


def test_tags_go_where_they_are_for(fleet: Fleet) -> None:
    def tags(kind: str) -> dict[str, Any]:
        return {"ResourceType": kind, "Tags": [{"Key": "for", "Value": kind}]}
    id = fleet.launch(TagSpecifications=[tags("instance"), tags("volume"), tags("network-interface")])[0]
    assert fleet.shown(id)["Tags"] == [{"Key": "for", "Value": "instance"}]
    assert fleet.region("DescribeVolumes")["Volumes"][0]["Tags"] == [{"Key": "for", "Value": "volume"}]
    assert fleet.region("DescribeNetworkInterfaces")["NetworkInterfaces"][0]["TagSet"] == [
        {"Key": "for", "Value": "network-interface"}]
    fleet.region("CreateTags", Resources=[id], Tags=[{"Key": "Name", "Value": "web"}])
    assert {"Key": "Name", "Value": "web"} in fleet.shown(id)["Tags"]
    assert {row["ResourceType"] for row in fleet.region("DescribeTags")["Tags"]} == {
        "instance", "volume", "network-interface"}


def test_placement_by_zone_subnet_and_address(fleet: Fleet) -> None:
    there = fleet.shown(fleet.launch(Placement={"AvailabilityZone": "us-east-1c"})[0])
    assert there["Placement"]["AvailabilityZone"] == "us-east-1c"
    by_id = fleet.shown(fleet.launch(Placement={"AvailabilityZoneId": "use1-az2"})[0])
    assert by_id["Placement"]["AvailabilityZone"] == "us-east-1b"
    vpc = fleet.region.vpc()
    subnet = fleet.region.subnet(vpc)
    group = fleet.region.group("web", vpc)
    inside = fleet.shown(fleet.launch(SubnetId=subnet, PrivateIpAddress="10.0.0.77", SecurityGroupIds=[group])[0])
    assert (inside["SubnetId"], inside["VpcId"], inside["PrivateIpAddress"]) == (subnet, vpc, "10.0.0.77")
    assert inside["SecurityGroups"] == [{"GroupId": group, "GroupName": "web"}]
    assert "PublicIpAddress" not in inside, "the subnet gives none"
    fleet.region.group("named")
    named = fleet.shown(fleet.launch(SecurityGroups=["named"])[0])
    assert [g["GroupName"] for g in named["SecurityGroups"]] == ["named"]


def test_interfaces_of_ones_own_wish(fleet: Fleet) -> None:
    subnet, group = fleet.region.subnet_id, fleet.region.group()
    eni = fleet.region("CreateNetworkInterface", SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    id = fleet.run(NetworkInterfaces=[
        {"DeviceIndex": 1, "NetworkInterfaceId": eni},
        {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "Description": "front",
         "PrivateIpAddresses": [{"Primary": True, "PrivateIpAddress": "172.31.0.200"}], "DeleteOnTermination": False}])
    cards = fleet.shown(id)["NetworkInterfaces"]
    assert [c["Attachment"]["DeviceIndex"] for c in cards] == [0, 1]
    assert cards[1]["NetworkInterfaceId"] == eni
    assert (cards[0]["Description"], cards[0]["PrivateIpAddress"]) == ("front", "172.31.0.200")
    assert [c["Attachment"]["DeleteOnTermination"] for c in cards] == [False, False]
    assert "Association" not in cards[0], "with several interfaces the subnet's default does not count"
    assert len(fleet.machine(id).spec.nics) == 2
    shown = fleet.region("DescribeNetworkInterfaces", Filters=[
        {"Name": "attachment.instance-id", "Values": [id]}])["NetworkInterfaces"]
    assert {(i["Status"], i["Attachment"]["InstanceId"], i["RequesterManaged"]) for i in shown} == {
        ("in-use", id, False)}
    assert fleet.refuses(NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": eni}])[0] == (
        "InvalidNetworkInterface.InUse")


@pytest.mark.parametrize("public", [True, False])
def test_a_public_address_is_as_asked(fleet: Fleet, public: bool) -> None:
    id = fleet.launch(NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": public}])[0]
    assert ("PublicIpAddress" in fleet.shown(id)) == public


def test_volumes_are_as_mapped(fleet: Fleet) -> None:
    id = fleet.run(BlockDeviceMappings=[
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20, "DeleteOnTermination": False}},
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5, "VolumeType": "gp3"}}])
    devices = {d["DeviceName"]: d["Ebs"] for d in fleet.shown(id)["BlockDeviceMappings"]}
    assert devices.keys() == {"/dev/xvda", "/dev/sdf"}
    assert not devices["/dev/xvda"]["DeleteOnTermination"]
    assert devices["/dev/sdf"]["DeleteOnTermination"]
    drives = fleet.machine(id).spec.drives
    assert [d.serial for d in drives] == [devices[name]["VolumeId"].replace("-", "")
                                          for name in ("/dev/xvda", "/dev/sdf")], "it starts from the root volume"
    sizes = [fleet.world.disks.disks[d.disk].seen.size_bytes >> 30 for d in drives]
    assert sizes == [20, 5]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"InstanceType": "t4g.micro"}, "InvalidParameterValue"), ({"InstanceType": "p4d.24xlarge"}, "Unsupported"),
    ({"InstanceType": "huge"}, "InvalidParameterValue"), ({"InstanceType": ""}, "MissingParameter"),
    ({"ImageId": ""}, "MissingParameter"), ({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
    ({"ImageId": "debian"}, "InvalidAMIID.Malformed"), ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
    ({"MinCount": 0}, "InvalidParameterValue"), ({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue"),
    ({"SubnetId": "subnet-0"}, "InvalidSubnetID.NotFound"), ({"SecurityGroupIds": ["sg-0"]}, "InvalidGroup.NotFound"),
    ({"SecurityGroups": ["nobody"]}, "InvalidGroup.NotFound"),
    ({"UserData": "not base64!"}, "InvalidUserData.Malformed"),
    ({"UserData": base64.b64encode(b"x" * 16385).decode()}, "InvalidParameterValue"),
    ({"MetadataOptions": {"HttpPutResponseHopLimit": 65}}, "InvalidParameterValue"),
    ({"MetadataOptions": {"HttpTokens": "perhaps"}}, "InvalidParameterValue"),
    ({"MetadataOptions": {"HttpProtocolIpv6": "enabled"}}, "UnsupportedOperation"),
    ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
    ({"IamInstanceProfile": {"Arn": "arn:aws:iam::123456789012:instance-profile/x"}}, "InvalidParameterValue"),
    ({"Placement": {"AvailabilityZone": "us-east-1x"}}, "InvalidParameterValue"),
    ({"Placement": {"Tenancy": "dedicated"}}, "UnsupportedOperation"),
    ({"Placement": {"GroupName": "near"}}, "UnsupportedOperation"),
    ({"InstanceInitiatedShutdownBehavior": "sleep"}, "InvalidParameterValue"),
    ({"InstanceMarketOptions": {"MarketType": "spot"}}, "UnsupportedOperation"),
    ({"HibernationOptions": {"Configured": True}}, "UnsupportedOperation"),
    ({"EnclaveOptions": {"Enabled": True}}, "UnsupportedOperation"),
    ({"CpuOptions": {"CoreCount": 1}}, "UnsupportedOperation"), ({"Ipv6AddressCount": 1}, "UnsupportedOperation"),
    ({"KernelId": "aki-1"}, "UnsupportedOperation"),
    ({"InstanceType": "m5.large", "CreditSpecification": {"CpuCredits": "standard"}}, "InvalidParameterCombination"),
    ({"CreditSpecification": {"CpuCredits": "much"}}, "InvalidParameterValue"),
    ({"InstanceType": "t2.micro", "EbsOptimized": True}, "Unsupported"),
    ({"NetworkInterfaces": [{"DeviceIndex": 0}], "SecurityGroupIds": ["sg-0"]}, "InvalidParameterCombination"),
    ({"NetworkInterfaces": [{"DeviceIndex": 1}]}, "InvalidParameterValue"),
    ({"NetworkInterfaces": [{}]}, "InvalidParameterValue"),
    ({"NetworkInterfaces": [{"DeviceIndex": 0}, {"DeviceIndex": 1}, {"DeviceIndex": 2}]}, "AttachmentLimitExceeded"),
    ({"NetworkInterfaces": [{"DeviceIndex": 0, "AssociatePublicIpAddress": True}, {"DeviceIndex": 1}]},
     "InvalidParameterCombination"),
    ({"NetworkInterfaces": [{"DeviceIndex": 0, "SecondaryPrivateIpAddressCount": 2}]}, "PrivateIpAddressLimitExceeded"),
    ({"NetworkInterfaces": [{"DeviceIndex": 0, "PrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.9"}]}],
      "MaxCount": 2}, "InvalidParameterCombination"),
    ({"NetworkInterfaces": [{"DeviceIndex": 0, "Ipv4PrefixCount": 1}]}, "UnsupportedOperation"),
    ({"NetworkInterfaces": [{"DeviceIndex": 0, "InterfaceType": "efa"}]}, "UnsupportedOperation"),
    ({"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "eni-0"}]}, "InvalidNetworkInterfaceID.NotFound"),
    ({"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "eni-0", "Description": "x"}]},
     "InvalidParameterCombination"),
    ({"PrivateIpAddress": "10.9.9.9"}, "InvalidParameterValue"),
    ({"PrivateIpAddress": "172.31.0.9", "MaxCount": 2}, "InvalidParameterCombination"),
    ({"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1}}]}, "InvalidBlockDeviceMapping"),
    ({"TagSpecifications": [{"ResourceType": "vpc", "Tags": [{"Key": "a", "Value": "b"}]}]}, "InvalidParameterValue"),
    ({"LaunchTemplate": {"LaunchTemplateName": "nobody"}}, "InvalidLaunchTemplateName.NotFoundException"),
    ({"LaunchTemplate": {}, "ImageId": ""}, "MissingParameter"),
]


@pytest.mark.parametrize(("given", "code"), BAD, ids=[f"{n}-{code}" for n, (_, code) in enumerate(BAD)])
def test_bad_launches_leave_nothing(fleet: Fleet, given: dict[str, Any], code: str) -> None:
    assert fleet.refuses(**given)[0] == code


def test_arm_is_refused_in_awss_words(fleet: Fleet) -> None:
    assert fleet.refuses(InstanceType="t4g.small")[1].startswith(
        "The architecture 'arm64' of the specified instance type does not match the architecture 'x86_64' of the "
        "specified AMI.")


def test_without_a_default_subnet(region: Region) -> None:
    fleet = Fleet(region)
    subnet = region.subnet_id
    region("DeleteSubnet", SubnetId=subnet)
    assert fleet.refuses(Placement={"AvailabilityZone": "us-east-1a"}) == (
        "MissingInput", "No default subnet for availability zone: 'us-east-1a'.")
    assert fleet.shown(fleet.launch()[0])["Placement"]["AvailabilityZone"] == "us-east-1b"


# ── Capacity ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _limit(fleet: Fleet, mib: int) -> None:
    with fleet.desk.store.tx() as tx:
        tx.put(replace(ground(tx), instance_memory_bytes=mib << 20))


def test_the_hosts_memory_is_the_limit(fleet: Fleet) -> None:
    _limit(fleet, 2600)
    assert len(fleet.launch(MinCount=1, MaxCount=5)) == 2, "as many as there is room for"
    with pytest.raises(AwsError) as caught:
        fleet.launch()
    assert (caught.value.code, caught.value.status) == ("InsufficientInstanceCapacity", 500)
    assert "t3.micro" in caught.value.message
    assert "us-east-1a" in caught.value.message
    fleet.launch(InstanceType="t3.nano")
    elsewhere = fleet.region.elsewhere("eu-west-1", "210987654321")
    with pytest.raises(AwsError, match=r"sufficient t3\.nano"):
        elsewhere("RunInstances", ImageId=IMAGE, InstanceType="t3.nano", MinCount=1, MaxCount=1)


def test_what_is_stopped_needs_no_memory_until_it_is_started(fleet: Fleet) -> None:
    _limit(fleet, 1024)
    first = fleet.run()
    fleet.region("StopInstances", InstanceIds=[first])
    with pytest.raises(AwsError, match="sufficient"):
        fleet.launch()  # it is still stopping
    fleet.region.settle()
    second = fleet.run()
    with pytest.raises(AwsError, match="sufficient"):
        fleet.region("StartInstances", InstanceIds=[first])
    fleet.region("TerminateInstances", InstanceIds=[second])
    fleet.region.settle()
    fleet.region("StartInstances", InstanceIds=[first])


def test_so_many_vcpus_and_no_more(fleet: Fleet) -> None:
    made = fleet.launch(MinCount=1, MaxCount=1000, InstanceType="c5.4xlarge")
    assert len(made) == 72
    assert fleet.refuses(MinCount=1)[0] == "VcpuLimitExceeded"


# ── Permissions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_launch_asks_of_iam(desk: Desk) -> None:
    operation = ec2.operations["RunInstances"]
    assert operation.resources is not None
    assert operation.context is not None
    request = {"ImageId": "ami-1", "InstanceType": "t3.micro", "KeyName": "me", "SubnetId": "subnet-1",
               "SecurityGroupIds": ["sg-1"], "LaunchTemplate": {"LaunchTemplateId": "lt-1"}}
    arns = [arn.rpartition(":")[2] for arn in operation.resources(desk.call(), request)]
    assert arns == ["instance/*", "volume/*", "network-interface/*", "launch-template/lt-1", "image/ami-1",
                    "key-pair/me", "subnet/subnet-1", "security-group/sg-1"]
    assert operation.context(desk.call(), request)["ec2:instancetype"] == "t3.micro"


TRUST = """{"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
                          "Action": "sts:AssumeRole"}]}"""


def test_a_profile_needs_pass_role(fleet: Fleet) -> None:
    desk = fleet.desk
    desk(iam, "CreateRole", RoleName="r", AssumeRolePolicyDocument=TRUST)
    desk(iam, "CreateInstanceProfile", InstanceProfileName="p")
    desk(iam, "AddRoleToInstanceProfile", InstanceProfileName="p", RoleName="r")
    desk(iam, "CreateUser", UserName="u")
    key = desk(iam, "CreateAccessKey", UserName="u")["AccessKey"]["AccessKeyId"]
    user = desk.principal(key)
    assert user is not None
    request = {"ImageId": IMAGE, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1,
               "IamInstanceProfile": {"Name": "p"}}
    with pytest.raises(AwsError, match="iam:PassRole") as caught:
        desk(ec2, "RunInstances", user, **request)
    assert (caught.value.code, caught.value.status) == ("UnauthorizedOperation", 403)
    id = fleet.launch(IamInstanceProfile={"Name": "p"})[0]
    shown = fleet.shown(id)["IamInstanceProfile"]
    assert shown["Arn"] == "arn:aws:iam::123456789012:instance-profile/p"
    assert shown["Id"].startswith("AIPA")


def test_profiles_are_given_replaced_and_taken_away(fleet: Fleet) -> None:
    for name in ("p", "q"):
        fleet.desk(iam, "CreateInstanceProfile", InstanceProfileName=name)
    id = fleet.run()
    ask = fleet.region
    given = ask("AssociateIamInstanceProfile", InstanceId=id, IamInstanceProfile={"Name": "p"})
    association = given["IamInstanceProfileAssociation"]
    assert (association["State"], association["InstanceId"]) == ("associating", id)
    assert ask.fails("AssociateIamInstanceProfile", InstanceId=id, IamInstanceProfile={"Name": "q"})[0] == (
        "IncorrectState")
    listed = ask("DescribeIamInstanceProfileAssociations", Filters=[{"Name": "instance-id", "Values": [id]}])
    assert [a["State"] for a in listed["IamInstanceProfileAssociations"]] == ["associated"]
    replaced = ask("ReplaceIamInstanceProfileAssociation", AssociationId=association["AssociationId"],
                   IamInstanceProfile={"Arn": "arn:aws:iam::123456789012:instance-profile/q"})
    second = replaced["IamInstanceProfileAssociation"]["AssociationId"]
    assert second != association["AssociationId"]
    assert fleet.shown(id)["IamInstanceProfile"]["Arn"].endswith("/q")
    assert ask.fails("DisassociateIamInstanceProfile", AssociationId=association["AssociationId"])[0] == (
        "InvalidAssociationID.NotFound")
    ask("DisassociateIamInstanceProfile", AssociationId=second)
    assert "IamInstanceProfile" not in fleet.shown(id)
    assert ask("DescribeIamInstanceProfileAssociations")["IamInstanceProfileAssociations"] == []
