"""EC2 Instance Connect: lets somebody in to an instance with a public key that is good for a minute.

https://docs.aws.amazon.com/ec2-instance-connect/latest/APIReference/
"""

from collections.abc import Mapping

from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import Input, Output, Service
from cloudlet.services.ec2 import authorized_key, find_instance, give_key
from cloudlet.store.db import Tx

ec2_instance_connect = Service("ec2-instance-connect")

InstanceNotFound = ec2_instance_connect.error("EC2InstanceNotFoundException")
InstanceStateInvalid = ec2_instance_connect.error("EC2InstanceStateInvalidException")
InvalidArgs = ec2_instance_connect.error("InvalidArgsException")


@ec2_instance_connect.write(
    resources=lambda call, request: [call.arn("ec2", f"instance/{request['InstanceId']}")],
    context=lambda call, request: {"ec2:osuser": request["InstanceOSUser"]})
def send_ssh_public_key(call: Call, tx: Tx, request: Input) -> Output:
    """Puts a public key where a running instance's sshd asks for it, for sixty seconds."""
    instance = find_instance(tx, call.account, call.region, request["InstanceId"])
    if instance is None or request.get("AvailabilityZone") not in (None, instance.zone):
        raise InstanceNotFound(f"The instance {request['InstanceId']} was not found.")
    if instance.state != "running":
        raise InstanceStateInvalid("Unable to connect because the instance isn't in a valid state. Connecting to a"
                                   " stopped or terminated instance isn't supported.")
    public = authorized_key(request["SSHPublicKey"])
    if public is None:
        raise InvalidArgs("The SSH public key is not a valid RSA or ED25519 key in OpenSSH's format.")
    give_key(tx, instance, request["InstanceOSUser"], public)
    return {"RequestId": call.request_id, "Success": True}


@ec2_instance_connect.resource_tags
def tags_by_arn(tx: Tx, text: str) -> Mapping[str, str]:
    """What conditions on aws:ResourceTag/… see: the tags of the instance that an ARN names."""
    arn = Arn.parse(text)
    instance = find_instance(tx, arn.account, arn.region, arn.resource.rpartition("/")[2]) if arn else None
    return instance.tags if instance else {}
