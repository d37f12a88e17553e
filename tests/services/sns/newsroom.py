"""A desk at which topics and the queues behind them are used."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.sns import TABLES, sns
from tests.services.desk import ACCOUNT
from tests.services.sqs.clerk import Clerk


def queue_arn(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:sqs:us-east-1:{account}:{name}"


def topic_arn(name: str) -> str:
    return f"arn:aws:sns:us-east-1:{ACCOUNT}:{name}"


def open_policy(queue: str, topic: str) -> str:
    """A queue's policy that lets a topic send, as AWS's documentation has it."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
        "Resource": queue, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}]})


class Newsroom(Clerk):
    """`sns("Publish", TopicArn=…)` runs an operation of SNS."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.store.create_tables(TABLES)

    def sns(self, operation: str, **request: Any) -> Any:
        return self(sns, operation, **request)

    def wrong(self, operation: str, **request: Any) -> str:
        """With what it is refused."""
        with pytest.raises(AwsError) as caught:
            self.sns(operation, **request)
        return f"{caught.value.code}: {caught.value.message}"

    def topic(self, name: str, **attributes: str) -> str:
        if name.endswith(".fifo"):
            attributes["FifoTopic"] = "true"
        arn: str = self.sns("CreateTopic", Name=name, Attributes=attributes)["TopicArn"]
        return arn

    def subscribed(self, topic: str, queue: str, **attributes: str) -> str:
        """A queue that the topic may send to, subscribed; its subscription's ARN."""
        self.queue(queue, Policy=open_policy(queue_arn(queue), topic_arn(topic)),
                   **({"FifoQueue": "true"} if queue.endswith(".fifo") else {}))
        arn: str = self.sns("Subscribe", TopicArn=topic_arn(topic), Protocol="sqs", Endpoint=queue_arn(queue),
                            Attributes=attributes)["SubscriptionArn"]
        return arn

    def publish(self, topic: str, message: str, **request: Any) -> Any:
        return self.sns("Publish", TopicArn=topic_arn(topic), Message=message, **request)
