"""The loops that make space: messages past their retention, those of queues that are gone, and old tokens."""

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.sqs import fifo, messages, queues
from cloudlet.services.sqs.records import Queue
from cloudlet.store.db import Store

LOOK_S = 60.0
SLICE = 500  # messages, or queues, of one transaction


class Expiry:
    """The steps."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def drop(self, key: str) -> Outcome:
        """Removes what is stored under a number, in slices."""
        with self._store.tx() as tx:
            left = messages.drop(tx, int(key), SLICE)
        return Again() if left else Done()

    async def look(self) -> None:
        """Removes what has expired."""
        left = True
        while left:
            with self._store.tx() as tx:
                left = fifo.forget_old(tx, SLICE) or queues.release_names(tx, SLICE)
            await self._store.clock.sleep(0)
        after = ""
        while True:
            with self._store.tx() as tx:
                found = tx.find(Queue, after=after, limit=SLICE)
                full = [queue for queue in found if messages.expire(tx, queue, SLICE)]
            for queue in full:
                while True:
                    await self._store.clock.sleep(0)
                    with self._store.tx() as tx:
                        if not messages.expire(tx, queue, SLICE):
                            break
            if len(found) < SLICE:
                return
            after = found[-1].key
            await self._store.clock.sleep(0)
