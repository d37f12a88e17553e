"""What Secrets Manager remembers: secrets with the story of their versions, and the sealed values apart from it."""

import re
from dataclasses import dataclass, field

from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import Input
from cloudlet.services.secretsmanager.service import InvalidRequest, ResourceNotFound, ValidationException
from cloudlet.store.db import Tx
from cloudlet.store.records import record

_NAME = re.compile(r"[A-Za-z0-9/_+=.@!-]{1,512}", re.ASCII)
_SUFFIX = 7  # a hyphen and six characters


@dataclass(frozen=True, slots=True)
class Version:
    """A version's dates, in epoch seconds; `accessed` is the day on which its value was last read."""

    created: float
    accessed: float | None = None


@record("secretsmanager.secret")
class Secret:
    """A secret. Its key is `account/region/name`; `suffix` are the six random characters of its ARN.

    `versions` are in order of creation; `stages` maps a staging label to the one version that has it; a version
    without any is deprecated. `deleted` is when it was marked for deletion, `purge` when it will be gone.
    """

    key: str
    account: str
    region: str
    name: str
    suffix: str
    created: float
    changed: float
    description: str = ""
    kms_key_id: str = ""
    versions: dict[str, Version] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    accessed: float | None = None
    deleted: float | None = None
    purge: float | None = None
    policy: str | None = None

    @property
    def arn(self) -> str:
        """`arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-SUFFIX`."""
        return f"{partial_arn(self.account, self.region, self.name)}-{self.suffix}"

    def stages_of(self, version_id: str) -> list[str]:
        """The staging labels of one version, in order."""
        return sorted(stage for stage, holder in self.stages.items() if holder == version_id)


@record("secretsmanager.value")
class Value:
    """A version's value, sealed. Its key is the secret's key, its suffix and the version's id."""

    key: str
    sealed: str
    binary: bool


def partial_arn(account: str, region: str, name: str) -> str:
    """A secret's ARN without the six characters at its end."""
    return f"arn:aws:secretsmanager:{region}:{account}:secret:{name}"


def secret_key(account: str, region: str, name: str) -> str:
    """The key of a secret's record."""
    return f"{account}/{region}/{name}"


def value_key(secret: Secret, version_id: str) -> str:
    """The key of the record of a version's value."""
    return f"{secret.key}:{secret.suffix}:{version_id}"


def check_name(name: str) -> None:
    """Raises AWS's error for a name that no secret may have."""
    if not _NAME.fullmatch(name):
        raise ValidationException("Invalid name. Must be a valid name containing alphanumeric characters, or any of the"
                                  " following: -/_+=.@!")


def lookup(tx: Tx, account: str, region: str, secret_id: str) -> Secret | None:
    """The secret of a name, an ARN, or an ARN without the six characters at its end; None where there is none."""
    arn = Arn.parse(secret_id)
    if arn is None:
        return tx.get(Secret, secret_key(account, region, secret_id))
    return lookup_arn(tx, secret_id) if arn.region == region else None


def lookup_arn(tx: Tx, text: str) -> Secret | None:
    """The secret of an ARN with or without its six characters, in whatever account and region, or None."""
    arn = Arn.parse(text)
    if arn is None or arn.service != "secretsmanager" or not arn.resource.startswith("secret:"):
        return None
    name = arn.resource.removeprefix("secret:")
    whole = tx.get(Secret, secret_key(arn.account, arn.region, name[:-_SUFFIX]))
    if whole is not None and whole.arn == text:
        return whole
    return tx.get(Secret, secret_key(arn.account, arn.region, name))


def find(tx: Tx, call: Call, secret_id: str) -> Secret:
    """The secret that a request names, whether or not it is marked for deletion. Raises ResourceNotFound."""
    if not secret_id.startswith("arn:"):
        check_name(secret_id)
    secret = lookup(tx, call.account, call.region, secret_id)
    if secret is None:
        raise ResourceNotFound()
    return secret


def find_active(tx: Tx, call: Call, request: Input) -> Secret:
    """The same for operations that a secret marked for deletion refuses. Raises InvalidRequest too."""
    secret = find(tx, call, request["SecretId"])
    check_active(secret)
    return secret


def check_active(secret: Secret) -> None:
    """Raises InvalidRequest for a secret that is marked for deletion."""
    if secret.deleted is not None:
        raise InvalidRequest("You can't perform this operation on the secret because it was marked for deletion.")


def check_own(call: Call, secret: Secret) -> None:
    """Raises InvalidRequest for another account's secret, whose value only a key of its own would open."""
    if secret.account != call.account:
        raise InvalidRequest("You can't access a secret from a different AWS account if you encrypt the secret with the"
                             " default KMS service key.")


def the_secret(call: Call, request: Input) -> list[str]:
    """The resource of operations on one secret, as the request names it."""
    secret_id = request["SecretId"]
    return [secret_id if secret_id.startswith("arn:") else partial_arn(call.account, call.region, secret_id)]
