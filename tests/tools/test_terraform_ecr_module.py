"""Terraform makes what the common ECR module makes: a repository with policies, and the registry's own settings."""

import base64
import json

import pytest

from tests.images import Registry
from tests.running import Cloudlet
from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform

terraform = network.terraform  # the fixture

REGISTRY = PROVIDER + """
data "aws_caller_identity" "me" {}

resource "aws_iam_user" "ci" { name = "ci" }

data "aws_iam_policy_document" "repository" {
  statement {
    sid = "PrivateReadOnly"
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.me.account_id}:root"]
    }
    actions = ["ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage",
               "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer", "ecr:ListTagsForResource"]
  }
  statement {
    sid = "PrivateLambdaReadOnly"
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
    actions = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
  }
  statement {
    sid = "ReadWrite"
    principals {
      type        = "AWS"
      identifiers = [aws_iam_user.ci.arn]
    }
    actions = ["ecr:PutImage", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"]
  }
}

data "aws_ecr_lifecycle_policy_document" "app" {
  rule {
    priority    = 1
    description = "Keep the last %(kept)s releases"
    selection {
      tag_status      = "tagged"
      tag_prefix_list = ["v"]
      count_type      = "imageCountMoreThan"
      count_number    = %(kept)s
    }
  }
  rule {
    priority = 2
    selection {
      tag_status   = "untagged"
      count_type   = "sinceImagePushed"
      count_unit   = "days"
      count_number = 14
    }
    action { type = "expire" }
  }
}

resource "aws_ecr_repository" "this" {
  name                 = "module/app"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true
  encryption_configuration { encryption_type = "AES256" }
  image_scanning_configuration { scan_on_push = %(scan)s }
}

resource "aws_ecr_repository_policy" "this" {
  repository = aws_ecr_repository.this.name
  policy     = data.aws_iam_policy_document.repository.json
}

resource "aws_ecr_lifecycle_policy" "this" {
  repository = aws_ecr_repository.this.name
  policy     = data.aws_ecr_lifecycle_policy_document.app.json
}

resource "aws_ecr_registry_policy" "this" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Replication"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::123456789012:root" }
      Action    = ["ecr:ReplicateImage", "ecr:CreateRepository"]
      Resource  = ["arn:aws:ecr:us-east-1:${data.aws_caller_identity.me.account_id}:repository/*"]
    }]
  })
}

resource "aws_ecr_registry_scanning_configuration" "this" {
  scan_type = "BASIC"
  rule {
    scan_frequency = "SCAN_ON_PUSH"
    repository_filter {
      filter      = "prod-*"
      filter_type = "WILDCARD"
    }
  }
}

resource "aws_ecr_replication_configuration" "this" {
  replication_configuration {
    rule {
      destination {
        region      = "eu-west-1"
        registry_id = data.aws_caller_identity.me.account_id
      }
      repository_filter {
        filter      = "module/"
        filter_type = "PREFIX_MATCH"
      }
    }
  }
}

resource "aws_ecr_account_setting" "mounting" {
  name  = "REGISTRY_POLICY_SCOPE"
  value = "V2"
}

resource "aws_ecr_repository_creation_template" "mirror" {
  prefix               = "mirror"
  description          = "what comes from elsewhere"
  applied_for          = ["PULL_THROUGH_CACHE", "REPLICATION"]
  image_tag_mutability = "IMMUTABLE"
  lifecycle_policy     = data.aws_ecr_lifecycle_policy_document.app.json
  repository_policy    = data.aws_iam_policy_document.repository.json
  resource_tags        = { scan = "%(scan)s" }
}

data "aws_ecr_repositories" "all" { depends_on = [aws_ecr_repository.this] }
output "names" { value = sort(data.aws_ecr_repositories.all.names) }
"""

IMAGE = """
data "aws_ecr_image" "newest" {
  repository_name = aws_ecr_repository.this.name
  most_recent     = true
}
output "image" { value = [data.aws_ecr_image.newest.image_uri, data.aws_ecr_image.newest.image_tags] }
"""


@pytest.mark.slow
def test_apply_an_empty_plan_a_change_and_destroy(terraform: Terraform, cloudlet: Cloudlet) -> None:
    ecr, west = cloudlet.client("ecr"), cloudlet.client("ecr", region="eu-west-1")
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    terraform.write(REGISTRY % {"kept": 30, "scan": "true"})
    terraform("init", "-input=false")
    terraform.settle()
    assert terraform.output("names") == ["module/app"]
    rules = json.loads(ecr.get_lifecycle_policy(repositoryName="module/app")["lifecyclePolicyText"])["rules"]
    assert [rule["selection"]["countNumber"] for rule in rules] == [30, 14]
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    password = base64.b64decode(token).decode().partition(":")[2]
    digest = Registry(cloudlet.url, password).push("module/app", "v1", [b"layer"], ["/bin/true"])
    terraform.write(REGISTRY % {"kept": 10, "scan": "false"} + IMAGE)
    terraform.settle()
    uri, tags = terraform.output("image")
    assert (uri.rpartition("@")[2], tags) == (digest, ["v1"])
    assert west.describe_images(repositoryName="module/app")["imageDetails"][0]["imageDigest"] == digest
    (template,) = ecr.describe_repository_creation_templates()["repositoryCreationTemplates"]
    assert template["resourceTags"] == [{"Key": "scan", "Value": "false"}]
    terraform("destroy", "-auto-approve", "-input=false")
    assert ecr.describe_repositories()["repositories"] == []
    assert ecr.describe_registry()["replicationConfiguration"]["rules"] == []
    with pytest.raises(ecr.exceptions.RegistryPolicyNotFoundException):
        ecr.get_registry_policy()
