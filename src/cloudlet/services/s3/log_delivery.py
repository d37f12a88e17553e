"""Delivers the records of access logs: every few minutes they become objects in the buckets that take them.

A record goes from the table in the transaction that puts its object, so that it is delivered once, whatever happens.
"""

import logging
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from cloudlet.control.outcome import Done, Outcome
from cloudlet.services.s3 import contents, delivered
from cloudlet.services.s3.access import grants
from cloudlet.services.s3.access.grants import Grant
from cloudlet.services.s3.access_log import Sink
from cloudlet.services.s3.contents import Received
from cloudlet.services.s3.delivered import body_of
from cloudlet.services.s3.notifications import Cause
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import ENFORCED, Bucket
from cloudlet.services.s3.settings import bucket_logging
from cloudlet.store.db import Store, Tx

EVERY_S = 300.0
OBJECT_BYTES = 1 << 20  # of one log, after which another begins
DELIVERY = "s3.access_log"  # kind of work: the records of a bucket are to be delivered
DAY_MS = 86_400_000

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """The next records of a bucket that go into one object: rows up to `last`, the first of them of `at_ms`."""

    bucket: str
    sink: str
    at_ms: int
    last: int
    lines: list[str]

    @property
    def to(self) -> Sink:
        """Where they go."""
        return msgspec.json.decode(self.sink, type=Sink)

    def key(self, now: float, unique: str) -> str:
        """The key of their object.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerLogs.html#server-access-logging-overview
        """
        sink = self.to
        prefix, partitioned = sink.said["TargetPrefix"], (sink.said.get("TargetObjectKeyFormat") or {}).get(
            "PartitionedPrefix")
        if partitioned is None:
            return f"{prefix}{datetime.fromtimestamp(now, UTC):%Y-%m-%d-%H-%M-%S}-{unique}"
        if _by_day(sink):  # on AWS the time of day is then not said either
            at = f"{datetime.fromtimestamp(self.at_ms / 1000, UTC):%Y/%m/%d/%Y-%m-%d-00-00-00}"
        else:
            at = f"{datetime.fromtimestamp(now, UTC):%Y/%m/%d/%Y-%m-%d-%H-%M-%S}"
        return f"{prefix}{sink.account}/{sink.region}/{self.bucket}/{at}-{unique}"


class Deliverer:
    """The loop."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self) -> None:
        """Has what has come delivered, at the start what came before it too."""
        with self._store.tx() as tx:
            for (bucket,) in tx.execute("select distinct bucket from s3_access").fetchall():
                tx.enqueue(DELIVERY, str(bucket))

    async def deliver(self, name: str) -> Outcome:
        """Delivers the records of a bucket. Cut off at any point, it begins again with what is left."""
        while (batch := self._next(name)) is not None:
            with await contents.receive(self._store, body_of("".join(batch.lines).encode())) as received:
                with self._store.tx() as tx:
                    _put(tx, batch, received)
                await self._store.flush()
        return Done()

    def _next(self, name: str) -> Batch | None:
        with self._store.tx() as tx:
            rows = tx.execute("select id, sink, at_ms, line from s3_access where bucket=? and sink="
                              "(select min(sink) from s3_access where bucket=?) order by id", (name, name))
            batch, size = None, 0
            for last, sink, at_ms, line in rows:
                if batch is None:
                    batch = Batch(name, str(sink), int(at_ms), int(last), [])
                elif size + len(line) > OBJECT_BYTES or (
                        _by_day(batch.to) and int(at_ms) // DAY_MS != batch.at_ms // DAY_MS):
                    break
                batch.lines.append(f"{line}\n")
                batch, size = batch._replace(last=int(last)), size + len(line) + 1
        return batch


def _by_day(sink: Sink) -> bool:
    """Whether an object has the records of one day only."""
    partitioned = (sink.said.get("TargetObjectKeyFormat") or {}).get("PartitionedPrefix") or {}
    return partitioned.get("PartitionDateSource") == "EventTime"


def _put(tx: Tx, batch: Batch, received: Received) -> None:
    """Puts an object, and forgets the records in it; those that the target does not take are lost, as on AWS."""
    gone: list[Any] = tx.execute("delete from s3_access where bucket=? and sink=? and id<=? returning 1",
                                 (batch.bucket, batch.sink, batch.last)).fetchall()
    if len(gone) != len(batch.lines):
        return  # everything was cleared meanwhile
    sink, key = batch.to, batch.key(tx.now, tx.token(16).upper())
    target = tx.get(Bucket, sink.said["TargetBucket"])
    wrong = bucket_logging.refusal(tx, target, sink.account, batch.bucket, key)
    if wrong is not None or target is None:
        log.warning("%d records of requests to %s are lost: %s: %s", len(gone), batch.bucket,
                    sink.said["TargetBucket"], wrong)
        return
    cause = Cause(bucket_logging.SERVICE, bucket_logging.SERVICE, tx.token(32))
    delivered.put(tx, target, key, received, cause, "text/plain", _acl(target, sink, canonical_id(target.account)))


def _acl(target: Bucket, sink: Sink, owner: str) -> str:
    """The list of a log: what the target's owner has in any case, and what was asked for."""
    if target.ownership == ENFORCED:
        return ""
    asked = tuple(Grant(grants.grantee(each["Grantee"]), each["Permission"])
                  for each in sink.said.get("TargetGrants") or ())
    return grants.dump(grants.private(owner) + asked, owner)
