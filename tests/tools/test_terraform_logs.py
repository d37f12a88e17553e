"""Terraform makes log groups and what belongs to them, finds nothing to change, and takes them away again."""

import json

import pytest

from tests.running import Cloudlet
from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform

terraform = network.terraform  # the fixture

LOGS = PROVIDER + """
resource "aws_cloudwatch_log_group" "app" {
  name              = "/app/web"
  retention_in_days = %(days)d
  tags              = { env = "test" }
}

resource "aws_cloudwatch_log_group" "rare" {
  name_prefix     = "rare-"
  log_group_class = "INFREQUENT_ACCESS"
}

resource "aws_cloudwatch_log_stream" "boot" {
  name           = "boot"
  log_group_name = aws_cloudwatch_log_group.app.name
}

resource "aws_cloudwatch_log_metric_filter" "errors" {
  name           = "errors"
  log_group_name = aws_cloudwatch_log_group.app.name
  pattern        = "{ $.level = ERROR && $.ms > %(days)d }"
  metric_transformation {
    name       = "Errors"
    namespace  = "App"
    value      = "$.ms"
    unit       = "Milliseconds"
    dimensions = { path = "$.path" }
  }
}

resource "aws_cloudwatch_log_metric_filter" "any" {
  name           = "any"
  log_group_name = aws_cloudwatch_log_group.app.name
  pattern        = ""
  metric_transformation {
    name          = "Events"
    namespace     = "App"
    value         = "1"
    default_value = "0"
  }
}

data "aws_iam_policy_document" "delivery" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:aws:logs:*"]
    principals {
      identifiers = ["delivery.logs.amazonaws.com"]
      type        = "Service"
    }
  }
}

resource "aws_cloudwatch_log_resource_policy" "delivery" {
  policy_name     = "delivery"
  policy_document = data.aws_iam_policy_document.delivery.json
}

data "aws_cloudwatch_log_group" "app" {
  name = aws_cloudwatch_log_group.app.name
}

data "aws_cloudwatch_log_groups" "all" {
  log_group_name_prefix = "/app"
  depends_on            = [aws_cloudwatch_log_group.app]
}

output "seen" {
  value = {
    arn   = data.aws_cloudwatch_log_group.app.arn
    names = data.aws_cloudwatch_log_groups.all.log_group_names
  }
}
"""


@pytest.mark.slow
def test_apply_an_empty_plan_and_destroy(terraform: Terraform, cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs")
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    terraform.write(LOGS % {"days": 7})
    terraform("init", "-input=false")
    terraform.settle()
    assert json.loads(terraform("output", "-json", "seen")) == {
        "arn": "arn:aws:logs:us-east-1:000000000000:log-group:/app/web", "names": ["/app/web"]}
    (group,) = logs.describe_log_groups(logGroupNamePrefix="/app")["logGroups"]
    assert (group["retentionInDays"], group["metricFilterCount"]) == (7, 2)
    terraform.write(LOGS % {"days": 30})
    terraform.settle()
    assert logs.describe_log_groups(logGroupNamePrefix="/app")["logGroups"][0]["retentionInDays"] == 30
    assert logs.describe_metric_filters(filterNamePrefix="errors")["metricFilters"][0]["filterPattern"].endswith("30 }")
    terraform("destroy", "-auto-approve", "-input=false")
    assert logs.describe_log_groups()["logGroups"] == []
    assert logs.describe_resource_policies()["resourcePolicies"] == []
