"""Chapter four: a topic reaches queues, whoever waits is woken, and what fails or comes twice is dealt with."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cloudlet.demo.stage import Stage

NAME = "cloudlet-demo"
EVERYTHING, BOOKS, DEAD, FIFO = (f"{NAME}-{name}" for name in ("everything", "books", "failed", "steps.fifo"))
BOOK, PEN = "one book, please", "one pen, please"
STEPS = ("put it into the basket", "pay", "send it")
RECEIVES_MAX, WAIT_S = 3, 20


def chapter(stage: Stage) -> None:
    """From a topic to what its subscribers do with messages."""
    stage.chapter("A topic and queues")
    topic = _make_topic(stage)
    urls = _subscribe(stage, topic)
    _wait_and_publish(stage, topic, urls[EVERYTHING])
    _filter(stage, topic, urls[BOOKS])
    _fail(stage, urls)
    _keep_order(stage, urls)
    _clean_up(stage, topic, urls)


def _make_topic(stage: Stage) -> str:
    with stage.step("Make a topic"):
        topic: str = stage.aws("sns", "create-topic", "--name", NAME)["TopicArn"]
        stage.later("the topic", lambda: _delete_topic(stage, topic, shown=False))
        stage.say(topic)
    return topic


def _make_queue(stage: Stage, name: str, attributes: dict[str, str]) -> str:
    (stage.directory / f"{name}.json").write_text(json.dumps(attributes))
    url: str = stage.aws("sqs", "create-queue", "--queue-name", name, "--attributes", f"file://{name}.json")["QueueUrl"]
    stage.later(name, lambda: _delete_queue(stage, name, url, shown=False))
    return url


def _arn(topic: str, queue: str) -> str:
    return f"{topic.replace(':sns:', ':sqs:').rpartition(':')[0]}:{queue}"


def _subscribe(stage: Stage, topic: str) -> dict[str, str]:
    """Two queues, by their names; one wants only part of what is published."""
    urls = {}
    with stage.step("Subscribe two queues to it, one of them only for orders of books"):
        for name, wanted in ((EVERYTHING, {}), (BOOKS, {"FilterPolicy": json.dumps({"kind": ["book"]})})):
            lets_in = {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
                "Resource": _arn(topic, name), "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}]}
            urls[name] = _make_queue(stage, name, {"Policy": json.dumps(lets_in)})
            stage.aws("sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs", "--notification-endpoint",
                      _arn(topic, name), "--attributes", json.dumps({"RawMessageDelivery": "true", **wanted}))
    return urls


def _publish(stage: Stage, topic: str, text: str, kind: str) -> None:
    stage.aws("sns", "publish", "--topic-arn", topic, "--message", text, "--message-attributes",
              json.dumps({"kind": {"DataType": "String", "StringValue": kind}}))


def _receive(stage: Stage, url: str, *more: str, shown: bool = True) -> list[dict[str, Any]]:
    found = stage.aws("sqs", "receive-message", "--queue-url", url, *more, shown=shown)
    messages: list[dict[str, Any]] = found["Messages"] if found else []
    return messages


def _wait_and_publish(stage: Stage, topic: str, url: str) -> None:
    with stage.step("Wait for messages, and publish one meanwhile: whoever waits has it at once"), \
            ThreadPoolExecutor(1) as others:
        stage.show(f"aws sqs receive-message --queue-url {url} --wait-time-seconds {WAIT_S} &")
        began = time.monotonic()
        waiting = others.submit(_receive, stage, url, "--wait-time-seconds", str(WAIT_S), shown=False)
        time.sleep(1)  # until it does
        _publish(stage, topic, BOOK, "book")
        (got,) = waiting.result()
        stage.check(got["Body"] == BOOK, "the message is the one that was published")
        stage.check(time.monotonic() - began < WAIT_S, "nobody waited to the end")
        stage.say(f"{got['Body']} (after {time.monotonic() - began:.1f} s of {WAIT_S})")


def _filter(stage: Stage, topic: str, url: str) -> None:
    with stage.step("Publish what only one of them wants"):
        _publish(stage, topic, PEN, "pen")
        found = _receive(stage, url, "--max-number-of-messages", "10", "--visibility-timeout", "0")
        stage.check([message["Body"] for message in found] == [BOOK], "the other has the book only")
        for message in found:
            stage.say(message["Body"])


def _fail(stage: Stage, urls: dict[str, str]) -> None:
    with stage.step(f"A message that fails {RECEIVES_MAX} times is set aside in a dead-letter queue"):
        urls[DEAD] = _make_queue(stage, DEAD, {"MessageRetentionPeriod": "1209600"})
        target = stage.aws("sqs", "get-queue-attributes", "--queue-url", urls[DEAD], "--attribute-names",
                           "QueueArn")["Attributes"]["QueueArn"]
        redrive = {"deadLetterTargetArn": target, "maxReceiveCount": str(RECEIVES_MAX)}
        stage.aws("sqs", "set-queue-attributes", "--queue-url", urls[BOOKS], "--attributes",
                  json.dumps({"RedrivePolicy": json.dumps(redrive)}))
        received = 1  # it was shown before, and nobody deleted it
        while _receive(stage, urls[BOOKS], "--visibility-timeout", "0"):
            received += 1
        stage.check(received == RECEIVES_MAX, f"it is received {RECEIVES_MAX} times, and then no more")
        (dead,) = _receive(stage, urls[DEAD], "--attribute-names", "All")
        stage.check(dead["Body"] == BOOK, "the dead-letter queue has it")
        stage.say(f"{dead['Body']}, from {dead['Attributes']['DeadLetterQueueSourceArn']}")


def _keep_order(stage: Stage, urls: dict[str, str]) -> None:
    with stage.step("A FIFO queue keeps the order, and takes nothing twice"):
        urls[FIFO] = _make_queue(stage, FIFO, {"FifoQueue": "true", "ContentBasedDeduplication": "true"})
        entries = [{"Id": str(number), "MessageBody": text, "MessageGroupId": "order-1"}
                   for number, text in enumerate(STEPS)]
        (stage.directory / "steps.json").write_text(json.dumps(entries))
        for _ in range(2):  # as who did not hear the answer does
            stage.aws("sqs", "send-message-batch", "--queue-url", urls[FIFO], "--entries", "file://steps.json")
        found = _receive(stage, urls[FIFO], "--max-number-of-messages", "10")
        stage.check([message["Body"] for message in found] == list(STEPS), "each step is there once, in its place")
        for message in found:
            stage.say(message["Body"])


def _delete_topic(stage: Stage, topic: str, *, shown: bool = True) -> None:
    stage.aws("sns", "delete-topic", "--topic-arn", topic, shown=shown)
    stage.forget("the topic")


def _delete_queue(stage: Stage, name: str, url: str, *, shown: bool = True) -> None:
    stage.aws("sqs", "delete-queue", "--queue-url", url, shown=shown)
    stage.forget(name)


def _clean_up(stage: Stage, topic: str, urls: dict[str, str]) -> None:
    with stage.step("Delete it all"):
        _delete_topic(stage, topic)
        for name, url in urls.items():
            _delete_queue(stage, name, url)
