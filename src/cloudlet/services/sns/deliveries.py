"""Delivers messages to web servers and by mail, each subscriber at its own pace: a slow or dead one delays no other.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
"""

import asyncio
import json
import logging
from collections import Counter, deque
from dataclasses import dataclass

from cloudlet.engines.ports import Mail, Webhooks
from cloudlet.kernel.errors import Busy, Refused
from cloudlet.services.sns import delivering, delivery_policies, envelopes, letters, mailbox, pending, status_logs
from cloudlet.services.sns.delivering import Failure
from cloudlet.services.sns.pending import Delivery
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.store.db import Store, Tx

# How many subscribers of each lane have their turn side by side: those that answer wait for none that does not, and a
# mail server that is down holds up mail only.
LANES = {pending.ANSWERING: 512, pending.SILENT: 256, pending.MAIL: 8}
AT_ONCE = 4  # deliveries to one subscriber
IN_A_ROW = 25  # times so many, before others that wait have their turn
A_ROUND = 1  # of those that begin, in each round of the event loop
IDLE_S = 30.0
TOO_MANY = 429  # asks for patience: the one refusal that is not for good
AGENT = "Amazon Simple Notification Service Agent"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visit:
    """One delivery, to whom, and since when it is under way."""

    delivery: Delivery
    subscription: Subscription
    topic: Topic
    begun: float

    @property
    def text(self) -> str | None:
        """What was published, None where it is a confirmation."""
        if self.delivery.kind != "Notification":
            return None
        return self.delivery.body if self.delivery.raw else str(json.loads(self.delivery.body)["Message"])

    @property
    def by_mail(self) -> bool:
        """Whether it is a mail."""
        return self.subscription.protocol.startswith("email")

    @property
    def headers(self) -> dict[str, str]:
        """Those of the request. https://docs.aws.amazon.com/sns/latest/dg/http-header.html"""
        found = {"x-amz-sns-message-type": self.delivery.kind, "x-amz-sns-message-id": self.delivery.message_id,
                 "x-amz-sns-topic-arn": self.topic.arn, "User-Agent": AGENT,
                 "Content-Type": delivery_policies.content_type(self.topic, self.subscription)}
        if self.delivery.kind != envelopes.SUBSCRIBED:
            found["x-amz-sns-subscription-arn"] = self.subscription.arn
            if self.delivery.raw:
                found["x-amz-sns-rawdelivery"] = "true"
        return found


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a delivery went: what went wrong, and whether it will always; the status of a web server's answer."""

    failure: Failure | None = None
    final: bool = True
    status: int = 0


