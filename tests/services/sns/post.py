"""The deliverer at work beside a test, with web servers and a mail server in memory."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from cloudlet.engines.fake.mail import FakeMail
from cloudlet.engines.fake.webhooks import FakeServer, FakeWebhooks
from cloudlet.kernel.http import Body, Request, Response
from cloudlet.services.sns import page
from cloudlet.services.sns.deliveries import Deliveries
from tests.services.sns.newsroom import Newsroom, topic_arn

URL = "http://localhost:9/hook"


def said(data: bytes) -> Body:
    async def chunks() -> Any:
        yield data
    return Body(chunks(), len(data))


async def nothing() -> None:
    """Nobody sends anything."""


class Post:
    """The deliverer at work beside a test."""

    def __init__(self, room: Newsroom, mail: FakeMail | None = None) -> None:
        self.room, self.web, self.mail = room, FakeWebhooks(), mail

    def server(self, url: str = URL, *answers: int) -> FakeServer:
        self.web.servers[url] = FakeServer(list(answers))
        return self.web.servers[url]

    def during(self, act: Callable[[], Awaitable[None]] = nothing) -> None:
        """Delivers what is due before, during and after `act`."""
        async def run() -> None:
            task = asyncio.ensure_future(Deliveries(self.room.store, self.web, self.mail).run())
            await self.settle()
            await act()
            await self.settle()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        asyncio.run(run())

    async def settle(self) -> None:
        for _ in range(200):
            await asyncio.sleep(0)

    def later(self, seconds: float) -> None:
        self.room.clock.time += seconds
        self.during()

    def visit(self, url: str) -> Response | None:
        path, _, query = url.removeprefix("http://localhost:4566").partition("?")
        return self.ask(Request("GET", path, query, {"host": "localhost:4566"}, said(b"")))

    def form(self, path: str = "/", **asked: str) -> Response | None:
        """What is answered to who sends a form without a signature."""
        headers = {"host": "localhost:4566", "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        return self.ask(Request("POST", path, "", headers, said(urlencode(asked).encode())))

    def ask(self, request: Request) -> Response | None:
        """What SNS answers, None where it leaves that to others: then they find the request as it was."""
        async def asked() -> Response | None:
            found = await page(self.room.store, request)
            if isinstance(found, Response):
                return found
            assert len(await found.body.read(1 << 20)) == request.body.length
            assert (found.method, found.path, found.query) == (request.method, request.path, request.query)
            return None
        return asyncio.run(asked())

    def subscribed(self, url: str = URL, **attributes: str) -> str:
        """A web server that has confirmed; the subscription's ARN."""
        arn: str = self.room.sns("Subscribe", TopicArn=topic_arn("t"), Protocol="http", Endpoint=url,
                                 Attributes=attributes, ReturnSubscriptionArn=True)["SubscriptionArn"]
        server = self.server(url)
        self.during()
        answer = self.visit(json.loads(server.got.pop()[1])["SubscribeURL"])
        assert answer is not None and answer.status == 200
        return arn


def waiting(post: Post) -> int:
    with post.room.store.tx() as tx:
        return int(tx.execute("select count(*) from sns_pending").fetchone()[0])
