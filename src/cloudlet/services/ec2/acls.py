"""Network ACLs: every VPC has its default one, which lets everything pass. Others cannot be made yet."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.nouns import described
from cloudlet.services.ec2.opening import EVERYWHERE
from cloudlet.services.ec2.records import NetworkAcl, Subnet
from cloudlet.services.ec2.tags import tag_set
from cloudlet.store.db import Tx

_LAST_RULE = 32767  # "*" in AWS's console: what no other rule matched is denied

_ENTRIES = [{"CidrBlock": EVERYWHERE, "Egress": egress, "Protocol": "-1", "RuleAction": action, "RuleNumber": number}
            for egress in (True, False) for number, action in ((100, "allow"), (_LAST_RULE, "deny"))]


def _view(tx: Tx, acl: NetworkAcl) -> dict[str, Any]:
    return {"NetworkAclId": acl.id, "VpcId": acl.vpc_id, "OwnerId": acl.account, "IsDefault": True,
            "Entries": _ENTRIES, "Tags": tag_set(acl.tags), "Associations": [
                {"NetworkAclAssociationId": f"aclassoc-{subnet.id.removeprefix('subnet-')}", "NetworkAclId": acl.id,
                 "SubnetId": subnet.id} for subnet in tx.find(Subnet, vpc=acl.vpc_id)]}


@ec2.read(resources=any_resource)
def describe_network_acls(call: Call, tx: Tx, request: Input) -> Output:
    """ACLs by id and filter."""
    views = [_view(tx, acl) for acl in described(tx, call, NetworkAcl, request.get("NetworkAclIds"))]
    found = matching(views, request.get("Filters"), {
        "association.association-id": lambda v: [a["NetworkAclAssociationId"] for a in v["Associations"]],
        "association.network-acl-id": lambda v: [a["NetworkAclId"] for a in v["Associations"]],
        "association.subnet-id": lambda v: [a["SubnetId"] for a in v["Associations"]],
        "default": lambda v: v["IsDefault"],
        "entry.cidr": lambda v: [e["CidrBlock"] for e in v["Entries"]],
        "entry.egress": lambda v: ["true" if e["Egress"] else "false" for e in v["Entries"]],
        "entry.protocol": lambda v: [e["Protocol"] for e in v["Entries"]],
        "entry.rule-action": lambda v: [e["RuleAction"] for e in v["Entries"]],
        "entry.rule-number": lambda v: [str(e["RuleNumber"]) for e in v["Entries"]],
        "network-acl-id": lambda v: v["NetworkAclId"],
        "owner-id": lambda v: v["OwnerId"],
        "vpc-id": lambda v: v["VpcId"],
    }, lambda v: {t["Key"]: t["Value"] for t in v["Tags"]})
    return {"NetworkAcls": found}
