"""The page that shows a queue's messages to whoever looks, and leaves them where and as they are.

It answers as LocalStack's does, for the tools that were made for that:
https://docs.localstack.cloud/aws/services/sqs/#developer-endpoints
"""

import base64
import re
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from cloudlet.kernel.clock import as_uuid
from cloudlet.kernel.errors import AwsError, declare
from cloudlet.kernel.http import BodyTooLarge, BodyTruncated, Request, Response
from cloudlet.services.sqs import messages, receiving, tenants
from cloudlet.services.sqs.records import Queue
from cloudlet.services.sqs.service import QueueDoesNotExist, account_and_name
from cloudlet.store.db import Store, Tx

PATH = "/_aws/sqs/messages"
SHOWN = 1000  # messages of one look
REGION = "us-east-1"  # of a queue whose URL says none, asked by nobody who signs
NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"
_REGION = re.compile(r"/(?:queue/)?([a-z]{2}(?:-[a-z]+)+-\d)/|//(?:sqs\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.")
_SCOPE = re.compile(r"Credential=[^/,]+/\d{8}/([a-z0-9-]+)/")
_BODY_MAX = 64 * 1024

InvalidAddress = declare("InvalidAddress", status=404)
InvalidRequest = declare("InvalidRequest")


async def page(store: Store, request: Request) -> Response:
    """What is in a queue: in JSON's own form for SDKs, and else in that of the query protocol, as XML or, for who
    accepts only that, as JSON. Who may look was asked before."""
    target = request.headers.get("x-amz-target")
    try:
        asked = await _asked(request)
        with store.tx() as tx:
            queue = _queue(tx, request, asked)
            found = _found(tx, queue, _is_true(asked, "ShowInvisible"), _is_true(asked, "ShowDelayed"))
            request_id = as_uuid(tx.token(32))
    except AwsError as error:
        return _refused(request, error, target)
    if target is not None:
        return _json(200, {"Messages": found} if found else {})
    return _print(request, 200, {"ReceiveMessageResponse": {
        "@xmlns": NAMESPACE, "ReceiveMessageResult": {"Message": [_listed(message) for message in found]},
        "ResponseMetadata": {"RequestId": request_id}}})


async def _asked(request: Request) -> Mapping[str, Any]:
    """The parameters of the query, the form or the JSON object. Raises InvalidRequest for another operation."""
    try:
        raw = await request.body.read(_BODY_MAX) if request.method == "POST" else b""
        if "x-amz-target" in request.headers:
            action, said = request.headers["x-amz-target"].rpartition(".")[2], msgspec.json.decode(raw or b"{}")
        else:
            said = dict(parse_qsl(f"{request.query}&{raw.decode()}"))
            action = said.get("Action", "ReceiveMessage")
    except (ValueError, BodyTooLarge, BodyTruncated):
        raise InvalidRequest("The request cannot be read") from None
    if action != "ReceiveMessage" or not isinstance(said, dict):
        raise InvalidRequest("This endpoint only accepts ReceiveMessage calls")
    return said


def _queue(tx: Tx, request: Request, asked: Mapping[str, Any]) -> Queue:
    """The queue of the path or the parameter. Raises InvalidAddress, QueueDoesNotExist."""
    parts = unquote(request.path.removeprefix(PATH)).strip("/").split("/")
    if len(parts) == 3:
        region, account, name = parts
    else:
        url = str(asked.get("QueueUrl", ""))
        if not url:
            raise QueueDoesNotExist()
        said = account_and_name(url)
        if said is None:
            raise InvalidAddress(f"The address {url[:256]} is not valid for this endpoint.")
        account, name = said
        found = _REGION.search(url)
        scope = _SCOPE.search(request.headers.get("authorization", ""))
        region = (found[1] or found[2]) if found else scope[1] if scope else REGION
    queue = tx.get(Queue, f"{account}/{region}/{name}")
    if queue is None:
        raise QueueDoesNotExist()
    return queue


