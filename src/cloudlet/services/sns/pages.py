"""What SNS answers to who comes without a signature: the certificate, and the links that are in messages.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
"""

from html import escape
from urllib.parse import parse_qsl

from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Request, Response
from cloudlet.services.sns import signing, subscriptions
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.services.sns.service import AuthorizationError, invalid
from cloudlet.store.db import Store, Tx

PREFIX = "/SimpleNotificationService-"
NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"


async def page(store: Store, request: Request) -> Response | None:
    """The certificate under which messages are signed, by the name that they give, or what a link of theirs does; None
    where neither is asked for. The request bears no signature."""
    if request.method != "GET":
        return None
    if request.path.startswith(PREFIX):
        return _certificate(store, request.path)
    asked = dict(parse_qsl(request.query)) if request.path == "/" else {}
    action = asked.get("Action")
    if action not in ("ConfirmSubscription", "Unsubscribe"):
        return None
    try:
        with store.tx() as tx:
            arn = _confirm(tx, asked) if action == "ConfirmSubscription" else _unsubscribe(tx, asked, request.endpoint)
    except AwsError as error:
        return _xml(error.status, f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{error.code}'
                                  f"</Code><Message>{escape(error.message)}</Message></Error></ErrorResponse>")
    await store.flush()
    result = f"<{action}Result><SubscriptionArn>{escape(arn)}</SubscriptionArn></{action}Result>" if arn else ""
    return _xml(200, f'<{action}Response xmlns="{NAMESPACE}">{result}</{action}Response>')


def _certificate(store: Store, path: str) -> Response | None:
    with store.tx() as tx:
        signer = tx.get(signing.MessageSigner, "signer")
    if signer is None or path != signer.path:
        return None
    return Response(200, {"content-type": "application/x-pem-file"}, signer.certificate.encode())


def _xml(status: int, text: str) -> Response:
    return Response(status, {"content-type": "text/xml"}, text.encode())


def _key(arn: str, parts: int, parameter: str) -> str:
    found = arn.split(":")
    if len(found) != parts or found[:3] != ["arn", "aws", "sns"] or "/" in arn:
        raise invalid(parameter)
    return "/".join((found[4], found[3], *found[5:]))


def _confirm(tx: Tx, asked: dict[str, str]) -> str:
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
