"""Interfaces that join instances and leave them, also while these run.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html
"""

from dataclasses import replace

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.instances.cards import interfaces_of, plug, unplug
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.instances.types import catalogue
from cloudlet.services.ec2.interfaces import own_interface
from cloudlet.services.ec2.nouns import find
from cloudlet.services.ec2.private_addresses import require_room
from cloudlet.services.ec2.records import NetworkInterface, Vpc
from cloudlet.store.db import Tx


@ec2.write(resources=touches(instance="InstanceId", network_interface="NetworkInterfaceId"))
def attach_network_interface(call: Call, tx: Tx, request: Input) -> Output:
    """Makes an interface that nothing uses a further card of an instance that runs or is stopped."""
    refuse(request, "EnaSrdSpecification", "NetworkCardIndex", "EnaQueueCount")
    index = request["DeviceIndex"]
    instance = find(tx, call, Instance, request["InstanceId"])
    interface = own_interface(tx, call, request["NetworkInterfaceId"])
    if interface.real or interface.path:  # where it was taken out a moment ago, its device goes first
        raise api.InvalidInterfaceInUse(f"Interface: [{interface.id}] in use.")
    _require_place(tx, instance, interface, index)
    joined = plug(tx, interface, instance, find(tx, call, Vpc, interface.vpc_id), index)
    assert joined.attachment is not None
    return {"AttachmentId": joined.attachment.id, "NetworkCardIndex": 0}


def _require_place(tx: Tx, instance: Instance, interface: NetworkInterface, index: int) -> None:
    """Raises EC2's errors where an interface cannot become that card of an instance."""
    if instance.state not in ("running", "stopped"):
        raise api.IncorrectInstanceState(f"Instance '{instance.id}' is not in the 'running' or 'stopped' state.")
    if interface.availability_zone != instance.zone:
        raise api.InvalidParameterCombination("You may not attach a network interface to an instance if they are not "
                                              "in the same availability zone")
    if interface.vpc_id != instance.vpc_id:
        raise api.UnsupportedOperation("Attaching a network interface of another VPC is not supported.")
    there, type = interfaces_of(tx, instance.id), catalogue()[instance.type]
    if any(i.attachment and i.attachment.device_index == index for i in there):
        raise api.InvalidParameterValue(f"Instance '{instance.id}' already has an interface attached at device index "
                                        f"'{index}'.")
    if index < 0:
        raise api.InvalidParameterValue(f"Value ({index}) for parameter deviceIndex is invalid.")
    if len(there) >= type.interfaces:
        raise api.InterfaceLimitExceeded(f"Interface count {len(there) + 1} exceeds the limit for {type.name}")
    require_room(len(interface.addresses), type.addresses, interface.id)


@ec2.write(resources=touches(instance="", network_interface=""))
def detach_network_interface(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a further card out of its instance: as soon as the guest lets go of it, or by `Force` at once, whatever the
    guest makes of a card whose wire is cut."""
    id = request["AttachmentId"]
    interface = next(iter(tx.find(NetworkInterface, f"{call.scope}/", attachment=id)), None)
    if interface is None or interface.attachment is None:
        if id.startswith("ela-attach-"):
            raise api.OperationNotPermitted("You are not allowed to manage 'ela-attach' attachments.")
        raise api.InvalidAttachmentIdNotFound(f"The attachment ID '{id}' does not exist")
    if interface.attachment.device_index == 0:
        raise api.OperationNotPermitted("The network interface at device index 0 cannot be detached.")
    instance = find(tx, call, Instance, interface.attachment.instance_id)
    if request.get("Force") or instance.state == "stopped":
        unplug(tx, interface)
    elif interface.attachment.wanted:
        tx.put(replace(interface, attachment=replace(interface.attachment, wanted=False)), wake=False)
    tx.enqueue("ec2.instance", instance.key)
