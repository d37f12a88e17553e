"""Terraform makes queues and everything on them, finds nothing to change, changes them, and takes them away again."""

import json

import pytest

from tests.running import Cloudlet
from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform

terraform = network.terraform  # the fixture

QUEUES = PROVIDER + """
resource "aws_sqs_queue" "dead" {
  name                      = "dead"
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue" "jobs" {
  name                       = "jobs"
  visibility_timeout_seconds = %(timeout)s
  receive_wait_time_seconds  = 5
  delay_seconds              = 1
  max_message_size           = 2048
  sqs_managed_sse_enabled    = true
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = 4
  })
  tags = { team = "%(timeout)s" }
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url = aws_sqs_queue.dead.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.jobs.arn]
  })
}

resource "aws_sqs_queue" "ordered" {
  name                        = "ordered.fifo"
  fifo_queue                  = true
  content_based_deduplication = true
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
}

data "aws_iam_policy_document" "jobs" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.jobs.arn]
    principals {
      type        = "AWS"
      identifiers = ["222222222222"]
    }
  }
}

resource "aws_sqs_queue_policy" "jobs" {
  queue_url = aws_sqs_queue.jobs.id
  policy    = data.aws_iam_policy_document.jobs.json
}

data "aws_sqs_queue" "jobs" {
  name       = "jobs"
  depends_on = [aws_sqs_queue.jobs]
}

output "arn" { value = data.aws_sqs_queue.jobs.arn }
"""


@pytest.mark.slow
def test_queues(cloudlet: Cloudlet, terraform: Terraform) -> None:
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    terraform.write(QUEUES % {"timeout": 30})
    terraform("init", "-input=false")
    terraform.settle()
    assert terraform.output("arn") == "arn:aws:sqs:us-east-1:000000000000:jobs"
    terraform.write(QUEUES % {"timeout": 60})
    terraform.settle()
    sqs = cloudlet.client("sqs")
    url = sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (found["VisibilityTimeout"], json.loads(found["RedrivePolicy"])["maxReceiveCount"]) == ("60", 4)
    terraform("destroy", "-auto-approve", "-input=false")
    assert "QueueUrls" not in sqs.list_queues()
