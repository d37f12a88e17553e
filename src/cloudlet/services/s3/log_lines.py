"""A line of an access log, field by field, in AWS's format; pure.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
"""

import re
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import parse_qsl, quote, unquote

from cloudlet.kernel.call import Principal
from cloudlet.kernel.exchange import Exchange
from cloudlet.kernel.http import Request, Response
from cloudlet.services.s3.owners import canonical_id

NOTHING = "-"
# How the log calls what a query's parameter names, where that is not the parameter itself.
_TYPES = {"policy": "BUCKETPOLICY", "policyStatus": "BUCKETPOLICY_STATUS", "logging": "LOGGING_STATUS",
          "versions": "BUCKETVERSIONS", "delete": "MULTI_OBJECT_DELETE", "publicAccessBlock": "PUBLIC_ACCESS_BLOCK",
          "ownershipControls": "OWNERSHIP_CONTROLS", "requestPayment": "REQUEST_PAYMENT",
          "object-lock": "OBJECT_LOCK_CONFIGURATION", "retention": "OBJECT_LOCK_RETENTION",
          "legal-hold": "OBJECT_LOCK_LEGALHOLD", "attributes": "OBJECT_ATTRIBUTES"}
_SAME = ("accelerate", "acl", "analytics", "cors", "encryption", "intelligent-tiering", "inventory", "lifecycle",
         "location", "metrics", "notification", "replication", "restore", "select", "tagging", "torrent", "uploads",
         "versioning", "website")
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent of an answer, and when: seconds since its request. `size`: None where nobody knows."""

    size: int | None
    answered: float
    ended: float


def operation(request: Request, key: str, website: str) -> str:
    """What the log calls a request, such as REST.GET.OBJECT; `website` is how websites' hosts are known."""
    if website in request.headers.get("host", ""):
        return f"WEBSITE.{request.method}.OBJECT"
    if request.method == "OPTIONS":
        return "REST.OPTIONS.PREFLIGHT"
    asked = dict(parse_qsl(request.query, keep_blank_values=True))
    method = "COPY" if request.method == "PUT" and "x-amz-copy-source" in request.headers else request.method
    if "uploadId" in asked:
        return f"REST.{method}.{'PART' if 'partNumber' in asked else 'UPLOAD'}"
    for name in asked:
        if name in _TYPES or name in _SAME:
            kind = _TYPES.get(name) or name.upper().replace("-", "_")
            return f"REST.{method}.{'OBJECT_TAGGING' if name == 'tagging' and key else kind}"
    if method == "POST" and not key:
        return "REST.POST.OBJECT"  # a browser's form
    return f"REST.{method}.{'OBJECT' if key else 'BUCKET'}"


def line(owner: str, bucket: str, exchange: Exchange, response: Response, sent: Sent, website: str) -> str:
    """The record of a request to a bucket, whose owner is a canonical user id."""
    request, headers = exchange.request, exchange.request.headers
    key = unquote(exchange.path[1:].partition("/")[2])
    named = operation(request, key, website)
    version = dict(parse_qsl(request.query)).get("versionId")
    uri = f"{request.method} {request.path}{'?' if request.query else ''}{request.query} HTTP/1.1"
    return " ".join((
        *_heads(owner, bucket, exchange, response), named, _coded(key), _quoted(uri), str(response.status),
        _error(exchange, response), NOTHING if request.method == "HEAD" else _number(sent.size),
        _object_size(request, response, named), str(round(sent.ended * 1000)),
        NOTHING if request.method in ("PUT", "POST") else str(round(sent.answered * 1000)),
        _quoted(headers.get("referer")), _quoted(headers.get("user-agent")), _coded(version),
        *_tails(exchange, response)))


def line_of_deletion(owner: str, bucket: str, exchange: Exchange, response: Response, key: str, version: str,
                     error: str) -> str:
    """The record of one of the keys that DeleteObjects named."""
    return " ".join((
        *_heads(owner, bucket, exchange, response), "BATCH.DELETE.OBJECT", _coded(key), NOTHING,
        NOTHING if error else "204", error or NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING,
        _coded(version), *_tails(exchange, response)))


def _heads(owner: str, bucket: str, exchange: Exchange, response: Response) -> tuple[str, ...]:
    request_id = response.headers.get("x-amz-request-id") or exchange.request_id.replace("-", "").upper()[:16]
    return (owner, bucket, _time(exchange.began), exchange.request.source or NOTHING,
            requester(exchange.call.principal) if exchange.call is not None else NOTHING, request_id)


def _tails(exchange: Exchange, response: Response) -> tuple[str, ...]:
    headers = exchange.request.headers
    host_id = response.headers.get("x-amz-id-2") or exchange.request_id.replace("-", "").upper()
    version, kind = _signature(exchange.request)
    return (host_id, version, NOTHING, kind, _bare(headers.get("host")), NOTHING, NOTHING, NOTHING)


def requester(principal: Principal) -> str:
    """Who asks: an account by its canonical user id, others by their ARN."""
    if principal.kind == "anonymous":
        return NOTHING
    return canonical_id(principal.account) if principal.kind == "root" else principal.arn


def _time(at: float) -> str:
    _, day, month, year, clock, _ = formatdate(at, usegmt=True).split()
    return f"[{day}/{month}/{year}:{clock} +0000]"


def _quoted(text: str | None) -> str:
    """Between quotes; those within stay as they came, as on AWS, but nothing can end the line."""
    return f'"{_printable(text) if text else NOTHING}"'


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(each if each.isprintable() else quote(each) for each in text)


def _bare(text: str | None) -> str:
    return _printable(text).replace(" ", "%20") if text else NOTHING


def _coded(text: str | None) -> str:
    return quote(text) if text else NOTHING


def _number(count: int | None) -> str:
    return str(count) if count else NOTHING


def _error(exchange: Exchange, response: Response) -> str:
    if response.status < 400:
        return NOTHING
    code = exchange.error.code if exchange.error is not None else ""
    return response.headers.get("x-amz-error-code") or code or NOTHING  # the header: of a website's page


def _object_size(request: Request, response: Response, named: str) -> str:
    if response.status >= 300 or not named.endswith((".OBJECT", "PUT.PART")):
        return NOTHING
    if request.method in ("GET", "HEAD"):
        found = _TOTAL.fullmatch(response.headers.get("content-range", ""))
        return found[1] if found is not None else response.headers.get("content-length") or NOTHING
    if named in ("REST.PUT.OBJECT", "REST.PUT.PART"):
        decoded = request.headers.get("x-amz-decoded-content-length", "")
        return decoded if decoded.isdigit() else _number(request.body.length)
    return NOTHING


def _signature(request: Request) -> tuple[str, str]:
    """The version of a request's signature, and where it stands."""
    said, query = request.headers.get("authorization", ""), request.query
    if said:
        return "SigV4" if said.startswith("AWS4-") else "SigV2", "AuthHeader"
    if "X-Amz-Signature=" in query:
        return "SigV4", "QueryString"
    return ("SigV2", "QueryString") if "Signature=" in query else (NOTHING, NOTHING)
