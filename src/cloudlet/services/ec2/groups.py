"""Security groups: who may talk to the interfaces that bear them, and to whom they may talk."""

import re
from collections.abc import Callable
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, quotas
from cloudlet.services.ec2.api import ec2, touches
from cloudlet.services.ec2.nouns import arn, described, find
from cloudlet.services.ec2.opening import make_egress_rule
from cloudlet.services.ec2.permissions import permissions_view
from cloudlet.services.ec2.records import NetworkInterface, SecurityGroup, SecurityGroupRule, Vpc
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.services.ec2.vpcs import default_vpc
from cloudlet.store.db import Tx

_TEXT = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]*")
TEXT_LENGTH_MAX = 255


def find_group(tx: Tx, call: Call, request: Input) -> SecurityGroup:
    """The group that a request names by id, or by its name in the default VPC."""
    if request.get("GroupId"):
        return find(tx, call, SecurityGroup, request["GroupId"])
    name = request.get("GroupName")
    if not name:
        raise api.MissingParameter("The request must contain the parameter groupName or groupId")
    return by_name(tx, call, name)


def by_name(tx: Tx, call: Call, name: str) -> SecurityGroup:
    """The group of that name in the caller's default VPC. Raises InvalidGroup.NotFound."""
    vpc = default_vpc(tx, call)
    for group in tx.find(SecurityGroup, vpc=vpc.id) if vpc else ():
        if group.name == name:
            return group
    raise api.InvalidGroupNotFound(f"The security group '{name}' does not exist"
                                   + (f" in default VPC '{vpc.id}'" if vpc else ""))


def default_group(tx: Tx, vpc_id: str) -> SecurityGroup:
    """A VPC's default group, which nobody can delete."""
    return next(group for group in tx.find(SecurityGroup, vpc=vpc_id) if group.name == "default")


@ec2.write(resources=touches(security_group="", vpc="VpcId"))
def create_security_group(call: Call, tx: Tx, request: Input) -> Output:
    """A group that lets everything out and nothing in."""
    name, description = request["GroupName"], request["Description"]
    for value, parameter in ((name, "groupName"), (description, "groupDescription")):
        if not value:
            raise api.MissingParameter(f"The request must contain the parameter {parameter}")
        if len(value) > TEXT_LENGTH_MAX or not _TEXT.fullmatch(value):
            raise api.InvalidParameterValue(f"Value ({value}) for parameter {parameter} is invalid. "
                                            "Character sets beyond ASCII are not supported.")
    if name.lower().startswith("sg-"):
        raise api.InvalidParameterValue(f"Value ({name}) for parameter groupName is invalid. "
                                        "Group names may not be in the format sg-*.")
    vpc = find(tx, call, Vpc, request["VpcId"]) if request.get("VpcId") else default_vpc(tx, call)
    if vpc is None:
        raise api.VpcIdNotSpecified("No default VPC for this user")
    if any(group.name == name for group in tx.find(SecurityGroup, vpc=vpc.id)):
        raise api.InvalidGroupDuplicate(f"The security group '{name}' already exists for VPC '{vpc.id}'")
    if len(tx.find(SecurityGroup, f"{call.scope}/", limit=quotas.SECURITY_GROUPS)) >= quotas.SECURITY_GROUPS:
        raise api.SecurityGroupLimitExceeded("The maximum number of security groups has been reached.")
    id = f"sg-{tx.token(17)}"
    group = SecurityGroup(f"{call.scope}/{id}", id, call.account, call.region, vpc.id, name, description,
                          tags_for(request, "security-group"))
    tx.put(group)
    make_egress_rule(tx, call, id)
    return {"GroupId": id, "SecurityGroupArn": arn(group), "Tags": tag_set(group.tags)}


def _view(group: SecurityGroup, rules: list[SecurityGroupRule]) -> dict[str, Any]:
    return {
        "GroupId": group.id, "GroupName": group.name, "Description": group.description, "VpcId": group.vpc_id,
        "OwnerId": group.account, "SecurityGroupArn": arn(group), "Tags": tag_set(group.tags),
        "IpPermissions": permissions_view([r for r in rules if r.direction == "ingress"]),
        "IpPermissionsEgress": permissions_view([r for r in rules if r.direction == "egress"]),
    }


