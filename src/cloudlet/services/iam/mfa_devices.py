"""Virtual MFA devices: seeds from which an app computes one-time codes, and whether a code is right now (RFC 6238)."""

import base64
import dataclasses
import hashlib
import hmac
from typing import Any

from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.iam.naming import check_name, check_path, merged_tags, remaining_tags, tag_list
from cloudlet.services.iam.nouns import USER
from cloudlet.services.iam.records import MfaDevice, User
from cloudlet.services.iam.service import (
    DeleteConflict,
    EntityAlreadyExists,
    InvalidAuthenticationCode,
    LimitExceeded,
    NoSuchEntity,
    iam,
)
from cloudlet.services.iam.users import described, named_or_calling_user, the_user
from cloudlet.store.db import Tx

SEED_BYTES, STEP_S, DIGITS = 40, 30, 6
WINDOW_STEPS, RESYNC_STEPS = 1, 60  # how far a device's clock may be off, and while it is looked for
DEVICES_PER_USER_MAX = 8


def code_at(seed: str, step: int) -> str:
    """The code of a seed (base32) in one step of 30 seconds."""
    digest = hmac.digest(base64.b32decode(seed), step.to_bytes(8, "big"), hashlib.sha1)
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at:at + 4], 'big') & 0x7FFFFFFF) % 10 ** DIGITS:0{DIGITS}}"


def mfa_problem(tx: Tx, principal: Principal, serial: str, code: str) -> str:
    """Takes a code of a device of the caller; "" where it is right, else what is wrong, in AWS's words."""
    device = tx.get(MfaDevice, serial)
    user = tx.get(User, device.user) if device is not None and device.user else None
    if device is None or user is None or principal.kind != "user" or user.arn != principal.arn:
        return ("MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number"
                " is valid and associated with this user.")
    now = int(tx.now) // STEP_S + device.drift
    for step in range(now - WINDOW_STEPS, now + WINDOW_STEPS + 1):
        if step > device.last and hmac.compare_digest(code_at(device.seed, step), code):
            tx.put(dataclasses.replace(device, last=step))
            return ""
    return "MultiFactorAuthentication failed with invalid MFA one time pass code. "


def _synchronized(tx: Tx, device: MfaDevice, request: Input) -> MfaDevice:
    """The device with its clock as two codes in a row tell it. Raises InvalidAuthenticationCode."""
    codes, now = (request["AuthenticationCode1"], request["AuthenticationCode2"]), int(tx.now) // STEP_S
    for step in sorted(range(now - RESYNC_STEPS, now + RESYNC_STEPS), key=lambda step: abs(step - now)):
        if step > device.last and (code_at(device.seed, step), code_at(device.seed, step + 1)) == codes:
            drift = step + 1 - now
            return dataclasses.replace(device, last=step + 1, drift=drift if abs(drift) > WINDOW_STEPS else 0)
    raise InvalidAuthenticationCode("Authentication code for device is not valid.")


def _the_device(call: Call, request: Input) -> list[str]:
    return [request["SerialNumber"]]


def _find(tx: Tx, call: Call, serial: str) -> MfaDevice:
    device = tx.get(MfaDevice, serial)
    if device is None or device.account != call.account:
        raise NoSuchEntity(f"VirtualMFADevice with serial number {serial} doesn't exist.")
    return device


def _find_of(tx: Tx, call: Call, user: User, serial: str) -> MfaDevice:
    device = tx.get(MfaDevice, serial)
    if device is None or device.user != user.key:
        raise NoSuchEntity(f"MFA Device with serial number {serial} does not exist for user {user.name}.")
    return device


def _new_serial(call: Call, request: Input) -> str:
    return f"arn:aws:iam::{call.account}:mfa{request.get('Path') or '/'}{request['VirtualMFADeviceName']}"


