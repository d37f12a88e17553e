"""Secrets Manager as boto3 and the aws CLI see it."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.running import Cloudlet


def test_a_secret_comes_back(cloudlet: Cloudlet) -> None:
    client = cloudlet.client("secretsmanager")
    made = client.create_secret(Name="app/db", SecretString='{"user":"admin"}', Tags=[{"Key": "a", "Value": "b"}])
    assert client.get_secret_value(SecretId=made["ARN"][:-7])["SecretString"] == '{"user":"admin"}'
    put = client.put_secret_value(SecretId="app/db", SecretBinary=b"\0\1")
    assert client.get_secret_value(SecretId="app/db")["SecretBinary"] == b"\0\1"
    assert client.describe_secret(SecretId="app/db")["VersionIdsToStages"] == {
        made["VersionId"]: ["AWSPREVIOUS"], put["VersionId"]: ["AWSCURRENT"]}
    client.update_secret_version_stage(SecretId="app/db", VersionStage="AWSCURRENT", MoveToVersionId=made["VersionId"],
                                       RemoveFromVersionId=put["VersionId"])
    client.update_secret(SecretId="app/db", Description="d")
    versions = client.list_secret_version_ids(SecretId="app/db")["Versions"]
    assert {each["VersionId"]: each["VersionStages"] for each in versions} == {
        made["VersionId"]: ["AWSCURRENT"], put["VersionId"]: ["AWSPREVIOUS"]}
    client.tag_resource(SecretId="app/db", Tags=[{"Key": "c", "Value": "d"}])
    client.untag_resource(SecretId="app/db", TagKeys=["a"])
    assert client.describe_secret(SecretId="app/db")["Tags"] == [{"Key": "c", "Value": "d"}]
    assert client.batch_get_secret_value(SecretIdList=["app/db"])["SecretValues"][0]["Name"] == "app/db"


def test_a_repeated_request_makes_one_version(cloudlet: Cloudlet) -> None:
    client, token = cloudlet.client("secretsmanager"), "t" * 36
    first = client.create_secret(Name="once", SecretString="v", ClientRequestToken=token)
    assert client.create_secret(Name="once", SecretString="v", ClientRequestToken=token)["ARN"] == first["ARN"]
    with pytest.raises(client.exceptions.ResourceExistsException):
        client.put_secret_value(SecretId="once", SecretString="w", ClientRequestToken=token)
    with pytest.raises(client.exceptions.ResourceExistsException):
        client.create_secret(Name="once", SecretString="v")


def test_deleting_and_restoring(cloudlet: Cloudlet) -> None:
    client = cloudlet.client("secretsmanager")
    client.create_secret(Name="gone", SecretString="v")
    client.delete_secret(SecretId="gone")
    with pytest.raises(client.exceptions.InvalidRequestException):
        client.get_secret_value(SecretId="gone")
    client.restore_secret(SecretId="gone")
    client.delete_secret(SecretId="gone", ForceDeleteWithoutRecovery=True)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_secret(SecretId="gone")


def test_pages(cloudlet: Cloudlet) -> None:
    client = cloudlet.client("secretsmanager", region="eu-central-1")
    for number in range(5):
        client.create_secret(Name=f"many/{number}", SecretString="v")
    pages = list(client.get_paginator("list_secrets").paginate(
        SortBy="name", SortOrder="asc", PaginationConfig={"PageSize": 2}))
    assert [[each["Name"] for each in page["SecretList"]] for page in pages] == [
        ["many/0", "many/1"], ["many/2", "many/3"], ["many/4"]]


def test_policies_of_secrets(cloudlet: Cloudlet) -> None:
    iam, client = cloudlet.client("iam"), cloudlet.client("secretsmanager")
    arn = client.create_secret(Name="shared", SecretString="v")["ARN"]
    user = iam.create_user(UserName="guest")["User"]
    key = iam.create_access_key(UserName="guest")["AccessKey"]
    guest = cloudlet.client("secretsmanager", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    with pytest.raises(ClientError) as refused:
        guest.get_secret_value(SecretId="shared")
    assert refused.value.response["Error"] == {"Code": "AccessDeniedException", "Message": (
        "User: arn:aws:iam::000000000000:user/guest is not authorized to perform: secretsmanager:GetSecretValue on"
        f" resource: {arn} because no identity-based policy allows the secretsmanager:GetSecretValue action")}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": user["Arn"]}, "Action": "secretsmanager:GetSecretValue",
        "Resource": "*"}]})
    assert client.validate_resource_policy(ResourcePolicy=policy)["PolicyValidationPassed"]
    client.put_resource_policy(SecretId="shared", ResourcePolicy=policy)
    assert guest.get_secret_value(SecretId="shared")["SecretString"] == "v"
    assert client.get_resource_policy(SecretId=arn)["ResourcePolicy"] == policy
    client.delete_resource_policy(SecretId="shared")
    with pytest.raises(ClientError):
        guest.get_secret_value(SecretId="shared")


def test_a_value_that_is_too_long_is_not_repeated(cloudlet: Cloudlet) -> None:
    client = cloudlet.client("secretsmanager")
    with pytest.raises(ClientError, match="Value at 'secretString' failed to satisfy constraint") as refused:
        client.create_secret(Name="long", SecretString="hunter2" * 10_000)
    assert "hunter2" not in str(refused.value)


def test_random_passwords(cloudlet: Cloudlet) -> None:
    client = cloudlet.client("secretsmanager")
    assert len(client.get_random_password(PasswordLength=20)["RandomPassword"]) == 20


@pytest.mark.parametrize(("operation", "request_", "code", "status"), [
    ("create_secret", {"Name": "a b"}, "ValidationException", 400),
    ("create_secret", {"Name": "x", "KmsKeyId": "alias/mine"}, "InvalidParameterException", 400),
    ("get_secret_value", {"SecretId": "ghost"}, "ResourceNotFoundException", 400),
    ("list_secrets", {"Filters": [{"Key": "colour", "Values": ["red"]}]}, "ValidationException", 400),
    ("list_secrets", {"NextToken": "x"}, "InvalidNextTokenException", 400),
    ("put_resource_policy", {"SecretId": "x", "ResourcePolicy": "{"}, "ResourceNotFoundException", 400),
    ("rotate_secret", {"SecretId": "x"}, "NotImplemented", 501),
    ("replicate_secret_to_regions", {"SecretId": "x", "AddReplicaRegions": [{"Region": "eu-west-1"}]},
     "NotImplemented", 501)])
def test_bad_input_is_the_customers_fault(cloudlet: Cloudlet, operation: str, request_: dict[str, Any], code: str,
                                          status: int) -> None:
    client = cloudlet.client("secretsmanager")
    with pytest.raises(ClientError) as refused:
        getattr(client, operation)(**request_)
    answer = refused.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def test_what_was_acknowledged_survives_a_crash_sealed(cloudlet: Cloudlet) -> None:
    cloudlet.client("secretsmanager").create_secret(Name="crash", SecretString="correct horse battery")
    cloudlet.kill()
    for path in cloudlet.data_dir.glob("cloudlet.db*"):
        assert b"correct horse" not in path.read_bytes()
    cloudlet.start()
    client = cloudlet.client("secretsmanager")
    assert client.get_secret_value(SecretId="crash")["SecretString"] == "correct horse battery"
    assert "correct horse" not in cloudlet.log.read_text()


def test_the_tutorials_commands(cloudlet: Cloudlet) -> None:
    cloudlet.aws("secretsmanager", "create-secret", "--name", "MyTestSecret", "--description", "My test secret",
                 "--secret-string", '{"user":"diegor","password":"EXAMPLE-PASSWORD"}')
    read = cloudlet.aws("secretsmanager", "get-secret-value", "--secret-id", "MyTestSecret", "--query", "SecretString",
                        "--output", "text").stdout
    assert json.loads(read) == {"user": "diegor", "password": "EXAMPLE-PASSWORD"}
    cloudlet.aws("secretsmanager", "delete-secret", "--secret-id", "MyTestSecret", "--recovery-window-in-days", "7")
    cloudlet.aws("secretsmanager", "restore-secret", "--secret-id", "MyTestSecret")
