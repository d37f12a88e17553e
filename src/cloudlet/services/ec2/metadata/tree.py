"""From what is known of an instance to the tree that its metadata is, and to the answer for a path. Pure.

A directory is a dict; a leaf is text, bytes, or what makes it when it is asked for.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from cloudlet.services.ec2.metadata.facts import Card, Facts

Leaf = str | bytes | Callable[[], str]
Node = Leaf | Mapping[str, Any]

VERSIONS = ("1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
            "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20",
            "2016-04-19", "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01",
            "2020-10-27", "2021-01-03", "2021-03-23", "latest")

# Which version was the first to have a category; those that are not here are as old as the service.
_SINCE = {
    "dynamic": "2009-04-04", "dynamic/instance-identity/rsa2048": "2014-11-05",
    "meta-data/block-device-mapping": "2007-12-15", "meta-data/events": "2018-08-17", "meta-data/iam": "2012-01-12",
    "meta-data/instance-action": "2008-09-01", "meta-data/instance-life-cycle": "2019-10-01",
    "meta-data/instance-type": "2007-08-29", "meta-data/local-hostname": "2007-01-19",
    "meta-data/mac": "2011-01-01", "meta-data/managed-ssh-keys": "2018-03-28", "meta-data/metrics": "2011-05-01",
    "meta-data/network": "2011-01-01", "meta-data/placement": "2008-02-01",
    "meta-data/placement/availability-zone-id": "2019-10-01", "meta-data/placement/region": "2019-10-01",
    "meta-data/profile": "2009-04-04", "meta-data/public-hostname": "2007-01-19",
    "meta-data/public-ipv4": "2007-01-19", "meta-data/services": "2014-02-25",
    "meta-data/services/partition": "2015-10-20", "meta-data/tags": "2021-03-23",
}


def tree(facts: Facts, document: Callable[[], Mapping[str, Leaf]],
         role: Mapping[str, Leaf] | None = None) -> dict[str, Node]:
    """All that the instance may read. `document` makes the leaves of its identity document; `role` has "info" and the
    credentials of its role, where it has an instance profile."""
    found: dict[str, Node] = {"dynamic": {"instance-identity": document()}, "meta-data": _metadata(facts, role)}
    if facts.user_data is not None:
        found["user-data"] = facts.user_data
    return found


def _metadata(facts: Facts, role: Mapping[str, Leaf] | None) -> dict[str, Node]:
    primary = facts.cards[0]
    found: dict[str, Node] = {
        "ami-id": facts.image_id, "ami-launch-index": str(facts.launch_index), "ami-manifest-path": "(unknown)",
        "block-device-mapping": {
            "ami": facts.root_device, "root": facts.root_device,
            **{f"ebs{number}": name for number, name in enumerate(facts.devices, 1)}},
        "events": {"maintenance": {"history": "[]", "scheduled": "[]"}},
        "hibernation": {"configured": "false"}, "hostname": primary.name, "instance-action": "none",
        "instance-id": facts.id, "instance-life-cycle": "on-demand", "instance-type": facts.type,
        "local-hostname": primary.name, "local-ipv4": primary.addresses[0], "mac": primary.mac,
        "metrics": {"vhostmd": '<?xml version="1.0" encoding="UTF-8"?>'},
        "network": {"interfaces": {"macs": {card.mac: _card(card) for card in facts.cards}}},
        "placement": {"availability-zone": facts.zone, "availability-zone-id": facts.zone_id, "region": facts.region},
        "profile": "default-hvm", "reservation-id": facts.reservation_id,
        "security-groups": "\n".join(primary.group_names),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    }
    if primary.public_ip:
        found |= {"public-hostname": primary.public_name, "public-ipv4": primary.public_ip}
    if facts.public_key:
        found["public-keys"] = {"0": {"openssh-key": facts.public_key}}
    if facts.active_keys:
        found["managed-ssh-keys"] = {"active-keys": dict(facts.active_keys)}
    if role is not None:
        found["iam"] = {"info": role["info"], "security-credentials": {
            name: leaf for name, leaf in role.items() if name != "info"}}
    if facts.tags is not None:
        found["tags"] = {"instance": dict(facts.tags)}
    return found


def _card(card: Card) -> dict[str, Node]:
    found: dict[str, Node] = {
        "device-number": str(card.device_index), "interface-id": card.id, "local-hostname": card.name,
        "local-ipv4s": "\n".join(card.addresses), "mac": card.mac, "owner-id": card.owner,
        "security-group-ids": "\n".join(card.group_ids), "security-groups": "\n".join(card.group_names),
        "subnet-id": card.subnet_id, "subnet-ipv4-cidr-block": card.subnet_range, "vpc-id": card.vpc_id,
        "vpc-ipv4-cidr-block": card.ranges[0], "vpc-ipv4-cidr-blocks": "\n".join(card.ranges)}
    if card.associations:
        found |= {"ipv4-associations": dict(card.associations), "public-ipv4s": "\n".join(card.associations)}
    if card.public_ip:
        found["public-hostname"] = card.public_name
    return found


def versions() -> bytes:
    """What lies at the root."""
    return "\n".join(VERSIONS).encode()


def look_up(root: Node, path: str, key_name: str = "") -> bytes | None:
    """The answer for a path that begins with a version (`/latest/meta-data/ami-id`), or None. A slash at the end makes
    no difference; `key_name` is shown in the list of public keys."""
    version, *names = path.strip("/").split("/")
    if version not in VERSIONS:
        return None
    node: Any = root
    for depth, name in enumerate(names, 1):
        if not isinstance(node, Mapping) or not _is_known(version, "/".join(names[:depth])):
            return None
        node = node.get(unquote(name))
        if node is None:
            return None
    if isinstance(node, Mapping):
        return _listing(node, version, "/".join(names), key_name)
    if callable(node):
        node = node()
    return node if isinstance(node, bytes) else node.encode()


def _is_known(version: str, category: str) -> bool:
    """Whether a version of the service has a category; "latest" sorts after every date, as "1.0" before."""
    return version >= _SINCE.get(category, "")


def _listing(directory: Mapping[str, Node], version: str, category: str, key_name: str) -> bytes:
    """A directory's names; those of directories in it end with a slash, but not at the top."""
    if category == "meta-data/public-keys":
        return f"0={key_name}".encode()
    lines = []
    for name in sorted(directory):
        if _is_known(version, f"{category}/{name}" if category else name):
            lines.append(f"{name}/" if category and isinstance(directory[name], Mapping) else name)
    return "\n".join(lines).encode()
