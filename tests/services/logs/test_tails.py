"""Live tails, second by second."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cloudlet.services.logs import logs, merging, tails
from cloudlet.services.logs.service import (
    InvalidOperation,
    InvalidParameter,
    LimitExceeded,
    ResourceNotFound,
    SessionTimeout,
)
from tests.services.desk import ACCOUNT, Desk
from tests.services.logs.test_chunks import stream_id
from tests.services.logs.test_events import now_ms
from tests.services.logs.test_groups import make, put

ARN = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/ecs/web"


class Tail:
    """A session whose seconds pass when asked for."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.stream: AsyncIterator[dict[str, Any]]

        async def sleep(seconds: float) -> None:
            desk.clock.time += seconds
        desk.clock.sleep = sleep  # type: ignore[method-assign]

    async def start(self, **request: Any) -> Any:
        request = {"logGroupIdentifiers": [ARN], **request}
        answer = await logs.operations["StartLiveTail"].run(self.desk.call(), self.desk.store, request)
        self.stream = answer["responseStream"]
        return (await anext(self.stream))["sessionStart"]

    async def update(self) -> tuple[list[str], bool]:
        update = (await anext(self.stream))["sessionUpdate"]
        return [event["message"] for event in update["sessionResults"]], update["sessionMetadata"]["sampled"]

    async def close(self) -> None:
        await self.stream.aclose()  # type: ignore[attr-defined]


def test_start_live_tail_shows_what_comes_and_nothing_that_was_there(desk: Desk) -> None:
    async def scenario() -> None:
        make(desk, "web/a", "web/b", "job")
        put(desk, "web/a", (now_ms(desk), "before"))
        tail = Tail(desk)
        start = await tail.start()
        assert start == {"requestId": "request", "sessionId": start["sessionId"], "logGroupIdentifiers": [ARN],
                         "logStreamNames": [], "logStreamNamePrefixes": [], "logEventFilterPattern": ""}
        assert await tail.update() == ([], False)
        put(desk, "web/a", (now_ms(desk) + 2, "second"))
        put(desk, "job", (now_ms(desk) + 1, "first"))
        desk.clock.time += 0.1
        assert await tail.update() == (["first", "second"], False)
        assert await tail.update() == ([], False)
        put(desk, "web/a", (now_ms(desk), "third"))
        await merging.Merging(desk.store).reconcile(stream_id(desk, "web/a"))
        desk(logs, "CreateLogStream", logGroupName="/ecs/web", logStreamName="new")
        put(desk, "new", (now_ms(desk) + 1, "fourth"))
        update = (await anext(tail.stream))["sessionUpdate"]["sessionResults"]
        assert [event["message"] for event in update] == ["third", "fourth"]
        assert update[1] == {"logGroupIdentifier": ARN, "logStreamName": "new", "message": "fourth",
                             "timestamp": update[0]["timestamp"] + 1, "ingestionTime": update[0]["ingestionTime"]}
        await tail.close()
    asyncio.run(scenario())


def test_a_session_may_be_about_some_streams_and_some_messages(desk: Desk) -> None:
    async def scenario() -> None:
        make(desk, "web/a", "web/b", "job")
        by_name, by_prefix, by_pattern = Tail(desk), Tail(desk), Tail(desk)
        await by_name.start(logStreamNames=["web/b", "nobody"])
        await by_prefix.start(logStreamNamePrefixes=["web/"])
        await by_pattern.start(logEventFilterPattern="{ $.n = 1 }")
        desk.clock.time += 0.5
        for stream, message in (("web/a", '{"n": 1}'), ("web/b", "b"), ("job", "c")):
            put(desk, stream, (now_ms(desk), message))
        assert await by_name.update() == (["b"], False)
        assert await by_prefix.update() == (['{"n": 1}', "b"], False)
        assert await by_pattern.update() == (['{"n": 1}'], False)
        for tail in (by_name, by_prefix, by_pattern):
            await tail.close()
    asyncio.run(scenario())


def test_of_more_than_500_events_a_sample_is_sent(desk: Desk) -> None:
    async def scenario() -> None:
        make(desk, "s")
        tail = Tail(desk)
        await tail.start()
        desk.clock.time += 0.5
        now = now_ms(desk)
        put(desk, "s", *((now, str(number)) for number in range(1000)))
        assert await tail.update() == ([str(number) for number in range(0, 1000, 2)], True)
        put(desk, "s", *((now, str(number)) for number in range(500)))
        assert await tail.update() == ([str(number) for number in range(500)], False)
        for _ in range(6):
            put(desk, "s", (now, "x" * 1_000_000))
        messages, sampled = await tail.update()
        assert (len(messages), sampled) == (4, True)  # no more is read than is good for the others
        assert await tail.update() == ([], False)
        await tail.close()
    asyncio.run(scenario())


def test_a_session_ends_after_three_hours_and_there_are_fifteen_at_most(desk: Desk) -> None:
    async def scenario() -> None:
        make(desk, "s")
        open_ = [Tail(desk) for _ in range(tails.SESSIONS_MAX)]
        for tail in open_:
            await tail.start()
        with pytest.raises(LimitExceeded):
            await Tail(desk).start()
        await open_[0].close()
        last = Tail(desk)
        await last.start()
        desk.clock.time += tails.SESSION_S_MAX - 0.5
        await last.update()
        with pytest.raises(SessionTimeout):
            await last.update()
        for tail in open_[1:]:
            await tail.close()
        await Tail(desk).start()
    asyncio.run(scenario())


@pytest.mark.parametrize(("request_", "error"), [
    ({"logGroupIdentifiers": [ARN + "2"]}, ResourceNotFound), ({"logEventFilterPattern": "{"}, InvalidParameter),
    ({"logStreamNames": ["a"], "logStreamNamePrefixes": ["b"]}, InvalidParameter),
    ({"logGroupIdentifiers": [ARN, "rare"], "logStreamNames": ["a"]}, InvalidParameter),
    ({"logGroupIdentifiers": ["rare"]}, InvalidOperation)])
def test_sessions_that_are_refused(desk: Desk, request_: dict[str, Any], error: Any) -> None:
    make(desk)
    desk(logs, "CreateLogGroup", logGroupName="rare", logGroupClass="INFREQUENT_ACCESS")
    with pytest.raises(error):
        asyncio.run(Tail(desk).start(**request_))
