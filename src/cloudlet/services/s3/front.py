"""What stands in front of S3's operations: websites, and browsers that ask from another origin."""

from collections.abc import Awaitable
from typing import Any
from urllib.parse import unquote

from msgspec.structs import replace

from cloudlet.kernel.exchange import Exchange
from cloudlet.kernel.http import Handler, Request, Response
from cloudlet.services.s3 import pages
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.service import AccessForbidden, BadRequest, InvalidRequest, NotImplementedHere, s3
from cloudlet.services.s3.settings import cors, kept
from cloudlet.services.s3.settings.cors import Asked
from cloudlet.store.db import Store

_ATTENDED = frozenset(("origin", "x-amz-account-id", "x-amz-request-payer"))  # headers that are for the front door
_ACCELERATED = ".s3-accelerate."
_OF_LISTS = frozenset(("list-type", "prefix", "delimiter", "marker", "max-keys", "encoding-type", "continuation-token",
                       "start-after", "fetch-owner"))


@s3.front_door
def front(store: Store, exchange: Exchange, answer: Handler) -> Awaitable[Response]:
    """A website's page, a preflight's answer, or an operation's with the headers that a browser needs."""
    request = exchange.request
    if (exchange.path.count("/") > 1 and request.method != "OPTIONS" and _ATTENDED.isdisjoint(request.headers)
            and ".s3-" not in request.headers.get("host", "")):
        return answer(request)  # it is about an object, and nothing below is: nearly always
    return _attended(store, exchange, answer)


async def _attended(store: Store, exchange: Exchange, answer: Handler) -> Response:
    request, path = exchange.request, exchange.path
    if "x-amz-account-id" in request.headers and request.path.startswith("/v20180820/"):
        raise NotImplementedHere("S3 Control is not implemented by Cloudlet")  # which signs as S3 does
    if request.method == "OPTIONS":
        return _preflight(store, exchange)
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if _ACCELERATED in host and not _is_accelerated(store, _bucket_of(path)):
        raise InvalidRequest("S3 Transfer Acceleration is not configured on this bucket")
    if pages.HOST in host:
        response = await pages.serve(store, exchange, answer)
    else:
        response = await answer(request)
    if origin is not None and (found := cors.answer(_rules(store, _bucket_of(path)) or (), _asked(request, origin))):
        response = replace(response, headers={**response.headers, **found})
    if path.count("/") == 1 and (response.status == 403 if request.method == "HEAD" else (
            response.status == 200 and request.method == "GET" and _lists_objects(request.query))):
        response = _with_region(store, _bucket_of(path), response)
    if request.headers.get("x-amz-request-payer") == "requester" and response.status < 300:
        response = _charged(store, _bucket_of(path), response)
    return response


def _lists_objects(query: str) -> bool:
    """Whether what a query says of a bucket can only be how its objects are to be listed, and by whom."""
    names = {pair.partition("=")[0] for pair in query.split("&") if pair}
    return all(name in _OF_LISTS or name.lower().startswith("x-amz-") for name in names)


def _bucket_of(path: str) -> str:
    return unquote(path[1:].partition("/")[0])


def _asked(request: Request, origin: str) -> Asked:
    """What a browser asks for: it may say of a request what it will say of another, and S3 takes its word for it."""
    given = request.headers
    return Asked(origin, given.get("access-control-request-method", request.method), tuple(
        name.strip().lower() for name in given.get("access-control-request-headers", "").split(",") if name.strip()))


def _preflight(store: Store, exchange: Exchange) -> Response:
    """See https://docs.aws.amazon.com/AmazonS3/latest/API/RESTOPTIONSobject.html."""
    request, path = exchange.request, exchange.path
    origin = request.headers.get("origin")
    if not origin:
        raise BadRequest("Insufficient information. Origin request header needed.")
    asked, rules = _asked(request, origin), _rules(store, _bucket_of(path))
    if not rules:
        raise AccessForbidden("CORSResponse: Bucket not found" if rules is None else
                              "CORSResponse: CORS is not enabled for this bucket.", Method=asked.method,
                              ResourceType="BUCKET")
    if asked.method not in cors.METHODS:
        raise BadRequest("Invalid Access-Control-Request-Method: "
                         + request.headers.get("access-control-request-method", "null")[:32])
    found = cors.answer(rules, asked, preflight=True)
    if found is None:
        raise AccessForbidden("CORSResponse: This CORS request is not allowed. This is usually because the evalution of"
                              " Origin, request method / Access-Control-Request-Method or"
                              " Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
                              Method=asked.method, ResourceType="OBJECT" if path.count("/") > 1 else "BUCKET")
    return Response(200, {**pages.identity(exchange.request_id), **found})


def _is_accelerated(store: Store, name: str) -> bool:
    with store.tx() as tx:
        bucket = tx.get(Bucket, name)
        found = kept.get(tx, bucket, kept.ACCELERATE) if bucket is not None else None
    return found is not None and found.get("Status") == "Enabled"


def _rules(store: Store, name: str) -> list[dict[str, Any]] | None:
    """The rules of a bucket; None where there is no such bucket."""
    with store.tx() as tx:
        bucket = tx.get(Bucket, name)
        found = kept.get(tx, bucket, kept.CORS) if bucket is not None else None
    return None if bucket is None else found["CORSRules"] if found else []


def _with_region(store: Store, name: str, response: Response) -> Response:
    """Where a bucket is may be known to anybody: clients ask so for the region to sign for."""
    with store.tx() as tx:
        bucket = tx.get(Bucket, name)
    if bucket is None:
        return response
    return replace(response, headers={**response.headers, "x-amz-bucket-region": bucket.region})


def _charged(store: Store, name: str, response: Response) -> Response:
    with store.tx() as tx:
        bucket = tx.get(Bucket, name)
    if bucket is None or not bucket.requester_pays:
        return response
    return replace(response, headers={**response.headers, "x-amz-request-charged": "requester"})
