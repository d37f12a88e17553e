"""Terraform runs a service, finds nothing to change, rolls a change out, and takes it all away again."""

from pathlib import Path

import pytest

from tests.images import push_busybox
from tests.running import Cloudlet
from tests.tools.terraform import install

pytestmark = [pytest.mark.root, pytest.mark.engine("podman"), pytest.mark.slow]

CONFIGURATION = """
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
    ec2 = "URL"
    ecs = "URL"
    sts = "URL"
    iam = "URL"
  }
}

data "aws_vpc" "default" { default = true }
data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

resource "aws_ecs_cluster" "main" {
  name = "tf"
  setting {
    name  = "containerInsights"
    value = "disabled"
  }
  tags = { made = "here" }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
    base              = 1
  }
}

resource "aws_ecs_task_definition" "web" {
  family                   = "tf"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  tags                     = { made = "here" }
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }
  container_definitions = jsonencode([{
    name         = "web"
    image        = "IMAGE"
    stopTimeout  = 2
    portMappings = [{ containerPort = 80 }]
    environment  = [{ name = "B", value = "1" }, { name = "A", value = "VALUE" }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = "/tf"
        awslogs-region        = "us-east-1"
        awslogs-stream-prefix = "p"
        awslogs-create-group  = "true"
      }
    }
  }])
}

resource "aws_ecs_service" "web" {
  name                               = "tf"
  cluster                            = aws_ecs_cluster.main.id
  task_definition                    = aws_ecs_task_definition.web.arn
  desired_count                      = COUNT
  launch_type                        = "FARGATE"
  wait_for_steady_state              = true
  deployment_maximum_percent         = 150
  deployment_minimum_healthy_percent = 50
  propagate_tags                     = "SERVICE"
  tags                               = { made = "here" }
  network_configuration {
    subnets          = data.aws_subnets.default.ids
    assign_public_ip = true
  }
}

data "aws_ecs_service" "seen" {
  service_name = aws_ecs_service.web.name
  cluster_arn  = aws_ecs_cluster.main.arn
}
output "count" { value = data.aws_ecs_service.seen.desired_count }
"""


def configuration(cloudlet: Cloudlet, image: str, value: str, count: int) -> str:
    words = {"URL": cloudlet.url, "IMAGE": image, "VALUE": value, "COUNT": str(count)}
    text = CONFIGURATION
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text


def test_apply_an_empty_plan_a_change_and_destroy(tmp_path: Path, cloudlet: Cloudlet) -> None:
    terraform, ecs = install(tmp_path), cloudlet.client("ecs")
    image = push_busybox(cloudlet)
    terraform.write(configuration(cloudlet, image, "2", 2))
    terraform("init", "-input=false")
    terraform.settle()
    assert terraform.output("count") == 2
    terraform.write(configuration(cloudlet, image, "3", 3))
    assert "1 to change" in terraform("plan", "-detailed-exitcode", "-input=false", expect=2)
    terraform.settle()
    (service,) = ecs.describe_services(cluster="tf", services=["tf"])["services"]
    assert (service["runningCount"], service["taskDefinition"].rsplit(":", 1)[1]) == (3, "2")
    terraform("destroy", "-auto-approve", "-input=false")
    assert ecs.describe_clusters(clusters=["tf"])["clusters"][0]["status"] == "INACTIVE"
