"""Further private addresses of interfaces: chosen, given, moved and taken away, with the public ones for them."""

from typing import Any

import pytest

from cloudlet.services.ec2.records import NetworkInterface
from cloudlet.store import records
from tests.services.ec2.conftest import Region
from tests.services.ec2.instances.conftest import Fleet
from tests.services.ec2.test_addresses import allocate
from tests.services.ec2.test_interfaces import describe, make


@pytest.fixture
def fleet(region: Region) -> Fleet:
    return Fleet(region)


def addresses(region: Region, id: str) -> list[str]:
    """An interface's addresses, the primary one first."""
    shown = describe(region, id)
    listed = shown["PrivateIpAddresses"]
    assert [each["Primary"] for each in listed] == [True] + [False] * (len(listed) - 1)
    assert listed[0]["PrivateIpAddress"] == shown["PrivateIpAddress"]
    return [each["PrivateIpAddress"] for each in listed]


def interface(region: Region, *last: int, **given: Any) -> str:
    """A new interface's id; its addresses are 172.31.0.`last`, the first of them primary."""
    listed = [{"PrivateIpAddress": f"172.31.0.{each}", "Primary": each == last[0]} for each in last]
    id: str = make(region, PrivateIpAddresses=listed, **given)["NetworkInterfaceId"]
    return id


def free_in(region: Region) -> int:
    count: int = region("DescribeSubnets", SubnetIds=[region.subnet_id])["Subnets"][0]["AvailableIpAddressCount"]
    return count


# ── Choosing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_interface_begins_with_the_addresses_asked_for(region: Region) -> None:
    before = free_in(region)
    id = interface(region, 9, 10, 11)
    assert addresses(region, id) == ["172.31.0.9", "172.31.0.10", "172.31.0.11"]
    assert [each["PrivateDnsName"] for each in describe(region, id)["PrivateIpAddresses"]] == [
        f"ip-172-31-0-{last}.ec2.internal" for last in (9, 10, 11)]
    assert free_in(region) == before - 3
    counted = make(region, PrivateIpAddress="172.31.0.20", SecondaryPrivateIpAddressCount=4)["NetworkInterfaceId"]
    assert (addresses(region, counted)[0], len(set(addresses(region, counted)))) == ("172.31.0.20", 5)
    assert free_in(region) == before - 8
    both = make(region, PrivateIpAddress="172.31.0.30", PrivateIpAddresses=[{"PrivateIpAddress": "172.31.0.31"}])
    assert addresses(region, both["NetworkInterfaceId"]) == ["172.31.0.30", "172.31.0.31"]
    chosen = make(region, PrivateIpAddresses=[{"PrivateIpAddress": "172.31.0.40"}])
    assert addresses(region, chosen["NetworkInterfaceId"])[1:] == ["172.31.0.40"], "none is primary: AWS chooses that"
    region("DeleteNetworkInterface", NetworkInterfaceId=id)
    assert free_in(region) == before - 9


PRIMARY, OTHER = {"PrivateIpAddress": "172.31.0.9", "Primary": True}, {"PrivateIpAddress": "172.31.0.10"}


@pytest.mark.parametrize(("given", "code"), [
    ({"PrivateIpAddresses": [PRIMARY, {**OTHER, "Primary": True}]}, "InvalidParameterValue"),
    ({"PrivateIpAddress": "172.31.0.11", "PrivateIpAddresses": [PRIMARY]}, "InvalidParameterCombination"),
    ({"PrivateIpAddresses": [PRIMARY, OTHER], "SecondaryPrivateIpAddressCount": 1}, "InvalidParameterCombination"),
    ({"PrivateIpAddresses": [PRIMARY, {"PrivateIpAddress": "172.31.0.9"}]}, "InvalidParameterValue"),
    ({"PrivateIpAddresses": [PRIMARY, {"PrivateIpAddress": "10.0.0.9"}]}, "InvalidParameterValue"),
    ({"PrivateIpAddresses": [PRIMARY, {}]}, "InvalidParameterValue"),
    ({"PrivateIpAddresses": [PRIMARY, {"PrivateIpAddress": "172.31.0.99"}]}, "InvalidIPAddress.InUse"),
    ({"SecondaryPrivateIpAddressCount": -1}, "InvalidParameterValue"),
    ({"SecondaryPrivateIpAddressCount": 50}, "PrivateIpAddressLimitExceeded"),
])
def test_bad_wishes_are_refused(region: Region, given: dict[str, Any], code: str) -> None:
    interface(region, 98, 99)
    before = free_in(region)
    assert region.fails("CreateNetworkInterface", SubnetId=region.subnet_id, **given)[0] == code
    assert free_in(region) == before


