"""Terraform makes roles, policies, users and log groups, finds nothing to change, and takes them away again."""

import json

import pytest

from tests.running import Cloudlet
from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform

terraform = network.terraform  # the fixture

IDENTITY = PROVIDER + """
data "aws_caller_identity" "me" {}

data "aws_iam_policy" "execution" {
  arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "logs" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.app.arn}:*"]
  }
}

resource "aws_cloudwatch_log_group" "app" {
  name              = "/ecs/app"
  retention_in_days = 30
}

resource "aws_cloudwatch_log_stream" "app" {
  name           = "app"
  log_group_name = aws_cloudwatch_log_group.app.name
}

resource "aws_iam_role" "task" {
  name                 = "task"
  path                 = "/ecs/"
  description          = "%(description)s"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = 7200
}

resource "aws_iam_role" "prefixed" {
  name_prefix        = "app-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = [aws_iam_user.ci.arn, data.aws_caller_identity.me.account_id] }
    }]
  })
  force_detach_policies = true
}

resource "aws_iam_role_policy" "logs" {
  name   = "logs"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.logs.json
}

resource "aws_iam_policy" "logs" {
  name        = "logs"
  path        = "/ecs/"
  description = "logs"
  policy      = data.aws_iam_policy_document.logs.json
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.task.name
  policy_arn = aws_iam_policy.logs.arn
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.task.name
  policy_arn = data.aws_iam_policy.execution.arn
}

resource "aws_iam_user" "ci" {
  name          = "ci"
  path          = "/robots/"
}

resource "aws_iam_access_key" "ci" {
  user = aws_iam_user.ci.name
}

resource "aws_iam_user_policy" "ci" {
  user   = aws_iam_user.ci.name
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "ecr:*", Resource = "*" }] })
}

resource "aws_iam_user_policy_attachment" "ci" {
  user       = aws_iam_user.ci.name
  policy_arn = aws_iam_policy.logs.arn
}

data "aws_iam_role" "task" {
  name = aws_iam_role.task.name
}

output "seen" {
  value = {
    account = data.aws_caller_identity.me.account_id
    role    = data.aws_iam_role.task.arn
    tags    = data.aws_iam_role.task.tags
  }
}
"""


def left(cloudlet: Cloudlet) -> dict[str, int]:
    """How much of what the configuration makes is there."""
    iam = cloudlet.client("iam")
    return {"roles": len(iam.list_roles()["Roles"]), "users": len(iam.list_users()["Users"]),
            "policies": len(iam.list_policies(Scope="Local")["Policies"]),
            "groups": len(cloudlet.client("logs").describe_log_groups()["logGroups"])}


@pytest.mark.slow
def test_apply_an_empty_plan_and_destroy(terraform: Terraform, cloudlet: Cloudlet) -> None:
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    terraform.write(IDENTITY % {"description": "what tasks are"})
    terraform("init", "-input=false")
    terraform.settle()
    assert json.loads(terraform("output", "-json", "seen")) == {
        "account": "000000000000", "role": "arn:aws:iam::000000000000:role/ecs/task", "tags": {"made_by": "terraform"}}
    assert left(cloudlet) == {"roles": 2, "users": 1, "policies": 1, "groups": 1}
    terraform.write(IDENTITY % {"description": "what tasks were"})
    terraform.settle()
    terraform("destroy", "-auto-approve", "-input=false")
    assert set(left(cloudlet).values()) == {0}