def _is_true(asked: Mapping[str, Any], name: str) -> bool:
    return str(asked.get(name, "")).lower() in ("true", "1")


def _found(tx: Tx, queue: Queue, invisible: bool, delayed: bool) -> list[dict[str, Any]]:
    """The first messages: those that can be received, and those in flight and delayed where they are wanted too."""
    now = messages.now_ms(tx)
    hidden = {(True, True): "true", (True, False): "m.receives>0", (False, True): "m.receives=0",
              (False, False): "false"}[invisible, delayed]
    shut = "" if invisible or not queue.fifo else (  # a group waits for its first
        " and not exists (select 1 from sqs_group g where g.store=m.store and g.grp=m.grp and g.ready_ms>?)")
    rows: list[Any] = []
    for store in (queue.store, *(tenants.stores(tx, queue.store) if queue.fair else ())):
        rows += tx.execute(
            "select m.id, m.visible_ms, m.receives, m.first_received_ms, m.sent_ms from sqs_message m where m.store=?"
            f" and (m.visible_ms<=? or {hidden}){shut} order by m.visible_ms, m.id limit ?",
            (store, now, *((now,) if shut else ()), SHOWN)).fetchall()
    rows.sort(key=lambda row: row[0])
    shown = []
    for number, visible_ms, receives, first_ms, sent_ms in rows[:SHOWN]:
        message = messages.whole(tx, number, sent_ms, first_ms, receives)
        found = receiving.view(queue, message, frozenset(receiving.SYSTEM), ("All",), tx.clock.ahead)
        del found["ReceiptHandle"]  # nobody received it
        found["Attributes"] |= {"IsVisible": "true" if visible_ms <= now or not receives else "false",
                                "IsDelayed": "true" if visible_ms > now and not receives else "false"}
        shown.append(found)
    return shown


def _listed(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as the query protocol says it."""
    pairs = [{"Name": name, "Value": value} for name, value in message["Attributes"].items()]
    own = [{"Name": name, "Value": {key: _text(part) for key, part in value.items()}}
           for name, value in message.get("MessageAttributes", {}).items()]
    named = ("MessageId", "MD5OfBody", "Body", "MD5OfMessageAttributes")
    return {**{name: message[name] for name in named if name in message}, "Attribute": pairs, "MessageAttribute": own}


def _text(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _refused(request: Request, error: AwsError, target: str | None) -> Response:
    if target is not None:
        response = _json(error.status, {"__type": error.shape_name or error.code, "message": error.message})
        return Response(response.status, {**response.headers, "x-amzn-query-error": f"{error.code};Sender"},
                        response.body)
    return _print(request, error.status, {"ErrorResponse": {"@xmlns": NAMESPACE, "Error": {
        "Type": "Sender", "Code": error.code, "Message": error.message}}})


def _print(request: Request, status: int, content: Mapping[str, Any]) -> Response:
    if "json" in request.headers.get("accept", ""):
        return _json(status, _unlisted(content))
    return Response(status, {"content-type": "text/xml"}, _xml(content).encode())


def _unlisted(value: Any) -> Any:
    """A tree as it is made of XML: what comes once is no list, and what is empty is null."""
    if isinstance(value, dict):
        return {name: _unlisted(part) for name, part in value.items() if part != []} or None
    if isinstance(value, list):
        return _unlisted(value[0]) if len(value) == 1 else [_unlisted(part) for part in value]
    return value


def _xml(content: Mapping[str, Any]) -> str:
    text = ""
    for name, value in content.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                space = f' xmlns="{each["@xmlns"]}"' if "@xmlns" in each else ""
                inner = _xml({key: part for key, part in each.items() if key != "@xmlns"})
                text += f"<{name}{space}>{inner}</{name}>"
            else:
                text += f"<{name}>{escape(each, quote=False).replace(chr(13), '&#13;')}</{name}>"
    return text


def _json(status: int, value: Any) -> Response:
    return Response(status, {"content-type": "application/json"}, msgspec.json.encode(value))
