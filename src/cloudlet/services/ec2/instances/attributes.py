"""What can be looked at and changed of an instance, one attribute at a time.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceAttribute.html
"""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2, touches
from cloudlet.services.ec2.fabric import refresh_fabric
from cloudlet.services.ec2.instances.cards import interfaces_of
from cloudlet.services.ec2.instances.offerings import find_type
from cloudlet.services.ec2.instances.orders import credit_option, ebs_optimized, metadata_options, read_user_data
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.instances.types import catalogue
from cloudlet.services.ec2.instances.views import auto_recovery_view, instance_view, metadata_view, surroundings
from cloudlet.services.ec2.interfaces import groups_for, vpc_key
from cloudlet.services.ec2.nouns import described, find
from cloudlet.services.ec2.private_addresses import require_room
from cloudlet.services.ec2.records import NetworkInterface, Subnet
from cloudlet.services.ec2.storage.attachments import set_delete_on_termination
from cloudlet.store.db import Tx

_INSTANCE = touches(instance="InstanceId")


@ec2.read(resources=_INSTANCE)
def describe_instance_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """One attribute of one instance."""
    instance = find(tx, call, Instance, request["InstanceId"])
    view = instance_view(instance, surroundings(tx, [instance]))
    members: dict[str, dict[str, Any]] = {
        "blockDeviceMapping": {"BlockDeviceMappings": view["BlockDeviceMappings"]},
        "disableApiStop": {"DisableApiStop": {"Value": instance.stop_protection}},
        "disableApiTermination": {"DisableApiTermination": {"Value": instance.termination_protection}},
        "ebsOptimized": {"EbsOptimized": {"Value": instance.ebs_optimized}},
        "enaSupport": {"EnaSupport": {"Value": False}},
        "enclaveOptions": {"EnclaveOptions": {"Enabled": False}},
        "groupSet": {"Groups": view["SecurityGroups"]},
        "instanceInitiatedShutdownBehavior": {
            "InstanceInitiatedShutdownBehavior": {"Value": instance.shutdown_behavior}},
        "instanceType": {"InstanceType": {"Value": instance.type}},
        "kernel": {"KernelId": {}},
        "productCodes": {"ProductCodes": []},
        "ramdisk": {"RamdiskId": {}},
        "rootDeviceName": {"RootDeviceName": {"Value": instance.root_device_name}},
        "sourceDestCheck": {"SourceDestCheck": {"Value": view.get("SourceDestCheck", True)}},
        "sriovNetSupport": {"SriovNetSupport": {}},
        "userData": {"UserData": {"Value": instance.user_data} if instance.user_data else {}},
    }
    attribute = request["Attribute"]
    if attribute not in members:
        raise api.InvalidParameterValue(f"Value ({attribute}) for parameter attribute is invalid. Unknown attribute.")
    return {"InstanceId": instance.id, **members[attribute]}


# Attributes by the member that sets them; a request may set one, either by its member or by Attribute and Value.
_MEMBERS = {
    "SourceDestCheck": "sourceDestCheck", "DisableApiStop": "disableApiStop",
    "DisableApiTermination": "disableApiTermination", "EbsOptimized": "ebsOptimized", "Groups": "groupSet",
    "InstanceInitiatedShutdownBehavior": "instanceInitiatedShutdownBehavior", "InstanceType": "instanceType",
    "UserData": "userData", "BlockDeviceMappings": "blockDeviceMapping",
}