def test_a_small_subnet_gives_every_address_once(region: Region) -> None:
    subnet_id = region.subnet(region.vpc(), "10.0.0.0/28")
    made = make(region, SubnetId=subnet_id, SecondaryPrivateIpAddressCount=9)["NetworkInterfaceId"]
    assert region.fails("CreateNetworkInterface", SubnetId=subnet_id, SecondaryPrivateIpAddressCount=1)[0] == (
        "InsufficientFreeAddressesInSubnet")
    (last,) = region("AssignPrivateIpAddresses", NetworkInterfaceId=made, SecondaryPrivateIpAddressCount=1)[
        "AssignedPrivateIpAddresses"]
    assert set(addresses(region, made)) == {f"10.0.0.{each}" for each in range(4, 15)}
    assert addresses(region, made)[-1] == last["PrivateIpAddress"]
    assert region("DescribeSubnets", SubnetIds=[subnet_id])["Subnets"][0]["AvailableIpAddressCount"] == 0
    assert region.fails("AssignPrivateIpAddresses", NetworkInterfaceId=made, SecondaryPrivateIpAddressCount=1)[0] == (
        "InsufficientFreeAddressesInSubnet")


# ── Giving and taking ────────────────────────────────────────────────────────────────────────────────────────────────


def test_assign_and_unassign_private_ip_addresses(region: Region) -> None:
    id = interface(region, 9)
    answer = region("AssignPrivateIpAddresses", NetworkInterfaceId=id,
                    PrivateIpAddresses=["172.31.0.11", "172.31.0.10"])
    assert answer == {"NetworkInterfaceId": id, "AssignedPrivateIpAddresses": [
        {"PrivateIpAddress": "172.31.0.11"}, {"PrivateIpAddress": "172.31.0.10"}]}
    assert addresses(region, id) == ["172.31.0.9", "172.31.0.11", "172.31.0.10"]
    for name, value in (("addresses.private-ip-address", "172.31.0.10"), ("private-ip-address", "172.31.0.10"),
                        ("addresses.primary", "false"), ("private-dns-name", "ip-172-31-0-10.ec2.internal")):
        found = region("DescribeNetworkInterfaces", Filters=[{"Name": name, "Values": [value]}])["NetworkInterfaces"]
        assert [each["NetworkInterfaceId"] for each in found] == [id], name
    region("UnassignPrivateIpAddresses", NetworkInterfaceId=id, PrivateIpAddresses=["172.31.0.11"])
    assert addresses(region, id) == ["172.31.0.9", "172.31.0.10"]
    assert addresses(region, interface(region, 11)) == ["172.31.0.11"], "it is free again"


