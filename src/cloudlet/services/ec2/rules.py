"""The rules of security groups, one by one (the rule-id operations) and by their content (the older ones)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, quotas
from cloudlet.services.ec2.api import ec2, touches
from cloudlet.services.ec2.fabric import refresh_group
from cloudlet.services.ec2.groups import find_group
from cloudlet.services.ec2.nouns import arn, described, find
from cloudlet.services.ec2.permissions import (
    Permission,
    absent_prefix_list,
    check_peer,
    flat_permissions,
    parse_description,
    parse_peer_cidr,
    parse_peer_cidr6,
    parse_permissions,
    parse_service,
    permission_of,
    permissions_view,
)
from cloudlet.services.ec2.records import Direction, SecurityGroup, SecurityGroupRule, Vpc
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx

_GROUP = touches(security_group="GroupId")


def _view(rule: SecurityGroupRule) -> dict[str, Any]:
    view: dict[str, Any] = {
        "SecurityGroupRuleId": rule.id, "SecurityGroupRuleArn": arn(rule), "GroupId": rule.group_id,
        "GroupOwnerId": rule.account, "IsEgress": rule.direction == "egress", "IpProtocol": rule.protocol,
        "FromPort": -1 if rule.from_port is None else rule.from_port,
        "ToPort": -1 if rule.to_port is None else rule.to_port, "Tags": tag_set(rule.tags),
    }
    if rule.peer_group:  # always the account's own, which goes unsaid: Terraform, told not to ask who it is, takes an
        view["ReferencedGroupInfo"] = {"GroupId": rule.peer_group}  # account that is named for somebody else's
    optional = {"CidrIpv4": rule.cidr, "CidrIpv6": rule.cidr6, "Description": rule.description}
    return view | {name: value for name, value in optional.items() if value}


def _rules(tx: Tx, group: SecurityGroup, direction: Direction) -> list[SecurityGroupRule]:
    return [rule for rule in tx.find(SecurityGroupRule, group=group.id) if rule.direction == direction]


def _check_new(existing: Iterable[SecurityGroupRule], added: Iterable[Permission]) -> None:
    """No duplicates, and no more rules than a group may have."""
    there = {permission_of(rule).identity for rule in existing}
    for permission in added:
        if permission.identity in there:
            raise api.InvalidPermissionDuplicate(f'the specified rule "{permission}" already exists')
        there.add(permission.identity)
    ipv6 = sum(identity[4] is not None for identity in there)
    if max(ipv6, len(there) - ipv6) > quotas.RULES_PER_GROUP:
        raise api.RulesLimitExceeded("The maximum number of rules per security group has been reached.")


def _given(tx: Tx, call: Call, group: SecurityGroup, request: Input) -> list[Permission]:
    permissions, flat = request.get("IpPermissions") or [], flat_permissions(request)
    if permissions and flat:
        raise api.InvalidParameterCombination("The parameter ipPermissions may not be used with other rule parameters")
    return parse_permissions(tx, call, group, permissions or flat)


# ── Authorize and revoke ─────────────────────────────────────────────────────────────────────────────────────────────


def _authorize(tx: Tx, call: Call, request: Input, direction: Direction) -> dict[str, Any]:
    group = find_group(tx, call, request)
    permissions, tags = _given(tx, call, group, request), tags_for(request, "security-group-rule")
    _check_new(_rules(tx, group, direction), permissions)
    made = []
    for p in permissions:
        id = f"sgr-{tx.token(17)}"
        rule = SecurityGroupRule(f"{call.scope}/{id}", id, call.account, call.region, group.id, direction, p.protocol,
                                 p.from_port, p.to_port, p.cidr, p.cidr6, p.peer_group, p.description, tags)
        tx.put(rule)
        made.append(_view(rule))
    refresh_group(tx, call.scope, group.id)
    return {"Return": True, "SecurityGroupRules": made}


@ec2.write(resources=_GROUP)
def authorize_security_group_ingress(call: Call, tx: Tx, request: Input) -> Output:
    """Lets traffic in."""
    return _authorize(tx, call, request, "ingress")


@ec2.write(resources=_GROUP)
def authorize_security_group_egress(call: Call, tx: Tx, request: Input) -> Output:
    """Lets traffic out."""
    return _authorize(tx, call, request, "egress")


def _revoke(tx: Tx, call: Call, request: Input, direction: Direction) -> dict[str, Any]:
    """By rule id, or by content. What is not there: an error in a VPC of one's own, a list of the unknown in the
    default VPC (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RevokeSecurityGroupIngress.html)."""
    group = find_group(tx, call, request)
    unknown: list[Permission] = []
    if request.get("SecurityGroupRuleIds"):
        gone = [_of_group(tx, call, group, id, direction) for id in dict.fromkeys(request["SecurityGroupRuleIds"])]
    else:
        there = {permission_of(rule).identity: rule for rule in _rules(tx, group, direction)}
        given = _given(tx, call, group, request)
        unknown = [permission for permission in given if permission.identity not in there]
        if unknown and not find(tx, call, Vpc, group.vpc_id).is_default:
            raise api.InvalidPermissionNotFound("The specified rule does not exist in this security group.")
        gone = [there[permission.identity] for permission in given if permission.identity in there]
    for rule in gone:
        tx.delete(SecurityGroupRule, rule.key)
    refresh_group(tx, call.scope, group.id)
    answer: dict[str, Any] = {"Return": True, "RevokedSecurityGroupRules": [_revoked_view(rule) for rule in gone]}
    if unknown:
        answer["UnknownIpPermissions"] = permissions_view(
            SecurityGroupRule("", "", call.account, call.region, group.id, direction, p.protocol, p.from_port,
                              p.to_port, p.cidr, p.cidr6, p.peer_group, p.description) for p in unknown)
    return answer


def _revoked_view(rule: SecurityGroupRule) -> dict[str, Any]:
    view = _view(rule)
    peer = view.pop("ReferencedGroupInfo", None)
    for member in ("SecurityGroupRuleArn", "GroupOwnerId", "Tags"):
        del view[member]
    return {**view, "ReferencedGroupId": peer["GroupId"]} if peer else view


def _of_group(tx: Tx, call: Call, group: SecurityGroup, id: str, direction: Direction | None = None
              ) -> SecurityGroupRule:
    """A rule by its id, if it is one of the group's (and of the direction, where one is given)."""
    rule = find(tx, call, SecurityGroupRule, id)
    if rule.group_id != group.id or direction not in (None, rule.direction):
        raise api.InvalidRuleNotFound(f"The security group rule ID '{id}' does not exist")
    return rule


