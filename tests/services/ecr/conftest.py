"""What ECR's tests share."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from cloudlet.wire.server import Server
from tests.services.ecr.counter import Client, Counter


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    made = Counter(tmp_path)
    yield made
    made.close()


@pytest.fixture
def port(counter: Counter) -> Iterator[int]:
    """The registry on a port of loopback, in a thread of its own."""
    started, bound = threading.Event(), []
    loop = uvloop.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        server = Server(counter.handler)
        bound.append(await server.listen("127.0.0.1", 0))
        started.set()
        await stop.wait()
        await server.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())
    thread = threading.Thread(target=run)
    thread.start()
    started.wait(10)
    yield bound[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)


@pytest.fixture
def client(counter: Counter, port: int) -> Iterator[Client]:
    made = Client(port, counter.password)
    yield made
    made.close()
