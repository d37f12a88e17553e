"""Queues and topics as other people's clients use them: workers of Celery, Dramatiq and Django, AWS's SDK for
JavaScript, a listener."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.running import Cloudlet

pytestmark = pytest.mark.slow
WAIT_S = 90.0

# Tasks are acknowledged once they are done; who dies at one leaves it to the next worker.
NOTE = """
import os, pathlib, time


def note(text):
    with open(os.environ["NOTES"], "a") as file:
        file.write(text + "\\n")


def work_long():
    note("begun")
    time.sleep(0 if pathlib.Path(os.environ["NOTES"]).read_text().count("begun") > 1 else 600)
    note("done")
"""
CELERY = """
from celery import Celery

app = Celery("jobs", broker=os.environ["BROKER"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True,
                broker_transport_options={"is_secure": False, "region": "us-east-1", "visibility_timeout": 5,
                                          "wait_time_seconds": 2, "polling_interval": 0.1})


@app.task
def add(one, other):
    note(f"sum {one + other}")


@app.task(bind=True, max_retries=3)
def flaky(self):
    note(f"attempt {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=1)


@app.task
def long():
    work_long()
"""
ORDERS = """
import jobs
for number in range(5):
    jobs.add.delay(number, 10)
jobs.flaky.delay()
jobs.add.apply_async((40, 2), countdown=2)
jobs.long.delay()
"""


def until(holds: Callable[[], bool], says: Callable[[], str]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, says()
        time.sleep(0.1)


class Workers:
    """Workers and producers of some package, in a virtual environment of their own."""

    def __init__(self, directory: Path, cloudlet: Cloudlet, worker: Sequence[str], jobs: str) -> None:
        self.directory, self.notes, self.log, self.command = directory, directory / "notes", directory / "log", worker
        self.notes.touch()
        (directory / "jobs.py").write_text(jobs)
        self.environment = {**cloudlet.environment, "NOTES": str(self.notes), "PYTHONPATH": str(directory),
                            "BROKER": f"sqs://test:test@localhost:{cloudlet.port}//"}

    def install(self, *packages: str) -> None:
        subprocess.run([sys.executable, "-m", "venv", self.directory], check=True)
        done = subprocess.run([self.directory / "bin/pip", "install", "-q", *packages], capture_output=True, text=True,
                              check=False, timeout=600)
        if done.returncode:
            pytest.skip(f"{packages[0]} cannot be installed here")

    def run(self, *command: str) -> None:
        subprocess.run([self.directory / "bin" / command[0], *command[1:]], cwd=self.directory, env=self.environment,
                       check=True, timeout=WAIT_S)

    def start(self) -> "subprocess.Popen[bytes]":
        with open(self.log, "ab") as log:
            return subprocess.Popen([self.directory / "bin" / self.command[0], *self.command[1:]], cwd=self.directory,
                                    env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    start_new_session=True)

    def wait_for(self, *lines: str) -> None:
        until(lambda: set(lines) <= set(self.notes.read_text().splitlines()),
              lambda: f"{self.notes.read_text()}\n{self.log.read_text()[-3000:]}")

    def work(self, *lines: str) -> list[str]:
        """What they noted, once these lines were there: the first dies at the long task, which comes back when its
        message does, and the second ends it."""
        first, second = self.start(), None
        try:
            self.wait_for(*lines, "begun")
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
            assert "done" not in self.notes.read_text()
            second = self.start()
            self.wait_for("done")
        finally:
            for worker in (first, second):
                if worker is not None and worker.poll() is None:
                    os.killpg(worker.pid, signal.SIGKILL)
                    worker.wait()
        return self.notes.read_text().splitlines()


SUMS = [f"sum {number + 10}" for number in range(5)]


def test_a_celery_worker_runs_tasks(cloudlet: Cloudlet, tmp_path: Path) -> None:
    workers = Workers(tmp_path, cloudlet, ("celery", "-A", "jobs", "worker", "-c", "2"), NOTE + CELERY)
    workers.install("celery[sqs]")
    workers.run("python", "-c", ORDERS)
    notes = workers.work(*SUMS, "attempt 2", "sum 42")
    assert notes.count("begun") == 2 and len(notes) == len(set(notes)) + 1  # each other one once
    assert notes.index("attempt 0") < notes.index("attempt 1") < notes.index("attempt 2")


DRAMATIQ = """
import dramatiq
from dramatiq.middleware import AgeLimit, Retries
from dramatiq_sqs import SQSBroker

broker = SQSBroker(namespace="dramatiq", dead_letter=True, visibility_timeout=5, tags={"a": "b"},
                   middleware=[AgeLimit(), Retries(max_retries=2, min_backoff=200, max_backoff=1000)])
dramatiq.set_broker(broker)


@dramatiq.actor
def add(one, other):
    note(f"sum {one + other}")


@dramatiq.actor
def hopeless():
    note("hopeless")
    raise ValueError("never")


@dramatiq.actor(max_retries=0)
def long():
    work_long()
"""


def test_a_dramatiq_worker_runs_tasks(cloudlet: Cloudlet, tmp_path: Path) -> None:
    workers = Workers(tmp_path, cloudlet, ("dramatiq", "jobs", "-p", "1", "-t", "4"), NOTE + DRAMATIQ)
    workers.install("dramatiq", "dramatiq-sqs")
    workers.run("python", "-c", """
import jobs
for number in range(5):
    jobs.add.send(number, 10)
jobs.hopeless.send()
jobs.add.send_with_options(args=(40, 2), delay=2000)
jobs.long.send()
""")
    notes = workers.work(*SUMS, "sum 42", "hopeless")
    sqs = cloudlet.client("sqs")
    dead = sqs.get_queue_url(QueueName="dramatiq_default_dlq")["QueueUrl"]
    until(lambda: "Messages" in sqs.receive_message(QueueUrl=dead), lambda: workers.log.read_text()[-3000:])
    assert (notes.count("begun"), notes.count("hopeless"), notes.count("sum 42")) == (2, 3, 1)


DJANGO = """
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_q"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
USE_TZ = True
Q_CLUSTER = {"name": "django", "workers": 2, "timeout": 6, "retry": 8, "bulk": 5, "poll": 0.2, "sqs": {
  "aws_region": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test",
  "receive_message_wait_time_seconds": 2}}


def add(one, other):
    note(f"sum {one + other}")


def long():
    work_long()
"""


def test_a_django_cluster_runs_tasks(cloudlet: Cloudlet, tmp_path: Path) -> None:
    """Its processes share a connection that was open when they forked, so that now and then a request of one is mixed
    with another's and refused; a task whose acknowledgement was lost so is done once more."""
    workers = Workers(tmp_path, cloudlet, ("django-admin", "qcluster"), NOTE + DJANGO)
    workers.environment["DJANGO_SETTINGS_MODULE"] = "jobs"
    workers.install("django-q2", "boto3")
    workers.run("django-admin", "migrate", "-v", "0")
    workers.run("python", "-c", """
import django
django.setup()
from django_q.brokers import get_broker
from django_q.tasks import async_task
for number in range(5):
    async_task("jobs.add", number, 10)
async_task("jobs.long")
broker = get_broker()
assert (broker.info(), broker.ping(), broker.queue_size(), broker.lock_size()) == ("AWS SQS", True, 6, 0)
""")
    assert workers.work(*SUMS).count("begun") >= 2
    workers.run("python", "-c", """
import django
django.setup()
from django_q.brokers import get_broker
get_broker().purge_queue()
get_broker().delete_queue()
""")


SCRIPT = """
import * as sqs from "@aws-sdk/client-sqs";
import * as sns from "@aws-sdk/client-sns";
import {Consumer} from "sqs-consumer";
import assert from "node:assert/strict";

const config = {endpoint: process.argv[2], region: "us-east-1", maxAttempts: 1,
                credentials: {accessKeyId: "test", secretAccessKey: "test"}};
const queues = new sqs.SQSClient(config), topics = new sns.SNSClient(config);
const {QueueUrl} = await queues.send(new sqs.CreateQueueCommand({QueueName: "js.fifo", Attributes: {
  FifoQueue: "true", ContentBasedDeduplication: "true"}}));
const attributes = {kind: {DataType: "String", StringValue: "a"},
                    raw: {DataType: "Binary", BinaryValue: new Uint8Array([1, 2])}};
await queues.send(new sqs.SendMessageBatchCommand({QueueUrl, Entries: ["grüße ✓", "two"].map((MessageBody, number) => (
  {Id: `${number}`, MessageBody, MessageGroupId: "g", MessageAttributes: attributes}))}));  // whose MD5s it checks
const waiting = new sqs.ReceiveMessageCommand({
  QueueUrl, MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["All"], WaitTimeSeconds: 5,
  MaxNumberOfMessages: 10});
const {Messages} = await queues.send(waiting);
assert.deepEqual(Messages.map(message => message.Body), ["grüße ✓", "two"]);
assert.deepEqual(Messages[0].MessageAttributes, attributes);
assert.equal(Messages[0].Attributes.MessageGroupId, "g");
await queues.send(new sqs.DeleteMessageBatchCommand({QueueUrl, Entries: Messages.map(({ReceiptHandle}, number) => (
  {Id: `${number}`, ReceiptHandle}))}));
await assert.rejects(queues.send(new sqs.GetQueueUrlCommand({QueueName: "none"})), error => (
  error instanceof sqs.QueueDoesNotExist && error.$metadata.httpStatusCode === 400));
await assert.rejects(queues.send(new sqs.SendMessageCommand({QueueUrl, MessageBody: "x"})), {name: "MissingParameter"});

const plain = await queues.send(new sqs.CreateQueueCommand({QueueName: "js"}));
const {Attributes: {QueueArn}} = await queues.send(new sqs.GetQueueAttributesCommand({
  QueueUrl: plain.QueueUrl, AttributeNames: ["QueueArn"]}));
const {TopicArn} = await topics.send(new sns.CreateTopicCommand({Name: "js"}));
await queues.send(new sqs.SetQueueAttributesCommand({QueueUrl: plain.QueueUrl, Attributes: {Policy: JSON.stringify({
  Version: "2012-10-17", Statement: [{Effect: "Allow", Principal: {Service: "sns.amazonaws.com"},
  Action: "sqs:SendMessage", Resource: QueueArn, Condition: {ArnEquals: {"aws:SourceArn": TopicArn}}}]})}}));
await topics.send(new sns.SubscribeCommand({TopicArn, Protocol: "sqs", Endpoint: QueueArn, Attributes: {
  FilterPolicy: JSON.stringify({kind: ["a"]})}}));
const polling = queues.send(new sqs.ReceiveMessageCommand({QueueUrl: plain.QueueUrl, WaitTimeSeconds: 20}));
await topics.send(new sns.PublishCommand({TopicArn, Message: "unwanted"}));
const {MessageId} = await topics.send(new sns.PublishCommand({TopicArn, Message: "m", MessageAttributes: attributes}));
const got = JSON.parse((await polling).Messages[0].Body);
assert.deepEqual([got.MessageId, got.Message, got.MessageAttributes.raw.Value], [MessageId, "m", "AQI="]);
await assert.rejects(topics.send(new sns.PublishCommand({TopicArn: TopicArn + "x", Message: "m"})), error => (
  error instanceof sns.NotFoundException));

const listened = await queues.send(new sqs.CreateQueueCommand({QueueName: "listened"}));
for (const MessageBody of ["at once", "at the second attempt"])
  await queues.send(new sqs.SendMessageCommand({QueueUrl: listened.QueueUrl, MessageBody}));
const handled = [];
const consumer = Consumer.create({
  queueUrl: listened.QueueUrl, sqs: queues, waitTimeSeconds: 1, terminateVisibilityTimeout: true,
  handleMessage: async message => {
    handled.push(message.Body);
    if (message.Body !== "at once" && handled.filter(body => body === message.Body).length < 2) throw new Error("no");
    return message;
  }});
consumer.on("processing_error", () => {});
const emptied = new Promise(resolve => consumer.on("empty", () => handled.length > 2 && resolve()));
consumer.start();
await emptied;
consumer.stop({abort: true});
assert.deepEqual(handled.sort(), ["at once", "at the second attempt", "at the second attempt"]);
const left = await queues.send(new sqs.GetQueueAttributesCommand({
  QueueUrl: listened.QueueUrl, AttributeNames: ["All"]}));
assert.equal(left.Attributes.ApproximateNumberOfMessagesNotVisible, "0");
console.log("all well");
"""


@pytest.mark.engine("npm")
def test_the_sdk_for_javascript_and_a_listener_on_it(cloudlet: Cloudlet, tmp_path: Path) -> None:
    packages = ("@aws-sdk/client-sqs", "@aws-sdk/client-sns", "sqs-consumer")
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", *packages], cwd=tmp_path,
                          capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip("the SDK cannot be installed here")
    (tmp_path / "client.mjs").write_text(SCRIPT)
    done = subprocess.run(["node", "client.mjs", cloudlet.url], cwd=tmp_path, capture_output=True, text=True,
                          check=False, timeout=120, env=cloudlet.environment)
    assert done.returncode == 0 and "all well" in done.stdout, done.stdout + done.stderr
