"""What a security group's rule allows, in the forms that requests and answers have for it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import InvalidParameterValue
from cloudlet.services.ec2.nouns import find
from cloudlet.services.ec2.ranges import parse_cidr, parse_cidr6
from cloudlet.services.ec2.records import SecurityGroup, SecurityGroupRule
from cloudlet.store.db import Tx

_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6", "all": "-1"}
_DESCRIPTION = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")
_PORT_MAX, _ICMP_MAX, _PROTOCOL_MAX = 65535, 255, 255


@dataclass(frozen=True, slots=True)
class Permission:
    """A rule's content: exactly one of `cidr`, `cidr6` and `peer_group` is set."""

    protocol: str
    from_port: int | None
    to_port: int | None
    cidr: str | None = None
    cidr6: str | None = None
    peer_group: str | None = None
    description: str | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What no two rules of a group and direction share: all but the description."""
        return self.protocol, self.from_port, self.to_port, self.cidr, self.cidr6, self.peer_group

    def __str__(self) -> str:
        """As AWS's sentence about a duplicate has it."""
        peer = self.cidr or self.cidr6 or self.peer_group
        if self.protocol == "-1":
            return f"peer: {peer}, ALL, ALLOW"
        kind = self.protocol.upper()
        if self.protocol.startswith("icmp"):
            return f"peer: {peer}, {kind}, type: {self.from_port}, code: {self.to_port}, ALLOW"
        return f"peer: {peer}, {kind}, from port: {self.from_port}, to port: {self.to_port}, ALLOW"


def permission_of(rule: SecurityGroupRule) -> Permission:
    """The content of a rule."""
    return Permission(rule.protocol, rule.from_port, rule.to_port, rule.cidr, rule.cidr6, rule.peer_group,
                      rule.description)


# ── From requests ────────────────────────────────────────────────────────────────────────────────────────────────────


def parse_permissions(tx: Tx, call: Call, group: SecurityGroup, permissions: Iterable[Mapping[str, Any]]
                      ) -> list[Permission]:
    """The rules that a list of IpPermission means, one for each source or destination in it."""
    found: list[Permission] = []
    for given in permissions:
        service = parse_service(given.get("IpProtocol"), given.get("FromPort"), given.get("ToPort"))
        before = len(found)
        for item in given.get("IpRanges") or ():
            found.append(Permission(*service, cidr=parse_peer_cidr(item.get("CidrIp")), description=_description(item)))
        for item in given.get("Ipv6Ranges") or ():
            found.append(Permission(*service, cidr6=parse_peer_cidr6(item.get("CidrIpv6")),
                                    description=_description(item)))
        for item in given.get("UserIdGroupPairs") or ():
            found.append(Permission(*service, peer_group=_peer(tx, call, group, item), description=_description(item)))
        for item in given.get("PrefixListIds") or ():
            raise absent_prefix_list(item.get("PrefixListId"))
        if len(found) == before:
            raise api.MissingParameter("Either a CIDR block, a security group or a prefix list must be specified.")
    if not found:
        raise api.MissingParameter("The request must contain the parameter ipPermissions")
    if len({permission.identity for permission in found}) < len(found):
        raise InvalidParameterValue("The same permission must not appear multiple times")
    return found


