"""Delivery status logs: each attempt at a delivery is a line in CloudWatch Logs, where its topic wants that.

https://docs.aws.amazon.com/sns/latest/dg/sns-topic-attributes.html
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.kernel.call import Call
from cloudlet.kernel.clock import as_uuid
from cloudlet.kernel.errors import AwsError
from cloudlet.services.iam import find_role, pass_role_refusal, refusal
from cloudlet.services.logs import append, ensure_stream, stream_exists
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.services.sns.service import AuthorizationError, invalid
from cloudlet.services.sts import role_principal
from cloudlet.store.db import Store, Tx

SERVICE = "sns.amazonaws.com"
KIND = "sns.status"  # of work: a topic's lines are to be written
WRITTEN_AFTER_S, WRITTEN_AT_ONCE = 1.0, 1000
_PREFIXES = {"sqs": "SQS", "http": "HTTP", "https": "HTTP"}
ROLE = re.compile(r"(?:HTTP|Firehose|Lambda|Application|SQS)(?:Success|Failure)FeedbackRoleArn")
RATE = re.compile(r"(?:HTTP|Firehose|Lambda|Application|SQS)SuccessFeedbackSampleRate")
_ARN = re.compile(r"arn:aws:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)

log = logging.getLogger(__name__)


class Told(NamedTuple):
    """What is told of one attempt. `text`: what was published, None for a confirmation; `at`, when it was, and
    `begun`, when the attempt was, in epoch seconds; `response`: what the subscriber said."""

    message_id: str
    text: str | None
    at: float
    begun: float
    attempts: int
    status: int
    response: str


def check_role(call: Call, tx: Tx, name: str, arn: str, where: str) -> None:
    """Raises InvalidParameter where there is no such role, AuthorizationError where the caller may not pass it on."""
    if not _ARN.fullmatch(arn):
        raise invalid(f"{where}{name}: Invalid value [{arn[:64]}]. It must be the ARN of a role")
    refused = pass_role_refusal(tx, call, arn, SERVICE)
    if refused is not None:
        raise AuthorizationError(refused.message)
    if find_role(tx, arn) is None:
        raise invalid(f"{where}{name}: the role {arn} does not exist")


def tell(tx: Tx, topic: Topic, subscription: Subscription, told: Callable[[], Told], *, failed: bool) -> None:
    """Has an attempt logged, if its topic wants that, and if it is in the sample: of failures all are."""
    prefix = _PREFIXES.get(subscription.protocol, "")
    role = topic.attributes.get(f"{prefix}{'Failure' if failed else 'Success'}FeedbackRoleArn") if prefix else None
    if not role:
        return
    percent = 100 if failed else int(topic.attributes.get(f"{prefix}SuccessFeedbackSampleRate", "100"))
    if int(tx.token(6), 16) * 100 >= percent << 24:
        return
    tx.execute("insert into sns_status (topic, role, failed, at, line) values (?,?,?,?,?)",
               (topic.key, role, failed, tx.now, _line(tx, topic, subscription, told(), failed=failed)))
    tx.enqueue(KIND, topic.key, after=WRITTEN_AFTER_S)


def _line(tx: Tx, topic: Topic, subscription: Subscription, told: Told, *, failed: bool) -> str:
    notification: dict[str, Any] = {} if told.text is None else {
        "messageMD5Sum": hashlib.md5(told.text.encode(), usedforsecurity=False).hexdigest()}
    notification |= {"messageId": told.message_id, "topicArn": topic.arn,
                     "timestamp": f"{datetime.fromtimestamp(told.at, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]}
    delivery: dict[str, Any] = {"deliveryId": as_uuid(tx.token(32)), "destination": subscription.shown_endpoint}
    if failed and "RedrivePolicy" in subscription.attributes:
        delivery["redrivePolicy"] = subscription.attributes["RedrivePolicy"]
    if told.response:
        delivery["providerResponse"] = told.response
    delivery |= {"dwellTimeMs": int((told.begun - told.at) * 1000), "attempts": told.attempts,
                 "statusCode": told.status}
    return json.dumps({"notification": notification, "delivery": delivery,
                       "status": "FAILURE" if failed else "SUCCESS"}, separators=(",", ":"), ensure_ascii=False)


class StatusLogs:
    """The loop that writes the lines of a topic."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, topic: str) -> Outcome:
        """Some of them. They are written by the roles that the topic named, and lost where those may not, as on AWS."""
        with self._store.tx() as tx:
            rows: list[Any] = tx.execute("select id, role, failed, at, line from sns_status where topic=?"
                                         " order by id limit ?", (topic, WRITTEN_AT_ONCE)).fetchall()
            lines: dict[tuple[str, bool], list[tuple[int, str]]] = {}
            for _, role, failed, at, line in rows:
                lines.setdefault((role, bool(failed)), []).append((int(at * 1000), line))
            for (role, failed), events in lines.items():
                _write(tx, topic, role, failed, events)
            if rows:
                tx.execute("delete from sns_status where topic=? and id<=?", (topic, rows[-1][0]))
        return Done() if len(rows) < WRITTEN_AT_ONCE else Again(0.0, "lines are written")


def _write(tx: Tx, topic: str, role: str, failed: bool, events: list[tuple[int, str]]) -> None:
    account, region, name = topic.split("/")
    group = f"sns/{region}/{account}/{name}" + ("/Failure" if failed else "")
    stream = as_uuid(hashlib.blake2s(group.encode(), digest_size=16).hexdigest())
    try:
        principal = role_principal(tx, role, "sns", f"arn:aws:sns:{region}:{account}:{name}", SERVICE)
        call = Call(tx.token(32), account, region, principal, tx.now, "")
        arn = f"arn:aws:logs:{region}:{account}:log-group:{group}:log-stream:{stream}"
        needed = ["logs:PutLogEvents"]
        if not stream_exists(tx, account, region, group, stream):
            needed += ["logs:CreateLogGroup", "logs:CreateLogStream"]
        refused = next((found for action in needed if (found := refusal(tx, call, action, arn))), None)
        if refused is None:
            ensure_stream(tx, account, region, group, stream, create_group=True)
            append(tx, account, region, group, stream, events)
            return
        why = refused.message
    except AwsError as error:
        why = error.message
    log.warning("%d lines of %s are lost: %s", len(events), group, why)
