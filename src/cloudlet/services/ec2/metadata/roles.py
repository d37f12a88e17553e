"""The credentials of instances' roles: minted when asked for, and renewed well before they end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from cloudlet.kernel.errors import AwsError
from cloudlet.services.sts import TemporaryCredentials, instance_credentials
from cloudlet.store.db import Tx

DURATION_S = 6 * 3600  # as on AWS
RENEW_S = 3600  # before they end; SDKs ask again 15 minutes before
KEPT_MAX = 10_000  # of which instances the credentials are remembered


@dataclass(frozen=True, slots=True)
class Profile:
    """An instance's profile, and the role that it hands out now ("" for none)."""

    arn: str
    id: str
    role_arn: str
    instance_arn: str


@dataclass(frozen=True, slots=True)
class _Minted:
    at: float
    found: TemporaryCredentials


class RoleCredentials:
    """The current credentials by instance, role and the version of the service that delivers them. After a restart new
    ones are minted; the old stay good until they end."""

    def __init__(self) -> None:
        self._current: dict[tuple[str, str, str], _Minted] = {}

    def leaves(self, tx: Tx, profile: Profile, delivery: str) -> Mapping[str, str | Callable[[], str]]:
        """"info", and the credentials by the role's name when they are asked for. `tx` lives as long as that."""
        if not profile.role_arn:
            return {"info": _text({"Code": "InstanceProfileNotFound", "LastUpdated": _time(tx.now),
                                   "Message": "Instance Profile does not contain a role."})}
        info = {"Code": "Success", "LastUpdated": _time(tx.now), "InstanceProfileArn": profile.arn,
                "InstanceProfileId": profile.id}
        return {"info": _text(info), profile.role_arn.rpartition("/")[2]: lambda: self._told(tx, profile, delivery)}

    def _told(self, tx: Tx, profile: Profile, delivery: str) -> str:
        try:
            minted = self._of(tx, profile, delivery)
        except AwsError as error:
            return _text({"Code": "AssumeRoleUnauthorizedAccess", "LastUpdated": _time(tx.now),
                          "Message": error.message})
        found = minted.found
        return _text({"Code": "Success", "LastUpdated": _time(minted.at), "Type": "AWS-HMAC",
                      "AccessKeyId": found.access_key_id, "SecretAccessKey": found.secret, "Token": found.token,
                      "Expiration": _time(found.expires)})

    def _of(self, tx: Tx, profile: Profile, delivery: str) -> _Minted:
        key = (profile.instance_arn, profile.role_arn, delivery)
        minted = self._current.pop(key, None)
        if minted is None or minted.found.expires - tx.now < RENEW_S:
            minted = _Minted(tx.now, instance_credentials(
                tx, profile.role_arn, profile.instance_arn.rpartition("/")[2], DURATION_S, profile.instance_arn,
                delivery))
        self._current[key] = minted
        while len(self._current) > KEPT_MAX:
            del self._current[next(iter(self._current))]
        return minted


def _text(value: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _time(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
