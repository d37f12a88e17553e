"""Parameter Store as boto3 and the aws CLI see it."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.running import Cloudlet


def test_a_parameter_comes_back(cloudlet: Cloudlet) -> None:
    ssm = cloudlet.client("ssm")
    assert ssm.put_parameter(Name="/app/db/host", Value="db.local", Type="String")["Version"] == 1
    found = ssm.get_parameter(Name="/app/db/host")["Parameter"]
    assert (found["Value"], found["ARN"]) == ("db.local", "arn:aws:ssm:us-east-1:000000000000:parameter/app/db/host")
    ssm.put_parameter(Name="/app/db/host", Value="db2.local", Overwrite=True)
    ssm.label_parameter_version(Name="/app/db/host", ParameterVersion=1, Labels=["old"])
    assert ssm.get_parameter(Name="/app/db/host:old")["Parameter"]["Selector"] == ":old"
    with pytest.raises(ssm.exceptions.ParameterAlreadyExists):
        ssm.put_parameter(Name="/app/db/host", Value="x", Type="String")
    ssm.unlabel_parameter_version(Name="/app/db/host", ParameterVersion=1, Labels=["old"])
    ssm.delete_parameter(Name="/app/db/host")
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="/app/db/host")


def test_pages_of_everything(cloudlet: Cloudlet) -> None:
    ssm = cloudlet.client("ssm", region="eu-central-1")
    names = [f"/many/{number:02}" for number in range(25)]
    for name in names:
        ssm.put_parameter(Name=name, Value="v", Type="String")
    for _ in range(3):
        ssm.put_parameter(Name=names[0], Value="v", Overwrite=True)
    by_path = list(ssm.get_paginator("get_parameters_by_path").paginate(Path="/many"))
    assert [len(page["Parameters"]) for page in by_path] == [10, 10, 5]
    assert [each["Name"] for page in by_path for each in page["Parameters"]] == names
    described = list(ssm.get_paginator("describe_parameters").paginate(PaginationConfig={"PageSize": 20}))
    assert [each["Name"] for page in described for each in page["Parameters"]] == names
    history = list(ssm.get_paginator("get_parameter_history").paginate(Name=names[0], PaginationConfig={"PageSize": 3}))
    assert [each["Version"] for page in history for each in page["Parameters"]] == [1, 2, 3, 4]
    with pytest.raises(ClientError) as refused:
        ssm.describe_parameters(NextToken="x")
    assert refused.value.response["Error"]["Code"] == "InvalidNextToken"
    deleted = ssm.delete_parameters(Names=[*names[:9], "nope"])
    assert (len(deleted["DeletedParameters"]), deleted["InvalidParameters"]) == (9, ["nope"])


def test_tags(cloudlet: Cloudlet) -> None:
    ssm, where = cloudlet.client("ssm"), {"ResourceType": "Parameter", "ResourceId": "tagged"}
    ssm.put_parameter(Name="tagged", Value="v", Type="String", Tags=[{"Key": "a", "Value": "1"}])
    ssm.add_tags_to_resource(**where, Tags=[{"Key": "b", "Value": "2"}])
    ssm.remove_tags_from_resource(**where, TagKeys=["a"])
    assert ssm.list_tags_for_resource(**where)["TagList"] == [{"Key": "b", "Value": "2"}]


@pytest.mark.parametrize(("operation", "request_", "code"), [
    ("put_parameter", {"Name": "x", "Value": "v", "Type": "Text"}, "ValidationException"),
    ("put_parameter", {"Name": "x", "Value": "v", "Type": "SecureString", "KeyId": "alias/mine"}, "InvalidKeyId"),
    ("put_parameter", {"Name": "/a" * 16, "Value": "v", "Type": "String"}, "HierarchyLevelLimitExceededException"),
    ("get_parameter", {"Name": "/aws/service/ecs/optimized-ami/amazon-linux-2/recommended"}, "ParameterNotFound"),
    ("get_parameters", {"Names": [str(number) for number in range(11)]}, "ValidationException"),
    ("get_parameters_by_path", {"Path": "x"}, "ValidationException"),
    ("describe_parameters", {"ParameterFilters": [{"Key": "Colour", "Values": ["red"]}]}, "ValidationException"),
    ("list_tags_for_resource", {"ResourceType": "Document", "ResourceId": "x"}, "InvalidResourceType")])
def test_bad_input_is_the_customers_fault(cloudlet: Cloudlet, operation: str, request_: dict[str, Any],
                                          code: str) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(cloudlet.client("ssm"), operation)(**request_)
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_value_that_is_too_long_is_not_repeated(cloudlet: Cloudlet) -> None:
    with pytest.raises(ClientError) as refused:
        cloudlet.client("ssm").put_parameter(Name="long", Value="hunter2" * 1000, Type="SecureString")
    assert "hunter2" not in str(refused.value)


def test_only_whom_a_policy_lets_reads(cloudlet: Cloudlet) -> None:
    iam, ssm = cloudlet.client("iam"), cloudlet.client("ssm")
    for name in ("/mine/a", "/theirs/a"):
        ssm.put_parameter(Name=name, Value="v", Type="SecureString")
    iam.create_user(UserName="reader")
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "ssm:GetParameter*",
            "Resource": "arn:aws:ssm:us-east-1:000000000000:parameter/mine*"}]}))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    reader = cloudlet.client("ssm", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    assert reader.get_parameter(Name="/mine/a", WithDecryption=True)["Parameter"]["Value"] == "v"
    assert reader.get_parameters_by_path(Path="/mine")["Parameters"][0]["Name"] == "/mine/a"
    for refused in (lambda: reader.get_parameter(Name="/theirs/a"), lambda: reader.get_parameters_by_path(Path="/"),
                    lambda: reader.get_parameters(Names=["/mine/a", "/theirs/a"]),
                    lambda: reader.delete_parameter(Name="/mine/a"), lambda: reader.describe_parameters()):
        with pytest.raises(ClientError) as error:
            refused()
        assert error.value.response["Error"]["Code"] == "AccessDeniedException"


def test_what_was_acknowledged_survives_a_crash_sealed(cloudlet: Cloudlet) -> None:
    cloudlet.client("ssm").put_parameter(Name="/crash", Value="correct horse battery", Type="SecureString")
    cloudlet.kill()
    for path in cloudlet.data_dir.glob("cloudlet.db*"):
        assert b"correct horse" not in path.read_bytes()
    assert (cloudlet.data_dir / "seal.key").stat().st_mode & 0o077 == 0
    cloudlet.start()
    found = cloudlet.client("ssm").get_parameter(Name="/crash", WithDecryption=True)["Parameter"]
    assert found["Value"] == "correct horse battery"
    assert "correct horse" not in cloudlet.log.read_text()


def test_the_tutorials_commands(cloudlet: Cloudlet) -> None:
    cloudlet.aws("ssm", "put-parameter", "--name", "/my-app/dev/db-password", "--type", "SecureString", "--value", "pw")
    assert cloudlet.aws("ssm", "get-parameters-by-path", "--path", "/my-app", "--recursive", "--with-decryption",
                        "--query", "Parameters[].Value", "--output", "text").stdout.strip() == "pw"
    assert cloudlet.aws("ssm", "describe-parameters", "--parameter-filters",
                        "Key=Name,Option=BeginsWith,Values=/my-app", "--query", "Parameters[].Type", "--output",
                        "text").stdout.strip() == "SecureString"
