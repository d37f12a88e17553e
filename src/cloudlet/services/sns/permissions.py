"""AddPermission and RemovePermission: statements of a topic's policy, by label.

https://docs.aws.amazon.com/sns/latest/api/API_AddPermission.html
"""

import dataclasses
import json
import re
from typing import Any

from cloudlet.kernel import policy
from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sns.records import Topic, require
from cloudlet.services.sns.service import invalid, sns, topic_arns
from cloudlet.services.sns.topic_attributes import ACTIONS, STATEMENTS_MAX, default_policy
from cloudlet.store.db import Tx

_ACCOUNT = re.compile(r"[0-9]{12}")


def _policy(topic: Topic) -> dict[str, Any]:
    text = topic.attributes.get("Policy")
    found: dict[str, Any] = json.loads(text) if text else default_policy(topic)
    return {**found, "Statement": policy.listed(found["Statement"])}


def _put(tx: Tx, topic: Topic, found: dict[str, Any]) -> None:
    text = json.dumps(found, separators=(",", ":"))
    tx.put(dataclasses.replace(topic, attributes={**topic.attributes, "Policy": text}))


@sns.write(resources=topic_arns, durable=True)
def add_permission(call: Call, tx: Tx, request: Input) -> Output:
    """Lets accounts do something with a topic."""
    topic, label, accounts = require(call, tx, request["TopicArn"]), request["Label"], request["AWSAccountId"]
    if not label:
        raise invalid("Label")
    if not accounts or not all(_ACCOUNT.fullmatch(account) for account in accounts):
        raise invalid("AWSAccountId")
    if not request["ActionName"] or any(action not in (*ACTIONS, "Receive") for action in request["ActionName"]):
        raise invalid("Policy statement action out of service scope!")
    found = _policy(topic)
    if any(statement.get("Sid") == label for statement in found["Statement"]):
        raise invalid("Statement already exists")
    if len(found["Statement"]) >= STATEMENTS_MAX:
        raise invalid("Policy Error: too many statements")
    statement = policy.letting(label, accounts, [f"SNS:{action}" for action in request["ActionName"]], topic.arn)
    _put(tx, topic, {**found, "Statement": [*found["Statement"], statement]})


@sns.write(resources=topic_arns, durable=True)
def remove_permission(call: Call, tx: Tx, request: Input) -> Output:
    """Takes away what a label let accounts do; without such a label nothing changes."""
    topic = require(call, tx, request["TopicArn"])
    found = _policy(topic)
    left = [statement for statement in found["Statement"] if statement.get("Sid") != request["Label"]]
    if len(left) < len(found["Statement"]):
        if left:
            _put(tx, topic, {**found, "Statement": left})
        else:
            tx.put(dataclasses.replace(topic, attributes={
                name: value for name, value in topic.attributes.items() if name != "Policy"}))
