"""What the gateway asks of whoever keeps the identities."""

from dataclasses import dataclass
from typing import Any, Protocol

from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.condition_keys import RequestKeys, nothing_asked


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
    """Why an action is not allowed, in AWS's words. `stranger`: the service answers as if it knew no such key."""

    message: str
    stranger: bool = False


class Identities(Protocol):
    """Access keys and permissions, as IAM and STS hold them. Sync; what takes `tx` is called inside a transaction."""

    def constant(self, access_key_id: str) -> Credential | None:
        """The credential of an access key that is always there, so that no transaction is needed to find it."""
        ...

    def credential(self, tx: Any, access_key_id: str) -> Credential | None:
        """The credential of any access key, or None where nobody has it (or it is inactive)."""
        ...

    def refuses(self, tx: Any, call: Call, action: str, resources: tuple[str, ...],
                keys: RequestKeys = nothing_asked) -> Refusal | None:
        """None where the policies that count, as they stand now, allow the caller the action on every one of the
        resources. `keys` gives what conditions may ask of the request; it is called only if one asks."""
        ...