@pytest.mark.parametrize(("operation", "given", "error"), [
    ("Assign", {}, ("MissingParameter", None)),
    ("Assign", {"PrivateIpAddresses": ["172.31.0.50"], "SecondaryPrivateIpAddressCount": 1},
     ("InvalidParameterCombination", None)),
    ("Assign", {"Ipv4PrefixCount": 1}, ("UnsupportedOperation", None)),
    ("Assign", {"PrivateIpAddresses": ["fish"]}, ("InvalidParameterValue", None)),
    ("Assign", {"PrivateIpAddresses": ["172.31.0.2"]}, ("InvalidParameterValue", None)),
    ("Assign", {"PrivateIpAddresses": ["172.31.0.21", "172.31.0.50", "172.31.0.10"]},
     ("InvalidParameterValue", "[172.31.0.21, 172.31.0.10] assigned, but move is not allowed.")),
    ("Assign", {"PrivateIpAddresses": ["172.31.0.20"], "AllowReassignment": True}, ("InvalidParameterValue", None)),
    ("Assign", {"PrivateIpAddresses": ["172.31.0.9"], "AllowReassignment": True}, ("InvalidParameterValue", None)),
    ("Assign", {"SecondaryPrivateIpAddressCount": 49},
     ("PrivateIpAddressLimitExceeded", "{id}: Number of private addresses will exceed limit.")),
    ("Unassign", {}, ("MissingParameter", None)),
    ("Unassign", {"Ipv4Prefixes": ["172.31.0.16/28"]}, ("UnsupportedOperation", None)),
    ("Unassign", {"PrivateIpAddresses": ["172.31.0.9"]}, ("InvalidParameterValue", None)),
    ("Unassign", {"PrivateIpAddresses": ["172.31.0.10", "172.31.0.21"]},
     ("InvalidParameterValue", "Some of [172.31.0.21] are not assigned to interface {id}")),
])
def test_what_cannot_be_is_refused_and_nothing_is_lost(region: Region, operation: str, given: dict[str, Any],
                                                       error: tuple[str, str | None]) -> None:
    id, other = interface(region, 9, 10), interface(region, 20, 21)
    code, message = region.fails(f"{operation}PrivateIpAddresses", NetworkInterfaceId=id, **given)
    assert code == error[0]
    assert error[1] is None or message == error[1].format(id=id)
    assert addresses(region, id) == ["172.31.0.9", "172.31.0.10"]
    assert addresses(region, other) == ["172.31.0.20", "172.31.0.21"]
    task = region.task()
    assert region.fails("AssignPrivateIpAddresses", NetworkInterfaceId=task.id, SecondaryPrivateIpAddressCount=1)[
        0] == "AuthFailure"


def test_an_address_moves_with_the_public_one_that_stands_for_it(region: Region) -> None:
    first, second = interface(region, 9, 10), interface(region, 20)
    elastic, public = allocate(region)
    association = region("AssociateAddress", AllocationId=elastic, NetworkInterfaceId=first,
                         PrivateIpAddress="172.31.0.10")["AssociationId"]
    region("AssignPrivateIpAddresses", NetworkInterfaceId=second, PrivateIpAddresses=["172.31.0.10", "172.31.0.30"],
           AllowReassignment=True)
    assert addresses(region, first) == ["172.31.0.9"]
    assert addresses(region, second) == ["172.31.0.20", "172.31.0.10", "172.31.0.30"]
    (seen,) = region("DescribeAddresses")["Addresses"]
    assert (seen["NetworkInterfaceId"], seen["PrivateIpAddress"], seen["AssociationId"]) == (
        second, "172.31.0.10", association)
    assert describe(region, second)["PrivateIpAddresses"][1]["Association"]["PublicIp"] == public
    region("AssignPrivateIpAddresses", NetworkInterfaceId=second, PrivateIpAddresses=["172.31.0.10"],
           AllowReassignment=True)
    assert addresses(region, second) == ["172.31.0.20", "172.31.0.10", "172.31.0.30"], "it is there already"
    region("UnassignPrivateIpAddresses", NetworkInterfaceId=second, PrivateIpAddresses=["172.31.0.10"])
    assert "AssociationId" not in region("DescribeAddresses")["Addresses"][0]
    region("ReleaseAddress", AllocationId=elastic)


