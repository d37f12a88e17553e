"""Whatever is cut off and whenever: each message is taken by each subscriber, or is in the dead-letter queue."""

import asyncio
import json
import random
from collections.abc import Mapping

import pytest

from cloudlet.engines.fake.mail import FakeMail
from cloudlet.kernel.errors import Busy
from cloudlet.services.sns import deliveries
from cloudlet.services.sns.deliveries import Deliveries
from cloudlet.store import steadiness
from tests.services.sns.newsroom import Newsroom, open_policy, queue_arn, topic_arn
from tests.services.sns.post import Post, waiting
from tests.services.sns.test_mail import subscribed

# What each server answers; 0: nothing.
ANSWERS = {"http://localhost:9/steady": [200], "http://localhost:9/flaky": [200, 503, 0, 429],
           "http://localhost:9/refusing": [404, 200]}


class Weather:
    """Servers that are slow, fail and refuse, by a seed, and control planes that die. `taken`: by whom what was."""

    def __init__(self, post: Post, seed: int) -> None:
        assert isinstance(post.mail, FakeMail)
        self.publishers, self.mail, self.random = post.room, post.mail, random.Random(seed)
        self.published, self.taken = list[str](), {url: set[str]() for url in ANSWERS}
        self.mail.before = self.dawdle
        self.mail.faults = [Busy("later")] * self.random.randrange(4)

    async def dawdle(self) -> None:
        for _ in range(self.random.randrange(8)):
            await asyncio.sleep(0)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """What the port does: a server that has taken a message may still not be heard."""
        await self.dawdle()
        status = self.random.choice(ANSWERS[url])
        if status == 200:
            self.taken[url].add(json.loads(body)["Message"])
        await self.dawdle()
        if not status:
            raise Busy("no answer")
        return status

    def live(self, rounds: int, rate: float) -> None:
        """A control plane, and publishers, until it is cut off."""
        async def run() -> None:
            worker = asyncio.ensure_future(Deliveries(self.publishers.store, self, self.mail).run())
            for _ in range(rounds):
                if self.random.random() < rate:
                    self.published.append(f"m{len(self.published)}")
                    self.publishers.publish("t", self.published[-1])
                await asyncio.sleep(0)
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        asyncio.run(run())
        self.publishers.clock.time += self.random.choice([0.0, 1.0, 20.0])
        if self.random.random() < 0.2:  # somebody sets the clock back
            self.publishers.clock.time -= 7200
            steadiness.follow(self.publishers.store, -7200)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost(room: Newsroom, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "IN_A_ROW", 1 + seed % 3)
    dead = queue_arn("dead")
    room.queue("dead", Policy=open_policy(dead, topic_arn("t")))
    post = subscribed(room)
    for url in ANSWERS:
        post.subscribed(url, RedrivePolicy=json.dumps({"deadLetterTargetArn": dead}), DeliveryPolicy=json.dumps(
            {"healthyRetryPolicy": {"numRetries": 3, "minDelayTarget": 1, "maxDelayTarget": 1}}))
    weather = Weather(post, seed)
    for _ in range(25):
        weather.live(weather.random.randrange(3, 60), 0.1)
    for _ in range(12):
        weather.live(2000, 0.0)
        room.clock.time += 600
    assert waiting(post) == 0 and len(weather.published) > 20
    set_aside = set[str]()
    while bodies := room.bodies("dead"):
        set_aside |= {json.loads(body)["Message"] for body in bodies}
    published = set(weather.published)
    steady, flaky, refusing = weather.taken.values()
    assert steady == published and flaky | set_aside == published == refusing | set_aside
    assert set_aside and refusing and refusing != published  # there was weather
    assert {letter.text.partition("\n")[0] for letter in weather.mail.taken} == published
