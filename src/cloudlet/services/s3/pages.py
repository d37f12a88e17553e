"""What browsers get of buckets that are websites: pages, redirections, and errors as pages.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteEndpoints.html
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

from msgspec.structs import replace

from cloudlet.kernel.exchange import Exchange
from cloudlet.kernel.http import Body, Handler, Request, Response
from cloudlet.services.s3.notifications import host_id
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.settings import kept
from cloudlet.store.db import Store

HOST = ".s3-website"
_READ = ("range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_REDIRECT = "x-amz-website-redirect-location"
_OF_URLS = "%/:?#[]@!$&'()*+,;=~"  # what stays as it is in a part of a URL
_REASONS = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
            416: "Requested Range Not Satisfiable", 500: "Internal Server Error", 501: "Not Implemented"}


@dataclass(frozen=True, slots=True)
class Wrong:
    """An error, as a page says it; `details` are what else is known of it."""

    status: int
    code: str
    message: str
    details: Mapping[str, str] = field(default_factory=dict)


def identity(request_id: str) -> dict[str, str]:
    """The headers of S3's that tell one answer from all others."""
    short = host_id(request_id)
    return {"x-amz-request-id": short[:16], "x-amz-id-2": short, "server": "AmazonS3"}


async def serve(store: Store, exchange: Exchange, answer: Handler) -> Response:
    """What a bucket's website answers. The path is `/BUCKET/KEY`, encoded; `answer` reads objects as anybody."""
    request, own = exchange.request, identity(exchange.request_id)
    name, _, rest = exchange.path[1:].partition("/")
    key, configuration = unquote(rest), _configuration(store, unquote(name))
    if request.method not in ("GET", "HEAD"):
        return _page(Wrong(405, "MethodNotAllowed", "The specified method is not allowed against this resource.",
                           {"Method": request.method, "ResourceType": "OBJECT"}), own)
    if isinstance(configuration, Wrong):
        return _page(configuration, own)
    if onwards := configuration.get("RedirectAllRequestsTo"):
        query = f"?{request.query}" if request.query else ""
        return _moved(f"{onwards.get('Protocol') or request.scheme}://{onwards['HostName']}/{rest}{query}")
    rules = configuration.get("RoutingRules") or ()
    if (rule := _rule(rules, key, None)) is not None:
        return _redirected(request, rule, key)
    site = _Site(request, name, answer)
    suffix = configuration["IndexDocument"]["Suffix"]
    meant = key + suffix if not key or key.endswith("/") else key
    found = await site.get(meant)
    if found.status < 400:
        return _moved(found.headers[_REDIRECT]) if _REDIRECT in found.headers else found
    if key and not key.endswith("/") and (await site.get(f"{key}/{suffix}", "HEAD")).status == 200:
        return _moved(f"/{rest}/", 302)
    wrong = _wrong(found, meant)
    if (rule := _rule(rules, key, str(wrong.status))) is not None:
        return _redirected(request, rule, key)
    document = (configuration.get("ErrorDocument") or {}).get("Key")
    if not document:
        return _page(wrong, own)
    page = await site.get(document, plain=True)
    if page.status != 200:
        return _page(wrong, own, _wrong(page, document))
    return replace(page, status=wrong.status, headers={**page.headers, **_said(wrong)})


def _configuration(store: Store, name: str) -> dict[str, Any] | Wrong:
    with store.tx() as tx:
        bucket = tx.get(Bucket, name)
        found = kept.get(tx, bucket, kept.WEBSITE) if bucket is not None else None
    if bucket is None:
        return Wrong(404, "NoSuchBucket", "The specified bucket does not exist", {"BucketName": name})
    return found if found is not None else Wrong(
        404, "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration",
        {"BucketName": name})


@dataclass(frozen=True, slots=True)
class _Site:
    """Reads objects of one bucket as the request's sender, of whom a website knows nothing."""

    request: Request
    bucket: str
    answer: Handler

    async def get(self, key: str, method: str = "", *, plain: bool = False) -> Response:
        """An object; `plain`: whatever the request says of ranges and of what the browser has."""
        headers = {"host": "localhost"} | ({} if plain else {
            name: self.request.headers[name] for name in _READ if name in self.request.headers})
        return await self.answer(replace(
            self.request, method=method or self.request.method, path=f"/{self.bucket}/{quote(key)}", query="",
            headers=headers, body=Body(_nothing(), 0)))


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""  # what makes it an iterator


def _rule(rules: Sequence[Mapping[str, Any]], key: str, error: str | None) -> Mapping[str, Any] | None:
    """The first rule for a key, or for the error that it came to."""
    for rule in rules:
        condition = rule.get("Condition") or {}
        if key.startswith(condition.get("KeyPrefixEquals", "")) and condition.get(
                "HttpErrorCodeReturnedEquals") == error:
            return rule
    return None


def _redirected(request: Request, rule: Mapping[str, Any], key: str) -> Response:
    """Where a rule sends a request on to. What it puts in the place of a key, or of its beginning, is part of a URL and
    may have a query or a fragment: `resize?key=`, `#!/`."""
    redirect, prefix = rule["Redirect"], (rule.get("Condition") or {}).get("KeyPrefixEquals", "")
    if "ReplaceKeyWith" in redirect:
        path = quote(redirect["ReplaceKeyWith"], _OF_URLS)
    elif "ReplaceKeyPrefixWith" in redirect:
        path = quote(redirect["ReplaceKeyPrefixWith"], _OF_URLS) + quote(key[len(prefix):])
    else:
        path = quote(key)
    host = redirect.get("HostName") or request.headers.get("host", "")
    protocol = redirect.get("Protocol") or request.scheme
    return _moved(f"{protocol}://{host}/{path}", int(redirect.get("HttpRedirectCode", "301")))


def _moved(location: str, status: int = 301) -> Response:
    return Response(status, {"location": location, "server": "AmazonS3", "content-length": "0"})


def _wrong(response: Response, key: str) -> Wrong:
    """An error of the API as a website says it."""
    text = response.body.decode() if isinstance(response.body, bytes) else ""
    code, message = (re.search(f"<{name}>(.*?)</{name}>", text, re.DOTALL) for name in ("Code", "Message"))
    return Wrong(response.status, code[1] if code else str(response.status), message[1] if message else "",
                 {"Key": key} if response.status == 404 else {})


def _said(wrong: Wrong) -> dict[str, str]:
    headers = {"x-amz-error-code": wrong.code, "x-amz-error-message": wrong.message}
    return headers | {f"x-amz-error-detail-{name}": quote(text) for name, text in wrong.details.items()}


def _page(wrong: Wrong, own: Mapping[str, str], of_document: Wrong | None = None) -> Response:
    title = f"{wrong.status} {_REASONS.get(wrong.status, '')}".rstrip()
    more = "" if of_document is None else (
        "<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n" + _list(of_document))
    ids = {"RequestId": own["x-amz-request-id"], "HostId": own["x-amz-id-2"]}
    text = (f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n{_list(wrong, ids)}{more}<hr/>\n"
            "</body>\n</html>\n")
    return Response(wrong.status, {"content-type": "text/html; charset=utf-8", **own, **_said(wrong)}, text.encode())


def _list(wrong: Wrong, ids: Mapping[str, str] = MappingProxyType({})) -> str:
    lines = [f"Code: {wrong.code}", f"Message: {wrong.message}",
             *(f"{name}: {escape(text)}" for name, text in (*wrong.details.items(), *ids.items()))]
    return "<ul>\n" + "".join(f"<li>{line}</li>\n" for line in lines) + "</ul>\n"
