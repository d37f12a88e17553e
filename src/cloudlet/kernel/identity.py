"""What the gateway asks of whoever keeps the identities."""

from dataclasses import dataclass
from typing import Any, Protocol

from cloudlet.kernel.call import Call, Principal


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key as it is known here: `token` is the session token it must come with; `expires` in epoch seconds."""

    access_key_id: str
    secret: str
    principal: Principal
    token: str | None = None
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action is not allowed, in AWS's words."""

    message: str


class Identities(Protocol):
    """Access keys and permissions, as IAM and STS hold them. Sync: called inside a transaction."""

    def credential(self, tx: Any, access_key_id: str) -> Credential | None:
        """The credential of an access key, or None where nobody has it (or it is inactive)."""
        ...

    def refuses(self, tx: Any, call: Call, action: str, resources: tuple[str, ...]) -> Refusal | None:
        """None where the caller's policies, as they stand now, allow the action on every one of the resources."""
        ...
