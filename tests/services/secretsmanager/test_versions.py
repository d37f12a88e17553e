"""Versions, their stages, and what is read of them."""

from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.secretsmanager import permission, read_value, secretsmanager
from cloudlet.services.secretsmanager.versions import KEPT_S
from tests.services.desk import ACCOUNT, Desk
from tests.services.secretsmanager.test_secrets import create, describe, get, refused

IDS = [str(number) * 32 for number in range(1, 6)]


def put(desk: Desk, version_id: str, value: str, **request: Any) -> Any:
    return desk(secretsmanager, "PutSecretValue", SecretId="app/db", SecretString=value, ClientRequestToken=version_id,
                **request)


def move(desk: Desk, stage: str, source: str | None = None, target: str | None = None) -> Any:
    versions = {"RemoveFromVersionId": source, "MoveToVersionId": target}
    return desk(secretsmanager, "UpdateSecretVersionStage", SecretId="app/db", VersionStage=stage,
                **{name: value for name, value in versions.items() if value is not None})


def stages(desk: Desk) -> Any:
    return describe(desk)["VersionIdsToStages"]


@pytest.fixture
def desk(desk: Desk) -> Desk:
    create(desk, value="one", token=IDS[0])
    return desk


def test_the_current_version_becomes_the_previous(desk: Desk) -> None:
    assert put(desk, IDS[1], "two")["VersionStages"] == ["AWSCURRENT"]
    put(desk, IDS[2], "three")
    assert stages(desk) == {IDS[1]: ["AWSPREVIOUS"], IDS[2]: ["AWSCURRENT"]}
    assert get(desk, VersionStage="AWSPREVIOUS")["SecretString"] == "two"
    assert get(desk, VersionId=IDS[0])["SecretString"] == "one"
    assert get(desk, VersionId=IDS[0])["VersionStages"] == []


def test_a_version_is_put_once(desk: Desk) -> None:
    first = put(desk, IDS[1], "two")
    assert put(desk, IDS[1], "two") == first
    assert refused(desk, "PutSecretValue", SecretId="app/db", SecretString="other", ClientRequestToken=IDS[1]) == (
        "ResourceExistsException", f"You can't use ClientRequestToken {IDS[1]} because that value is already in use for"
        f" a version of secret {describe(desk)['ARN']}.")
    put(desk, IDS[2], "three")
    put(desk, IDS[1], "two")  # a late repetition does not take AWSCURRENT back
    assert get(desk)["SecretString"] == "three"


def test_a_rotation_by_hand(desk: Desk) -> None:
    put(desk, IDS[1], "two", VersionStages=["AWSPENDING"])
    assert (get(desk)["SecretString"], get(desk, VersionStage="AWSPENDING")["SecretString"]) == ("one", "two")
    move(desk, "AWSCURRENT", IDS[0], IDS[1])
    assert stages(desk) == {IDS[0]: ["AWSPREVIOUS"], IDS[1]: ["AWSCURRENT", "AWSPENDING"]}
    move(desk, "AWSPENDING", IDS[1])
    move(desk, "AWSCURRENT", IDS[1], IDS[0])  # and back
    assert stages(desk) == {IDS[0]: ["AWSCURRENT"], IDS[1]: ["AWSPREVIOUS"]}
    move(desk, "mine", target=IDS[1])
    put(desk, IDS[2], "three", VersionStages=["mine"])
    assert stages(desk) == {IDS[0]: ["AWSCURRENT"], IDS[1]: ["AWSPREVIOUS"], IDS[2]: ["mine"]}


@pytest.mark.parametrize(("arguments", "words"), [
    (("AWSCURRENT", None, IDS[1]), "RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently"),
    (("AWSCURRENT", IDS[1], IDS[1]), "it must be set to the version that currently has the staging label"),
    (("AWSCURRENT", IDS[0], None), "can't be completely removed"),
    (("x", IDS[0], IDS[1]), "it must be set to the version"),
    (("x", None, IDS[4]), "Not a valid version"), (("x", None, None), "You must provide")])
def test_moves_that_cannot_be_made(desk: Desk, arguments: tuple[str, str | None, str | None], words: str) -> None:
    put(desk, IDS[1], "two", VersionStages=["AWSPENDING"])
    before = stages(desk)
    with pytest.raises(AwsError, match=words) as error:
        move(desk, *arguments)
    assert error.value.code == "InvalidParameterException" and stages(desk) == before


