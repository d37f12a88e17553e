"""Names that are derived, never remembered: ARNs, resource ids, and the engine's handle for a record."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arn:
    """`arn:partition:service:region:account:resource`, split at its first five colons."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> "Arn | None":
        """The parts of an ARN, or None where the text is not one."""
        parts = text.split(":", 5)
        return cls(*parts[1:]) if len(parts) == 6 and parts[0] == "arn" else None

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"


def derived_id(prefix: str, name: str) -> str:
    """The id of something that is known by a name everywhere: `ami-` and seventeen hex digits of the name."""
    return f"{prefix}-{hashlib.blake2s(f'{prefix} {name}'.encode()).hexdigest()[:17]}"


@dataclass(frozen=True, slots=True)
class Installation:
    """One Cloudlet on one host. `id` is six hex digits, drawn once and kept in the data directory."""

    id: str

    def name(self, kind: str, key: str) -> str:
        """A stable engine name for a record: `cl-<installation>-<kind>-<ten hex digits of the key>`.

        The same record always gets the same name, so after a crash nothing must be remembered to find it again.
        `kind` is one short word, e.g. "vpc", "eni", "task".
        """
        return f"cl-{self.id}-{kind}-{hashlib.blake2s(key.encode()).hexdigest()[:10]}"

    def link(self, kind: str, key: str) -> str:
        """The same for a network interface, within Linux's 15 bytes: `<k><installation><eight hex digits>`."""
        return f"{kind[0]}{self.id}{hashlib.blake2s(key.encode()).hexdigest()[:8]}"

    @property
    def prefix(self) -> str:
        """What all names of this installation begin with."""
        return f"cl-{self.id}-"