@ec2.write(resources=_GROUP)
def revoke_security_group_ingress(call: Call, tx: Tx, request: Input) -> Output:
    """No longer lets traffic in."""
    return _revoke(tx, call, request, "ingress")


@ec2.write(resources=_GROUP)
def revoke_security_group_egress(call: Call, tx: Tx, request: Input) -> Output:
    """No longer lets traffic out."""
    return _revoke(tx, call, request, "egress")


# ── Rules by id ──────────────────────────────────────────────────────────────────────────────────────────────────────


@ec2.read(resources=any_resource)
def describe_security_group_rules(call: Call, tx: Tx, request: Input) -> Output:
    """Rules by id and filter."""
    found = matching(described(tx, call, SecurityGroupRule, request.get("SecurityGroupRuleIds")),
                     request.get("Filters"), {
        "group-id": lambda r: r.group_id,
        "security-group-rule-id": lambda r: r.id,
    }, lambda r: r.tags)
    return {"SecurityGroupRules": [_view(rule) for rule in found]}


@ec2.write(resources=_GROUP)
def modify_security_group_rules(call: Call, tx: Tx, request: Input) -> Output:
    """Gives rules another content; their ids and directions stay."""
    group = find(tx, call, SecurityGroup, request["GroupId"])
    for update in request["SecurityGroupRules"]:
        rule = _of_group(tx, call, group, update["SecurityGroupRuleId"])
        given = update.get("SecurityGroupRule") or {}
        p = _modified(tx, call, group, rule, given)
        _check_new((r for r in _rules(tx, group, rule.direction) if r.id != rule.id), [p])
        tx.put(replace(rule, protocol=p.protocol, from_port=p.from_port, to_port=p.to_port, cidr=p.cidr, cidr6=p.cidr6,
                       peer_group=p.peer_group, description=p.description))
    refresh_group(tx, call.scope, group.id)
    return {"Return": True}


def _modified(tx: Tx, call: Call, group: SecurityGroup, rule: SecurityGroupRule, given: Input) -> Permission:
    if given.get("PrefixListId"):
        raise absent_prefix_list(given["PrefixListId"])
    peers = [name for name in ("CidrIpv4", "CidrIpv6", "ReferencedGroupId") if given.get(name)]
    if len(peers) != 1:
        raise api.InvalidParameterCombination(
            "The request must contain exactly one of: cidrIp, cidrIpv6, prefixListId, or referencedGroupId")
    kind, member = (("IPv4 CIDR", "CidrIpv4") if rule.cidr else ("IPv6 CIDR", "CidrIpv6") if rule.cidr6
                    else ("security group", "ReferencedGroupId"))
    if peers[0] != member:
        raise api.InvalidParameterValue(f"Invalid rule type for security group rule '{rule.id}'. "
                                        f"You may not specify {peers[0]} for an existing {kind} rule.")
    return Permission(
        *parse_service(given.get("IpProtocol"), _port(given.get("FromPort")), _port(given.get("ToPort"))),
        cidr=parse_peer_cidr(given["CidrIpv4"]) if given.get("CidrIpv4") else None,
        cidr6=parse_peer_cidr6(given["CidrIpv6"]) if given.get("CidrIpv6") else None,
        peer_group=check_peer(tx, call, group, given["ReferencedGroupId"]) if given.get("ReferencedGroupId") else None,
        description=parse_description(given.get("Description")))


def _port(value: int | None) -> int | None:
    """Describe answers -1 where there are no ports; what it answered may be sent back."""
    return None if value == -1 else value


def _describe(tx: Tx, call: Call, request: Input, direction: Direction) -> dict[str, Any]:
    """Gives rules, named by id or by content, another description."""
    group = find_group(tx, call, request)
    if request.get("SecurityGroupRuleDescriptions"):
        for item in request["SecurityGroupRuleDescriptions"]:
            rule = _of_group(tx, call, group, item.get("SecurityGroupRuleId") or "", direction)
            tx.put(replace(rule, description=parse_description(item.get("Description"))))
        return {"Return": True}
    there = {permission_of(rule).identity: rule for rule in _rules(tx, group, direction)}
    for permission in parse_permissions(tx, call, group, request.get("IpPermissions") or ()):
        known = there.get(permission.identity)
        if known is None:
            raise api.InvalidPermissionNotFound("The specified rule does not exist in this security group.")
        tx.put(replace(known, description=permission.description))
    return {"Return": True}


@ec2.write(resources=_GROUP)
def update_security_group_rule_descriptions_ingress(call: Call, tx: Tx, request: Input) -> Output:
    """Descriptions of rules that let traffic in."""
    return _describe(tx, call, request, "ingress")


@ec2.write(resources=_GROUP)
def update_security_group_rule_descriptions_egress(call: Call, tx: Tx, request: Input) -> Output:
    """Descriptions of rules that let traffic out."""
    return _describe(tx, call, request, "egress")
