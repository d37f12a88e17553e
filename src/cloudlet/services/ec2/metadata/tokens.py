"""Session tokens of the metadata service (version 2): sealed for one instance, with the time at which they end.

Nothing is kept of them, so they outlive the control plane.
"""

import struct

from cloudlet.store.db import Tx
from cloudlet.store.sealing import SealFailure

TTL_S_MAX = 21600
TTL_HEADER, HEADER = "x-aws-ec2-metadata-token-ttl-seconds", "x-aws-ec2-metadata-token"


def ttl_of(text: str | None) -> int | None:
    """How long a token is asked for, in seconds; None where that is missing or not from 1 to 21600."""
    if text is None or not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= TTL_S_MAX:
        return None
    return int(text[:9])


def issue(tx: Tx, instance_key: str, ttl_s: int) -> str:
    """A token for an instance."""
    return tx.seal.close(struct.pack(">d", tx.now + ttl_s), _owner(instance_key))


def seconds_left(tx: Tx, instance_key: str, token: str) -> float:
    """How long a token is still good for that instance; 0 where it is not."""
    try:
        data = tx.seal.open(token, _owner(instance_key))
    except SealFailure:
        return 0.0
    return max(struct.unpack(">d", data)[0] - tx.now, 0.0) if len(data) == 8 else 0.0


def _owner(instance_key: str) -> str:
    return f"ec2.metadata-token {instance_key}"