@ec2.write(resources=touches(instance="InstanceId", security_group="Groups"))
def modify_instance_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Sets one attribute; some only while the instance is stopped."""
    api.refuse(request, "Kernel", "Ramdisk", "SriovNetSupport", "EnaSupport", "EnclaveOptions")
    instance = find(tx, call, Instance, request["InstanceId"])
    named = [member for member in _MEMBERS if member in request]
    attribute, value = request.get("Attribute"), request.get("Value")
    if len(named) + bool(attribute and "BlockDeviceMappings" not in named) != 1:
        raise api.InvalidParameterCombination("Exactly one attribute must be specified." if named or attribute else
                                              "No attributes specified.")
    if named:
        attribute, value = _MEMBERS[named[0]], request[named[0]]
        value = value.get("Value") if isinstance(value, dict) else value
    if instance.desired == "terminated":
        raise api.IncorrectInstanceState(f"The instance '{instance.id}' is not in a state in which it can be changed.")
    change = _CHANGES.get(str(attribute))
    if change is None:
        raise api.InvalidParameterValue(f"Value ({attribute}) for parameter attribute is invalid.")
    changed = change(tx, call, instance, value)
    if changed != instance:
        tx.put(changed)


def _require_stopped(instance: Instance, attribute: str) -> None:
    if instance.state != "stopped":
        raise api.IncorrectInstanceState(f"The instance '{instance.id}' must be in a 'stopped' state to change its "
                                         f"'{attribute}' attribute.")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in ("true", "false"):
        raise api.InvalidParameterValue(f"Value ({value}) for parameter value is invalid. It must be true or false.")
    return str(value).lower() == "true"


def _type(tx: Tx, call: Call, instance: Instance, value: Any) -> Instance:
    _require_stopped(instance, "instanceType")
    type = find_type(str(value or ""))
    interfaces = interfaces_of(tx, instance.id)
    if len(interfaces) > type.interfaces:
        raise api.InvalidParameterCombination(f"The instance has more network interfaces than {type.name} may have.")
    for interface in interfaces:
        require_room(len(interface.addresses), type.addresses, interface.id)
    ebs_optimized(type, instance.ebs_optimized)
    same = bool(instance.credits) and bool(type.credits)
    return replace(instance, type=type.name, credits=instance.credits if same else type.credits)


def _user_data(tx: Tx, call: Call, instance: Instance, value: Any) -> Instance:
    _require_stopped(instance, "userData")
    # A blob was base64 on the wire only; the text of Attribute and Value is base64 itself.
    text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return replace(instance, user_data=read_user_data(text))


def _ebs_optimized(tx: Tx, call: Call, instance: Instance, value: Any) -> Instance:
    _require_stopped(instance, "ebsOptimized")
    return replace(instance, ebs_optimized=ebs_optimized(catalogue()[instance.type], _flag(value)))


def _shutdown(tx: Tx, call: Call, instance: Instance, value: Any) -> Instance:
    if value not in ("stop", "terminate"):
        raise api.InvalidParameterValue(f"Value ({value}) for parameter value is invalid. It must be stop or "
                                        "terminate.")
    return replace(instance, shutdown_behavior=value)


def _primary(tx: Tx, instance: Instance, attribute: str) -> NetworkInterface:
    found = interfaces_of(tx, instance.id)
    if len(found) != 1:
        raise api.error("InvalidInstanceID")(f"There are multiple interfaces attached to instance '{instance.id}'. "
                                             f"Please specify an interface ID for the operation instead, to change its "
                                             f"{attribute}.")
    return found[0]


def _groups(tx: Tx, call: Call, instance: Instance, value: Any) -> Instance:
    interface = next(iter(interfaces_of(tx, instance.id)))
    subnet = find(tx, call, Subnet, interface.subnet_id)
    if not value:
        raise api.InvalidParameterValue("An instance needs at least one security group.")
    tx.put(replace(interface, groups=groups_for(tx, call, subnet, value)))
    refresh_fabric(tx, vpc_key(interface))
    return instance


def _source_check(tx: Tx, call: Call, instance: Instance, value: Any) -> Instance:
    interface = _primary(tx, instance, "sourceDestCheck")
    tx.put(replace(interface, source_check=_flag(value)))
    refresh_fabric(tx, vpc_key(interface))
    return instance


def _devices(tx: Tx, call: Call, instance: Instance, value: Any) -> Instance:
    for item in value or ():
        ebs, name = item.get("Ebs") or {}, item.get("DeviceName") or ""
        if "DeleteOnTermination" not in ebs:
            raise api.InvalidParameterValue(f"Of the device '{name}' only DeleteOnTermination can be changed.")
        if not set_delete_on_termination(tx, instance.id, name, bool(ebs["DeleteOnTermination"])):
            raise api.error("InvalidInstanceAttributeValue")(f"No device is currently mapped at {name}")
    return instance


_CHANGES: dict[str, Callable[[Tx, Call, Instance, Any], Instance]] = {
    "blockDeviceMapping": _devices,
    "disableApiStop": lambda tx, call, i, value: replace(i, stop_protection=_flag(value)),
    "disableApiTermination": lambda tx, call, i, value: replace(i, termination_protection=_flag(value)),
    "ebsOptimized": _ebs_optimized,
    "groupSet": _groups,
    "instanceInitiatedShutdownBehavior": _shutdown,
    "instanceType": _type,
    "sourceDestCheck": _source_check,
    "userData": _user_data,
}


@ec2.write(resources=_INSTANCE)
def reset_instance_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Has source and destination checked again. Kernels and RAM disks cannot be chosen here."""
    instance = find(tx, call, Instance, request["InstanceId"])
    if request["Attribute"] != "sourceDestCheck":
        raise api.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid. Only "
                                        "sourceDestCheck can be reset.")
    _source_check(tx, call, instance, True)


