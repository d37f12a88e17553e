"""Secrets in task definitions: what they may refer to, and the role they need."""

from typing import Any

import pytest

from cloudlet.services.ecs.definition_rules import normalized
from tests.services.ecs.test_definition_rules import refusal, request

ROLE = "arn:aws:iam::123456789012:role/execution"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf"


def secret(reference: str, name: str = "A") -> dict[str, Any]:
    return {"secrets": [{"name": name, "valueFrom": reference}]}


@pytest.mark.parametrize(("reference", "store"), [
    (SECRET, "asm"), (f"{SECRET}:user:AWSCURRENT:", "asm"), ("/app/password", "ssm"), ("plain:2", "ssm"),
    ("arn:aws:ssm:us-east-1:123456789012:parameter/app/password", "ssm")])
def test_what_is_given_is_shown(reference: str, store: str) -> None:
    document = normalized(request(secret(reference), executionRoleArn=ROLE))
    assert document["containerDefinitions"][0]["secrets"] == [{"name": "A", "valueFrom": reference}]
    assert {"name": f"ecs.capability.secrets.{store}.environment-variables"} in document["requiresAttributes"]


def test_registry_credentials_are_shown() -> None:
    given = {"repositoryCredentials": {"credentialsParameter": SECRET}}
    document = normalized(request(given, executionRoleArn=ROLE))
    assert document["containerDefinitions"][0]["repositoryCredentials"] == {"credentialsParameter": SECRET}


@pytest.mark.parametrize(("change", "words"), [
    (secret("arn:aws:s3:::bucket/key"), "Invalid valueFrom 'arn:aws:s3:::bucket/key'"),
    (secret("arn:aws:ssm"), "Invalid valueFrom"),
    (secret(""), "Invalid valueFrom ''"),
    (secret("b", ""), "The name of a secret must not be empty"),
    (secret("b", "A=B"), "The name of a secret must not be empty or contain '='"),
    ({"secrets": [{"name": "A", "valueFrom": "b"}] * 2}, "The secret name must be unique"),
    ({**secret("b"), "environment": [{"name": "A", "value": "x"}]},
     "not shared with any new or existing environment variables set on the container, such as 'A'."),
    ({"repositoryCredentials": {"credentialsParameter": "arn:aws:ssm:us-east-1:123456789012:parameter/x"}},
     "Invalid credentialsParameter"),
    ({"environmentFiles": [{"value": "arn:aws:s3:::b/f.env", "type": "s3"}]},
     "environmentFiles is not supported by Cloudlet yet."),
])
def test_refused(change: dict[str, Any], words: str) -> None:
    assert words in refusal(request(change, executionRoleArn=ROLE))


def test_somebody_must_read_them() -> None:
    assert refusal(request(secret("b"))) == (
        "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
    assert refusal(request({"repositoryCredentials": {"credentialsParameter": SECRET}})) == (
        "Private repository authentication requires that the task definition specify a value for executionRoleArn.")
    assert normalized(request({"secrets": []}))
