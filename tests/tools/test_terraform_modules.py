"""What the well-known Terraform modules for registries, containers and identities declare by default, all in one plan.

The resources are those of terraform-aws-modules' ecr (2.x), ecs (5.x: cluster and service) and iam (5.x), with the
values that the modules fill in; written out, since no module registry is asked here.
"""

from pathlib import Path

import pytest

from tests.images import busybox_layer, login
from tests.running import Cloudlet
from tests.tools.terraform import install

pytestmark = [pytest.mark.root, pytest.mark.engine("podman"), pytest.mark.slow]

PROVIDER = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.0"
    }
  }
}

provider "aws" {
  region     = "us-east-1"
  access_key = "test"
  secret_key = "test"
  endpoints {
    ec2            = "%(url)s"
    ecr            = "%(url)s"
    ecs            = "%(url)s"
    iam            = "%(url)s"
    logs           = "%(url)s"
    secretsmanager = "%(url)s"
    ssm            = "%(url)s"
    sts            = "%(url)s"
  }
  default_tags {
    tags = { Environment = "%(environment)s", Terraform = "true" }
  }
}

data "aws_region" "current" {}
data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}
locals { account = data.aws_caller_identity.current.account_id }
"""

REGISTRY = """
resource "aws_ecr_repository" "this" {
  name                 = "team/app"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true
  encryption_configuration { encryption_type = "AES256" }
  image_scanning_configuration { scan_on_push = true }
}

data "aws_iam_policy_document" "repository" {
  statement {
    sid = "PrivateReadOnly"
    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${local.account}:root"]
    }
    actions = ["ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage",
      "ecr:DescribeImageScanFindings", "ecr:DescribeImages", "ecr:DescribeRepositories",
      "ecr:GetDownloadUrlForLayer", "ecr:GetLifecyclePolicy", "ecr:GetLifecyclePolicyPreview",
      "ecr:GetRepositoryPolicy", "ecr:ListImages", "ecr:ListTagsForResource"]
  }
  statement {
    sid = "ReadWrite"
    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.assumable.arn]
    }
    actions = ["ecr:PutImage", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"]
  }
}

resource "aws_ecr_repository_policy" "this" {
  repository = aws_ecr_repository.this.name
  policy     = data.aws_iam_policy_document.repository.json
}

resource "aws_ecr_lifecycle_policy" "this" {
  repository = aws_ecr_repository.this.name
  policy = jsonencode({ rules = [{
    rulePriority = 1
    description  = "Keep last 30 images"
    selection = { tagStatus = "tagged", tagPrefixList = ["v"], countType = "imageCountMoreThan", countNumber = 30 }
    action = { type = "expire" }
  }] })
}
"""

IDENTITY = """
data "aws_iam_policy_document" "assumable" {
  statement {
    sid     = "AssumeRole"
    effect  = "Allow"
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }
}

resource "aws_iam_role" "assumable" {
  name                  = "poweruser"
  path                  = "/"
  max_session_duration  = 3600
  description           = ""
  force_detach_policies = false
  assume_role_policy    = data.aws_iam_policy_document.assumable.json
}

resource "aws_iam_role_policy_attachment" "assumable" {
  role       = aws_iam_role.assumable.name
  policy_arn = "arn:aws:iam::aws:policy/PowerUserAccess"
}

resource "aws_iam_openid_connect_provider" "github" {
  url             = "https://token.actions.githubusercontent.com"
  client_id_list  = ["sts.amazonaws.com"]
  thumbprint_list = ["6938fd4d98bab03faadb97b34396831e3780aea1"]
}

data "aws_iam_policy_document" "github" {
  statement {
    sid     = "GithubOidcAuth"
    actions = ["sts:TagSession", "sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.github.arn]
    }
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "token.actions.githubusercontent.com:iss"
      values   = ["http://token.actions.githubusercontent.com"]
    }
    condition {
      test     = "StringLike"
      variable = "token.actions.githubusercontent.com:sub"
      values   = ["repo:team/app:*"]
    }
  }
}

