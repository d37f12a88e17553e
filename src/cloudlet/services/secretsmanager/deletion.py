"""The end of a secret: its recovery window, and the loop that deletes it after that."""

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.secretsmanager.records import Secret, Value, value_key
from cloudlet.store.db import Store, Tx

KIND = "secretsmanager.deletion"
DAY_S = 86_400.0


def purge(tx: Tx, secret: Secret) -> None:
    """Deletes a secret and all its values."""
    for version_id in secret.versions:
        tx.delete(Value, value_key(secret, version_id))
    tx.delete(Secret, secret.key)


class Deletion:
    """Deletes what was marked for deletion when its recovery window is over."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """Deletes the secret of that key, or waits until its time has come; one that was restored is left alone."""
        with self._store.tx() as tx:
            secret = tx.get(Secret, key)
            if secret is None or secret.purge is None:
                return Done()
            if secret.purge > tx.now:
                return Again(secret.purge - tx.now)
            purge(tx, secret)
        return Done()