def flat_permissions(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The IpPermissions of a request that has one rule in its top-level members."""
    name = request.get("SourceSecurityGroupName")
    if name:  # full TCP, UDP and ICMP access, as the API reference says
        pairs = [{"GroupName": name, "UserId": request.get("SourceSecurityGroupOwnerId")}]
        return [{"IpProtocol": protocol, "FromPort": first, "ToPort": last, "UserIdGroupPairs": pairs}
                for protocol, first, last in (("tcp", 0, _PORT_MAX), ("udp", 0, _PORT_MAX), ("icmp", -1, -1))]
    if not request.get("CidrIp") and not request.get("IpProtocol"):
        return []
    ranges = [{"CidrIp": request["CidrIp"]}] if request.get("CidrIp") else []
    return [{"IpProtocol": request.get("IpProtocol"), "FromPort": request.get("FromPort"),
             "ToPort": request.get("ToPort"), "IpRanges": ranges}]


def parse_service(protocol: str | None, first: int | None, last: int | None) -> tuple[str, int | None, int | None]:
    """Protocol and ports in the form that is kept. Ports count for TCP and UDP; type and code for ICMP."""
    if not protocol:
        raise api.MissingParameter("The request must contain the parameter ipProtocol")
    name = _PROTOCOLS.get(protocol.lower(), protocol.lower())
    if name in ("tcp", "udp"):
        if first is None or last is None:
            raise InvalidParameterValue(
                "Invalid value for portRange. Must specify both from and to ports with TCP/UDP.")
        if not 0 <= first <= last <= _PORT_MAX:
            raise InvalidParameterValue(f"Invalid TCP/UDP port range ({first}:{last})")
        return name, first, last
    if name in ("icmp", "icmpv6"):
        kind, code = -1 if first is None else first, -1 if last is None else last
        if not (-1 <= kind <= _ICMP_MAX and -1 <= code <= _ICMP_MAX) or (kind == -1 and code != -1):
            raise InvalidParameterValue(f"Invalid value '{kind}:{code}' for ICMP type and code.")
        return name, kind, code
    if name != "-1" and not (name.isascii() and name.isdigit() and int(name) <= _PROTOCOL_MAX):
        raise InvalidParameterValue(f"Invalid value '{protocol}' for IP protocol. Unknown protocol.")
    return (name if name == "-1" else str(int(name))), None, None


def parse_peer_cidr(text: str | None) -> str:
    """An IPv4 range in its canonical form."""
    try:
        return str(parse_cidr(text or "", "cidrIp"))
    except InvalidParameterValue:
        raise InvalidParameterValue(f"CIDR block {text} is malformed") from None


def parse_peer_cidr6(text: str | None) -> str:
    """An IPv6 range in its canonical form."""
    try:
        return str(parse_cidr6(text or "", "cidrIpv6"))
    except InvalidParameterValue:
        raise InvalidParameterValue(f"CIDR block {text} is malformed") from None


def parse_description(text: str | None) -> str | None:
    """A rule's description, if it is one that AWS takes."""
    if text is not None and not _DESCRIPTION.fullmatch(text):
        raise InvalidParameterValue("Invalid rule description. Valid descriptions are strings less than 256 characters "
                                    "from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*")
    return text or None


def absent_prefix_list(id: str | None) -> AwsError:
    """There are no prefix lists here."""
    return api.InvalidPrefixListNotFound(f"The prefix list ID '{id}' does not exist")


def check_peer(tx: Tx, call: Call, group: SecurityGroup, id: str) -> str:
    """The id of a group that a rule of `group` may name: one of the same VPC."""
    peer = find(tx, call, SecurityGroup, id)
    if peer.vpc_id != group.vpc_id:
        raise api.InvalidGroupNotFound("You have specified two resources that belong to different networks.")
    return peer.id


def _peer(tx: Tx, call: Call, group: SecurityGroup, pair: Mapping[str, Any]) -> str:
    id, name = pair.get("GroupId"), pair.get("GroupName")
    if not id and not name:
        raise api.MissingParameter("Source group ID missing.")
    if pair.get("UserId") not in (None, "", call.account):
        raise api.InvalidGroupNotFound(f"The security group '{id or name}' does not exist")
    if pair.get("VpcPeeringConnectionId"):
        raise api.UnsupportedOperation("The parameter VpcPeeringConnectionId is not supported.")
    if id:
        return check_peer(tx, call, group, id)
    named = next((g for g in tx.find(SecurityGroup, vpc=group.vpc_id) if g.name == name), None)
    if named is None:
        raise api.InvalidGroupNotFound(f"The security group '{name}' does not exist in VPC '{group.vpc_id}'")
    return named.id


def _description(item: Mapping[str, Any]) -> str | None:
    return parse_description(item.get("Description"))


# ── For answers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def permissions_view(rules: Iterable[SecurityGroupRule]) -> list[dict[str, Any]]:
    """Rules as IpPermissions: those of one protocol and port range together."""
    views: dict[tuple[Any, ...], dict[str, Any]] = {}
    for rule in rules:
        service = rule.protocol, rule.from_port, rule.to_port
        view = views.get(service)
        if view is None:
            view = views[service] = {"IpProtocol": rule.protocol, "IpRanges": [], "Ipv6Ranges": [],
                                     "PrefixListIds": [], "UserIdGroupPairs": []}
            if rule.from_port is not None:
                view |= {"FromPort": rule.from_port, "ToPort": rule.to_port}
        noted = {"Description": rule.description} if rule.description else {}
        if rule.cidr:
            view["IpRanges"].append({"CidrIp": rule.cidr, **noted})
        elif rule.cidr6:
            view["Ipv6Ranges"].append({"CidrIpv6": rule.cidr6, **noted})
        else:
            view["UserIdGroupPairs"].append({"GroupId": rule.peer_group, "UserId": rule.account, **noted})
    return list(views.values())