resource "aws_iam_role" "github" {
  name_prefix        = "github-"
  assume_role_policy = data.aws_iam_policy_document.github.json
}

resource "aws_iam_policy" "list" {
  name        = "list"
  path        = "/"
  description = "IAM Policy"
  policy      = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["ecr:DescribeRepositories"], Resource = "*" }]
  })
}

resource "aws_iam_user" "this" {
  name          = "deployer"
  path          = "/"
  force_destroy = true
}

resource "aws_iam_access_key" "this" { user = aws_iam_user.this.name }

resource "aws_iam_user_login_profile" "this" {
  user                    = aws_iam_user.this.name
  password_length         = 20
  password_reset_required = false
}

resource "aws_iam_group" "this" {
  name = "deployers"
  path = "/"
}

resource "aws_iam_group_membership" "this" {
  name  = "deployers"
  group = aws_iam_group.this.id
  users = [aws_iam_user.this.name]
}

resource "aws_iam_group_policy_attachment" "this" {
  group      = aws_iam_group.this.name
  policy_arn = aws_iam_policy.list.arn
}

resource "aws_iam_account_password_policy" "this" {
  minimum_password_length        = 8
  require_lowercase_characters   = true
  require_numbers                = true
  require_uppercase_characters   = true
  require_symbols                = true
  allow_users_to_change_password = true
}
"""

CONTAINERS = """
resource "aws_cloudwatch_log_group" "cluster" {
  name              = "/aws/ecs/main"
  retention_in_days = 90
}

