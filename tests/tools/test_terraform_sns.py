"""Terraform makes topics, subscriptions and policies, finds nothing to change, changes them, and takes them away."""

import pytest

from tests.running import Cloudlet
from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform

terraform = network.terraform  # the fixture

TOPICS = PROVIDER + """
resource "aws_sns_topic" "news" {
  name              = "news"
  display_name      = "%(name)s"
  signature_version = 2
  delivery_policy = jsonencode({
    http = { defaultHealthyRetryPolicy = { minDelayTarget = 20, maxDelayTarget = 20, numRetries = 3 } }
  })
  tags = { team = "%(name)s" }

  sqs_success_feedback_role_arn    = aws_iam_role.log.arn
  sqs_success_feedback_sample_rate = 100
  sqs_failure_feedback_role_arn    = aws_iam_role.log.arn
  http_failure_feedback_role_arn   = aws_iam_role.log.arn
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "log" {
  name               = "sns-log"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_sns_sms_preferences" "texts" {
  default_sender_id = "%(name)s"
  default_sms_type  = "Transactional"
}

resource "aws_sns_topic" "ordered" {
  name                        = "ordered.fifo"
  fifo_topic                  = true
  content_based_deduplication = true
  archive_policy              = jsonencode({ MessageRetentionPeriod = 30 })
}

resource "aws_sqs_queue" "ordered" {
  name       = "ordered.fifo"
  fifo_queue = true
}

resource "aws_sns_topic_subscription" "ordered" {
  topic_arn     = aws_sns_topic.ordered.arn
  protocol      = "sqs"
  endpoint      = aws_sqs_queue.ordered.arn
  replay_policy = jsonencode({ PointType = "Timestamp", StartingPoint = "2024-01-01T00:00:00.000Z" })
}

resource "aws_sqs_queue" "jobs" { name = "jobs" }
resource "aws_sqs_queue" "dead" { name = "dead" }

data "aws_iam_policy_document" "jobs" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.jobs.arn]
    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_sns_topic.news.arn]
    }
  }
}

resource "aws_sqs_queue_policy" "jobs" {
  queue_url = aws_sqs_queue.jobs.id
  policy    = data.aws_iam_policy_document.jobs.json
}

resource "aws_sns_topic_subscription" "jobs" {
  topic_arn            = aws_sns_topic.news.arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.jobs.arn
  raw_message_delivery = true
  filter_policy        = jsonencode({ kind = ["%(name)s", { prefix = "x-" }] })
  redrive_policy       = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn })
}

data "aws_iam_policy_document" "news" {
  statement {
    actions   = ["SNS:Publish"]
    resources = [aws_sns_topic.news.arn]
    principals {
      type        = "AWS"
      identifiers = ["222222222222"]
    }
  }
}

resource "aws_sns_topic_policy" "news" {
  arn    = aws_sns_topic.news.arn
  policy = data.aws_iam_policy_document.news.json
}

data "aws_sns_topic" "news" {
  name       = "news"
  depends_on = [aws_sns_topic.news]
}

output "arn" { value = data.aws_sns_topic.news.arn }
"""


@pytest.mark.slow
def test_topics(cloudlet: Cloudlet, terraform: Terraform) -> None:
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    terraform.write(TOPICS % {"name": "one"})
    terraform("init", "-input=false")
    terraform.settle()
    arn = terraform.output("arn")
    assert arn == "arn:aws:sns:us-east-1:000000000000:news"
    terraform.write(TOPICS % {"name": "two"})
    terraform.settle()
    sns, sqs = cloudlet.client("sns"), cloudlet.client("sqs")
    found = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (found["DisplayName"], found["SubscriptionsConfirmed"]) == ("two", "1")
    assert found["SQSSuccessFeedbackRoleArn"] == "arn:aws:iam::000000000000:role/sns-log"
    assert sns.get_sms_attributes()["attributes"] == {"DefaultSenderID": "two", "DefaultSMSType": "Transactional"}
    for kind in ("one", "two", "x-1"):
        sns.publish(TopicArn=arn, Message=kind,
                    MessageAttributes={"kind": {"DataType": "String", "StringValue": kind}})
    got = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName="jobs")["QueueUrl"], MaxNumberOfMessages=10)
    assert [message["Body"] for message in got["Messages"]] == ["two", "x-1"]
    terraform.write("\n".join(line for line in (TOPICS % {"name": "two"}).splitlines() if "archive_policy" not in line))
    terraform.settle()  # no topic is deleted together with its archive
    terraform("destroy", "-auto-approve", "-input=false")
    assert sns.list_topics()["Topics"] == []
