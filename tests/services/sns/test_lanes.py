"""Whatever some subscribers do, others are served; and whatever waits, what is due is found without reading it."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from cloudlet.control.outcome import Again
from cloudlet.engines.webhooks import LocalWebhooks
from cloudlet.services.sns import deliveries, pending
from cloudlet.services.sns.deliveries import AT_ONCE, LANES, Deliveries
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.services.sns.subscriptions import end
from cloudlet.store.db import Store
from tests.services.desk import ACCOUNT
from tests.services.sns.newsroom import Newsroom, topic_arn
from tests.services.sns.post import Post, waiting

TOPIC = f"{ACCOUNT}/us-east-1/t"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def post(room: Newsroom) -> Post:
    room.topic("t")
    return Post(room)


def test_dead_web_servers_leave_room_for_others(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than may have their turn side by side, none of which ever answers."""
    monkeypatch.setattr(deliveries, "LANES", {**LANES, pending.ANSWERING: 4, pending.SILENT: 3})
    dead = [f"http://localhost:9/dead{number}" for number in range(6)]
    for url in dead:
        post.subscribed(url)
        post.server(url, *[0] * 50)
    post.room.publish("t", "first")
    post.during()  # they fail once, and wait in the other lane
    post.subscribed("http://localhost:9/quick")

    async def act() -> None:
        gate = asyncio.Event()
        for url in dead:
            post.web.servers[url].before = lambda: gate.wait()  # type: ignore[assignment, return-value]
        for number in range(30):
            post.room.publish("t", str(number))
        await post.settle()
        got = [json.loads(body)["Message"] for _, body in post.web.servers["http://localhost:9/quick"].got]
        assert got == [str(number) for number in range(30)]
        gate.set()
    post.during(act)


def test_who_answers_again_is_served_as_before(post: Post) -> None:
    post.subscribed("http://localhost:9/a")
    server = post.server("http://localhost:9/a", 503)
    post.room.publish("t", "m")
    post.during()
    assert lanes(post) == [pending.SILENT]
    post.room.publish("t", "n")  # does not wait for the other's next attempt
    post.during()
    assert [json.loads(body)["Message"] for _, body in server.got] == ["m", "n"] and lanes(post) == [pending.ANSWERING]
    post.later(20)
    assert waiting(post) == 0 and lanes(post) == []


def lanes(post: Post) -> list[str]:
    with post.room.store.tx() as tx:
        return [str(lane) for (lane,) in tx.execute("select lane from sns_lane")]


def test_a_subscriber_has_few_at_once_and_no_more_than_it_wants(post: Post) -> None:
    post.subscribed("http://localhost:9/a")
    server, now, most = post.web.servers["http://localhost:9/a"], 0, 0

    async def count() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
    server.before = count
    for number in range(20):
        post.room.publish("t", str(number))
    post.during()
    assert (len(server.got), most) == (20, AT_ONCE)
    throttle = json.dumps({"throttlePolicy": {"maxReceivesPerSecond": 2}})
    arn = post.room.sns("ListSubscriptions")["Subscriptions"][0]["SubscriptionArn"]
    post.room.sns("SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName="DeliveryPolicy",
                  AttributeValue=throttle)
    for number in range(3):
        post.room.publish("t", str(number))
    post.during()
    assert len(server.got) == 21
    post.room.publish("t", "another")  # no sooner for that
    post.during()
    for expected in (21, 22, 22, 23):
        post.later(0.25)
        assert len(server.got) == expected


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        pass


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"H")
        await asyncio.sleep(0.01)


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await writer.drain()


def test_real_servers_that_hang_reset_or_drip(post: Post) -> None:
    """Each of fifty healthy servers gets all ten messages while three others have got none of theirs off our hands."""
    got, done, handled = [0] * 53, asyncio.Event(), list[asyncio.Future[None]]()

    def counted(number: int, handler: Handler) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
                got[number] += handler is answering
            except OSError:
                pass
            writer.transport.abort()
            if sum(got) == 500:
                done.set()
        return lambda reader, writer: handled.append(asyncio.ensure_future(handle(reader, writer)))

    async def run() -> None:
        handlers = [silent, resetting, dripping, *[answering] * 50]
        servers = [await asyncio.start_server(counted(number, handler), "127.0.0.1", 0)
                   for number, handler in enumerate(handlers)]
        with post.room.store.tx() as tx:
            for number, server in enumerate(servers):
                port = server.sockets[0].getsockname()[1]
                tx.put(Subscription(f"{TOPIC}/{number}", ACCOUNT, "", "http", f"http://127.0.0.1:{port}/"))
        for number in range(10):
            post.room.publish("t", str(number))
        worker = asyncio.ensure_future(Deliveries(post.room.store, LocalWebhooks(post.room.site)).run())
        await done.wait()
        worker.cancel()
        await asyncio.gather(worker, *handled, return_exceptions=True)
        for server in servers:
            server.close()
            await server.wait_closed()
    asyncio.run(run())
    assert got == [0] * 3 + [10] * 50 and 30 <= waiting(post) <= 30 + 50 * AT_ONCE


