"""Posts messages to subscribers over HTTP, each subscriber at its own pace: a slow or dead one delays no other.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
"""

import asyncio
import logging
from dataclasses import dataclass

from cloudlet.engines.ports import Webhooks
from cloudlet.kernel.errors import Busy, Refused
from cloudlet.services.sns import delivering, delivery_policies, pending
from cloudlet.services.sns.delivering import Failure
from cloudlet.services.sns.pending import Delivery
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.store.db import Store, Tx

SIDE_BY_SIDE = 512  # subscribers at once
IN_A_ROW = 100  # deliveries to one before others that wait have their turn
IDLE_S = 30.0
TOO_MANY = 429  # asks for patience: the one refusal that is not for good
AGENT = "Amazon Simple Notification Service Agent"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visit:
    """One delivery, and to whom."""

    delivery: Delivery
    subscription: Subscription
    topic: Topic

    @property
    def headers(self) -> dict[str, str]:
        """Those of the request. https://docs.aws.amazon.com/sns/latest/dg/http-header.html"""
        found = {"x-amz-sns-message-type": self.delivery.kind, "x-amz-sns-message-id": self.delivery.message_id,
                 "x-amz-sns-topic-arn": self.topic.arn, "User-Agent": AGENT,
                 "Content-Type": delivery_policies.content_type(self.topic, self.subscription)}
        if self.delivery.kind == "Notification":
            found["x-amz-sns-subscription-arn"] = self.subscription.arn
            if self.subscription.raw:
                found["x-amz-sns-rawdelivery"] = "true"
        return found


class Deliveries:
    """The worker."""

    def __init__(self, store: Store, webhooks: Webhooks) -> None:
        self._store, self._webhooks = store, webhooks
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled; what was under way is posted again after the next start."""
        try:
            while True:
                await self._store.news.wait(pending.NEWS, self._start_due())
        finally:
            tasks = list(self._busy.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start_due(self) -> float:
        """Starts who has something due; the seconds until somebody else has."""
        with self._store.tx() as tx:
            found, later = pending.turns(tx, self._busy, max(0, SIDE_BY_SIDE - len(self._busy)))
            now = tx.now
        for key in found:
            task = self._busy[key] = asyncio.ensure_future(self._serve(key))
            task.add_done_callback(lambda done, key=key: self._ended(key, done))  # type: ignore[misc]
        return IDLE_S if later is None else min(IDLE_S, later - now)

    def _ended(self, key: str, task: asyncio.Task[None]) -> None:
        self._busy.pop(key, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("deliveries to %s stopped and will be tried again", key, exc_info=task.exception())
            return  # it is looked at again with the others, not at once
        self._store.news.tell(pending.NEWS)

    async def _serve(self, key: str) -> None:
        """Posts what is due to one subscriber."""
        for _ in range(IN_A_ROW):
            with self._store.tx() as tx:
                visit = _next(tx, key)
            if visit is None:
                return
            failure, final = await self._post(visit)
            with self._store.tx() as tx:
                _settle(tx, visit, failure, final)
            pause_s = delivery_policies.pause_s(visit.topic, visit.subscription)
            if pause_s:
                await self._store.clock.sleep(pause_s)

    async def _post(self, visit: Visit) -> tuple[Failure | None, bool]:
        """What went wrong, and whether it will always."""
        try:
            status = await self._webhooks.post(visit.subscription.endpoint, visit.headers, visit.delivery.body.encode())
        except Busy as error:
            return Failure("Unreachable", str(error)), False
        except Refused as error:
            return Failure("Refused", str(error)), True
        if 200 <= status < 300:
            return None, True
        return (Failure(str(status), f"The endpoint answered with status {status}"),
                400 <= status < 500 and status != TOO_MANY)


def _next(tx: Tx, key: str) -> Visit | None:
    """The next delivery to a subscriber; None, and its turn is over, where nothing is due."""
    subscription = tx.get(Subscription, key)
    topic = tx.get(Topic, subscription.topic) if subscription is not None else None
    if subscription is None or topic is None:
        pending.forget(tx, key)
        return None
    delivery = pending.first(tx, key)
    if delivery is None:
        pending.settle(tx, key)
        return None
    return Visit(delivery, subscription, topic)


def _settle(tx: Tx, visit: Visit, failure: Failure | None, final: bool) -> None:
    """Records how it went. What cannot be delivered goes to the subscription's dead-letter queue."""
    delivery = visit.delivery
    if failure is not None and not final:
        delays = delivery_policies.delays_s(visit.topic, visit.subscription)
        if delivery.attempts < len(delays):
            pending.postpone(tx, delivery, delays[delivery.attempts])
            return
    pending.remove(tx, delivery)
    subscription = tx.get(Subscription, visit.subscription.key)
    if failure is not None and delivery.kind == "Notification" and subscription is not None:
        delivering.set_aside(tx, visit.topic, subscription, delivery.message_id, {"MessageBody": delivery.body},
                             failure, delivery.request_id)