resource "aws_ecs_cluster" "this" {
  name = "main"
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
  configuration {
    execute_command_configuration {
      logging = "OVERRIDE"
      log_configuration { cloud_watch_log_group_name = aws_cloudwatch_log_group.cluster.name }
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = 50
  }
  default_capacity_provider_strategy {
    capacity_provider = "FARGATE_SPOT"
    weight            = 50
  }
}

data "aws_iam_policy_document" "execution_assume" {
  statement {
    sid     = "ECSTaskExecutionAssumeRole"
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "execution" {
  name_prefix           = "app-"
  description           = "Task execution role for app"
  assume_role_policy    = data.aws_iam_policy_document.execution_assume.json
  force_detach_policies = true
}

resource "aws_ssm_parameter" "greeting" {
  name  = "/app/greeting"
  type  = "SecureString"
  value = "hello"
}

resource "aws_secretsmanager_secret" "password" {
  name                    = "app/password"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "password" {
  secret_id     = aws_secretsmanager_secret.password.id
  secret_string = jsonencode({ user = "app", password = "s3cret" })
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["*"]
  }
  statement {
    sid = "ECR"
    actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken",
      "ecr:GetDownloadUrlForLayer"]
    resources = ["*"]
  }
  statement {
    sid       = "GetSSMParams"
    actions   = ["ssm:GetParameters"]
    resources = [aws_ssm_parameter.greeting.arn]
  }
  statement {
    sid       = "GetSecrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.password.arn]
  }
}

resource "aws_iam_policy" "execution" {
  name_prefix = "app-"
  description = "Task execution role IAM policy"
  policy      = data.aws_iam_policy_document.execution.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = aws_iam_policy.execution.arn
}

data "aws_iam_policy_document" "tasks_assume" {
  statement {
    sid     = "ECSTasksAssumeRole"
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:ecs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "tasks" {
  name_prefix           = "app-"
  description           = "Tasks IAM role"
  assume_role_policy    = data.aws_iam_policy_document.tasks_assume.json
  force_detach_policies = true
}

resource "aws_cloudwatch_log_group" "container" {
  name              = "/aws/ecs/app/web"
  retention_in_days = 30
}

resource "aws_ecs_task_definition" "this" {
  family                   = "app"
  cpu                      = 1024
  memory                   = 2048
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.tasks.arn
  skip_destroy             = false
  runtime_platform {
    cpu_architecture        = "X86_64"
    operating_system_family = "LINUX"
  }
  container_definitions = jsonencode([{
    name                   = "web"
    image                  = "${aws_ecr_repository.this.repository_url}:v1"
    cpu                    = 512
    memory                 = 1024
    essential              = true
    interactive            = false
    privileged             = false
    pseudoTerminal         = false
    readonlyRootFilesystem = true
    startTimeout           = 30
    stopTimeout            = 2
    user                   = "0"
    environment            = [{ name = "ENVIRONMENT", value = "%(environment)s" }]
    secrets = [
      { name = "GREETING", valueFrom = aws_ssm_parameter.greeting.arn },
      { name = "PASSWORD", valueFrom = "${aws_secretsmanager_secret.password.arn}:password::" },
    ]
    healthCheck = {
      command  = ["CMD-SHELL", "test \\"$PASSWORD\\" = s3cret || exit 1"]
      interval = 5
      retries  = 2
      timeout  = 2
    }
    linuxParameters = { initProcessEnabled = false }
    mountPoints     = []
    volumesFrom     = []
    portMappings    = [{ name = "web", containerPort = 80, hostPort = 80, protocol = "tcp" }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-region        = data.aws_region.current.name
        awslogs-group         = aws_cloudwatch_log_group.container.name
        awslogs-stream-prefix = "ecs"
      }
    }
  }])
}

data "aws_vpc" "default" { default = true }
data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

resource "aws_security_group" "this" {
  name_prefix = "app-"
  vpc_id      = data.aws_vpc.default.id
  lifecycle { create_before_destroy = true }
}

resource "aws_security_group_rule" "egress" {
  type              = "egress"
  security_group_id = aws_security_group.this.id
  from_port         = 0
  to_port           = 0
  protocol          = "-1"
  cidr_blocks       = ["0.0.0.0/0"]
}

resource "aws_ecs_service" "this" {
  name                               = "app"
  cluster                            = aws_ecs_cluster.this.arn
  task_definition                    = aws_ecs_task_definition.this.arn
  desired_count                      = 1
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  scheduling_strategy                = "REPLICA"
  deployment_maximum_percent         = 200
  deployment_minimum_healthy_percent = 66
  enable_ecs_managed_tags            = true
  enable_execute_command             = false
  force_new_deployment               = true
  propagate_tags                     = "TASK_DEFINITION"
  wait_for_steady_state              = true
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  deployment_controller { type = "ECS" }
  network_configuration {
    assign_public_ip = false
    security_groups  = [aws_security_group.this.id]
    subnets          = data.aws_subnets.default.ids
  }
  triggers = {}
  depends_on = [aws_iam_role_policy_attachment.execution]
}
"""


def test_apply_an_empty_plan_a_change_and_destroy(tmp_path: Path, cloudlet: Cloudlet) -> None:
    terraform, ecs, ecr = install(tmp_path), cloudlet.client("ecs"), cloudlet.client("ecr")
    words = {"url": cloudlet.url, "environment": "dev"}
    terraform.write((PROVIDER + REGISTRY + IDENTITY) % words)
    terraform("init", "-input=false")
    terraform.settle()
    login(cloudlet).push("team/app", "v1", [busybox_layer()], ["/bin/sleep", "1000"])
    everything = PROVIDER + REGISTRY + IDENTITY + CONTAINERS
    terraform.write(everything % words)
    terraform.settle()
    terraform.write(everything % {**words, "environment": "live"})
    terraform.settle()
    (task,) = ecs.describe_tasks(cluster="main", tasks=ecs.list_tasks(cluster="main")["taskArns"],
                                 include=["TAGS"])["tasks"]
    assert (task["lastStatus"], task["healthStatus"]) == ("RUNNING", "HEALTHY")
    assert {"key": "Environment", "value": "live"} in task["tags"]
    terraform("destroy", "-auto-approve", "-input=false")
    assert ecr.describe_repositories()["repositories"] == []
    assert ecs.describe_clusters(clusters=["main"])["clusters"][0]["status"] == "INACTIVE"
    assert cloudlet.client("iam").list_users()["Users"] == []
