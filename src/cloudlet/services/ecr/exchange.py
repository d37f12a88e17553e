"""One request to `/v2/`: who asks, for which repository, whether they may, and how we say no.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.identity import Identities
from cloudlet.services.ecr import hosts, tokens
from cloudlet.services.ecr.contents import require_repository
from cloudlet.services.ecr.records import Repository
from cloudlet.services.ecr.service import repository_arn
from cloudlet.services.ecr.tokens import IMPORT_ACTIONS, PULL_ACTIONS, BadToken, Grant
from cloudlet.store.db import Tx

# The registry's words for what ECR's operations refuse: code and status by the error's code.
_IN_REGISTRY_WORDS = {
    "ImageTagAlreadyExistsException": ("TAG_INVALID", 400),
    "InvalidLayerException": ("MANIFEST_INVALID", 400),
    "LayersNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 404),
    "ReferencedImagesNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 404),
    "RepositoryNotFoundException": ("NAME_UNKNOWN", 404),
}


class RegistryError(Exception):
    """A refusal in the registry's form: a code of the specification, a sentence, a status."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}
        super().__init__(message)

    @classmethod
    def of(cls, error: AwsError) -> "RegistryError":
        """An operation's error in the registry's words; DENIED for one that has no words of its own there."""
        code, status = _IN_REGISTRY_WORDS.get(error.code, ("DENIED", error.status))
        return cls(status, code, error.message)

    def response(self) -> Response:
        """As it is answered."""
        body = msgspec.json.encode({"errors": [{"code": self.code, "message": self.message}]})
        return Response(self.status, {**self.headers, "content-type": "application/json"}, body)


def empty(status: int, **headers: str | int) -> Response:
    """An answer without a body; underscores in header names stand for dashes."""
    return Response(status, {name.replace("_", "-"): str(value) for name, value in headers.items()})


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request of somebody whose token is good. `name` is the repository that the path names."""

    request: Request
    call: Call
    grant: Grant
    account: str
    region: str
    name: str
    identities: Identities

    def parameter(self, name: str) -> str | None:
        """A parameter of the query; None where it is missing."""
        return dict(parse_qsl(self.request.query, keep_blank_values=True)).get(name)

    def header(self, name: str) -> str | None:
        """A header by its lower-case name."""
        return self.request.headers.get(name)

    def repository(self, tx: Tx, *actions: str, name: str | None = None) -> Repository:
        """The repository (`name`, or the path's), on which the caller may do all of these actions now.

        Raises RegistryError (DENIED) or RepositoryNotFound.
        """
        self.permit(tx, *actions, name=name)
        return require_repository(tx, self.account, self.region, name or self.name)

    def permit(self, tx: Tx, *actions: str, name: str | None = None) -> None:
        """Raises RegistryError (DENIED) unless the caller may do all of these actions there now."""
        name = name or self.name
        key = f"{self.account}/{self.region}/{name}"
        for action in actions:
            reason = self._refusal(tx, action, key, repository_arn(self.account, self.region, name))
            if reason is not None:
                raise RegistryError(403, "DENIED", reason)

    def may(self, tx: Tx, action: str) -> bool:
        """Whether the caller may do this on the path's repository, there or not."""
        key = f"{self.account}/{self.region}/{self.name}"
        return self._refusal(tx, action, key, repository_arn(self.account, self.region, self.name)) is None

    def _refusal(self, tx: Tx, action: str, key: str, arn: str) -> str | None:
        if self.grant.pull_only is not None:
            actions = PULL_ACTIONS | IMPORT_ACTIONS if self.grant.imports else PULL_ACTIONS
            allowed = key == self.grant.pull_only and action in actions and (
                self.grant.layer is None or self.request.path.endswith(f"/blobs/{self.grant.layer}"))
            return None if allowed else (f"User: {self.call.principal.arn} is not authorized to perform: {action} on "
                                         f"resource: {arn} because its token only pulls from one repository")
        refusal = self.identities.refuses(tx, self.call, action, (arn,))
        return refusal.message if refusal else None


def admit(tx: Tx, identities: Identities, request: Request, name: str) -> Exchange:
    """The exchange for a request with a good token. Raises RegistryError (UNAUTHORIZED, or DENIED for another region).

    The host says which registry is meant; where it is a plain one, the token does.
    """
    grant = _grant(tx, identities, request)
    account, region = hosts.registry_at(request.headers.get("host", "")) or (grant.principal.account, grant.region)
    if region != grant.region:
        raise RegistryError(403, "DENIED", f"Your Authorization Token is for the region {grant.region}, "
                                           f"not for {region}.")
    call = Call(tx.token(32), grant.principal.account, region, grant.principal, tx.now, request.endpoint,
                request.source, grant.access_key_id, request.headers.get("user-agent", ""))
    return Exchange(request, call, grant, account, region, name, identities)


def _grant(tx: Tx, identities: Identities, request: Request) -> Grant:
    authorization = request.headers.get("authorization", "")
    try:
        if not authorization and (token := dict(parse_qsl(request.query)).get("layer-token")):
            return _of_layer(tokens.redeem(tx, identities, token))
        return tokens.redeem(tx, identities, _password(authorization))
    except BadToken as error:
        challenge = f'Basic realm="{request.endpoint}/",service="ecr.amazonaws.com"'
        raise RegistryError(401, "UNAUTHORIZED", str(error), {"www-authenticate": challenge}) from None


def _of_layer(grant: Grant) -> Grant:
    """What a URL carries may open one layer (GetDownloadUrlForLayer) and nothing else. Raises BadToken."""
    if grant.layer is None:
        raise BadToken("Your Authorization Token is invalid.")
    return grant


def _password(authorization: str) -> str:
    """The password of a Basic authorization by the user AWS. Raises BadToken."""
    scheme, _, encoded = authorization.partition(" ")
    if not encoded:
        raise BadToken("Not Authorized")
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise BadToken("Your Authorization Token is invalid.") from None
    if scheme.lower() != "basic" or user != tokens.USERNAME or not colon:
        raise BadToken("Your Authorization Token is invalid.")
    return password


def json_response(document: Any, **headers: str) -> Response:
    """A JSON answer with status 200."""
    return Response(200, {"content-type": "application/json", **headers}, msgspec.json.encode(document))