def filled(store: Store, rows: int, subscribers: int) -> None:
    """So much waits, all of it due."""
    with store.tx() as tx:
        tx.put(Topic(TOPIC, tx.now))
        for number in range(subscribers):
            key = f"{TOPIC}/{number}"
            tx.put(Subscription(key, ACCOUNT, "", "http", f"http://localhost:9/{number}"))
            tx.execute("insert into sns_lane (subscription, lane, due) values (?,?,?)",
                       (key, pending.ANSWERING, tx.now))
        tx.execute("insert into sns_pending (subscription, due, attempts, at, kind, raw, message_id, request_id, body)"
                   " with recursive n(i) as (select 0 union all select i+1 from n where i+1 < ?)"
                   " select ? || '/' || (i % ?), ?, 0, ?, 'Notification', 0, 'm' || i, 'r', 'body' from n",
                   (rows, TOPIC, subscribers, tx.now, tx.now))


def test_a_start_reads_little_of_what_waits(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 20_000
    filled(post.room.store, rows, 10)
    read, real = [], pending.first

    def first(*arguments: object) -> list[pending.Delivery]:
        found: list[pending.Delivery] = real(*arguments)  # type: ignore[arg-type]
        read.extend(found)
        return found
    monkeypatch.setattr(pending, "first", first)
    gate = asyncio.Event()
    for number in range(10):
        post.server(f"http://localhost:9/{number}").before = lambda: gate.wait()  # type: ignore[assignment, return-value]

    async def act() -> None:
        assert len(read) == 10 * AT_ONCE  # with which they are busy now
    post.during(act)
    with post.room.store.tx() as tx:  # and no query goes through them all
        for sql in ("select subscription, due from sns_lane where lane='answering' order by due",
                    "select min(due) from sns_pending where subscription='x'",
                    "select id from sns_pending where subscription='x' and due<=9 order by due, id limit 4"):
            plan = " ".join(str(row[3]) for row in tx.execute(f"explain query plan {sql}"))
            assert "SEARCH" in plan and "SCAN" not in plan and "TEMP B-TREE" not in plan
    assert waiting(post) == rows
    gate.set()
    for server in post.web.servers.values():
        server.before = None
    post.during()
    assert waiting(post) < rows and all(server.got for server in post.web.servers.values())


def test_what_waits_for_those_who_are_gone_goes_in_slices(post: Post) -> None:
    filled(post.room.store, 360, 3)
    room = post.room
    room.sns("Unsubscribe", SubscriptionArn=f"{topic_arn('t')}:0")
    room.sns("DeleteTopic", TopicArn=topic_arn("t"))
    post.during()
    assert lanes(post) == [] and waiting(post) == 360  # nobody gets it any more
    with room.store.tx() as tx:
        assert tx.execute("select key from work where kind=?", (pending.FORGOTTEN,)).fetchall() == [("all",)]
    forgetting, left = pending.Forgetting(room.store), []
    while isinstance(asyncio.run(forgetting.remove("all")), Again):
        left.append(waiting(post))
    assert left == [310, 260, 240, 190, 140, 120, 70, 20, 0]


def test_who_comes_back_gets_what_comes_then(post: Post) -> None:
    post.subscribed()
    server = post.server()
    post.room.publish("t", "for nobody")
    with post.room.store.tx() as tx:
        (found,) = tx.find(Subscription)
        end(tx, found, "", "http://localhost:4566", "r")
    post.during()
    link = json.loads(server.got[0][1])["SubscribeURL"]
    post.visit(link)
    post.room.publish("t", "back")
    while isinstance(asyncio.run(pending.Forgetting(post.room.store).remove("all")), Again):
        pass
    post.during()
    assert [json.loads(body)["Type"] for _, body in server.got] == ["UnsubscribeConfirmation", "Notification"]
    assert json.loads(server.got[1][1])["Message"] == "back" and waiting(post) == 0
