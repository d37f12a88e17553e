"""Terraform runs a service as the modules that people use declare one: circuit breaker, zones, capacity, everything."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.images import push_busybox
from tests.running import Cloudlet
from tests.tools.terraform import PROVIDER, install

pytestmark = [pytest.mark.root, pytest.mark.engine("podman"), pytest.mark.slow]

CONFIGURATION = PROVIDER + """
data "aws_vpc" "default" { default = true }
data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

resource "aws_ecs_account_setting_default" "insights" {
  name  = "containerInsights"
  value = "enabled"
}

resource "aws_ecs_cluster" "main" {
  depends_on = [aws_ecs_account_setting_default.insights]
  name       = "module"
  configuration {
    execute_command_configuration {
      logging = "OVERRIDE"
      log_configuration {
        cloud_watch_log_group_name = "/aws/ecs/module"
      }
    }
  }
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
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

resource "aws_ecs_task_definition" "web" {
  family                   = "module"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions = jsonencode([{
    name        = "web"
    image       = "%(image)s"
    stopTimeout = 2
    environment = [{ name = "VALUE", value = "%(value)s" }]
  }])
}

resource "aws_ecs_service" "web" {
  name                               = "module"
  cluster                            = aws_ecs_cluster.main.arn
  task_definition                    = aws_ecs_task_definition.web.arn
  desired_count                      = 2
  availability_zone_rebalancing      = "%(balance)s"
  deployment_maximum_percent         = 200
  deployment_minimum_healthy_percent = 66
  enable_ecs_managed_tags            = true
  enable_execute_command             = false
  force_new_deployment               = true
  platform_version                   = "LATEST"
  propagate_tags                     = "SERVICE"
  scheduling_strategy                = "REPLICA"
  wait_for_steady_state              = true
  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = 1
  }
  capacity_provider_strategy {
    capacity_provider = "FARGATE_SPOT"
    weight            = 1
  }
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  deployment_controller { type = "ECS" }
  network_configuration {
    subnets          = data.aws_subnets.default.ids
    assign_public_ip = false
  }
  timeouts { create = "2m" }
  depends_on = [aws_ecs_cluster_capacity_providers.main]
}

data "aws_ecs_cluster" "seen" {
  cluster_name = aws_ecs_cluster.main.name
  depends_on   = [aws_ecs_service.web]
}
data "aws_ecs_service" "seen" {
  service_name = aws_ecs_service.web.name
  cluster_arn  = aws_ecs_cluster.main.arn
}
data "aws_ecs_task_definition" "seen" { task_definition = aws_ecs_task_definition.web.family }
output "running" { value = data.aws_ecs_cluster.seen.running_tasks_count }
output "definition" { value = data.aws_ecs_service.seen.task_definition }
"""


def test_apply_an_empty_plan_a_change_and_destroy(tmp_path: Path, cloudlet: Cloudlet) -> None:
    terraform, ecs = install(tmp_path), cloudlet.client("ecs")
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    words = {"image": push_busybox(cloudlet), "value": "1", "balance": "ENABLED"}
    terraform.write(CONFIGURATION % words)
    terraform("init", "-input=false")
    terraform.settle()
    (service,) = ecs.describe_services(cluster="module", services=["module"])["services"]
    assert (service["runningCount"], service["availabilityZoneRebalancing"]) == (2, "ENABLED")
    assert service["deploymentConfiguration"]["deploymentCircuitBreaker"]["rollback"] is True
    terraform.write(CONFIGURATION % {**words, "value": "2", "balance": "DISABLED"})
    terraform.settle()
    history = ecs.list_service_deployments(cluster="module", service="module")["serviceDeployments"]
    assert len(history) == 2
    arns = ecs.list_tasks(cluster="module", serviceName="module")["taskArns"]
    tasks = ecs.describe_tasks(cluster="module", tasks=arns, include=["TAGS"])["tasks"]
    assert {task["capacityProviderName"] for task in tasks if task["desiredStatus"] == "RUNNING"} == {
        "FARGATE", "FARGATE_SPOT"}
    assert {"key": "aws:ecs:serviceName", "value": "module"} in tasks[0]["tags"]
    assert {"key": "made_by", "value": "terraform"} in tasks[0]["tags"]
    terraform("destroy", "-auto-approve", "-input=false")
    assert ecs.describe_clusters(clusters=["module"])["clusters"][0]["status"] == "INACTIVE"
    (setting,) = ecs.list_account_settings()["settings"]
    assert (setting["name"], setting["value"]) == ("containerInsights", "disabled")


SCRIPT = """
set -eu
aws() { command "$AWS" --endpoint-url "$URL" --region us-east-1 --output text "$@"; }
register() { aws ecs register-task-definition --family deploy --network-mode awsvpc \\
  --requires-compatibilities FARGATE --cpu 256 --memory 512 --query taskDefinition.taskDefinitionArn \\
  --container-definitions "[{\\"name\\": \\"web\\", \\"image\\": \\"$IMAGE\\", \\"stopTimeout\\": 2, $1}]"; }
subnet=$(aws ec2 describe-subnets --query 'Subnets[0].SubnetId')
aws ecs create-cluster --cluster-name deploy --query cluster.status
first=$(register '"environment": []')
aws ecs create-service --cluster deploy --service-name web --task-definition "$first" --desired-count 1 \\
  --launch-type FARGATE --network-configuration "awsvpcConfiguration={subnets=[$subnet]}" \\
  --deployment-configuration 'deploymentCircuitBreaker={enable=true,rollback=true}' --query service.status
aws ecs wait services-stable --cluster deploy --services web
state() { aws ecs describe-services --cluster deploy --services web --query "services[0].deployments[0].$1"; }
until [ "$(state rolloutState)" = COMPLETED ]; do sleep 0.5; done
bad=$(register '"command": ["/bin/false"]')
deployment=$(aws ecs update-service --cluster deploy --service web --task-definition "$bad" \\
  --query service.currentServiceDeployment)
status() { aws ecs describe-service-deployments --service-deployment-arns "$deployment" \\
  --query 'serviceDeployments[0].status'; }
until [ "$(status)" = ROLLBACK_SUCCESSFUL ]; do sleep 0.5; done
aws ecs wait services-stable --cluster deploy --services web
[ "$(state taskDefinition)" = "$first" ]
task=$(aws ecs list-tasks --cluster deploy --service-name web --query 'taskArns[0]')
aws ecs wait tasks-running --cluster deploy --tasks "$task"
aws ecs delete-service --cluster deploy --service web --force --query service.status
aws ecs wait services-inactive --cluster deploy --services web
aws ecs wait tasks-stopped --cluster deploy --tasks "$task"
aws ecs delete-cluster --cluster deploy --query cluster.status
"""


def test_a_script_deploys_a_bad_version_and_gets_the_good_one_back(cloudlet: Cloudlet) -> None:
    """As people write them: register, update-service, look how it goes, wait."""
    program = Path(sys.executable).with_name("aws")
    environment = {"AWS": str(program), "URL": cloudlet.url, "IMAGE": push_busybox(cloudlet), "HOME": "/nonexistent",
                   "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["/bin/bash", "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=240,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["ACTIVE", "ACTIVE", "DRAINING", "INACTIVE"]
