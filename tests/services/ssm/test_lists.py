"""Hierarchies, filters and AWS's public parameters."""

from collections.abc import Iterator
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services import ssm as door
from cloudlet.services.ssm import PublicParameter, public, read_value, ssm
from tests.services.desk import ACCOUNT, Desk

NAMES = ["/app/db/host", "/app/db/password", "/app/name", "/apple", "/web/name", "plain"]


@pytest.fixture
def desk(desk: Desk) -> Desk:
    for name in NAMES:
        kind = "SecureString" if name.endswith("password") else "String"
        desk(ssm, "PutParameter", Name=name, Value=f"value of {name}", Type=kind)
    return desk


def by_path(desk: Desk, path: str, **request: Any) -> list[str]:
    return [each["Name"] for each in desk(ssm, "GetParametersByPath", Path=path, **request)["Parameters"]]


def listed(desk: Desk, *filters: dict[str, Any]) -> list[str]:
    answer = desk(ssm, "DescribeParameters", ParameterFilters=list(filters))
    return [each["Name"] for each in answer["Parameters"]]


@pytest.mark.parametrize(("path", "recursive", "names"), [
    ("/app", False, ["/app/name"]), ("/app/", False, ["/app/name"]), ("/app", True, NAMES[:3]),
    ("/app/db", False, NAMES[:2]), ("/app/name", True, []), ("/", False, ["/apple", "plain"]), ("/", True, NAMES),
    ("/nope", True, [])])
def test_a_hierarchy_is_read_by_level_or_whole(desk: Desk, path: str, recursive: bool, names: list[str]) -> None:
    assert by_path(desk, path, Recursive=recursive) == names


def test_a_hierarchy_is_filtered(desk: Desk) -> None:
    assert by_path(desk, "/", Recursive=True, ParameterFilters=[{"Key": "Type", "Values": ["SecureString"]}]) == [
        "/app/db/password"]
    desk(ssm, "LabelParameterVersion", Name="/apple", Labels=["prod"])
    desk(ssm, "PutParameter", Name="/apple", Value="newer", Overwrite=True)
    labelled = desk(ssm, "GetParametersByPath", Path="/", ParameterFilters=[{"Key": "Label", "Values": ["prod"]}])
    assert [(each["Name"], each["Version"]) for each in labelled["Parameters"]] == [("/apple", 1)]
    with pytest.raises(AwsError, match="Valid filter keys include: \\[Type, KeyId, Label\\]"):
        by_path(desk, "/", ParameterFilters=[{"Key": "Name", "Values": ["x"]}])


def test_a_hierarchy_is_decrypted_when_asked(desk: Desk) -> None:
    plain = desk(ssm, "GetParametersByPath", Path="/app/db", WithDecryption=True)["Parameters"][1]["Value"]
    sealed = desk(ssm, "GetParametersByPath", Path="/app/db")["Parameters"][1]["Value"]
    assert plain == "value of /app/db/password" and "value" not in sealed


@pytest.mark.parametrize("path", ["app", "//", "/a b", "", "/a//b"])
def test_what_is_no_path(desk: Desk, path: str) -> None:
    with pytest.raises(AwsError, match="must begin with a forward slash"):
        by_path(desk, path)


@pytest.mark.parametrize(("one", "names"), [
    ({"Key": "Name", "Values": ["apple"]}, ["/apple"]),
    ({"Key": "Name", "Option": "BeginsWith", "Values": ["/app/", "pl"]}, [*NAMES[:3], "plain"]),
    ({"Key": "Name", "Option": "Contains", "Values": ["name"]}, ["/app/name", "/web/name"]),
    ({"Key": "Path", "Values": ["/app"]}, ["/app/name"]),
    ({"Key": "Path", "Option": "Recursive", "Values": ["/app", "/web/"]}, [*NAMES[:3], "/web/name"]),
    ({"Key": "Type", "Values": ["SecureString"]}, ["/app/db/password"]),
    ({"Key": "KeyId", "Option": "BeginsWith", "Values": ["alias/"]}, ["/app/db/password"]),
    ({"Key": "Tier", "Values": ["Advanced"]}, []),
    ({"Key": "DataType", "Values": ["text"]}, NAMES),
    ({"Key": "tag:team", "Values": ["a"]}, ["/apple"]), ({"Key": "tag:team"}, ["/apple", "plain"]),
    ({"Key": "tag:team", "Option": "BeginsWith", "Values": ["b"]}, ["plain"])])
def test_parameters_are_listed_by_filters(desk: Desk, one: dict[str, Any], names: list[str]) -> None:
    for name, team in (("/apple", "a"), ("plain", "bb")):
        desk(ssm, "AddTagsToResource", ResourceType="Parameter", ResourceId=name,
             Tags=[{"Key": "team", "Value": team}])
    assert listed(desk, one) == names


def test_all_filters_must_be_met(desk: Desk) -> None:
    assert listed(desk, {"Key": "Name", "Option": "Contains", "Values": ["name"]},
                  {"Key": "Path", "Values": ["/web"]}) == ["/web/name"]


