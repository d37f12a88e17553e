"""The EC2 service object, and its errors: EC2's model declares none, so codes and sentences are AWS's documented ones.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from collections.abc import Iterable, Mapping
from functools import wraps
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError, declare
from cloudlet.kernel.identity import Refusal
from cloudlet.kernel.service import ActionOf, ConditionKeys, Input, Mode, Need, Resources, Run, Service
from cloudlet.services.ec2.opening import open_region
from cloudlet.store.db import Tx


class Ec2(Service):
    """EC2: whatever an account does first in a region, it finds its default VPC there; and whoever makes something with
    tags must be allowed ec2:CreateTags too.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
    """

    def _declare(self, fn: Run | None, mode: Mode, resources: Resources | None, action: str | ActionOf | None,
                 durable: bool, context: ConditionKeys | None) -> Any:
        declared = super()._declare

        def declare_opened(fn: Run) -> Run:
            name = self._names.get(fn.__name__, "")
            declare = declared(None, mode, resources and _tagging(resources), action, durable, _making(name, context))

            @wraps(fn)
            def run(call: Call, tx: Tx, request: Input) -> Any:
                open_region(tx, call)
                return fn(call, tx, request)
            declare(fn if mode == "wait" else run)  # which owns its transactions
            return fn
        return declare_opened if fn is None else declare_opened(fn)


def _tagging(resources: Resources) -> Resources:
    def needs(call: Call, request: Input) -> Iterable[str | Need]:
        yield from resources(call, request)
        yield from (Need("ec2:CreateTags", call.arn("ec2", f"{kind}/*")) for kind in tagged(request))
    return needs


def tagged(request: Input) -> list[str]:
    """The kinds of things that a request makes with tags."""
    return [str(each.get("ResourceType")) for each in request.get("TagSpecifications") or () if each.get("Tags")]


def _making(operation: str, context: ConditionKeys | None) -> ConditionKeys:
    def keys(call: Call, request: Input) -> Mapping[str, str | Iterable[str] | None]:
        own = context(call, request) if context else {}
        return {**own, "ec2:CreateAction": operation if tagged(request) else None, "ec2:Region": call.region}
    return keys


ec2 = Ec2("ec2")


def touches(**members: str) -> Resources:
    """The resources of an operation for IAM: `touches(vpc="VpcId")` names `arn:…:vpc/<VpcId>` (all of them, for a list
    of ids), `touches(vpc="")` one that is yet to be made, `vpc/*`. An underscore stands for a hyphen."""
    def resources(call: Call, request: Input) -> Iterable[str]:
        for kind, member in members.items():
            value = (request.get(member) if member else None) or "*"
            for id in [value] if isinstance(value, str) else value:
                yield call.arn("ec2", f"{kind.replace('_', '-')}/{id}")
    return lambda call, request: tuple(resources(call, request))


def error(code: str) -> type[AwsError]:
    """A client error (400) of EC2."""
    return ec2.error(code, status=400)


UnauthorizedOperation = declare("UnauthorizedOperation", status=403)
InvalidParameterValue = error("InvalidParameterValue")
InvalidParameterCombination = error("InvalidParameterCombination")
InvalidParameter = error("InvalidParameter")
MissingParameter = error("MissingParameter")
UnsupportedOperation = error("UnsupportedOperation")
OperationNotPermitted = error("OperationNotPermitted")
AuthFailure = error("AuthFailure")
DependencyViolation = error("DependencyViolation")
InvalidID = error("InvalidID")
TagLimitExceeded = error("TagLimitExceeded")

InvalidVpcNotFound = error("InvalidVpcID.NotFound")
InvalidVpcRange = error("InvalidVpc.Range")
VpcLimitExceeded = error("VpcLimitExceeded")
CidrLimitExceeded = error("VpcCidrBlockLimitExceeded")
CidrConflict = error("InvalidVpc.CidrConflict")
InvalidCidrAssociationNotFound = error("InvalidVpcCidrBlockAssociationID.NotFound")
DefaultVpcAlreadyExists = error("DefaultVpcAlreadyExists")
DefaultVpcDoesNotExist = error("DefaultVpcDoesNotExist")
VpcIdNotSpecified = error("VPCIdNotSpecified")

InvalidSubnetNotFound = error("InvalidSubnetID.NotFound")
InvalidSubnetRange = error("InvalidSubnet.Range")
InvalidSubnetConflict = error("InvalidSubnet.Conflict")
SubnetLimitExceeded = error("SubnetLimitExceeded")
DefaultSubnetAlreadyExists = error("DefaultSubnetAlreadyExistsInAvailabilityZone")
InsufficientFreeAddresses = error("InsufficientFreeAddressesInSubnet")

InvalidRouteTableNotFound = error("InvalidRouteTableID.NotFound")
InvalidRouteNotFound = error("InvalidRoute.NotFound")
RouteAlreadyExists = error("RouteAlreadyExists")
RouteLimitExceeded = error("RouteLimitExceeded")
RouteTableLimitExceeded = error("RouteTableLimitExceeded")
AlreadyAssociated = error("Resource.AlreadyAssociated")
InvalidAssociationNotFound = error("InvalidAssociationID.NotFound")

InvalidGatewayNotFound = error("InvalidInternetGatewayID.NotFound")
InternetGatewayLimitExceeded = error("InternetGatewayLimitExceeded")
GatewayNotAttached = error("Gateway.NotAttached")

InvalidGroupNotFound = error("InvalidGroup.NotFound")
InvalidGroupMalformed = error("InvalidGroupId.Malformed")
InvalidGroupDuplicate = error("InvalidGroup.Duplicate")
CannotDelete = error("CannotDelete")
SecurityGroupLimitExceeded = error("SecurityGroupLimitExceeded")
GroupsPerInterfaceLimitExceeded = error("SecurityGroupsPerInterfaceLimitExceeded")
RulesLimitExceeded = error("RulesPerSecurityGroupLimitExceeded")
InvalidPermissionDuplicate = error("InvalidPermission.Duplicate")
InvalidPermissionNotFound = error("InvalidPermission.NotFound")
InvalidRuleNotFound = error("InvalidSecurityGroupRuleId.NotFound")
InvalidRuleMalformed = error("InvalidSecurityGroupRuleId.Malformed")
InvalidPrefixListNotFound = error("InvalidPrefixListID.NotFound")

InvalidInterfaceNotFound = error("InvalidNetworkInterfaceID.NotFound")
InvalidInterfaceMalformed = error("InvalidNetworkInterfaceId.Malformed")
InvalidAttachmentIdNotFound = error("InvalidAttachmentID.NotFound")
InvalidIpAddressInUse = error("InvalidIPAddress.InUse")
PrivateIpAddressLimitExceeded = error("PrivateIpAddressLimitExceeded")

InvalidAllocationNotFound = error("InvalidAllocationID.NotFound")
InvalidAddressNotFound = error("InvalidAddress.NotFound")
AddressLimitExceeded = error("AddressLimitExceeded")
InsufficientAddressCapacity = error("InsufficientAddressCapacity")

InvalidKeyPairNotFound = error("InvalidKeyPair.NotFound")
InvalidKeyPairDuplicate = error("InvalidKeyPair.Duplicate")
InvalidKeyFormat = error("InvalidKey.Format")
KeyPairLimitExceeded = error("KeyPairLimitExceeded")

InvalidInstanceID = error("InvalidInstanceID")
InvalidInstanceNotFound = error("InvalidInstanceID.NotFound")

InvalidVolumeNotFound = error("InvalidVolume.NotFound")
InvalidVolumeMalformed = error("InvalidVolumeID.Malformed")
InvalidVolumeZoneMismatch = error("InvalidVolume.ZoneMismatch")
VolumeInUse = error("VolumeInUse")
IncorrectState = error("IncorrectState")
IncorrectModificationState = error("IncorrectModificationState")
InvalidVolumeModificationNotFound = error("InvalidVolumeModification.NotFound")
InsufficientVolumeCapacity = ec2.error("InsufficientVolumeCapacity", status=500)
InvalidUserIdMalformed = error("InvalidUserID.Malformed")
InvalidZoneNotFound = error("InvalidZone.NotFound")
InvalidBlockDeviceMapping = error("InvalidBlockDeviceMapping")
InvalidAttachmentNotFound = error("InvalidAttachment.NotFound")
AttachmentLimitExceeded = error("AttachmentLimitExceeded")
InvalidSnapshotNotFound = error("InvalidSnapshot.NotFound")
InvalidSnapshotMalformed = error("InvalidSnapshotID.Malformed")
InvalidSnapshotInUse = error("InvalidSnapshot.InUse")
InvalidAmiNotFound = error("InvalidAMIID.NotFound")
InvalidAmiMalformed = error("InvalidAMIID.Malformed")
InvalidAmiUnavailable = error("InvalidAMIID.Unavailable")
InvalidAmiNameDuplicate = error("InvalidAMIName.Duplicate")
InvalidAmiNameMalformed = error("InvalidAMIName.Malformed")

InvalidDhcpOptionsNotFound = error("InvalidDhcpOptionID.NotFound")
InvalidNetworkAclNotFound = error("InvalidNetworkAclID.NotFound")

InvalidInstanceMalformed = error("InvalidInstanceID.Malformed")
InvalidInstanceType = error("InvalidInstanceType")
Unsupported = error("Unsupported")
IncorrectInstanceState = error("IncorrectInstanceState")
InvalidUserData = error("InvalidUserData.Malformed")
InvalidInterfaceInUse = error("InvalidNetworkInterface.InUse")
InterfaceLimitExceeded = error("AttachmentLimitExceeded")
MissingInput = error("MissingInput")
VcpuLimitExceeded = error("VcpuLimitExceeded")
InsufficientInstanceCapacity = ec2.error("InsufficientInstanceCapacity", status=500)
InvalidProfileAssociationNotFound = error("InvalidAssociationID.NotFound")
InvalidTemplateNotFound = error("InvalidLaunchTemplateId.NotFound")
InvalidTemplateMalformed = error("InvalidLaunchTemplateId.Malformed")
InvalidTemplateName = error("InvalidLaunchTemplateName.NotFoundException")
InvalidTemplateVersion = error("InvalidLaunchTemplateId.VersionNotFound")
TemplateNameTaken = error("InvalidLaunchTemplateName.AlreadyExistsException")
TemplateVersionLimitExceeded = error("VersionLimitExceeded")


def refuse(request: Mapping[str, Any], *members: str) -> None:
    """Refuses what is asked but could not be honoured. An absent, empty or false member asks for nothing."""
    for member in members:
        if request.get(member):
            raise UnsupportedOperation(f"The parameter {member} is not supported.")


def require(request: Input, member: str) -> Any:
    """A member that the model calls optional and AWS does not."""
    value = request.get(member)
    if value is None or value == "":
        raise MissingParameter(f"The request must contain the parameter {member[0].lower()}{member[1:]}")
    return value


def permit(refusal: Refusal | None) -> None:
    """What an operation finds out that it needs beside what it is. Raises UnauthorizedOperation, as the door does."""
    if refusal is not None:
        raise UnauthorizedOperation(f"You are not authorized to perform this operation. {refusal.message}")
