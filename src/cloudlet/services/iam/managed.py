"""The managed policies that AWS itself provides (`managed_policies.json`), by their ARNs."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources

import msgspec

PREFIX = "arn:aws:iam::aws:policy"


@dataclass(frozen=True, slots=True)
class AwsPolicy:
    """A policy of AWS's; only its current version is known here. Times in epoch seconds."""

    arn: str
    id: str
    name: str
    path: str
    version: str
    created: float
    updated: float
    document: str


class _Stored(msgspec.Struct):
    path: str
    version: str
    created: datetime
    updated: datetime
    document: msgspec.Raw


def find(arn: str) -> AwsPolicy | None:
    """AWS's policy of that ARN, or None."""
    return policies().get(arn) if arn.startswith(PREFIX) else None


@cache
def policies() -> dict[str, AwsPolicy]:
    """All of them, by ARN, in order of name."""
    text = resources.files("cloudlet.services.iam").joinpath("managed_policies.json").read_bytes()
    return {policy.arn: policy
            for policy in (_policy(name, stored)
                           for name, stored in msgspec.json.decode(text, type=dict[str, _Stored]).items())}


def _policy(name: str, stored: _Stored) -> AwsPolicy:
    digits = base64.b32encode(hashlib.blake2s(name.encode(), digest_size=11).digest()).decode()[:17]
    return AwsPolicy(f"{PREFIX}{stored.path}{name}", "ANPA" + digits, name, stored.path, stored.version,
                     stored.created.timestamp(), stored.updated.timestamp(), bytes(stored.document).decode())
