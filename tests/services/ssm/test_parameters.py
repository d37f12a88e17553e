"""Parameters made, overwritten, read and deleted."""

import json
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ssm import ssm
from tests.services.desk import Desk


def put(desk: Desk, name: str, value: str = "v", **request: Any) -> Any:
    return desk(ssm, "PutParameter", Name=name, Value=value, **{"Type": "String", **request})


def get(desk: Desk, name: str, **request: Any) -> Any:
    return desk(ssm, "GetParameter", Name=name, **request)["Parameter"]


def refused(desk: Desk, operation: str, **request: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as error:
        desk(ssm, operation, **request)
    return error.value.code, error.value.message


def test_a_parameter_is_read_by_name_and_by_arn(desk: Desk) -> None:
    assert put(desk, "/app/db/host", "db.local") == {"Version": 1, "Tier": "Standard"}
    arn = "arn:aws:ssm:us-east-1:123456789012:parameter/app/db/host"
    assert get(desk, "/app/db/host") == get(desk, arn) == {
        "Name": "/app/db/host", "Type": "String", "Value": "db.local", "Version": 1, "ARN": arn, "DataType": "text",
        "LastModifiedDate": desk.clock.now()}


@pytest.mark.parametrize("name", ["plain", "/slashed"])
def test_an_arn_does_not_tell_whether_the_name_has_a_slash(desk: Desk, name: str) -> None:
    put(desk, name)
    assert get(desk, f"arn:aws:ssm:us-east-1:123456789012:parameter/{name.strip('/')}")["Name"] == name


def test_an_overwrite_keeps_what_is_not_said_again(desk: Desk) -> None:
    put(desk, "x", "one", Description="d", AllowedPattern=r"[a-z]+", Tags=[{"Key": "a", "Value": "b"}])
    assert desk(ssm, "PutParameter", Name="x", Value="two", Overwrite=True)["Version"] == 2
    described = desk(ssm, "DescribeParameters")["Parameters"][0]
    assert (described["Description"], described["AllowedPattern"], described["Version"]) == ("d", "[a-z]+", 2)
    assert desk(ssm, "ListTagsForResource", ResourceType="Parameter", ResourceId="x") == {
        "TagList": [{"Key": "a", "Value": "b"}]}
    assert [each["Value"] for each in desk(ssm, "GetParameterHistory", Name="x")["Parameters"]] == ["one", "two"]
    assert refused(desk, "PutParameter", Name="x", Value="3", Overwrite=True) == (
        "ParameterPatternMismatchException",
        "Parameter value, cannot be validated against allowedPattern: [a-z]+")


def test_versions_and_labels_are_selected_after_a_colon(desk: Desk) -> None:
    put(desk, "x", "one")
    put(desk, "x", "two", Overwrite=True)
    desk(ssm, "LabelParameterVersion", Name="x", ParameterVersion=1, Labels=["prod"])
    assert get(desk, "x")["Value"] == "two"
    assert (get(desk, "x:1")["Value"], get(desk, "x:1")["Selector"]) == ("one", ":1")
    assert (get(desk, "x:prod")["Value"], get(desk, "x:2")["Value"]) == ("one", "two")
    assert get(desk, "arn:aws:ssm:us-east-1:123456789012:parameter/x:prod")["Name"] == "x"
    assert refused(desk, "GetParameter", Name="x:3") == (
        "ParameterVersionNotFound", "Systems Manager could not find version 3 of x. Verify the version and try again.")
    assert refused(desk, "GetParameter", Name="x:gone")[0] == "ParameterVersionNotFound"
    assert refused(desk, "GetParameter", Name="x:1:2") == ("ParameterNotFound", "Parameter x:1:2 not found.")
    assert refused(desk, "GetParameter", Name="y:1") == ("ParameterNotFound", "Parameter y:1 not found.")


def test_several_are_read_and_the_rest_is_listed(desk: Desk) -> None:
    put(desk, "a", "1")
    put(desk, "b", "2")
    answer = desk(ssm, "GetParameters", Names=["b", "nope", "a", "a:7", "b"])
    assert [each["Value"] for each in answer["Parameters"]] == ["2", "1"]
    assert answer["InvalidParameters"] == ["nope", "a:7"]


def test_a_secure_string_is_read_only_with_decryption_and_stored_only_sealed(desk: Desk) -> None:
    put(desk, "/secret", "s3cr3t-höchst", Type="SecureString")
    sealed = get(desk, "/secret")["Value"]
    assert "s3cr3t" not in sealed
    assert get(desk, "/secret", WithDecryption=True)["Value"] == "s3cr3t-höchst"
    assert desk(ssm, "GetParameterHistory", Name="/secret")["Parameters"][0]["Value"] == sealed
    described = desk(ssm, "DescribeParameters")["Parameters"][0]
    assert described["KeyId"] == "alias/aws/ssm" and "Value" not in described
    with desk.store.tx() as tx:
        stored = b"".join(row[0] for row in tx.execute("select body from record"))
    assert b"s3cr3t" not in stored


@pytest.mark.parametrize(("request_", "code"), [
    ({"Type": "SecureString", "KeyId": "alias/mine"}, "InvalidKeyId"),
    ({"KeyId": "alias/aws/ssm"}, "ValidationException"),
    ({"Type": None}, "ValidationException"),
    ({"Value": ""}, "ValidationException"),
    ({"Value": "a" * 4097}, "ValidationException"),
    ({"Value": "ä" * 2049}, "ValidationException"),
    ({"Value": "a" * 8193, "Tier": "Advanced"}, "ValidationException"),
    ({"Value": "a" * 8193, "Tier": "Intelligent-Tiering"}, "ValidationException"),
    ({"DataType": "aws:ec2:image"}, "ValidationException"),
    ({"DataType": "aws:ssm:integration"}, "ValidationException"),
    ({"DataType": "Text"}, "ValidationException"),
    ({"Policies": "[]"}, "ValidationException"),
    ({"AllowedPattern": "("}, "InvalidAllowedPatternException"),
    ({"AllowedPattern": r"(a)\1"}, "InvalidAllowedPatternException"),
    ({"Overwrite": True, "Tags": [{"Key": "a", "Value": "b"}]}, "ValidationException"),
    ({"Tags": [{"Key": "aws:a", "Value": "b"}]}, "ValidationException"),
    ({"Tags": [{"Key": str(n), "Value": ""} for n in range(51)]}, "TooManyTagsError")])
def test_what_a_parameter_may_not_be(desk: Desk, request_: dict[str, Any], code: str) -> None:
    request = {name: value for name, value in {"Name": "x", "Value": "v", "Type": "String", **request_}.items()
               if value is not None}
    assert refused(desk, "PutParameter", **request)[0] == code
    assert desk(ssm, "DescribeParameters")["Parameters"] == []


@pytest.mark.parametrize(("name", "code", "words"), [
    ("aws_test", "ValidationException", 'can\'t be prefixed with "aws" or "ssm"'),
    ("SSM_TEST", "ValidationException", 'can\'t be prefixed with "aws" or "ssm"'),
    ("/ssm/x", "ValidationException", 'can\'t be prefixed with "ssm"'),
    ("/AWS/x", "AccessDeniedException", "No access to reserved parameter name: /AWS/x."),
    ("a/b", "ValidationException", "fully qualified"),
    ("//", "ValidationException", "sub-path"), ("/a/", "ValidationException", "sub-path"),
    ("a b", "ValidationException", "letters, numbers"), ("x:1", "ValidationException", "letters, numbers"),
    ("arn:aws:ssm:us-east-1:123456789012:parameter/x", "ValidationException", "qualified"),
    ("/a" * 16, "HierarchyLevelLimitExceededException", "15 levels"),
    ("/" + "a" * 1011, "ValidationException", "1011")])
def test_names_that_none_may_have(desk: Desk, name: str, code: str, words: str) -> None:
    said, message = refused(desk, "PutParameter", Name=name, Value="v", Type="String")
    assert said == code and words in message


def test_fifteen_levels_are_allowed(desk: Desk) -> None:
    put(desk, "/a" * 15)
    assert get(desk, "/a" * 15)["Value"] == "v"


def test_what_is_there_is_not_overwritten_unasked(desk: Desk) -> None:
    put(desk, "x", "one")
    assert refused(desk, "PutParameter", Name="x", Value="two", Type="String") == (
        "ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in"
        " the request to true.")
    assert get(desk, "x")["Value"] == "one"


def test_tiers(desk: Desk) -> None:
    assert put(desk, "a", "x" * 8192, Tier="Advanced")["Tier"] == "Advanced"
    assert put(desk, "b", "x" * 4097, Tier="Intelligent-Tiering")["Tier"] == "Advanced"
    assert put(desk, "c", "x" * 4096, Tier="Intelligent-Tiering")["Tier"] == "Standard"
    assert put(desk, "a", "short", Overwrite=True)["Tier"] == "Advanced"
    code, message = refused(desk, "PutParameter", Name="a", Value="v", Overwrite=True, Tier="Standard")
    assert code == "ValidationException" and "downgrade" in message


def test_a_hundred_versions_are_kept(desk: Desk) -> None:
    for number in range(101):
        put(desk, "x", str(number), Overwrite=True)
    history = desk(ssm, "GetParameterHistory", Name="x")["Parameters"]
    assert [each["Version"] for each in history] == list(range(2, 102))
    desk(ssm, "LabelParameterVersion", Name="x", ParameterVersion=2, Labels=["keep"])
    code, message = refused(desk, "PutParameter", Name="x", Value="v", Overwrite=True)
    assert code == "ParameterMaxVersionLimitExceeded" and "Version 2, the oldest version" in message
    desk(ssm, "LabelParameterVersion", Name="x", Labels=["keep"])
    assert put(desk, "x", Overwrite=True)["Version"] == 102


def test_a_deleted_parameter_is_gone_with_its_versions(desk: Desk) -> None:
    put(desk, "x", "one")
    put(desk, "x", "two", Overwrite=True)
    assert refused(desk, "DeleteParameter", Name="x:1") == ("ParameterNotFound", "Parameter x:1 not found.")
    desk(ssm, "DeleteParameter", Name="x")
    assert refused(desk, "GetParameter", Name="x") == ("ParameterNotFound", "Parameter x not found.")
    assert refused(desk, "DeleteParameter", Name="x") == ("ParameterNotFound", "Parameter x not found.")
    assert put(desk, "x", "new")["Version"] == 1
    assert refused(desk, "GetParameter", Name="x:2")[0] == "ParameterVersionNotFound"
    assert desk(ssm, "DeleteParameters", Names=["x", "y", "x"]) == {
        "DeletedParameters": ["x"], "InvalidParameters": ["y"]}
    with desk.store.tx() as tx:
        assert tx.execute("select count(*) from record where kind like 'ssm.%'").fetchone() == (0,)


def test_labels_move_and_bad_ones_are_named(desk: Desk) -> None:
    put(desk, "x")
    put(desk, "x", Overwrite=True)
    labelled = desk(ssm, "LabelParameterVersion", Name="x", ParameterVersion=1,
                    Labels=["a", "b", "1x", "awsome", "a b"])
    assert labelled == {"InvalidLabels": ["1x", "awsome", "a b"], "ParameterVersion": 1}
    assert desk(ssm, "LabelParameterVersion", Name="x", Labels=["a"])["ParameterVersion"] == 2
    history = desk(ssm, "GetParameterHistory", Name="x")["Parameters"]
    assert [each["Labels"] for each in history] == [["b"], ["a"]]
    assert desk(ssm, "UnlabelParameterVersion", Name="x", ParameterVersion=2, Labels=["a", "b"]) == {
        "RemovedLabels": ["a"], "InvalidLabels": ["b"]}
    assert refused(desk, "LabelParameterVersion", Name="x", ParameterVersion=9, Labels=["a"])[0] == (
        "ParameterVersionNotFound")
    desk(ssm, "LabelParameterVersion", Name="x", Labels=[f"l{n}" for n in range(10)])
    assert refused(desk, "LabelParameterVersion", Name="x", Labels=["more"])[0] == "ParameterVersionLabelLimitExceeded"
    assert refused(desk, "LabelParameterVersion", Name="x", Labels=["l" * 101])[0] == "ValidationException"


def test_tags(desk: Desk) -> None:
    put(desk, "x")
    where = {"ResourceType": "Parameter", "ResourceId": "x"}
    desk(ssm, "AddTagsToResource", **where, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    desk(ssm, "AddTagsToResource", **where, Tags=[{"Key": "a", "Value": "3"}])
    desk(ssm, "RemoveTagsFromResource", **where, TagKeys=["b", "c"])
    assert desk(ssm, "ListTagsForResource", **where)["TagList"] == [{"Key": "a", "Value": "3"}]
    assert refused(desk, "ListTagsForResource", ResourceType="Document", ResourceId="x")[0] == "InvalidResourceType"
    assert refused(desk, "ListTagsForResource", ResourceType="Parameter", ResourceId="y")[0] == "InvalidResourceId"


def test_accounts_and_regions_have_parameters_of_their_own(desk: Desk) -> None:
    put(desk, "x")
    with pytest.raises(AwsError):
        desk(ssm, "GetParameter", Name="x", region="eu-west-1")
    assert desk(ssm, "DescribeParameters", region="eu-west-1")["Parameters"] == []


@pytest.mark.parametrize("document", [{"key": "value"}])
def test_json_is_only_text(desk: Desk, document: dict[str, str]) -> None:
    put(desk, "x", json.dumps(document))
    assert json.loads(get(desk, "x")["Value"]) == document
