"""Passwords of users (login profiles), and the account's policy for them. There is no console here to sign in to."""

import dataclasses
import hashlib
import hmac
import string
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.iam.nouns import USER
from cloudlet.services.iam.records import Account, Password, User
from cloudlet.services.iam.service import (
    EntityAlreadyExists,
    InvalidUserType,
    NoSuchEntity,
    PasswordPolicyViolation,
    iam,
)
from cloudlet.services.iam.users import named_or_calling_user, the_user
from cloudlet.store.db import Tx

# What AWS asks of a password where the account has set nothing, and what an update sets that leaves a member out.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_passwords_account-policy.html
_LENGTH_MIN, _LENGTH_WITHOUT_POLICY, _KINDS_WITHOUT_POLICY = 6, 8, 3
_LEFT_OUT: dict[str, int | bool] = {
    "MinimumPasswordLength": _LENGTH_MIN, "RequireSymbols": False, "RequireNumbers": False,
    "RequireUppercaseCharacters": False, "RequireLowercaseCharacters": False, "AllowUsersToChangePassword": False}
_SYMBOLS = "!@#$%^&*()_+-=[]{}|'"
_ASKED = (("RequireUppercaseCharacters", string.ascii_uppercase, "uppercase letter"),
          ("RequireLowercaseCharacters", string.ascii_lowercase, "lowercase letter"),
          ("RequireNumbers", string.digits, "number"), ("RequireSymbols", _SYMBOLS, "symbol"))


def _profile(user: User) -> dict[str, Any]:
    return {"UserName": user.name, "CreateDate": user.password.created if user.password else 0.0,
            "PasswordResetRequired": bool(user.password and user.password.stale)}


def _find(tx: Tx, call: Call, request: Input) -> tuple[User, Password]:
    user = named_or_calling_user(tx, call, request)
    if user.password is None:
        raise NoSuchEntity(f"Login Profile for User {user.name} cannot be found.")
    return user, user.password


def _digest(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=1 << 12, r=8, p=1).hex()


def _new(tx: Tx, call: Call, password: str, stale: bool, created: float) -> Password:
    _check(tx, call, password)
    salt = tx.token(32)
    return Password(salt, _digest(password, salt), created, stale)


def _check(tx: Tx, call: Call, password: str) -> None:
    account = tx.get(Account, call.account)
    policy = account.passwords if account is not None else None
    asked = policy or {"MinimumPasswordLength": _LENGTH_WITHOUT_POLICY}
    if len(password) < int(asked["MinimumPasswordLength"]):
        raise PasswordPolicyViolation("Password should have a minimum length of "
                                      f"{asked['MinimumPasswordLength']} characters")
    for member, letters, what in _ASKED:
        if asked.get(member) and not set(password) & set(letters):
            raise PasswordPolicyViolation(f"Password should have at least one {what}")
    kinds = sum(bool(set(password) & set(letters)) for _, letters, _ in _ASKED)
    if policy is None and kinds < _KINDS_WITHOUT_POLICY:
        raise PasswordPolicyViolation("Password must contain at least three of these four character types: uppercase"
                                      " letters, lowercase letters, numbers, symbols")


@iam.write(resources=the_user)
def create_login_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Gives a user a password."""
    user = named_or_calling_user(tx, call, request)
    if user.password is not None:
        raise EntityAlreadyExists(f"Login Profile for user {user.name} already exists.")
    password = _new(tx, call, request.get("Password") or "", bool(request.get("PasswordResetRequired")), tx.now)
    user = dataclasses.replace(user, password=password)
    tx.put(user)
    return {"LoginProfile": _profile(user)}


@iam.read(resources=the_user)
def get_login_profile(call: Call, tx: Tx, request: Input) -> Output:
    """When a user got its password."""
    return {"LoginProfile": _profile(_find(tx, call, request)[0])}


@iam.write(resources=the_user)
def update_login_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Changes a user's password, or whether the user must change it."""
    user, password = _find(tx, call, request)
    stale = bool(request.get("PasswordResetRequired", password.stale))
    given = request.get("Password")
    changed = dataclasses.replace(password, stale=stale) if given is None else \
        _new(tx, call, given, stale, password.created)
    tx.put(dataclasses.replace(user, password=changed))


@iam.write(resources=the_user)
def delete_login_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a user's password away."""
    tx.put(dataclasses.replace(_find(tx, call, request)[0], password=None))


@iam.write(resources=lambda call, request: [call.principal.policy_arn or "*"])
def change_password(call: Call, tx: Tx, request: Input) -> Output:
    """Changes the caller's own password, if it knows the old one."""
    if call.principal.kind != "user":
        raise InvalidUserType("Only IAM Users can change their own password")
    user, password = _find(tx, call, {"UserName": USER.find(tx, call, call.principal.arn.rpartition("/")[2]).name})
    if not hmac.compare_digest(_digest(request["OldPassword"], password.salt), password.digest):
        raise InvalidUserType("The old password was incorrect.")
    tx.put(dataclasses.replace(user, password=_new(tx, call, request["NewPassword"], False, password.created)))


@iam.write(resources=any_resource)
def update_account_password_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Sets the whole policy: what the request leaves out goes back to its default."""
    account = tx.get(Account, call.account) or Account(call.account)
    asked = {name: value for name, value in request.items() if value is not None}
    tx.put(dataclasses.replace(account, passwords={**_LEFT_OUT, **asked}))


@iam.read(resources=any_resource)
def get_account_password_policy(call: Call, tx: Tx, request: Input) -> Output:
    """The policy that was set."""
    policy = _policy(tx, call)
    return {"PasswordPolicy": {**policy, "ExpirePasswords": bool(policy.get("MaxPasswordAge"))}}


@iam.write(resources=any_resource)
def delete_account_password_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Goes back to what AWS asks of every password."""
    _policy(tx, call)
    tx.put(dataclasses.replace(tx.get(Account, call.account) or Account(call.account), passwords=None))


def _policy(tx: Tx, call: Call) -> dict[str, int | bool]:
    account = tx.get(Account, call.account)
    if account is None or account.passwords is None:
        raise NoSuchEntity(f"The Password Policy with domain name {call.account} cannot be found.")
    return account.passwords
