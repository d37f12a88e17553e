"""A monitor's answers, also when it is we who come late."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlet.engines import qmp
from cloudlet.kernel.errors import Busy, Refused


@pytest.fixture
def answered() -> threading.Event:
    """That "slow" was answered."""
    return threading.Event()


@pytest.fixture
def monitor(tmp_path: Path, answered: threading.Event) -> Iterator[str]:
    """The path of one that answers with the question's name, refuses "no", is slow with "slow" and silent to "hush"."""
    path = str(tmp_path / "monitor")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve() -> None:
        client, _ = listener.accept()
        with client, client.makefile("rb") as questions:
            decoder, text = json.JSONDecoder(), ""
            while data := questions.read1(4096):
                text += data.decode()
                while text:
                    question, end = decoder.raw_decode(text)
                    text, name = text[end:], question["execute"]
                    answer = {"error": {"desc": "never"}} if name == "no" else {"return": name}
                    if name == "slow":
                        time.sleep(0.1)
                    if name != "hush":
                        client.sendall(json.dumps({**answer, "id": question["id"]}).encode() + b"\n")
                    if name == "slow":
                        answered.set()
    thread = threading.Thread(target=serve)
    thread.start()
    yield path
    thread.join()
    listener.close()


def test_questions_are_answered_or_refused(monitor: str) -> None:
    async def main() -> None:
        found = await qmp.Monitor.connect(monitor, lambda event: None)
        assert await found.ask("hello") == "hello"
        with pytest.raises(Refused, match="never"):
            await found.ask("no")
        await found.close()
    asyncio.run(main())


def test_an_answer_that_came_while_we_stood_still_counts(monitor: str, answered: threading.Event,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        found = await qmp.Monitor.connect(monitor, lambda event: None)
        monkeypatch.setattr(qmp, "ANSWER_S_MAX", 0.05)
        asked = asyncio.create_task(found.ask("slow"))
        await asyncio.sleep(0.01)
        answered.wait()  # that nothing goes on meanwhile is the point
        assert await asked == "slow"
        await found.close()
    asyncio.run(main())


def test_who_does_not_answer_is_let_go(monitor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        found = await qmp.Monitor.connect(monitor, lambda event: None)
        for name in ("ANSWER_S_MAX", "LATE_S"):
            monkeypatch.setattr(qmp, name, 0.05)
        with pytest.raises(Busy, match="hush"):
            await found.ask("hush")
        assert found.closed.is_set()
    asyncio.run(main())
