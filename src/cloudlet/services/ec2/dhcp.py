"""DHCP option sets, as far as VPCs here can honour them: AWS's resolver and the region's own domain."""

from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2, touches
from cloudlet.services.ec2.nouns import described, find
from cloudlet.services.ec2.records import DhcpOptions, Vpc
from cloudlet.services.ec2.regions import private_domain
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx


def _view(options: DhcpOptions) -> dict[str, Any]:
    return {"DhcpOptionsId": options.id, "OwnerId": options.account, "Tags": tag_set(options.tags),
            "DhcpConfigurations": [{"Key": key, "Values": [{"Value": value} for value in values]}
                                   for key, values in options.options.items()]}


@ec2.write(resources=touches(dhcp_options=""))
def create_dhcp_options(call: Call, tx: Tx, request: Input) -> Output:
    """A set of what the VPC's DHCP says anyway; everything else is refused."""
    honoured = {"domain-name-servers": ("AmazonProvidedDNS",), "domain-name": (private_domain(call.region),)}
    given = {item.get("Key") or "": tuple(item.get("Values") or ()) for item in request["DhcpConfigurations"]}
    if not given:
        raise api.MissingParameter("The request must contain the parameter dhcpConfiguration")
    for key, values in given.items():
        if key not in ("domain-name", "domain-name-servers", "ntp-servers", "netbios-name-servers",
                       "netbios-node-type", "ipv6-address-preferred-lease-time"):
            raise api.InvalidParameterValue(f"Value ({key}) for parameter key is invalid. Unknown DHCP option.")
        if values != honoured.get(key):
            raise api.UnsupportedOperation(f"The DHCP option {key}={','.join(values)} is not supported.")
    id = f"dopt-{tx.token(17)}"
    options = DhcpOptions(f"{call.scope}/{id}", id, call.account, call.region, given,
                          tags_for(request, "dhcp-options"))
    tx.put(options)
    return {"DhcpOptions": _view(options)}


@ec2.read(resources=any_resource)
def describe_dhcp_options(call: Call, tx: Tx, request: Input) -> Output:
    """Option sets by id and filter."""
    found = matching(described(tx, call, DhcpOptions, request.get("DhcpOptionsIds")), request.get("Filters"), {
        "dhcp-options-id": lambda o: o.id,
        "key": lambda o: o.options.keys(),
        "owner-id": lambda o: o.account,
        "value": lambda o: [value for values in o.options.values() for value in values],
    }, lambda o: o.tags)
    return {"DhcpOptions": [_view(options) for options in found]}


@ec2.write(resources=touches(dhcp_options="DhcpOptionsId", vpc="VpcId"))
def associate_dhcp_options(call: Call, tx: Tx, request: Input) -> Output:
    """Another option set for a VPC."""
    vpc = find(tx, call, Vpc, request["VpcId"])
    if request["DhcpOptionsId"] == "default":
        raise api.UnsupportedOperation("A VPC without DHCP options is not supported.")
    options = find(tx, call, DhcpOptions, request["DhcpOptionsId"])
    tx.put(replace(vpc, dhcp_options_id=options.id))


@ec2.write(resources=touches(dhcp_options="DhcpOptionsId"))
def delete_dhcp_options(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a set that no VPC uses."""
    options = find(tx, call, DhcpOptions, request["DhcpOptionsId"])
    if tx.count(Vpc, dhcp_options=options.id):
        raise api.DependencyViolation(f"The dhcpOptions '{options.id}' has dependencies and cannot be deleted.")
    tx.delete(DhcpOptions, options.key)
