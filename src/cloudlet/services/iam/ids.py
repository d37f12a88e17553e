"""Identifiers and secrets in the forms that IAM gives them."""

import base64

from cloudlet.store.db import Tx

_ACCOUNT_SHIFT, _TOP = 7, 1 << 47
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def unique_id(tx: Tx, prefix: str, account: str) -> str:
    """A four-letter prefix (AIDA user, AROA role, ANPA policy) and 17 base32 digits: one more than a key's."""
    return key_id(tx, prefix, account) + _DIGITS[int(tx.token(2), 16) % len(_DIGITS)]


def key_id(tx: Tx, prefix: str, account: str) -> str:
    """A four-letter prefix (AKIA for a user's key, ASIA for a session's) and 16 base32 digits.

    As on AWS since 2019, the digits carry the account: tools read it from a key without asking anybody.
    """
    head = _TOP | int(account) << _ACCOUNT_SHIFT | int(tx.token(2), 16) >> 1
    return prefix + base64.b32encode(head.to_bytes(6, "big") + bytes.fromhex(tx.token(8))).decode()


def account_of(access_key_id: str) -> str | None:
    """The account that an access key's id carries, or None where it carries none."""
    try:
        head = int.from_bytes(base64.b32decode(access_key_id[4:])[:6], "big")
    except ValueError:
        return None
    account = (head & ~_TOP) >> _ACCOUNT_SHIFT
    return f"{account:012d}" if len(access_key_id) == 20 and head & _TOP and account < 10**12 else None


def secret_key(tx: Tx) -> str:
    """40 characters, as a secret access key has."""
    return base64.b64encode(bytes.fromhex(tx.token(60))).decode()


def session_token(tx: Tx) -> str:
    """A session token: opaque, and longer than anybody could guess."""
    return "IQoJb3JpZ2luX2Vj" + base64.b64encode(bytes.fromhex(tx.token(144))).decode()