@iam.write(resources=lambda call, request: [_new_serial(call, request)])
def create_virtual_mfa_device(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a device that is nobody's yet; its seed is shown this once."""
    check_name("virtualMFADeviceName", request["VirtualMFADeviceName"])
    check_path(request.get("Path") or "/")
    serial = _new_serial(call, request)
    if tx.get(MfaDevice, serial) is not None:
        raise EntityAlreadyExists("MFADevice entity at the same path and name already exists.")
    seed = base64.b32encode(bytes.fromhex(tx.token(2 * SEED_BYTES))).decode()
    tags = merged_tags({}, request.get("Tags") or (), "TagsPerMFADevice")
    tx.put(MfaDevice(serial, call.account, seed, tx.now, tags=tags))
    return {"VirtualMFADevice": {"SerialNumber": serial, "Base32StringSeed": seed.encode(), "Tags": tag_list(tags)}}


@iam.write(resources=the_user)
def enable_mfa_device(call: Call, tx: Tx, request: Input) -> Output:
    """Gives a device to a user who shows two codes of it in a row."""
    user, device = USER.asked(tx, call, request), _find(tx, call, request["SerialNumber"])
    if device.user:
        raise EntityAlreadyExists("MFA device is already in use.")
    if len(tx.find(MfaDevice, user=user.key)) >= DEVICES_PER_USER_MAX:
        raise LimitExceeded(f"Cannot exceed quota for MFADevicesPerUser: {DEVICES_PER_USER_MAX}")
    tx.put(dataclasses.replace(_synchronized(tx, device, request), user=user.key, enabled=tx.now))


@iam.write(resources=the_user)
def resync_mfa_device(call: Call, tx: Tx, request: Input) -> Output:
    """Learns from two codes in a row how far a device's clock is off."""
    user = USER.asked(tx, call, request)
    tx.put(_synchronized(tx, _find_of(tx, call, user, request["SerialNumber"]), request))


@iam.write(resources=the_user)
def deactivate_mfa_device(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a device from its user."""
    user = named_or_calling_user(tx, call, request)
    device = _find_of(tx, call, user, request["SerialNumber"])
    tx.put(dataclasses.replace(device, user="", enabled=0.0, drift=0))


@iam.write(resources=_the_device)
def delete_virtual_mfa_device(call: Call, tx: Tx, request: Input) -> Output:
    """Forgets a device that is nobody's."""
    device = _find(tx, call, request["SerialNumber"])
    if device.user:
        raise DeleteConflict("Cannot delete entity, must deactivate MFA device first.")
    tx.delete(MfaDevice, device.serial)


@iam.read(resources=the_user)
def list_mfa_devices(call: Call, tx: Tx, request: Input) -> Output:
    """A user's devices; the root user has none."""
    if request.get("UserName") is None and call.principal.kind == "root":
        return {"MFADevices": []}
    user = named_or_calling_user(tx, call, request)
    return {"MFADevices": [{"UserName": user.name, "SerialNumber": device.serial, "EnableDate": device.enabled}
                           for device in tx.find(MfaDevice, user=user.key)]}


@iam.read(resources=the_user)
def get_mfa_device(call: Call, tx: Tx, request: Input) -> Output:
    """One device of a user."""
    user = named_or_calling_user(tx, call, request)
    device = _find_of(tx, call, user, request["SerialNumber"])
    return {"UserName": user.name, "SerialNumber": device.serial, "EnableDate": device.enabled}


@iam.read(resources=any_resource)
def list_virtual_mfa_devices(call: Call, tx: Tx, request: Input) -> Output:
    """The account's devices: all, those that are somebody's, or those that are nobody's."""
    wanted = request.get("AssignmentStatus") or "Any"
    return {"VirtualMFADevices": [_listed(tx, device) for device in tx.find(MfaDevice, account=call.account)
                                  if wanted == "Any" or (wanted == "Assigned") == bool(device.user)]}


def _listed(tx: Tx, device: MfaDevice) -> dict[str, Any]:
    user = tx.get(User, device.user) if device.user else None
    shown: dict[str, Any] = {"SerialNumber": device.serial}
    return shown if user is None else {**shown, "User": described(user, listed=True), "EnableDate": device.enabled}


@iam.write(resources=_the_device)
def tag_mfa_device(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags or changes their values."""
    device = _find(tx, call, request["SerialNumber"])
    tx.put(dataclasses.replace(device, tags=merged_tags(device.tags, request["Tags"], "TagsPerMFADevice")))


@iam.write(resources=_the_device)
def untag_mfa_device(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags; keys that are not there do no harm."""
    device = _find(tx, call, request["SerialNumber"])
    tx.put(dataclasses.replace(device, tags=remaining_tags(device.tags, request["TagKeys"])))


@iam.read(resources=_the_device)
def list_mfa_device_tags(call: Call, tx: Tx, request: Input) -> Output:
    """A device's tags."""
    return {"Tags": tag_list(_find(tx, call, request["SerialNumber"]).tags)}
