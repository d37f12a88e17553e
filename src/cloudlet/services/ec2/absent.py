"""Kinds of things that nobody can make here: their lists are empty, and no id stands for one.

Tools read these lists before they delete a VPC or after they made one. Only what no operation creates may be listed.
"""

from collections.abc import Iterable

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2.api import ec2, error
from cloudlet.store.db import Tx

# operation -> (the answer's list, the member with ids, the error for an id, AWS's word for the noun)
_ABSENT = {
    "describe_prefix_lists": ("PrefixLists", "PrefixListIds", "InvalidPrefixListID.NotFound", "prefix list"),
    "describe_managed_prefix_lists": ("PrefixLists", "PrefixListIds", "InvalidPrefixListID.NotFound", "prefix list"),
    "describe_nat_gateways": ("NatGateways", "NatGatewayIds", "NatGatewayNotFound", "NAT gateway"),
    "describe_egress_only_internet_gateways": (
        "EgressOnlyInternetGateways", "EgressOnlyInternetGatewayIds", "InvalidEgressOnlyInternetGatewayId.NotFound",
        "egressOnlyInternetGateway"),
    "describe_vpc_peering_connections": (
        "VpcPeeringConnections", "VpcPeeringConnectionIds", "InvalidVpcPeeringConnectionID.NotFound",
        "vpcPeeringConnection"),
    "describe_vpc_endpoints": ("VpcEndpoints", "VpcEndpointIds", "InvalidVpcEndpointId.NotFound", "Vpc Endpoint"),
    "describe_vpn_gateways": ("VpnGateways", "VpnGatewayIds", "InvalidVpnGatewayID.NotFound", "vpnGateway"),
    "describe_vpn_connections": (
        "VpnConnections", "VpnConnectionIds", "InvalidVpnConnectionID.NotFound", "vpnConnection"),
    "describe_customer_gateways": (
        "CustomerGateways", "CustomerGatewayIds", "InvalidCustomerGatewayID.NotFound", "customerGateway"),
    "describe_transit_gateways": (
        "TransitGateways", "TransitGatewayIds", "InvalidTransitGatewayID.NotFound", "transitGateway"),
    "describe_transit_gateway_vpc_attachments": (
        "TransitGatewayVpcAttachments", "TransitGatewayAttachmentIds", "InvalidTransitGatewayAttachmentID.NotFound",
        "transitGatewayAttachment"),
    "describe_flow_logs": ("FlowLogs", "FlowLogIds", "InvalidFlowLogId.NotFound", "flow log"),
    "describe_carrier_gateways": (
        "CarrierGateways", "CarrierGatewayIds", "InvalidCarrierGatewayID.NotFound", "carrierGateway"),
}


def _declare(name: str, members: str, ids: str, code: str, label: str) -> None:
    not_found = error(code)

    def describe(call: Call, tx: Tx, request: Input) -> Output:
        asked: Iterable[str] = request.get(ids) or ()
        for id in asked:
            raise not_found(f"The {label} ID '{id}' does not exist")
        return {members: []}
    describe.__name__ = name
    ec2.read(resources=any_resource)(describe)


for _name, _absent in _ABSENT.items():
    _declare(_name, *_absent)
