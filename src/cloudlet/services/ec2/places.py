"""What an account may see of the world: regions, availability zones, and its own limits."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, quotas
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.regions import Zone, opt_in_status, regions, zones
from cloudlet.services.ec2.vpcs import default_vpc
from cloudlet.store.db import Tx


@ec2.read(resources=any_resource)
def describe_regions(call: Call, tx: Tx, request: Input) -> Output:
    """Every region; here all of them are open to every account."""
    views = [{"RegionName": name, "Endpoint": f"ec2.{name}.amazonaws.com", "OptInStatus": opt_in_status(name)}
             for name in _chosen(request.get("RegionNames"), regions(), "region")]
    return {"Regions": matching(views, request.get("Filters"), {
        "endpoint": lambda v: v["Endpoint"],
        "opt-in-status": lambda v: v["OptInStatus"],
        "region-name": lambda v: v["RegionName"],
    })}


def _chosen(asked: list[str] | None, known: tuple[str, ...], noun: str) -> tuple[str, ...]:
    for name in asked or ():
        if name not in known:
            raise api.InvalidParameterValue(f"Invalid {noun}: [{name}]")
    return tuple(name for name in known if name in asked) if asked else known


def _zone_view(zone: Zone) -> dict[str, Any]:
    return {"ZoneName": zone.name, "ZoneId": zone.id, "RegionName": zone.region, "GroupName": f"{zone.region}-zg-1",
            "NetworkBorderGroup": zone.region, "ZoneType": "availability-zone", "State": "available", "Messages": [],
            "OptInStatus": "opt-in-not-required"}


@ec2.read(resources=any_resource)
def describe_availability_zones(call: Call, tx: Tx, request: Input) -> Output:
    """The zones of the region."""
    there = zones(call.region)
    names = _chosen(request.get("ZoneNames"), tuple(zone.name for zone in there), "availability zone")
    ids = _chosen(request.get("ZoneIds"), tuple(zone.id for zone in there), "availability zone-id")
    views = [_zone_view(zone) for zone in there if zone.name in names and zone.id in ids]
    return {"AvailabilityZones": matching(views, request.get("Filters"), {
        "group-name": lambda v: v["GroupName"],
        "message": lambda v: None,
        "opt-in-status": lambda v: v["OptInStatus"],
        "parent-zone-id": lambda v: None,
        "parent-zone-name": lambda v: None,
        "region-name": lambda v: v["RegionName"],
        "state": lambda v: v["State"],
        "zone-id": lambda v: v["ZoneId"],
        "zone-name": lambda v: v["ZoneName"],
        "zone-type": lambda v: v["ZoneType"],
    })}


@ec2.read(resources=any_resource)
def describe_account_attributes(call: Call, tx: Tx, request: Input) -> Output:
    """What the account has by default, and how much it may have."""
    vpc = default_vpc(tx, call)
    attributes = {
        "supported-platforms": "VPC",
        "default-vpc": vpc.id if vpc else "none",
        "vpc-max-security-groups-per-interface": str(quotas.GROUPS_PER_INTERFACE),
        "max-elastic-ips": str(quotas.ELASTIC_IPS),
        "vpc-max-elastic-ips": str(quotas.ELASTIC_IPS),
    }
    asked = request.get("AttributeNames") or attributes
    return {"AccountAttributes": [{"AttributeName": name, "AttributeValues": [{"AttributeValue": value}]}
                                  for name, value in attributes.items() if name in asked]}