def test_each_address_has_a_public_one_of_its_own(region: Region) -> None:
    id = interface(region, 9, 10)
    one, two, three = allocate(region), allocate(region), allocate(region)
    given = {"NetworkInterfaceId": id}
    region("AssociateAddress", AllocationId=one[0], **given)
    second = region("AssociateAddress", AllocationId=two[0], PrivateIpAddress="172.31.0.10", **given)["AssociationId"]
    assert region("AssociateAddress", AllocationId=two[0], PrivateIpAddress="172.31.0.10", **given) == {
        "AssociationId": second}

    def publics() -> list[str | None]:
        return [each.get("Association", {}).get("PublicIp") for each in describe(region, id)["PrivateIpAddresses"]]
    assert publics() == [one[1], two[1]]
    assert describe(region, id)["Association"]["PublicIp"] == one[1]
    for name in ("addresses.association.public-ip", "association.public-ip"):
        found = region("DescribeNetworkInterfaces", Filters=[{"Name": name, "Values": [two[1]]}])["NetworkInterfaces"]
        assert [each["NetworkInterfaceId"] for each in found] == [id]
    region("AssociateAddress", AllocationId=three[0], PrivateIpAddress="172.31.0.10", **given)
    assert publics() == [one[1], three[1]], "in place of the one that stood for that address, and no other"
    assert region.fails("AssociateAddress", AllocationId=one[0], PrivateIpAddress="172.31.0.10", **given)[0] == (
        "Resource.AlreadyAssociated")
    region("AssociateAddress", AllocationId=one[0], PrivateIpAddress="172.31.0.10", AllowReassociation=True, **given)
    assert publics() == [None, one[1]]
    region("DisassociateAddress", PublicIp=one[1])
    assert publics() == [None, None]
    assert region.fails("AssociateAddress", AllocationId=one[0], PrivateIpAddress="172.31.0.11", **given) == (
        "InvalidParameterValue",
        f"The private IP address 172.31.0.11 is not assigned to network interface {id}.")


# ── Of instances ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_instance_begins_with_several_addresses(fleet: Fleet) -> None:
    region = fleet.region
    id = fleet.run(NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": True, "PrivateIpAddresses": [
        {"PrivateIpAddress": "172.31.0.10"}, {"PrivateIpAddress": "172.31.0.9", "Primary": True}]}])
    (card,) = fleet.shown(id)["NetworkInterfaces"]
    assert [(each["PrivateIpAddress"], each["Primary"], "Association" in each)
            for each in card["PrivateIpAddresses"]] == [("172.31.0.9", True, True), ("172.31.0.10", False, False)]
    assert (fleet.shown(id)["PrivateIpAddress"], card["PrivateIpAddress"]) == ("172.31.0.9", "172.31.0.9")
    for name, values, found in (("network-interface.addresses.private-ip-address", ["172.31.0.10"], True),
                                ("private-ip-address", ["172.31.0.10"], False),
                                ("network-interface.addresses.primary", ["false"], True)):
        assert bool(region("DescribeInstances", Filters=[{"Name": name, "Values": values}])["Reservations"]) == found
    (spec,) = region.world.networks.interfaces.values()
    assert spec.addresses == ("172.31.0.9", "172.31.0.10")
    (member,) = region.fabric().members
    assert [(a.private, a.public, a.names[0]) for a in member.addresses] == [
        ("172.31.0.9", card["Association"]["PublicIp"], "ip-172-31-0-9.ec2.internal"),
        ("172.31.0.10", None, "ip-172-31-0-10.ec2.internal")]
    template = region("GetLaunchTemplateData", InstanceId=id)["LaunchTemplateData"]["NetworkInterfaces"][0]
    assert template["PrivateIpAddresses"] == [{"Primary": True, "PrivateIpAddress": "172.31.0.9"},
                                              {"Primary": False, "PrivateIpAddress": "172.31.0.10"}]


def test_a_template_says_how_many_addresses(fleet: Fleet) -> None:
    fleet.region("CreateLaunchTemplate", LaunchTemplateName="several", LaunchTemplateData={
        "InstanceType": "t3.micro",
        "NetworkInterfaces": [{"DeviceIndex": 0, "SecondaryPrivateIpAddressCount": 1}]})
    for id in fleet.launch(2, LaunchTemplate={"LaunchTemplateName": "several"}):
        (card,) = fleet.shown(id)["NetworkInterfaces"]
        assert len(card["PrivateIpAddresses"]) == 2


