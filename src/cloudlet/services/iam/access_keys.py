"""Users' access keys: made, switched off and on, deleted. The secret is shown once."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.iam.ids import key_id, secret_key
from cloudlet.services.iam.records import AccessKey, Usage, User
from cloudlet.services.iam.service import LimitExceeded, NoSuchEntity, ValidationError, iam
from cloudlet.services.iam.users import named_or_calling_user, the_user
from cloudlet.store.db import Tx

KEYS_MAX = 2


@iam.write(resources=the_user, durable=True)
def create_access_key(call: Call, tx: Tx, request: Input) -> Output:
    """A new active key of a user; without a name, of the caller."""
    user = named_or_calling_user(tx, call, request)
    if len(tx.find(AccessKey, user=user.key)) >= KEYS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for AccessKeysPerUser: {KEYS_MAX}")
    key = AccessKey(key_id(tx, "AKIA", call.account), secret_key(tx), user.key, tx.now)
    tx.put(key)
    return {"AccessKey": {"UserName": user.name, "AccessKeyId": key.id, "Status": "Active",
                          "SecretAccessKey": key.secret, "CreateDate": key.created}}


@iam.read(resources=the_user)
def list_access_keys(call: Call, tx: Tx, request: Input) -> Output:
    """A user's keys, oldest first, without their secrets."""
    user = named_or_calling_user(tx, call, request)
    keys = sorted(tx.find(AccessKey, user=user.key), key=lambda key: key.created)
    return {"AccessKeyMetadata": [
        {"UserName": user.name, "AccessKeyId": key.id, "Status": "Active" if key.active else "Inactive",
         "CreateDate": key.created} for key in keys]}


@iam.write(resources=the_user)
def update_access_key(call: Call, tx: Tx, request: Input) -> Output:
    """Switches a key off or on; it counts from the next request."""
    if request["Status"] not in ("Active", "Inactive"):
        raise ValidationError(f"1 validation error detected: Value '{request['Status']}' at 'status' failed to satisfy"
                              " constraint: Member must satisfy enum value set: [Active, Inactive]")
    key = _find(tx, named_or_calling_user(tx, call, request), request["AccessKeyId"])
    tx.put(dataclasses.replace(key, active=request["Status"] == "Active"))


@iam.write(resources=the_user)
def delete_access_key(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a key."""
    tx.delete(AccessKey, _find(tx, named_or_calling_user(tx, call, request), request["AccessKeyId"]).id)


@iam.read(resources=any_resource)
def get_access_key_last_used(call: Call, tx: Tx, request: Input) -> Output:
    """When, where and for which service a key was last used, to the minute."""
    key = tx.get(AccessKey, request["AccessKeyId"])
    user = tx.get(User, key.user) if key is not None else None
    if key is None or user is None or user.account != call.account:
        raise NoSuchEntity(f"The Access Key with id {request['AccessKeyId']} cannot be found.")
    usage = tx.get(Usage, key.id)
    used: dict[str, Any] = {"ServiceName": "N/A", "Region": "N/A"}
    if usage is not None:
        used = {"LastUsedDate": usage.used, "ServiceName": usage.service, "Region": usage.region}
    return {"UserName": user.name, "AccessKeyLastUsed": used}


def _find(tx: Tx, user: User, access_key_id: str) -> AccessKey:
    key = tx.get(AccessKey, access_key_id)
    if key is None or key.user != user.key:
        raise NoSuchEntity(f"The Access Key with id {access_key_id} cannot be found.")
    return key
