"""MFA devices: their codes are right once and at their time, and what is asked of sessions and roles that need one."""

import base64
import json
from typing import Any

import pytest

from cloudlet.kernel.call import Principal
from cloudlet.services.iam import iam
from cloudlet.services.iam.mfa_devices import STEP_S, code_at
from cloudlet.services.iam.service import (
    DeleteConflict,
    EntityAlreadyExists,
    InvalidAuthenticationCode,
    LimitExceeded,
    NoSuchEntity,
)
from cloudlet.services.sts import sts
from cloudlet.services.sts.service import AccessDenied
from tests.services.desk import ACCOUNT, Desk

BOB = Principal("user", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/bob", "AIDA", f"arn:aws:iam::{ACCOUNT}:user/bob")
SERIAL = f"arn:aws:iam::{ACCOUNT}:mfa/phone"


def step(desk: Desk) -> int:
    return int(desk.clock.now()) // STEP_S


def device(desk: Desk, name: str = "phone") -> str:
    made = desk(iam, "CreateVirtualMFADevice", VirtualMFADeviceName=name)["VirtualMFADevice"]
    assert made["SerialNumber"] == f"arn:aws:iam::{ACCOUNT}:mfa/{name}"
    return str(made["Base32StringSeed"].decode())


def enable(desk: Desk, seed: str, serial: str = SERIAL) -> None:
    codes = [code_at(seed, step(desk) + shift) for shift in (-1, 0)]
    desk(iam, "EnableMFADevice", UserName="bob", SerialNumber=serial, AuthenticationCode1=codes[0],
         AuthenticationCode2=codes[1])


@pytest.fixture
def seed(desk: Desk) -> str:
    """Of a device of bob's, whose latest codes are used up."""
    desk(iam, "CreateUser", UserName="bob")
    made = device(desk)
    enable(desk, made)
    desk.clock.time += 5 * STEP_S
    return made


def session(desk: Desk, code: str, serial: str = SERIAL) -> Principal:
    answer = desk(sts, "GetSessionToken", BOB, SerialNumber=serial, TokenCode=code)
    found = desk.principal(answer["Credentials"]["AccessKeyId"])
    assert found is not None
    return found


def test_codes_are_those_of_the_rfc() -> None:
    seed = base64.b32encode(b"12345678901234567890").decode()
    for seconds, code in ((59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")):
        assert code_at(seed, seconds // STEP_S) == code  # https://www.rfc-editor.org/rfc/rfc6238#appendix-B


def test_a_device_from_its_making_to_its_end(desk: Desk) -> None:
    desk(iam, "CreateUser", UserName="bob")
    seed = device(desk)
    with pytest.raises(EntityAlreadyExists):
        device(desk)
    assert desk(iam, "ListVirtualMFADevices", AssignmentStatus="Unassigned")["VirtualMFADevices"] == [
        {"SerialNumber": SERIAL}]
    with pytest.raises(InvalidAuthenticationCode):
        desk(iam, "EnableMFADevice", UserName="bob", SerialNumber=SERIAL,
             AuthenticationCode1=code_at(seed, step(desk)), AuthenticationCode2=code_at(seed, step(desk)))
    enable(desk, seed)
    with pytest.raises(EntityAlreadyExists):
        enable(desk, seed)
    now = desk.clock.now()
    shown = {"UserName": "bob", "SerialNumber": SERIAL, "EnableDate": now}
    assert desk(iam, "ListMFADevices", UserName="bob")["MFADevices"] == [shown]
    assert desk(iam, "ListMFADevices", BOB)["MFADevices"] == [shown]
    assert desk(iam, "ListMFADevices")["MFADevices"] == []
    assert desk(iam, "GetMFADevice", BOB, SerialNumber=SERIAL) == shown
    (listed,) = desk(iam, "ListVirtualMFADevices", AssignmentStatus="Assigned")["VirtualMFADevices"]
    assert (listed["User"]["UserName"], listed["EnableDate"]) == ("bob", now)
    assert desk(iam, "ListVirtualMFADevices", AssignmentStatus="Unassigned")["VirtualMFADevices"] == []
    summary = desk(iam, "GetAccountSummary")["SummaryMap"]
    assert (summary["MFADevices"], summary["MFADevicesInUse"]) == (1, 1)
    for operation, named in (("DeleteVirtualMFADevice", {"SerialNumber": SERIAL}), ("DeleteUser", {"UserName": "bob"})):
        with pytest.raises(DeleteConflict):
            desk(iam, operation, **named)
    desk(iam, "UpdateUser", UserName="bob", NewUserName="eve")
    assert desk(iam, "ListMFADevices", UserName="eve")["MFADevices"][0]["UserName"] == "eve"
    desk(iam, "DeactivateMFADevice", UserName="eve", SerialNumber=SERIAL)
    for operation in ("DeactivateMFADevice", "GetMFADevice"):
        with pytest.raises(NoSuchEntity):
            desk(iam, operation, UserName="eve", SerialNumber=SERIAL)
    desk(iam, "DeleteVirtualMFADevice", SerialNumber=SERIAL)
    with pytest.raises(NoSuchEntity):
        desk(iam, "DeleteVirtualMFADevice", SerialNumber=SERIAL)
    desk(iam, "DeleteUser", UserName="eve")


def test_a_user_has_eight_devices_at_most(desk: Desk) -> None:
    desk(iam, "CreateUser", UserName="bob")
    for number in range(8):
        enable(desk, device(desk, f"d{number}"), serial=f"arn:aws:iam::{ACCOUNT}:mfa/d{number}")
    with pytest.raises(LimitExceeded):
        enable(desk, device(desk, "d8"), serial=f"arn:aws:iam::{ACCOUNT}:mfa/d8")


def test_tags_of_a_device(desk: Desk) -> None:
    device(desk)
    desk(iam, "TagMFADevice", SerialNumber=SERIAL, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    desk(iam, "UntagMFADevice", SerialNumber=SERIAL, TagKeys=["a"])
    assert desk(iam, "ListMFADeviceTags", SerialNumber=SERIAL)["Tags"] == [{"Key": "b", "Value": "2"}]


def test_a_code_is_taken_once_and_near_its_time(desk: Desk, seed: str) -> None:
    now = step(desk)
    session(desk, code_at(seed, now - 1))
    with pytest.raises(AccessDenied, match="invalid MFA one time pass code"):
        session(desk, code_at(seed, now - 1))
    session(desk, code_at(seed, now + 1))
    for used_or_far in (now, now + 1, now + 2, now - 2):
        with pytest.raises(AccessDenied):
            session(desk, code_at(seed, used_or_far))
    desk.clock.time += 2 * STEP_S
    session(desk, code_at(seed, now + 2))


def test_whose_device_it_is_matters(desk: Desk, seed: str) -> None:
    desk(iam, "CreateUser", UserName="eve")
    eve = Principal("user", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/eve", "AIDA", f"arn:aws:iam::{ACCOUNT}:user/eve")
    good = {"SerialNumber": SERIAL, "TokenCode": code_at(seed, step(desk))}
    for principal, request in ((eve, good), (None, good), (BOB, {**good, "SerialNumber": SERIAL + "x"})):
        with pytest.raises(AccessDenied, match="associated with this user"):
            desk(sts, "GetSessionToken", principal, **request)
    with pytest.raises(AccessDenied, match="must provide both"):
        desk(sts, "GetSessionToken", BOB, SerialNumber=SERIAL)
    desk(sts, "GetSessionToken", BOB, **good)


def test_a_device_whose_clock_is_off(desk: Desk, seed: str) -> None:
    ahead = 40
    with pytest.raises(AccessDenied):
        session(desk, code_at(seed, step(desk) + ahead))
    codes = {"AuthenticationCode1": code_at(seed, step(desk) + ahead),
             "AuthenticationCode2": code_at(seed, step(desk) + ahead + 1)}
    desk(iam, "ResyncMFADevice", UserName="bob", SerialNumber=SERIAL, **codes)
    with pytest.raises(InvalidAuthenticationCode):
        desk(iam, "ResyncMFADevice", UserName="bob", SerialNumber=SERIAL, **codes)
    desk.clock.time += 2 * STEP_S
    session(desk, code_at(seed, step(desk) + ahead))


def grant(desk: Desk, condition: dict[str, Any]) -> None:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": statement}))


def test_permissions_that_need_a_device(desk: Desk, seed: str) -> None:
    with_code = session(desk, code_at(seed, step(desk)))
    without = desk.principal(desk(sts, "GetSessionToken", BOB)["Credentials"]["AccessKeyId"])
    assert without is not None
    grant(desk, {"Bool": {"aws:MultiFactorAuthPresent": "true"}})
    assert desk.refuses(with_code, "ecs:ListClusters", "*") is None
    assert desk.refuses(without, "ecs:ListClusters", "*") is not None
    assert desk.refuses(BOB, "ecs:ListClusters", "*") is not None
    assert desk.refuses(with_code, "iam:GetUser", "*") is None
    grant(desk, {})
    assert desk.refuses(without, "ecs:ListClusters", "*") is None
    of_iam, of_sts = desk.refuses(without, "iam:GetUser", "*"), desk.refuses(with_code, "sts:GetFederationToken", "*")
    assert of_iam is not None and of_iam.stranger
    assert of_sts is not None and not of_sts.stranger
    grant(desk, {"NumericLessThan": {"aws:MultiFactorAuthAge": "600"}})
    assert desk.refuses(with_code, "ecs:ListClusters", "*") is None
    assert desk.refuses(without, "ecs:ListClusters", "*") is not None
    desk.clock.time += 600
    assert desk.refuses(with_code, "ecs:ListClusters", "*") is not None


def test_roles_that_need_a_device(desk: Desk, seed: str) -> None:
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Principal": {"AWS": BOB.arn}, "Action": "sts:AssumeRole",
            "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}}))
    desk(iam, "PutRolePolicy", RoleName="app", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*",
                                               "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}}))
    request = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/app", "RoleSessionName": "me"}
    with pytest.raises(AccessDenied, match="not authorized to perform: sts:AssumeRole"):
        desk(sts, "AssumeRole", BOB, **request)
    answer = desk(sts, "AssumeRole", BOB, **request, SerialNumber=SERIAL, TokenCode=code_at(seed, step(desk)))
    assumed = desk.principal(answer["Credentials"]["AccessKeyId"])
    assert assumed is not None
    assert desk.refuses(assumed, "ecs:ListClusters", "*") is not None  # the role's session does not carry it
    with_code = session(desk, code_at(seed, step(desk) + 1))
    assert desk(sts, "AssumeRole", with_code, **request)["AssumedRoleUser"]["Arn"].endswith("assumed-role/app/me")
