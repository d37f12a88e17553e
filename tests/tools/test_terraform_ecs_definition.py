"""Terraform registers a task definition that says everything it can, and finds nothing to change."""

import pytest

from tests.images import push_busybox
from tests.running import Cloudlet
from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform

terraform = network.terraform  # the fixture

DEFINITION = PROVIDER + """
resource "aws_iam_role" "task" {
  for_each = toset(["execution", "app"])
  name     = "ecs-${each.key}"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{
    Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" } }] })
}

resource "aws_ssm_parameter" "key" {
  name  = "/definition/key"
  type  = "SecureString"
  value = "hunter2"
}

resource "aws_secretsmanager_secret" "registry" { name = "registry" }

resource "aws_ecs_task_definition" "all" {
  family                   = "all"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = "512"
  memory                   = "1024"
  execution_role_arn       = aws_iam_role.task["execution"].arn
  task_role_arn            = aws_iam_role.task["app"].arn
  ephemeral_storage { size_in_gib = 30 }
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }
  volume { name = "data" }
  volume { name = "cache" }
  container_definitions = jsonencode([
    {
      name         = "web"
      image        = "%(image)s"
      essential    = true
      cpu          = 128
      memory       = 512
      entryPoint   = ["/bin/sh", "-c"]
      command      = ["sleep 1000"]
      user         = "1000:1000"
      dockerLabels = { team = "blue" }
      portMappings = [{ containerPort = 80, protocol = "tcp" }]
      environment  = [{ name = "A", value = "1" }]
      secrets      = [{ name = "KEY", valueFrom = aws_ssm_parameter.key.arn }]
      mountPoints  = [{ sourceVolume = "data", containerPath = "/data", readOnly = false },
                      { sourceVolume = "cache", containerPath = "/cache" }]
      volumesFrom  = [{ sourceContainer = "agent", readOnly = true }]
      dependsOn    = [{ containerName = "agent", condition = "START" }]
      ulimits      = [{ name = "nofile", softLimit = 1024, hardLimit = 4096 }]
      stopTimeout  = 30
      readonlyRootFilesystem = true
      healthCheck = { command = ["CMD-SHELL", "true"], interval = 30, timeout = 5, retries = 3, startPeriod = 10 }
      linuxParameters = { initProcessEnabled = true, capabilities = { drop = ["NET_RAW"] } }
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group             = "/all"
          awslogs-region            = "us-east-1"
          awslogs-stream-prefix     = "p"
          awslogs-create-group      = "true"
          awslogs-multiline-pattern = "^\\\\[[0-9]{4}"
          mode                      = "non-blocking"
          max-buffer-size           = "25m"
        }
      }
    },
    {
      name      = "agent"
      image     = "%(image)s"
      essential = false
      restartPolicy = { enabled = true, ignoredExitCodes = [0], restartAttemptPeriod = 60 }
      repositoryCredentials = { credentialsParameter = aws_secretsmanager_secret.registry.arn }
      logConfiguration = { logDriver = "json-file" }
    }
  ])
}
"""


@pytest.mark.slow
def test_apply_an_empty_plan_and_destroy(terraform: Terraform, cloudlet: Cloudlet) -> None:
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    terraform.write(DEFINITION % {"image": push_busybox(cloudlet)})
    terraform("init", "-input=false")
    terraform.settle()
    ecs = cloudlet.client("ecs")
    shown = ecs.describe_task_definition(taskDefinition="all")["taskDefinition"]
    assert shown["ephemeralStorage"] == {"sizeInGiB": 30}
    assert shown["runtimePlatform"] == {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"}
    web, _ = shown["containerDefinitions"]
    assert web["dockerLabels"] == {"team": "blue"}
    assert web["logConfiguration"]["options"]["awslogs-multiline-pattern"] == r"^\[[0-9]{4}"
    terraform("destroy", "-auto-approve", "-input=false")
    assert ecs.list_task_definitions(familyPrefix="all")["taskDefinitionArns"] == []
