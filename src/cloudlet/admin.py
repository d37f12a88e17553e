"""What the installation says of itself over HTTP: health, status, reset.

`/_localstack/health` and `/moto-api/reset` are there for tools that were made for those emulators.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cloudlet import __version__
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.site import Site
from cloudlet.store import queue
from cloudlet.store.db import Store, Tx

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class Admin:
    """`engines` maps an engine to what is wrong with it (""; nothing); `reset` empties every account and region;
    `footprints`: what machines take of the host's memory; `mail`: the newest of the built-in mailbox."""

    store: Store
    site: Site
    pid: int
    services: tuple[str, ...]
    engines: dict[str, str]
    reset: Callable[[], None]
    footprints: Callable[[], Sequence[object]] = tuple
    mail: Callable[[Tx], Sequence[object]] = lambda tx: ()

    async def handle(self, request: Request) -> Response | None:
        """The answer, or None where the path is not ours."""
        match request.path:
            case "/_cloudlet/health" | "/_localstack/health":
                return _json(200, self.health(request.path.startswith("/_localstack")))
            case "/_cloudlet/status":
                return self._guard(request) or _json(200, self.status())
            case "/_cloudlet/mail":
                return self._guard(request) or _json(200, {"mail": self.mailbox()})
            case "/_cloudlet/reset" | "/moto-api/reset":
                return self._guard(request, "POST") or await self._reset()
        if request.path.startswith(("/_cloudlet/", "/_localstack/", "/moto-api/")):
            return _json(404, {"message": f"nothing is at {request.path}"})
        return None

    def health(self, localstack: bool = False) -> dict[str, Any]:
        """Who we are and what works."""
        services = dict.fromkeys(self.services, "available")
        answer: dict[str, Any] = {"version": __version__, "services": services}
        if not localstack:
            answer |= {"status": "ok", "pid": self.pid, "installation": self.site.installation.id,
                       "engines": {name: wrong or "ok" for name, wrong in self.engines.items()}}
        return answer

    def status(self) -> dict[str, Any]:
        """What is there, what waits, and what was given up and why."""
        with self.store.tx() as tx:
            rows = tx.execute("select kind, count(*) from record group by kind order by kind")
            counts: dict[str, int] = {str(kind): int(count) for kind, count in rows}
        return {**self.health(), "records": counts, "machines": self.footprints(),
                "waiting": queue.waiting(self.store, 200), "broken": queue.broken(self.store)}

    def mailbox(self) -> Sequence[object]:
        """The newest mails, the newest last."""
        with self.store.tx() as tx:
            return self.mail(tx)

    def _guard(self, request: Request, method: str = "GET") -> Response | None:
        """Only this machine, and no page of another site in its browser, may ask these."""
        if request.method != method:
            return _json(405, {"message": f"use {method}"})
        origin = request.headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
        if request.network or request.source not in _LOOPBACK or foreign:
            return _json(403, {"message": "answered only on loopback"})
        if not self.site.development_key:
            return _json(403, {"message": "answered only while the development key is enabled"})
        return None

    async def _reset(self) -> Response:
        self.reset()
        await self.store.flush()  # or a power cut might bring back what its files are going from
        return _json(200, {"status": "ok"})


def _json(status: int, value: Any) -> Response:
    return Response(status, {"content-type": "application/json"}, msgspec.json.encode(value))