@ec2.read(resources=any_resource)
def describe_security_groups(call: Call, tx: Tx, request: Input) -> Output:
    """Groups by id, by name in the default VPC, and by filter."""
    named = [by_name(tx, call, name).id for name in request.get("GroupNames") or ()]
    groups = described(tx, call, SecurityGroup, [*(request.get("GroupIds") or ()), *named])
    rules: dict[str, list[SecurityGroupRule]] = {}
    for rule in tx.find(SecurityGroupRule, group=groups[0].id) if len(groups) == 1 else (
            tx.find(SecurityGroupRule, f"{call.scope}/")):
        rules.setdefault(rule.group_id, []).append(rule)
    found = matching(groups, request.get("Filters"), {
        "description": lambda g: g.description,
        "group-id": lambda g: g.id,
        "group-name": lambda g: g.name,
        "owner-id": lambda g: g.account,
        "vpc-id": lambda g: g.vpc_id,
        **_rule_filters("ip-permission.", "ingress", tx, rules),
        **_rule_filters("egress.ip-permission.", "egress", tx, rules),
    }, lambda g: g.tags)
    return {"SecurityGroups": [_view(group, rules.get(group.id, [])) for group in found]}


def _rule_filters(prefix: str, direction: str, tx: Tx, rules: dict[str, list[SecurityGroupRule]]) -> dict[str, Any]:
    """Filters that look at a group's rules of one direction."""
    def of(value: Callable[[SecurityGroupRule], Any]) -> Callable[[SecurityGroup], list[str]]:
        return lambda group: [str(found) for rule in rules.get(group.id, ()) if rule.direction == direction
                              and (found := value(rule)) is not None]

    def peer_name(rule: SecurityGroupRule) -> str | None:
        peer = tx.get(SecurityGroup, f"{rule.account}/{rule.region}/{rule.peer_group}") if rule.peer_group else None
        return peer.name if peer else None
    return {
        prefix + "cidr": of(lambda r: r.cidr),
        prefix + "ipv6-cidr": of(lambda r: r.cidr6),
        prefix + "from-port": of(lambda r: r.from_port),
        prefix + "to-port": of(lambda r: r.to_port),
        prefix + "group-id": of(lambda r: r.peer_group),
        prefix + "group-name": of(peer_name),
        prefix + "prefix-list-id": lambda g: None,
        prefix + "protocol": of(lambda r: r.protocol),
        prefix + "user-id": of(lambda r: r.account if r.peer_group else None),
    }


@ec2.write(resources=touches(security_group="GroupId"))
def delete_security_group(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a group that no interface bears and no other group's rule names."""
    group = find_group(tx, call, request)
    if group.name == "default":
        raise api.CannotDelete(f'the specified group: "{group.id}" name: "default" cannot be deleted by a user')
    if (any(not i.releasing for i in tx.find(NetworkInterface, group=group.id))
            or any(rule.group_id != group.id for rule in tx.find(SecurityGroupRule, peer=group.id))):
        raise api.DependencyViolation(f"resource {group.id} has a dependent object")
    for rule in tx.find(SecurityGroupRule, group=group.id):
        tx.delete(SecurityGroupRule, rule.key)
    tx.delete(SecurityGroup, group.key)
    return {"Return": True, "GroupId": group.id}


@ec2.read(resources=any_resource)
def describe_security_group_references(call: Call, tx: Tx, request: Input) -> Output:
    """Groups of peered VPCs that name these: there are none, as VPCs cannot be peered here."""
    for id in request["GroupId"]:
        find(tx, call, SecurityGroup, id)
    return {"SecurityGroupReferenceSet": []}


@ec2.read(resources=any_resource)
def describe_stale_security_groups(call: Call, tx: Tx, request: Input) -> Output:
    """Groups that name groups of VPCs no longer peered: there are none, as VPCs cannot be peered here."""
    find(tx, call, Vpc, request["VpcId"])
    return {"StaleSecurityGroupSet": []}


@ec2.read(resources=touches(vpc="VpcId"))
def get_security_groups_for_vpc(call: Call, tx: Tx, request: Input) -> Output:
    """The groups that interfaces of a VPC can bear."""
    vpc = find(tx, call, Vpc, request["VpcId"])
    found = matching(tx.find(SecurityGroup, vpc=vpc.id), request.get("Filters"), {
        "description": lambda g: g.description,
        "group-id": lambda g: g.id,
        "group-name": lambda g: g.name,
        "owner-id": lambda g: g.account,
        "primary-vpc-id": lambda g: g.vpc_id,
    }, lambda g: g.tags)
    return {"SecurityGroupForVpcs": [
        {"GroupId": g.id, "GroupName": g.name, "Description": g.description, "OwnerId": g.account,
         "PrimaryVpcId": g.vpc_id, "Tags": tag_set(g.tags)} for g in found]}
