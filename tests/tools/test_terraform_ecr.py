"""Terraform makes repositories, finds nothing to change, changes a tag, and takes them away with their images."""

import base64
from pathlib import Path

import pytest

from tests.images import Registry
from tests.running import Cloudlet
from tests.tools.terraform import Terraform, install

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
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  max_retries                 = 3
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  endpoints {
    ecr            = "%(url)s"
    secretsmanager = "%(url)s"
    sts            = "%(url)s"
  }
}

resource "aws_ecr_repository" "app" {
  name                 = "team/app"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true
  image_scanning_configuration { scan_on_push = false }
  tags = { team = "%(team)s" }
}

resource "aws_ecr_repository" "plain" { name = "plain" }

resource "aws_secretsmanager_secret" "hub" {
  name                    = "ecr-pullthroughcache/hub"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "hub" {
  secret_id     = aws_secretsmanager_secret.hub.id
  secret_string = jsonencode({ username = "ann", accessToken = "secret" })
}

resource "aws_ecr_pull_through_cache_rule" "hub" {
  ecr_repository_prefix = "hub"
  upstream_registry_url = "registry-1.docker.io"
  credential_arn        = aws_secretsmanager_secret_version.hub.arn
}

resource "aws_ecr_pull_through_cache_rule" "here" {
  ecr_repository_prefix = "here"
  upstream_registry_url = "localhost:5000"
}

data "aws_ecr_repository" "app" { name = aws_ecr_repository.app.name }
data "aws_ecr_authorization_token" "token" {}

output "uri" { value = data.aws_ecr_repository.app.repository_url }
output "user" { value = nonsensitive(data.aws_ecr_authorization_token.token.user_name) }
"""


@pytest.fixture
def terraform(tmp_path: Path) -> Terraform:
    return install(tmp_path)


@pytest.mark.slow
def test_apply_an_empty_plan_a_change_and_destroy(terraform: Terraform, cloudlet: Cloudlet) -> None:
    ecr = cloudlet.client("ecr")
    terraform.write(CONFIGURATION % {"url": cloudlet.url, "team": "blue"})
    terraform("init", "-input=false")
    terraform.settle()
    made = {one["repositoryName"]: one for one in ecr.describe_repositories()["repositories"]}
    assert set(made) == {"team/app", "plain"}
    assert terraform.output("uri") == made["team/app"]["repositoryUri"]
    assert terraform.output("user") == "AWS"
    rules = ecr.get_paginator("describe_pull_through_cache_rules").paginate(PaginationConfig={"PageSize": 1})
    assert [(rule["ecrRepositoryPrefix"], rule.get("upstreamRegistry"), "credentialArn" in rule)
            for page in rules for rule in page["pullThroughCacheRules"]] == [
        ("here", None, False), ("hub", "docker-hub", True)]
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    password = base64.b64decode(token).decode().partition(":")[2]
    Registry(cloudlet.url, password).push("team/app", "v1", [b"layer"], ["/bin/true"])
    terraform.write(CONFIGURATION % {"url": cloudlet.url, "team": "green"})
    terraform("apply", "-auto-approve", "-input=false")
    assert ecr.list_tags_for_resource(resourceArn=made["team/app"]["repositoryArn"])["tags"] == [
        {"Key": "team", "Value": "green"}]
    terraform("destroy", "-auto-approve", "-input=false")
    assert ecr.describe_repositories()["repositories"] == []
    assert ecr.describe_pull_through_cache_rules()["pullThroughCacheRules"] == []
