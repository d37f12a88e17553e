"""What SNS answers to who comes without a signature: the certificate, and what ends or confirms a subscription, be it
by the links that are in messages.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
https://docs.aws.amazon.com/sns/latest/api/API_ConfirmSubscription.html
"""

from html import escape
from urllib.parse import parse_qsl

import msgspec

from cloudlet.kernel.clock import as_uuid
from cloudlet.kernel.errors import AwsError, declare
from cloudlet.kernel.http import Body, BodyTruncated, Chunks, Request, Response
from cloudlet.services.sns import signing, subscriptions
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.services.sns.service import AuthorizationError, invalid
from cloudlet.store.db import Store, Tx

PREFIX = "/SimpleNotificationService-"
NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"
FORM, FORM_BYTES_MAX = "application/x-www-form-urlencoded", 16384

Unsigned = declare("MissingAuthenticationToken", "Request is missing Authentication Token", status=403)


async def page(store: Store, request: Request) -> Response | Request:
    """The certificate under which messages are signed, by the name that they give, or what a link of theirs does, also
    to who sends that as a form; for whatever else is asked, the request, of which others may have the answer. It bears
    no signature."""
    if request.method == "GET" and request.path.startswith(PREFIX):
        return _certificate(store, request.path) or request
    query, request = await _query(request)
    asked = dict(parse_qsl(query))
    action = asked.get("Action")
    if action not in ("ConfirmSubscription", "Unsubscribe"):
        return request
    request_id = as_uuid(store.clock.token(32))
    try:
        with store.tx() as tx:
            arn = _confirm(tx, asked) if action == "ConfirmSubscription" else _unsubscribe(tx, asked, request.endpoint)
    except AwsError as error:
        return _xml(error.status, request_id, (
            f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{error.code}</Code><Message>'
            f"{escape(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"))
    await store.flush()
    result = f"<{action}Result><SubscriptionArn>{escape(arn)}</SubscriptionArn></{action}Result>" if arn else ""
    return _xml(200, request_id, (
        f'<{action}Response xmlns="{NAMESPACE}">{result}<ResponseMetadata><RequestId>{request_id}</RequestId>'
        f"</ResponseMetadata></{action}Response>"))


async def _query(request: Request) -> tuple[str, Request]:
    """The parameters of a link, or of a small form, "" for neither, and the request, whose body can still be read."""
    if request.path == "/" and request.method == "GET":
        return request.query, request
    length, kind = request.body.length, request.headers.get("content-type", "")
    if request.path != "/" or request.method != "POST" or not kind.startswith(FORM) or (
            length is None or length > FORM_BYTES_MAX):
        return "", request
    try:
        raw = await request.body.read(FORM_BYTES_MAX)
    except BodyTruncated:
        raw = b""

    async def again() -> Chunks:
        yield raw
    return raw.decode(errors="replace"), msgspec.structs.replace(request, body=Body(again(), len(raw)))


def _certificate(store: Store, path: str) -> Response | None:
    with store.tx() as tx:
        signer = tx.get(signing.MessageSigner, "signer")
    if signer is None or path != signer.path:
        return None
    return Response(200, {"content-type": "application/x-pem-file"}, signer.certificate.encode())


def _xml(status: int, request_id: str, text: str) -> Response:
    return Response(status, {"content-type": "text/xml", "x-amzn-requestid": request_id}, text.encode())


def _key(arn: str, parts: int, parameter: str) -> str:
    found = arn.split(":")
    if len(found) != parts or found[:3] != ["arn", "aws", "sns"] or "/" in arn:
        raise invalid(parameter)
    return "/".join((found[4], found[3], *found[5:]))


def _confirm(tx: Tx, asked: dict[str, str]) -> str:
    if asked.get("AuthenticateOnUnsubscribe") == "true":
        raise Unsigned()
    topic = tx.get(Topic, _key(asked.get("TopicArn", ""), 6, "Topic"))
    if topic is None:
        raise invalid("Topic")
    return subscriptions.confirm(tx, topic.key, asked.get("Token", ""), secure=False).arn


def _unsubscribe(tx: Tx, asked: dict[str, str], endpoint: str) -> str:
    found = tx.get(Subscription, _key(asked.get("SubscriptionArn", ""), 7, "SubscriptionArn"))
    if found is not None and found.ended:
        return ""
    if found is not None and (found.secure or found.token):
        raise AuthorizationError("Not entitled")
    if found is not None:
        subscriptions.end(tx, found, "", endpoint, tx.token(32))
    return ""