def test_what_is_read_must_be_there(desk: Desk) -> None:
    assert refused(desk, "GetSecretValue", SecretId="app/db", VersionId=IDS[3]) == (
        "ResourceNotFoundException", f"Secrets Manager can't find the specified secret value for VersionId: {IDS[3]}")
    assert refused(desk, "GetSecretValue", SecretId="app/db", VersionStage="AWSPENDING")[1].endswith(
        "for staging label: AWSPENDING")
    assert refused(desk, "GetSecretValue", SecretId="app/db", VersionId=IDS[0], VersionStage="AWSPENDING") == (
        "InvalidRequestException", "You provided a VersionStage that is not associated to the provided VersionId.")
    assert refused(desk, "PutSecretValue", SecretId="app/db", ClientRequestToken=IDS[1]) == (
        "InvalidRequestException", "You must provide either SecretString or SecretBinary.")


def test_versions_are_listed_in_pages(desk: Desk) -> None:
    for number, version_id in enumerate(IDS[1:]):
        put(desk, version_id, str(number))

    def page(**request: Any) -> Any:
        return desk(secretsmanager, "ListSecretVersionIds", SecretId="app/db", **request)
    assert [each["VersionId"] for each in page()["Versions"]] == [IDS[4], IDS[3]]
    first = page(IncludeDeprecated=True, MaxResults=3)
    assert [each["VersionId"] for each in first["Versions"]] == [IDS[4], IDS[3], IDS[2]]
    rest = page(IncludeDeprecated=True, MaxResults=3, NextToken=first["NextToken"])
    assert [each["VersionId"] for each in rest["Versions"]] == [IDS[1], IDS[0]] and "NextToken" not in rest
    assert "VersionStages" not in rest["Versions"][0]
    assert refused(desk, "ListSecretVersionIds", SecretId="app/db", NextToken="x")[0] == "InvalidNextTokenException"


def test_deprecated_versions_make_room_after_a_day(desk: Desk) -> None:
    for number in range(99):
        put(desk, f"{number:032}", str(number))
    assert refused(desk, "PutSecretValue", SecretId="app/db", SecretString="x", ClientRequestToken="x" * 32)[0] == (
        "LimitExceededException")
    desk.clock.time += KEPT_S
    put(desk, "x" * 32, "x")
    assert refused(desk, "GetSecretValue", SecretId="app/db", VersionId=IDS[0])[0] == "ResourceNotFoundException"
    kept = desk(secretsmanager, "ListSecretVersionIds", SecretId="app/db", IncludeDeprecated=True)["Versions"]
    assert len(kept) == 100
    with desk.store.tx() as tx:
        assert tx.execute("select count(*) from record where kind='secretsmanager.value'").fetchone() == (100,)


def test_a_workloads_reference_is_read(desk: Desk) -> None:
    put(desk, IDS[1], '{"user": "admin", "port": 5432, "tls": true, "more": {"a": [1]}, "word": "ä\\"b"}')
    arn = describe(desk)["ARN"]
    with desk.store.tx() as tx:
        def read(reference: str) -> str:
            return read_value(tx, ACCOUNT, "us-east-1", reference)
        assert read(f"{arn}:user::") == read(f"{arn}:user") == read(f"{arn[:-7]}:user:AWSCURRENT:") == "admin"
        assert [read(f"{arn}:{key}::") for key in ("port", "tls", "more", "word")] == [
            "5432", "true", '{"a": [1]}', 'ä"b']
        assert read(f"{arn}::AWSPREVIOUS:") == read(f"{arn}:::{IDS[0]}") == "one"
        assert read("app/db").startswith('{"user"')
        assert read_value(tx, ACCOUNT, "eu-west-1", f"{arn}:user::") == "admin"
        with pytest.raises(AwsError, match="can't find the specified secret"):
            read_value(tx, "210987654321", "us-east-1", arn)
        for reference, words in [(f"{arn}:nope::", "did not contain json key nope"),
                                 (f"{arn}:user:AWSPREVIOUS:", "not a JSON object"), (f"{arn}:a:b:c:d", "more than"),
                                 (f"{arn}::AWSPENDING:", "staging label: AWSPENDING"), ("nope", "can't find")]:
            with pytest.raises(AwsError, match=words):
                read(reference)
        assert permission(tx, ACCOUNT, "us-east-1", f"{arn[:-7]}:user::") == ("secretsmanager:GetSecretValue", arn)
        assert permission(tx, ACCOUNT, "us-east-1", "nope")[1].endswith(":secret:nope")


def test_a_workload_reads_no_binary_and_nothing_deleted(desk: Desk) -> None:
    desk(secretsmanager, "CreateSecret", Name="b", SecretBinary=b"\0", ClientRequestToken=IDS[0])
    desk(secretsmanager, "DeleteSecret", SecretId="app/db")
    with desk.store.tx() as tx:
        with pytest.raises(AwsError, match="binary"):
            read_value(tx, ACCOUNT, "us-east-1", "b")
        with pytest.raises(AwsError, match="marked for deletion"):
            read_value(tx, ACCOUNT, "us-east-1", "app/db")
