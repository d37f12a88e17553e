"""What the installation says of itself over HTTP: health (to a browser as a page), status, mail, reset.

`/_localstack/health`, `/_aws/sqs/messages` and `/moto-api/reset` are there for tools that were made for those
emulators.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

import msgspec

from cloudlet import __version__
from cloudlet.kernel.http import Handler, Request, Response
from cloudlet.kernel.site import Site
from cloudlet.store import queue
from cloudlet.store.db import Store, Tx

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_OWN_HOST = re.compile(r"[^.:\[\]]+|(\d+\.){3}\d+|\[[^]]*\]|.+\.localhost")  # names that nobody outside can give us


@dataclass(frozen=True, slots=True)
class Admin:
    """`engines` maps an engine to what is wrong with it (""; nothing); `reset` empties every account and region;
    `footprints`: what machines take of the host's memory; `mail`: the newest of the built-in mailbox;
    `peek` shows what is in a queue."""

    store: Store
    site: Site
    pid: int
    services: tuple[str, ...]
    engines: dict[str, str]
    reset: Callable[[], None]
    footprints: Callable[[], Sequence[object]] = tuple
    mail: Callable[[Tx], Sequence[Mapping[str, Any]]] = lambda tx: ()
    peek: Handler | None = None

    async def handle(self, request: Request) -> Response | None:
        """The answer, or None where the path is not ours."""
        match request.path:
            case "/_cloudlet/health" if "text/html" in request.headers.get("accept", ""):
                mails = self.mailbox() if self._guard(request) is None else None
                return _page(self.health(), mails, request.endpoint)
            case "/_cloudlet/health" | "/_localstack/health":
                return _json(200, self.health(request.path.startswith("/_localstack")))
            case "/_cloudlet/status":
                return self._guard(request) or _json(200, self.status())
            case "/_cloudlet/mail":
                return self._guard(request) or _json(200, {"mail": self.mailbox()})
            case "/_cloudlet/reset" | "/moto-api/reset":
                return self._guard(request, "POST") or await self._reset()
        if f"{request.path}/".startswith("/_aws/sqs/messages/") and self.peek is not None:
            return self._guard(request, "GET", "POST") or await self.peek(request)
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

    def mailbox(self) -> Sequence[Mapping[str, Any]]:
        """The newest mails, the newest last."""
        with self.store.tx() as tx:
            return self.mail(tx)

    def _guard(self, request: Request, *methods: str) -> Response | None:
        """Only this machine, and no page of another site in its browser, may ask these, by GET unless others are named.
        Such a page would also be one whose name leads here since a moment ago (DNS rebinding)."""
        methods = methods or ("GET",)
        if request.method not in methods:
            return _json(405, {"message": f"use {' or '.join(methods)}"})
        origin = request.headers.get("origin")
        host = request.headers.get("host", "")
        foreign = ((origin is not None and origin.partition("://")[2] != host)
                   or not _OWN_HOST.fullmatch(re.sub(r":\d+$", "", host) or "localhost"))
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


_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1,h2{font-weight:600}dt{font-weight:600}dd{margin:0 0 .5rem}
article{border:1px solid #ccc;border-radius:.4rem;padding:.75rem 1rem;margin:1rem 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.5rem 0 0;font:14px/1.5 ui-monospace,monospace}
@media (prefers-color-scheme:dark){body{background:#161616;color:#eee}a{color:#8bf}article{border-color:#444}}"""
# What is in a mail was written by anybody: nothing of it runs, and nothing is loaded.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def _page(health: Mapping[str, Any], mails: Sequence[Mapping[str, Any]] | None, endpoint: str) -> Response:
    """Health as a person reads it, and below it the mailbox, the newest first; None: this reader may not see it."""
    engines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(said)}</dd>" for name, said in health["engines"].items())
    text = (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>Cloudlet</title><style>{_STYLE}</style><h1>Cloudlet {escape(health['version'])}</h1>"
            f"<p>It is {escape(health['status'])} (pid {health['pid']}, installation {escape(health['installation'])})."
            f"</p><dl>{engines}</dl><p>Services: {escape(', '.join(health['services']))}</p>")
    if mails is not None:
        text += "<h2>Mailbox</h2>" + ("".join(_mail(each, endpoint) for each in reversed(mails)) or "<p>no mail</p>")
    return Response(200, {"content-type": "text/html; charset=utf-8", "content-security-policy": _POLICY,
                          "referrer-policy": "no-referrer", "cache-control": "no-store"}, text.encode())


def _mail(mail: Mapping[str, Any], endpoint: str) -> str:
    """One mail; of its links those lead somewhere that are of this installation."""
    sent = f"{datetime.fromtimestamp(mail['at'], UTC):%Y-%m-%d %H:%M:%S} UTC"
    own = re.compile(rf"{re.escape(escape(endpoint))}/\?Action=(?:&(?:amp;)|[^\s&<>])+")
    text = own.sub(lambda found: f'<a href="{found[0]}">{found[0]}</a>', escape(mail["text"]))
    return (f"<article><b>{escape(mail['subject'] or 'Text message')}</b><br>{escape(mail['sender'])} to"
            f" {escape(mail['to'])} ({escape(mail['protocol'])}), {sent}<pre>{text}</pre></article>")