def test_the_older_filters(desk: Desk) -> None:
    answer = desk(ssm, "DescribeParameters", Filters=[{"Key": "Name", "Values": ["/app"]}])
    assert [each["Name"] for each in answer["Parameters"]] == NAMES[:4]
    with pytest.raises(AwsError, match="either Filters or ParameterFilters"):
        desk(ssm, "DescribeParameters", Filters=[{"Key": "Name", "Values": ["x"]}],
             ParameterFilters=[{"Key": "Name", "Values": ["x"]}])


@pytest.mark.parametrize(("filters", "code", "words"), [
    ([{"Key": "Label", "Values": ["x"]}], "InvalidFilterKey", "not valid: Label"),
    ([{"Key": "Name"}], "InvalidFilterValue", "missing : null for filter key Name"),
    ([{"Key": "Name", "Values": ["a"]}, {"Key": "Name", "Values": ["b"]}], "InvalidFilterKey", "duplicated"),
    ([{"Key": "Path", "Option": "Equals", "Values": ["/a"]}], "InvalidFilterOption", "[Recursive, OneLevel]"),
    ([{"Key": "Path", "Values": ["/aws/x"]}], "ValidationException", "common parameters"),
    ([{"Key": "Path", "Values": ["a"]}], "ValidationException", "must begin with"),
    ([{"Key": "Tier", "Values": ["Cheap"]}], "InvalidFilterOption", "[Standard, Advanced, Intelligent-Tiering]"),
    ([{"Key": "Name", "Option": "Like", "Values": ["a"]}], "InvalidFilterOption", "[BeginsWith, Equals]"),
    ([{"Key": "Type", "Option": "Contains", "Values": ["String"]}], "InvalidFilterOption", "Contains")])
def test_filters_that_say_nothing(desk: Desk, filters: list[dict[str, Any]], code: str, words: str) -> None:
    with pytest.raises(AwsError) as refused:
        listed(desk, *filters)
    assert refused.value.code == code and words in refused.value.message


@pytest.fixture
def publisher() -> Iterator[None]:
    @door.public_parameters
    def images(tx: Any, region: str) -> list[PublicParameter]:
        return [PublicParameter(f"/aws/service/images/{name}", f"ami-{region}", 1.0, 3) for name in ("b", "a")]
    yield
    public._publishers.remove(images)


@pytest.mark.usefixtures("publisher")
def test_public_parameters_are_read_like_others(desk: Desk) -> None:
    found = desk(ssm, "GetParameter", Name="/aws/service/images/a")["Parameter"]
    assert (found["Value"], found["Version"], found["ARN"]) == (
        "ami-us-east-1", 3, "arn:aws:ssm:us-east-1::parameter/aws/service/images/a")
    by_arn = desk(ssm, "GetParameter", Name=found["ARN"] + ":3", region="eu-west-1")["Parameter"]
    assert by_arn["Value"] == found["Value"]
    assert by_path(desk, "/aws/service/images", Recursive=True) == ["/aws/service/images/a", "/aws/service/images/b"]
    assert by_path(desk, "/aws/service") == []
    assert "/aws/service/images/a" not in listed(desk)
    with desk.store.tx() as tx:
        assert read_value(tx, ACCOUNT, "us-west-2", "/aws/service/images/a") == "ami-us-west-2"


@pytest.mark.parametrize("name", [
    "/aws/service/ecs/optimized-ami/amazon-linux-2/recommended",
    "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"])
def test_what_nobody_publishes_is_not_there(desk: Desk, name: str) -> None:
    with pytest.raises(AwsError) as refused:
        desk(ssm, "GetParameter", Name=name)
    assert (refused.value.code, refused.value.message) == ("ParameterNotFound", f"Parameter {name} not found.")
    assert by_path(desk, "/aws/service/ecs", Recursive=True) == []


def test_a_workloads_reference_is_read(desk: Desk) -> None:
    desk(ssm, "PutParameter", Name="/app/name", Value="second", Overwrite=True)
    arn = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/app"
    with desk.store.tx() as tx:
        assert read_value(tx, ACCOUNT, "us-east-1", "/app/db/password") == "value of /app/db/password"
        assert read_value(tx, ACCOUNT, "eu-west-1", f"{arn}/db/password") == "value of /app/db/password"
        assert read_value(tx, ACCOUNT, "us-east-1", "/app/name:1") == "value of /app/name"
        for account, reference in ((ACCOUNT, "nope"), ("210987654321", f"{arn}/name")):
            with pytest.raises(AwsError, match=f"Parameter {reference} not found"):
                read_value(tx, account, "us-east-1", reference)
    assert door.permission(ACCOUNT, "us-east-1", "/app/name:1") == ("ssm:GetParameters", f"{arn}/name")
    assert door.permission(ACCOUNT, "eu-west-1", f"{arn}/name") == ("ssm:GetParameters", f"{arn}/name")
