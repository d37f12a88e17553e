"""The monitor of one running QEMU, spoken to by QMP: commands, answers, and events as they come.

https://www.qemu.org/docs/master/interop/qmp-spec.html
"""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

from cloudlet.kernel.errors import Busy, Refused

ANSWER_S_MAX = 20.0
LATE_S = 1.0  # when the time is up because we were not there to look, the answer is
LINE_BYTES_MAX = 8 << 20

Event = dict[str, Any]


class Monitor:
    """A connection; `on_event` is called with every event, and `closed` is set when the other end has gone."""

    def __init__(self, sock: socket.socket, on_event: Callable[[Event], None]) -> None:
        self._sock, self._on_event = sock, on_event
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._writing = asyncio.Lock()
        self.closed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, path: str, on_event: Callable[[Event], None]) -> "Monitor":
        """Connects and leaves the negotiation behind. Raises Busy where nobody answers there in time."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        monitor = cls(sock, on_event)
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                await asyncio.get_running_loop().sock_connect(sock, path)
                monitor._reader = asyncio.create_task(monitor._read())
                await monitor.ask("qmp_capabilities")
        except (OSError, TimeoutError) as error:
            await monitor.close()
            raise Busy(f"QEMU's monitor does not answer: {error or 'too late'}") from None
        except BaseException:
            await monitor.close()
            raise
        return monitor

    async def ask(self, command: str, **arguments: Any) -> Any:
        """A command's answer. An argument's underscores stand for hyphens.

        Raises Refused with QEMU's words, and Busy where it has gone or takes too long.
        """
        return await self._ask(command, arguments, None)

    async def give(self, name: str, descriptor: int) -> None:
        """Hands an open file over, to be named so. Raises like `ask`."""
        await self._ask("getfd", {"fdname": name}, descriptor)

    async def _ask(self, command: str, arguments: dict[str, Any], descriptor: int | None) -> Any:
        if self.closed.is_set():
            raise Busy("QEMU has gone")
        self._last += 1
        number = self._last
        body: dict[str, Any] = {"execute": command, "id": number}
        if arguments:
            body["arguments"] = {name.replace("_", "-"): value for name, value in arguments.items()}
        answer = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_S_MAX), self._writing:
                await self._send(json.dumps(body).encode(), descriptor)
            for seconds in (ANSWER_S_MAX, LATE_S):
                await asyncio.wait([answer], timeout=seconds)
                if answer.done():
                    return answer.result()
            raise TimeoutError
        except TimeoutError:
            answer.cancel()
            await self.close()  # half a question may be under way: whoever asks next begins anew
            raise Busy(f"QEMU does not answer {command}") from None
        except OSError as error:
            raise Busy(f"QEMU has gone: {error}") from None
        finally:
            self._pending.pop(number, None)

    async def _send(self, data: bytes, descriptor: int | None) -> None:
        if descriptor is not None:  # one byte carries it along; the rest follows
            socket.send_fds(self._sock, [data[:1]], [descriptor])
            data = data[1:]
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def _read(self) -> None:
        loop, rest = asyncio.get_running_loop(), b""
        try:
            while chunk := await loop.sock_recv(self._sock, 65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
                if len(rest) > LINE_BYTES_MAX:
                    break
        except (OSError, ValueError):
            pass  # whoever waits is told below
        finally:
            self.closed.set()
            self._sock.close()
            for answer in self._pending.values():
                if not answer.done():
                    answer.set_exception(Busy("QEMU has gone"))

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._on_event(message)
            return
        answer = self._pending.get(message.get("id", 0))
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(Refused(message["error"].get("desc", "QEMU refuses")))
        else:
            answer.set_result(message.get("return"))

    async def close(self) -> None:
        """Lets go of it; QEMU runs on."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._sock.close()
        self.closed.set()
