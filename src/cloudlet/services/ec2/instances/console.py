"""What a machine wrote to its console, and the password that Linux has none of."""

import base64

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ec2.api import ec2, touches
from cloudlet.services.ec2.instances.records import Console, Instance
from cloudlet.services.ec2.nouns import find
from cloudlet.store.db import Store, Tx

WAIT_S, POLL_S = 3.0, 0.02


@ec2.wait(resources=touches(instance="InstanceId"))
async def get_console_output(call: Call, store: Store, request: Input) -> Output:
    """The last 64 KiB, as they are now; of one whose machine is gone, those of its end."""
    with store.tx() as tx:
        instance, asked = find(tx, call, Instance, request["InstanceId"]), tx.now
        kept = tx.get(Console, instance.key)
        if instance.on:
            tx.enqueue("ec2.console", instance.key)
    until = asked + WAIT_S
    while instance.on and (kept is None or kept.at < asked) and store.clock.now() < until:
        await store.clock.sleep(POLL_S)
        with store.tx() as tx:
            kept = tx.get(Console, instance.key)
    if kept is None:
        return {"InstanceId": instance.id, "Timestamp": asked}
    return {"InstanceId": instance.id, "Timestamp": kept.at,
            "Output": base64.b64encode(kept.text.encode()).decode()}


@ec2.read(resources=touches(instance="InstanceId"))
def get_password_data(call: Call, tx: Tx, request: Input) -> Output:
    """Only Windows has an administrator's password: for Linux it is empty, as on AWS."""
    instance = find(tx, call, Instance, request["InstanceId"])
    return {"InstanceId": instance.id, "Timestamp": tx.now, "PasswordData": ""}
