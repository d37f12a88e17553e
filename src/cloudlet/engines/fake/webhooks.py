"""Web servers in memory."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from cloudlet.kernel.errors import Busy


@dataclass
class FakeServer:
    """Answers each POST with the next of `answers` (0: not at all), and then with 200; it remembers all it got."""

    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    before: Callable[[], Awaitable[None]] | None = None  # waited for before it answers


class FakeWebhooks:
    """See `ports.Webhooks`. `servers` by URL; one that is not there cannot be reached."""

    def __init__(self) -> None:
        self.servers: dict[str, FakeServer] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See `ports.Webhooks`."""
        server = self.servers.get(url)
        if server is None:
            raise Busy(f"{url} cannot be reached")
        if server.before is not None:
            await server.before()
        server.got.append((dict(headers), body))
        status = server.answers.pop(0) if server.answers else 200
        if not status:
            raise Busy(f"{url} did not answer")
        return status
