"""The loop that deletes what a group's retention policy no longer keeps."""

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.logs import storage
from cloudlet.services.logs.groups import Group
from cloudlet.store.db import Store

KIND = "logs.group"
LOOK_AGAIN_S = 900.0
CHUNKS_AT_ONCE = 1000  # deleted in one transaction, so that nobody waits long behind it


class Retention:
    """Looks at every group that has a policy, now and then, for ever."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """Deletes the expired chunks of one group; reading leaves expired events out before they are deleted."""
        with self._store.tx() as tx:
            group = tx.get(Group, key)
            if group is None or group.retention_days is None:
                return Done()
            gone = storage.expire(tx, group.id, group.oldest_ms(tx.now), CHUNKS_AT_ONCE)
        return Again(0.0 if gone == CHUNKS_AT_ONCE else LOOK_AGAIN_S)
