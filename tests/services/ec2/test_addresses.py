"""Elastic IPs, and the pool of public addresses."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from cloudlet.services.ec2.records import Ground
from tests.services.ec2.conftest import Region


def allocate(region: Region) -> tuple[str, str]:
    made = region("AllocateAddress", Domain="vpc")
    return made["AllocationId"], made["PublicIp"]


def interface(region: Region, **given: Any) -> str:
    id: str = region("CreateNetworkInterface", SubnetId=region.subnet_id, **given)["NetworkInterface"][
        "NetworkInterfaceId"]
    return id


def association(region: Region, id: str) -> dict[str, Any] | None:
    (seen,) = region("DescribeNetworkInterfaces", NetworkInterfaceIds=[id])["NetworkInterfaces"]
    found: dict[str, Any] | None = seen.get("Association")
    return found


def shrink_pool(region: Region, cidr: str) -> None:
    with region.desk.store.tx() as tx:
        found = tx.get(Ground, "site")
        assert found
        tx.put(replace(found, public_cidr=cidr))


def test_allocate_and_release(region: Region) -> None:
    made = region("AllocateAddress", TagSpecifications=[
        {"ResourceType": "elastic-ip", "Tags": [{"Key": "a", "Value": "b"}]}])
    assert made["Domain"] == "vpc"
    assert made["NetworkBorderGroup"] == "us-east-1"
    assert ip_address(made["PublicIp"]) in ip_network("203.0.113.0/24")
    (seen,) = region("DescribeAddresses")["Addresses"]
    assert seen == {**made, "Tags": [{"Key": "a", "Value": "b"}]}
    assert region("DescribeAddressesAttribute", AllocationIds=[made["AllocationId"]], Attribute="domain-name") == {
        "Addresses": [{"PublicIp": made["PublicIp"], "AllocationId": made["AllocationId"]}]}
    region("ReleaseAddress", AllocationId=made["AllocationId"])
    assert region("DescribeAddresses")["Addresses"] == []
    assert region.fails("ReleaseAddress", AllocationId=made["AllocationId"]) == (
        "InvalidAllocationID.NotFound", f"The allocation ID '{made['AllocationId']}' does not exist")


def test_associate_and_disassociate(region: Region) -> None:
    id, address = allocate(region)
    eni = interface(region)
    made = region("AssociateAddress", AllocationId=id, NetworkInterfaceId=eni)["AssociationId"]
    assert region("AssociateAddress", AllocationId=id, NetworkInterfaceId=eni)["AssociationId"] == made
    (seen,) = region("DescribeAddresses", Filters=[{"Name": "network-interface-id", "Values": [eni]}])["Addresses"]
    assert (seen["AssociationId"], seen["NetworkInterfaceId"], seen["NetworkInterfaceOwnerId"]) == (
        made, eni, "123456789012")
    found = association(region, eni)
    assert found is not None
    assert (found["PublicIp"], found["AllocationId"], found["IpOwnerId"]) == (address, id, "123456789012")
    assert region.fails("ReleaseAddress", AllocationId=id) == (
        "InvalidIPAddress.InUse", f"Address {address} is in use.")
    other = interface(region)
    assert region.fails("AssociateAddress", AllocationId=id, NetworkInterfaceId=other) == (
        "Resource.AlreadyAssociated", f"resource {id} is already associated with associate-id {made}")
    moved = region("AssociateAddress", PublicIp=address, NetworkInterfaceId=other, AllowReassociation=True)
    assert moved["AssociationId"] != made
    assert association(region, eni) is None
    assert region.fails("DisassociateAddress", AssociationId=made)[0] == "InvalidAssociationID.NotFound"
    region("DisassociateAddress", PublicIp=address)
    assert association(region, other) is None
    assert region.fails("DisassociateAddress", PublicIp=address)[0] == "InvalidParameterValue"
    region("AssociateAddress", AllocationId=id, NetworkInterfaceId=eni)
    region("DeleteNetworkInterface", NetworkInterfaceId=eni)
    assert "AssociationId" not in region("DescribeAddresses", AllocationIds=[id])["Addresses"][0]
    region("ReleaseAddress", PublicIp=address)


def test_another_address_takes_the_first_ones_place(region: Region) -> None:
    eni = interface(region)
    first, second = allocate(region), allocate(region)
    region("AssociateAddress", AllocationId=first[0], NetworkInterfaceId=eni)
    region("AssociateAddress", AllocationId=second[0], NetworkInterfaceId=eni)
    found = association(region, eni)
    assert found is not None
    assert found["PublicIp"] == second[1]
    assert "AssociationId" not in region("DescribeAddresses", PublicIps=[first[1]])["Addresses"][0]


@pytest.mark.parametrize(("operation", "request_", "code"), [
    ("AllocateAddress", {"Domain": "standard"}, "UnsupportedOperation"),
    ("AllocateAddress", {"Address": "203.0.113.9"}, "UnsupportedOperation"),
    ("AllocateAddress", {"NetworkBorderGroup": "eu-west-1"}, "InvalidParameterValue"),
    ("AssociateAddress", {}, "MissingParameter"),
    ("AssociateAddress", {"AllocationId": "eipalloc-0", "PublicIp": "1.2.3.4"}, "InvalidParameterCombination"),
    ("AssociateAddress", {"PublicIp": "1.2.3.4"}, "InvalidAddress.NotFound"),
    ("DisassociateAddress", {}, "MissingParameter"),
    ("DescribeAddresses", {"AllocationIds": ["eipalloc-0"]}, "InvalidAllocationID.NotFound"),
    ("DescribeAddresses", {"PublicIps": ["1.2.3.4"]}, "InvalidAddress.NotFound"),
])
def test_refuses(region: Region, operation: str, request_: dict[str, Any], code: str) -> None:
    assert region.fails(operation, **request_)[0] == code


def test_associate_refuses(region: Region) -> None:
    id, _ = allocate(region)
    assert region.fails("AssociateAddress", AllocationId=id)[0] == "MissingParameter"
    assert region.fails("AssociateAddress", AllocationId=id, InstanceId="i-0")[0] == "InvalidInstanceID.NotFound"
    eni = interface(region)
    assert region.fails("AssociateAddress", AllocationId=id, NetworkInterfaceId=eni, PrivateIpAddress="172.31.0.4")[
        0] == "InvalidParameterValue"
    closed = region("CreateNetworkInterface", SubnetId=region.subnet(region.vpc()))["NetworkInterface"]
    assert region.fails("AssociateAddress", AllocationId=id, NetworkInterfaceId=closed["NetworkInterfaceId"]) == (
        "Gateway.NotAttached", f"Network {closed['VpcId']} is not attached to any internet gateway")
    assert region.fails("AssociateAddress", AllocationId=id, NetworkInterfaceId=region.task().id)[0] == "AuthFailure"


def test_gateway_stays_while_public_addresses_are_mapped(region: Region) -> None:
    task = region.task(public=True)
    (gateway,) = region("DescribeInternetGateways")["InternetGateways"]
    given = {"InternetGatewayId": gateway["InternetGatewayId"], "VpcId": region.vpc_id}
    code, message = region.fails("DetachInternetGateway", **given)
    assert code == "DependencyViolation"
    assert "has some mapped public address(es)" in message
    region.release(task.id)
    region("DetachInternetGateway", **given)


def test_no_address_is_handed_out_twice(region: Region) -> None:
    shrink_pool(region, "203.0.113.0/29")
    others = [region, region.elsewhere("eu-west-1"), region.elsewhere(account="999999999999")]
    had = [others[number % 3].task(f"t{number}", public=True).public_ip for number in range(4)]
    elastic = allocate(region)
    assert {*had, elastic[1]} == {f"203.0.113.{last}" for last in range(2, 7)}
    assert region.fails("AllocateAddress")[0] == "InsufficientAddressCapacity"
    region("ReleaseAddress", AllocationId=elastic[0])
    assert allocate(region)[1] == elastic[1]


def test_an_address_is_free_only_when_no_fabric_carries_it(region: Region) -> None:
    shrink_pool(region, "203.0.113.0/30")
    task = region.task(public=True)
    region.settle()
    region.release(task.id)
    assert region.fails("AllocateAddress")[0] == "InsufficientAddressCapacity"
    region.settle()
    assert allocate(region)[1] == task.public_ip


def test_elastic_ips_have_a_limit(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudlet.services.ec2.quotas.ELASTIC_IPS", 1)
    allocate(region)
    assert region.fails("AllocateAddress") == (
        "AddressLimitExceeded", "The maximum number of addresses has been reached.")
    allocate(region.elsewhere("eu-west-1"))
