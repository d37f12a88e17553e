"""Authorization tokens: what `docker login` keeps as the password of the user AWS, signed so that nothing is stored."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import msgspec

from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.identity import Identities
from cloudlet.kernel.service import any_resource
from cloudlet.services.ecr.hosts import registry_host
from cloudlet.services.ecr.service import ecr
from cloudlet.store.db import Tx
from cloudlet.store.records import record

USERNAME = "AWS"
TOKEN_S = 12 * 3600.0
PASSWORD_MAX = 32 << 10
# What a token that may only pull is good for, and what whoever pulls must be allowed.
PULL_ACTIONS = frozenset({"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"})
# What it may do as well where it `imports`.
IMPORT_ACTIONS = frozenset({"ecr:BatchImportUpstreamImage", "ecr:CreateRepository"})


@record("ecr.signing_key", lasting=True)
class SigningKey:
    """The secret with which this installation signs tokens; drawn once."""

    key: str
    secret: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says: who holds it, in which region it works, until when (epoch seconds).

    `pull_only` is the key of the one repository that it may pull from and do nothing else, and `layer` the digest of
    the one layer that it may pull there; with `imports` an image may come from an upstream registry for it.
    `access_key_id` is that of the credentials that asked for it: the token ends with them.
    """

    principal: Principal
    region: str
    expires: float
    pull_only: str | None = None
    access_key_id: str = ""
    layer: str | None = None
    imports: bool = False


class BadToken(Exception):
    """Not a password of ours, or one that has expired; the text says which, in AWS's words."""


_decoder = msgspec.json.Decoder(Grant)


def issue(tx: Tx, grant: Grant) -> str:
    """The password for a grant."""
    key = tx.get(SigningKey, "registry")
    if key is None:
        key = SigningKey("registry", tx.token(64))
        tx.put(key)
    body = base64.urlsafe_b64encode(msgspec.json.encode(grant))
    return f"{body.decode()}.{_signature(key, body)}"


def redeem(tx: Tx, identities: Identities, password: str) -> Grant:
    """The grant of a password, whose holder's credentials are still good. Raises BadToken."""
    key = tx.get(SigningKey, "registry")
    body, _, signature = password.partition(".")
    if key is None or len(password) > PASSWORD_MAX or not password.isascii() \
            or not hmac.compare_digest(_signature(key, body.encode()), signature):
        raise BadToken("Your Authorization Token is invalid.")
    try:
        grant = _decoder.decode(base64.urlsafe_b64decode(body))
    except (binascii.Error, msgspec.DecodeError):
        raise BadToken("Your Authorization Token is invalid.") from None
    if tx.now >= grant.expires or not _holds(tx, identities, grant.access_key_id):
        raise BadToken("Your authorization token has expired. Reauthenticate and try again.")
    return grant


def _holds(tx: Tx, identities: Identities, access_key_id: str) -> bool:
    """Whether the credentials that a token was asked for with may still be used: the key is active, its session has
    not ended, its user or role exists. What we ask for ourselves has none."""
    if not access_key_id:
        return True
    credential = identities.credential(tx, access_key_id)
    return credential is not None and (credential.expires is None or tx.now < credential.expires)


def _signature(key: SigningKey, body: bytes) -> str:
    return hmac.new(key.secret.encode(), body, hashlib.sha256).hexdigest()


@ecr.write(resources=any_resource)
def get_authorization_token(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The password for `docker login`, good for twelve hours in this region, unless the credentials end before that."""
    # It is the caller's, and opens in other registries what their policies let the caller do.
    registries = request.get("registryIds") or [call.account]
    expires = tx.now + TOKEN_S
    grant = Grant(call.principal, call.region, expires, access_key_id=call.access_key_id)
    token = base64.b64encode(f"{USERNAME}:{issue(tx, grant)}".encode()).decode()
    scheme = call.endpoint.partition("://")[0]
    return {"authorizationData": [
        {"authorizationToken": token, "expiresAt": expires,
         "proxyEndpoint": f"{scheme}://{registry_host(call.endpoint, registry, call.region)}"}
        for registry in registries]}
