"""Terraform makes parameters and secrets, finds nothing to change, and takes them away again."""

import json

import pytest

from tests.running import Cloudlet
from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform

terraform = network.terraform  # the fixture

SECRETS = PROVIDER + """
data "aws_secretsmanager_random_password" "db" {
  password_length     = 24
  exclude_punctuation = true
}

resource "aws_ssm_parameter" "plain" {
  name            = "/app/level"
  type            = "String"
  value           = "%(level)s"
  description     = "how much is logged"
  allowed_pattern = "^(info|debug)$"
}

resource "aws_ssm_parameter" "list" {
  name  = "/app/zones"
  type  = "StringList"
  value = "a,b"
  tier  = "Intelligent-Tiering"
}

resource "aws_ssm_parameter" "secure" {
  name  = "/app/key"
  type  = "SecureString"
  value = "hunter2"
}

resource "aws_secretsmanager_secret" "db" {
  name_prefix             = "db-"
  description             = "the database's"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "db" {
  secret_id     = aws_secretsmanager_secret.db.id
  secret_string = jsonencode({ user = "admin", level = "%(level)s" })
}

resource "aws_secretsmanager_secret" "later" {
  name                    = "later"
  recovery_window_in_days = 7
}

resource "aws_secretsmanager_secret_policy" "db" {
  secret_arn = aws_secretsmanager_secret.db.arn
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{
      Sid       = "Readers"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::000000000000:root" }
      Action    = "secretsmanager:GetSecretValue"
      Resource  = "*"
    }]
  })
}

data "aws_ssm_parameter" "region" {
  name = "/aws/service/global-infrastructure/regions/us-east-1/longName"
}

data "aws_ssm_parameters_by_path" "app" {
  path       = "/app"
  depends_on = [aws_ssm_parameter.plain, aws_ssm_parameter.list, aws_ssm_parameter.secure]
}

data "aws_secretsmanager_secret_version" "db" {
  secret_id  = aws_secretsmanager_secret.db.id
  depends_on = [aws_secretsmanager_secret_version.db]
}

output "seen" {
  value = {
    region = nonsensitive(data.aws_ssm_parameter.region.value)
    names  = sort(data.aws_ssm_parameters_by_path.app.names)
    user   = jsondecode(nonsensitive(data.aws_secretsmanager_secret_version.db.secret_string)).user
    length = length(nonsensitive(data.aws_secretsmanager_random_password.db.random_password))
  }
}
"""


@pytest.mark.slow
def test_apply_an_empty_plan_and_destroy(terraform: Terraform, cloudlet: Cloudlet) -> None:
    ssm, secrets = cloudlet.client("ssm"), cloudlet.client("secretsmanager")
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    terraform.write(SECRETS % {"level": "info"})
    terraform("init", "-input=false")
    terraform.settle()
    assert json.loads(terraform("output", "-json", "seen")) == {
        "region": "US East (N. Virginia)", "names": ["/app/key", "/app/level", "/app/zones"], "user": "admin",
        "length": 24}
    assert ssm.get_parameter(Name="/app/key", WithDecryption=True)["Parameter"]["Value"] == "hunter2"
    terraform.write(SECRETS % {"level": "debug"})
    terraform.settle()
    assert ssm.get_parameter(Name="/app/level")["Parameter"]["Version"] == 2
    terraform("destroy", "-auto-approve", "-input=false")
    assert ssm.describe_parameters()["Parameters"] == []
    assert [each["Name"] for each in secrets.list_secrets(IncludePlannedDeletion=True)["SecretList"]] == ["later"]
    assert secrets.list_secrets()["SecretList"] == []