def test_addresses_come_and_go_while_the_instance_runs(fleet: Fleet) -> None:
    region, id = fleet.region, fleet.run()
    eni = fleet.shown(id)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    nics, (before,) = fleet.machine(id).spec.nics, region.world.networks.interfaces.values()
    region("AssignPrivateIpAddresses", NetworkInterfaceId=eni, PrivateIpAddresses=["172.31.0.10"])
    elastic, public = allocate(region)
    region("AssociateAddress", AllocationId=elastic, NetworkInterfaceId=eni, PrivateIpAddress="172.31.0.10")
    region.settle()
    (now,) = region.world.networks.interfaces.values()
    assert now.addresses == (*before.addresses, "172.31.0.10")
    assert [(a.private, a.public) for a in region.fabric().members[0].addresses][1:] == [("172.31.0.10", public)]
    assert fleet.machine(id).spec.nics == nics, "the card stays as it is"
    assert region.fails("AssignPrivateIpAddresses", NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=1)[0] == (
        "PrivateIpAddressLimitExceeded"), "a t3.micro has two of each interface"
    region("StopInstances", InstanceIds=[id])
    region.settle()
    shown = fleet.shown(id)["NetworkInterfaces"][0]["PrivateIpAddresses"]
    assert ["Association" in each for each in shown] == [False, True], "only what came with the instance goes back"
    region("UnassignPrivateIpAddresses", NetworkInterfaceId=eni, PrivateIpAddresses=["172.31.0.10"])
    region.settle()
    assert region.world.networks.interfaces[now.name].addresses == before.addresses


def test_an_address_moves_between_running_instances(fleet: Fleet) -> None:
    region = fleet.region
    one, two = (fleet.shown(fleet.run())["NetworkInterfaces"][0]["NetworkInterfaceId"] for _ in range(2))
    region("AssignPrivateIpAddresses", NetworkInterfaceId=one, PrivateIpAddresses=["172.31.0.10"])
    region.settle()
    region("AssignPrivateIpAddresses", NetworkInterfaceId=two, PrivateIpAddresses=["172.31.0.10"],
           AllowReassignment=True)
    region.settle()
    fleet.later(5)  # whoever came first has waited for the other to let go

    def at(id: str) -> tuple[str, ...]:
        record = region.interface(id)
        assert record is not None
        assert record.ready
        spec = region.world.networks.interfaces[record.fabric_name]
        assert spec.addresses == tuple(each.ip for each in record.addresses)
        return spec.addresses[1:]
    assert (at(one), at(two)) == ((), ("172.31.0.10",))


def test_types_and_attachments_keep_to_the_limit(fleet: Fleet) -> None:
    region = fleet.region
    id, wide = fleet.run(), interface(region, 9, 10, 11)
    assert region.fails("AttachNetworkInterface", InstanceId=id, NetworkInterfaceId=wide, DeviceIndex=1) == (
        "PrivateIpAddressLimitExceeded", f"{wide}: Number of private addresses will exceed limit.")
    big = fleet.run(InstanceType="m5.large", NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": wide}])
    region("StopInstances", InstanceIds=[big])
    region.settle()
    assert region.fails("ModifyInstanceAttribute", InstanceId=big, InstanceType={"Value": "t3.micro"})[0] == (
        "PrivateIpAddressLimitExceeded")


# ── What was there before ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_record_of_one_address_is_read(region: Region) -> None:
    task = region.task(public=True)
    old = records.encode(task).decode().replace(
        f'"addresses":[{{"ip":"{task.private_ip}","public_ip":"{task.public_ip}"}}]',
        f'"private_ip":"{task.private_ip}","public_ip":"{task.public_ip}","private_dns_name":"x"')
    assert '"addresses"' not in old
    assert records.decode(NetworkInterface, old.encode(), 1) == task