class Turnstile:
    """Lets a few in for each round of the event loop, so that a backlog holds up no request."""

    def __init__(self, a_round: int) -> None:
        self._a_round, self._waiting = a_round, deque[asyncio.Future[None]]()

    async def enter(self) -> None:
        """Waits to be let in."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._let_in)
        await waiter

    def _let_in(self) -> None:
        for _ in range(min(self._a_round, len(self._waiting))):
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._let_in)


class Deliveries:
    """The worker. Without a mail server, mail goes to the mailbox."""

    def __init__(self, store: Store, webhooks: Webhooks, mail: Mail | None = None) -> None:
        self._store, self._webhooks, self._mail = store, webhooks, mail
        self._turnstile, self._mail_waits = Turnstile(A_ROUND), False
        self._busy: dict[str, tuple[str, asyncio.Task[None]]] = {}  # subscriber → the lane it came from, and its turn

    async def run(self) -> None:
        """Until cancelled; what was under way is delivered again after the next start."""
        try:
            while True:
                await self._store.news.wait(pending.NEWS, self._start_due())
        finally:
            tasks = [task for _, task in self._busy.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start_due(self) -> float:
        """Starts who has something due; the seconds until somebody else has."""
        at_work, delay = Counter(lane for lane, _ in self._busy.values()), IDLE_S
        found: list[tuple[str, str]] = []
        with self._store.tx() as tx:
            for lane, room in LANES.items():
                keys, later = pending.turns(tx, lane, self._busy, room - at_work[lane])
                found += [(key, lane) for key in keys]
                delay = delay if later is None else min(delay, later - tx.steady)
        for key, lane in found:
            task = asyncio.ensure_future(self._serve(key))
            self._busy[key] = lane, task
            task.add_done_callback(lambda done, key=key: self._ended(key, done))  # type: ignore[misc]
        return delay

    def _ended(self, key: str, task: asyncio.Task[None]) -> None:
        self._busy.pop(key, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("deliveries to %s stopped and will be tried again", key, exc_info=task.exception())
            return  # it is looked at again with the others, not at once
        self._store.news.tell(pending.NEWS)

    async def _serve(self, key: str) -> None:
        """One subscriber's turn: it ends when nothing is due, when something failed, and after a while."""
        for turn in range(IN_A_ROW):
            await self._turnstile.enter()
            with self._store.tx() as tx:
                visits = _next(tx, key)
            if not visits:
                return
            attempts = await asyncio.gather(*map(self._deliver, visits))
            silent = any(attempt.failure is not None and not attempt.final for attempt in attempts)
            pause_s = delivery_policies.pause_s(visits[0].topic, visits[0].subscription)
            with self._store.tx() as tx:
                for visit, attempt in zip(visits, attempts, strict=True):
                    self._settle(tx, visit, attempt)
                if silent or pause_s or turn == IN_A_ROW - 1:
                    pending.settle(tx, key, pending.lane_of(visits[0].subscription, answers=not silent), pause_s)
                    return

    async def _deliver(self, visit: Visit) -> Attempt:
        try:
            if not visit.by_mail:
                return _judged(await self._webhooks.post(visit.subscription.endpoint, visit.headers,
                                                         visit.delivery.body.encode()))
            if self._mail is not None:
                await self._mail.send(letters.letter_of(visit.topic, visit.subscription, visit.delivery))
                self._say_of_mail("")
            return Attempt()
        except Busy as error:
            if visit.by_mail:
                self._say_of_mail(str(error))
            return Attempt(Failure("Unreachable", str(error)), final=False)
        except Refused as error:
            return Attempt(Failure("Refused", str(error)))

    def _say_of_mail(self, wrong: str) -> None:
        """Tells the operator once that the mail server does not take mail, and once that it does again."""
        if wrong and not self._mail_waits:
            log.warning("mail waits: %s", wrong)
        elif not wrong and self._mail_waits:
            log.warning("mail is sent again")
        self._mail_waits = bool(wrong)

    def _settle(self, tx: Tx, visit: Visit, attempt: Attempt) -> None:
        """Records how it went. What cannot be delivered goes to the subscription's dead-letter queue."""
        delivery, failure = visit.delivery, attempt.failure
        status_logs.tell(tx, visit.topic, visit.subscription, lambda: status_logs.Told(
            delivery.message_id, visit.text, delivery.at, visit.begun, delivery.attempts + 1, attempt.status,
            failure.message if failure is not None else ""), failed=failure is not None)
        if failure is not None and not attempt.final:
            delays = delivery_policies.delays_s(visit.topic, visit.subscription)
            if delivery.attempts < len(delays):
                pending.postpone(tx, delivery, delays[delivery.attempts])
                return
        pending.remove(tx, delivery)
        subscription = tx.get(Subscription, visit.subscription.key)
        if subscription is None:
            return
        if failure is None and visit.by_mail and self._mail is None:
            mailbox.put(tx, subscription.protocol, letters.letter_of(visit.topic, visit.subscription, delivery))
        elif failure is not None and delivery.kind == "Notification":
            delivering.set_aside(tx, visit.topic, subscription, delivery.message_id, {"MessageBody": delivery.body},
                                 failure, delivery.request_id)


def _judged(status: int) -> Attempt:
    """What a web server's answer means."""
    if 200 <= status < 300:
        return Attempt(status=status)
    return Attempt(Failure(str(status), f"The endpoint answered with status {status}"),
                   400 <= status < 500 and status != TOO_MANY, status)


def _next(tx: Tx, key: str) -> list[Visit]:
    """The next deliveries to a subscriber; none, and its turn is over, where nothing is due."""
    subscription = tx.get(Subscription, key)
    topic = tx.get(Topic, subscription.topic) if subscription is not None else None
    if subscription is None or topic is None:
        pending.forget(tx, key)
        return []
    at_once = 1 if delivery_policies.pause_s(topic, subscription) else AT_ONCE
    found = pending.first(tx, key, at_once)
    if not found:
        pending.settle(tx, key, pending.lane_of(subscription, answers=True))
    if subscription.ended:  # and messages that came before go to nobody
        for delivery in found:
            if delivery.kind != envelopes.UNSUBSCRIBED:
                pending.remove(tx, delivery)
        found = [delivery for delivery in found if delivery.kind == envelopes.UNSUBSCRIBED]
    return [Visit(delivery, subscription, topic, tx.now) for delivery in found]
