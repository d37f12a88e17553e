"""Public keys that EC2 Instance Connect gives to instances for a minute, and the loop that takes them back.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/connect-linux-inst-eic.html
"""

from dataclasses import dataclass, replace

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.keyformats import open_ssh, read_public
from cloudlet.store.db import Store, Tx
from cloudlet.store.records import record

ACTIVE_KEYS = "ec2.active-keys"
GIVEN_S = 60.0
KEYS_MAX = 100  # of one instance at a time; the oldest goes first


@dataclass(frozen=True, slots=True)
class ActiveKey:
    """A public key, as in authorized_keys, for a user of the instance, until `ends`."""

    user: str
    public: str
    ends: float


@record(ACTIVE_KEYS)
class ActiveKeys:
    """Those that an instance was given; the key is the instance's."""

    key: str
    keys: tuple[ActiveKey, ...]


def find_instance(tx: Tx, account: str, region: str, id: str) -> Instance | None:
    """An account's instance of that id, or None."""
    return tx.get(Instance, f"{account}/{region}/{id}")


def authorized_key(text: str) -> str | None:
    """An RSA or ED25519 key in OpenSSH's form as a line of authorized_keys, without its comment; None for others."""
    public = read_public(text.encode()) if text.lstrip().startswith("ssh-") else None
    return open_ssh(public) if public is not None else None


def give_key(tx: Tx, instance: Instance, user: str, public: str) -> None:
    """Lets whoever has the private half in as that user, for a minute."""
    known = tx.get(ActiveKeys, instance.key)
    kept = [key for key in (known.keys if known else ())
            if key.ends > tx.now and (key.user, key.public) != (user, public)]
    tx.put(ActiveKeys(instance.key, (*kept[1 - KEYS_MAX:], ActiveKey(user, public, tx.now + GIVEN_S))))
    tx.enqueue(ACTIVE_KEYS, instance.key, after=GIVEN_S)


def active_keys(tx: Tx, instance: Instance) -> dict[str, str]:
    """The lines of authorized_keys that hold now, by user."""
    known = tx.get(ActiveKeys, instance.key)
    found: dict[str, str] = {}
    for key in known.keys if known else ():
        if key.ends > tx.now:
            found[key.user] = f"{found[key.user]}\n{key.public}" if key.user in found else key.public
    return found


class Withdrawal:
    """The loop that forgets keys whose minute is over."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """Those of the instance of that key."""
        with self._store.tx() as tx:
            known = tx.get(ActiveKeys, key)
            left = [each for each in known.keys if each.ends > tx.now] if known else []
            if known is None or not left:
                tx.delete(ActiveKeys, key)
                return Done()
            tx.put(replace(known, keys=tuple(left)))
            return Again(min(each.ends for each in left) - tx.now)