@ec2.write(resources=_INSTANCE)
def modify_instance_metadata_options(call: Call, tx: Tx, request: Input) -> Output:
    """How the guest may ask for its metadata, from now on."""
    instance = find(tx, call, Instance, request["InstanceId"])
    if instance.desired == "terminated":
        raise api.IncorrectInstanceState(f"The instance '{instance.id}' is not in a state in which it can be changed.")
    options = metadata_options(instance.metadata, request)
    tx.put(replace(instance, metadata=options), wake=False)
    return {"InstanceId": instance.id, "InstanceMetadataOptions": metadata_view(options, "pending")}


@ec2.write(resources=_INSTANCE)
def modify_instance_maintenance_options(call: Call, tx: Tx, request: Input) -> Output:
    """Whether the instance starts again by itself when its machine is lost."""
    api.refuse(request, "RebootMigration")
    instance = find(tx, call, Instance, request["InstanceId"])
    if instance.desired == "terminated":
        raise api.IncorrectInstanceState(f"The instance '{instance.id}' is not in a state in which it can be changed.")
    if asked := request.get("AutoRecovery"):
        if asked not in ("default", "disabled"):
            raise api.InvalidParameterValue(f"Value ({asked}) for parameter AutoRecovery is invalid.")
        instance = replace(instance, auto_recovery=asked == "default")
        tx.put(instance, wake=False)
    return {"InstanceId": instance.id, "AutoRecovery": auto_recovery_view(instance)}


# ── CPU credits ──────────────────────────────────────────────────────────────────────────────────────────────────────


@ec2.read(resources=any_resource)
def describe_instance_credit_specifications(call: Call, tx: Tx, request: Input) -> Output:
    """How burstable instances are to spend CPU credits: those asked for, or all that are unlimited."""
    ids = request.get("InstanceIds")
    instances = described(tx, call, Instance, ids)
    for instance in instances if ids else ():
        if not instance.credits:
            raise api.error("InvalidInstanceID.NotBurstable")(f"The instance '{instance.id}' is not burstable.")
    shown = matching([i for i in instances if i.credits and (ids or i.credits == "unlimited")],
                     request.get("Filters"), {"instance-id": lambda i: i.id})
    return {"InstanceCreditSpecifications": [{"InstanceId": i.id, "CpuCredits": i.credits} for i in shown]}


@ec2.write(resources=any_resource)
def modify_instance_credit_specification(call: Call, tx: Tx, request: Input) -> Output:
    """Changes how burstable instances are to spend CPU credits, each for itself."""
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for item in request["InstanceCreditSpecifications"]:
        id = item.get("InstanceId") or ""
        instance = tx.get(Instance, f"{call.scope}/{id}")
        if instance is None or instance.desired == "terminated":
            failed.append({"InstanceId": id, "Error": {
                "Code": "InvalidInstanceID.NotFound", "Message": f"The instance ID '{id}' does not exist"}})
        elif not instance.credits:
            failed.append({"InstanceId": id, "Error": {
                "Code": "InstanceCreditSpecification.NotSupported",
                "Message": f"The instance type {instance.type} has no CPU credits"}})
        else:
            option = credit_option(catalogue()[instance.type], item.get("CpuCredits"))
            tx.put(replace(instance, credits=option), wake=False)
            done.append({"InstanceId": id})
    return {"SuccessfulInstanceCreditSpecifications": done, "UnsuccessfulInstanceCreditSpecifications": failed}
