"""Secrets made, changed, listed, tagged, deleted and restored."""

import asyncio
import re
from typing import Any

import pytest

from cloudlet.control.outcome import Again, Done
from cloudlet.kernel.errors import AwsError
from cloudlet.services.secretsmanager import secretsmanager
from cloudlet.services.secretsmanager.conditions import tags_of
from cloudlet.services.secretsmanager.deletion import DAY_S, KIND, Deletion
from tests.services.desk import ACCOUNT, Desk

ONE, TWO = "1" * 32, "2" * 32


def create(desk: Desk, name: str = "app/db", value: str | None = "s3cr3t", token: str = ONE, **request: Any) -> Any:
    brought = {} if value is None else {"SecretString": value}
    return desk(secretsmanager, "CreateSecret", Name=name, ClientRequestToken=token, **brought, **request)


def get(desk: Desk, secret_id: str = "app/db", **request: Any) -> Any:
    return desk(secretsmanager, "GetSecretValue", SecretId=secret_id, **request)


def describe(desk: Desk, secret_id: str = "app/db") -> Any:
    return desk(secretsmanager, "DescribeSecret", SecretId=secret_id)


def delete(desk: Desk, secret_id: str = "app/db", **request: Any) -> Any:
    return desk(secretsmanager, "DeleteSecret", SecretId=secret_id, **request)


def refused(desk: Desk, operation: str, **request: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as error:
        desk(secretsmanager, operation, **request)
    return error.value.code, error.value.message


def test_a_secret_is_known_by_name_and_by_arn(desk: Desk) -> None:
    made = create(desk, Description="d", Tags=[{"Key": "a", "Value": "b"}])
    assert re.fullmatch(rf"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:app/db-[A-Za-z0-9]{{6}}", made["ARN"])
    assert (made["Name"], made["VersionId"]) == ("app/db", ONE)
    assert get(desk) == get(desk, made["ARN"]) == get(desk, made["ARN"][:-7]) == {
        "ARN": made["ARN"], "Name": "app/db", "VersionId": ONE, "SecretString": "s3cr3t",
        "VersionStages": ["AWSCURRENT"], "CreatedDate": desk.clock.now()}
    day = desk.clock.now() // DAY_S * DAY_S
    assert describe(desk) == {
        "ARN": made["ARN"], "Name": "app/db", "Description": "d", "Tags": [{"Key": "a", "Value": "b"}],
        "CreatedDate": desk.clock.now(), "LastChangedDate": desk.clock.now(), "LastAccessedDate": day,
        "VersionIdsToStages": {ONE: ["AWSCURRENT"]}}


@pytest.mark.parametrize("other", ["app/db-AAAAAA", "app/db-", "app/d"])
def test_names_that_look_like_arns_are_not_confused(desk: Desk, other: str) -> None:
    arn = create(desk)["ARN"]
    create(desk, other, "another")
    assert get(desk, arn)["SecretString"] == "s3cr3t"
    assert get(desk, other)["SecretString"] == "another"
    assert get(desk, describe(desk, other)["ARN"])["SecretString"] == "another"


def test_wrong_six_characters_name_nothing(desk: Desk) -> None:
    arn = create(desk)["ARN"]
    for secret_id in (arn[:-6] + "??????", arn.replace("us-east-1", "eu-west-1"), "app", "app/db2"):
        with pytest.raises(AwsError) as error:
            get(desk, secret_id)
        assert error.value.code == "ResourceNotFoundException"


def test_a_value_may_be_binary(desk: Desk) -> None:
    desk(secretsmanager, "CreateSecret", Name="b", SecretBinary=b"\0\xff", ClientRequestToken=ONE)
    found = get(desk, "b")
    assert found["SecretBinary"] == b"\0\xff" and "SecretString" not in found


def test_values_are_stored_only_sealed_and_never_described(desk: Desk) -> None:
    create(desk, value="correct horse battery")
    with desk.store.tx() as tx:
        stored = b"".join(row[0] for row in tx.execute("select body from record"))
    assert b"correct" not in stored and b"horse" not in stored
    assert "horse" not in str(describe(desk)) + str(desk(secretsmanager, "ListSecrets"))


def test_a_secret_may_have_no_value_yet(desk: Desk) -> None:
    assert "VersionId" not in create(desk, value=None)
    assert refused(desk, "GetSecretValue", SecretId="app/db") == (
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")
    assert "VersionIdsToStages" not in describe(desk)


def test_the_same_request_again_changes_nothing(desk: Desk) -> None:
    assert create(desk) == create(desk)
    assert refused(desk, "CreateSecret", Name="app/db", SecretString="other", ClientRequestToken=ONE)[0] == (
        "ResourceExistsException")
    assert refused(desk, "CreateSecret", Name="app/db", SecretString="s3cr3t", ClientRequestToken=TWO) == (
        "ResourceExistsException", "The operation failed because the secret app/db already exists.")
    assert get(desk)["SecretString"] == "s3cr3t"


@pytest.mark.parametrize(("request_", "code"), [
    ({"Name": "a b"}, "ValidationException"), ({"Name": "a:b"}, "ValidationException"),
    ({"ClientRequestToken": None}, "InvalidRequestException"),
    ({"SecretBinary": b"x"}, "InvalidParameterException"),
    ({"SecretString": "ä" * 40_000}, "InvalidParameterException"),
    ({"KmsKeyId": "alias/mine"}, "InvalidParameterException"),
    ({"AddReplicaRegions": [{"Region": "eu-west-1"}]}, "InvalidParameterException"),
    ({"Tags": [{"Value": "x"}]}, "InvalidParameterException"),
    ({"Tags": [{"Key": "aws:x", "Value": "x"}]}, "InvalidParameterException"),
    ({"Tags": [{"Key": str(n)} for n in range(51)]}, "LimitExceededException")])
def test_what_a_secret_may_not_be(desk: Desk, request_: dict[str, Any], code: str) -> None:
    request = {name: value for name, value in {
        "Name": "x", "SecretString": "v", "ClientRequestToken": ONE, **request_}.items() if value is not None}
    assert refused(desk, "CreateSecret", **request)[0] == code
    assert desk(secretsmanager, "ListSecrets")["SecretList"] == []


def test_an_update_changes_what_it_names(desk: Desk) -> None:
    create(desk, Description="before")
    assert "VersionId" not in desk(secretsmanager, "UpdateSecret", SecretId="app/db", Description="after")
    assert (describe(desk)["Description"], get(desk)["SecretString"]) == ("after", "s3cr3t")
    made = desk(secretsmanager, "UpdateSecret", SecretId="app/db", SecretString="new", ClientRequestToken=TWO)
    assert (made["VersionId"], get(desk)["SecretString"], describe(desk)["Description"]) == (TWO, "new", "after")
    assert describe(desk)["VersionIdsToStages"] == {ONE: ["AWSPREVIOUS"], TWO: ["AWSCURRENT"]}


def test_tags(desk: Desk) -> None:
    arn = create(desk)["ARN"]
    desk(secretsmanager, "TagResource", SecretId="app/db",
         Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    desk(secretsmanager, "UntagResource", SecretId=arn, TagKeys=["b", "c"])
    assert describe(desk)["Tags"] == [{"Key": "a", "Value": "1"}]
    with desk.store.tx() as tx:
        assert tags_of(tx, arn) == tags_of(tx, arn[:-7]) == {"a": "1"}
        assert tags_of(tx, "*") == {}


def test_a_deleted_secret_waits_and_can_be_restored(desk: Desk) -> None:
    arn = create(desk)["ARN"]
    gone = desk.clock.now() + 7 * DAY_S
    assert delete(desk, RecoveryWindowInDays=7) == {"ARN": arn, "Name": "app/db", "DeletionDate": gone}
    for operation in ("GetSecretValue", "DeleteSecret"):
        assert refused(desk, operation, SecretId="app/db") == (
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.")
    assert refused(desk, "PutSecretValue", SecretId="app/db", SecretString="x", ClientRequestToken=TWO)[0] == (
        "InvalidRequestException")
    assert refused(desk, "CreateSecret", Name="app/db", ClientRequestToken=TWO) == (
        "InvalidRequestException",
        "You can't create this secret because a secret with this name is already scheduled for deletion.")
    assert desk(secretsmanager, "ListSecrets")["SecretList"] == []
    assert len(desk(secretsmanager, "ListSecrets", IncludePlannedDeletion=True)["SecretList"]) == 1
    assert describe(desk)["DeletedDate"] == desk.clock.now()
    desk(secretsmanager, "RestoreSecret", SecretId="app/db")
    assert get(desk)["SecretString"] == "s3cr3t" and "DeletedDate" not in describe(desk)


def test_the_loop_deletes_after_the_window_and_not_before(desk: Desk) -> None:
    create(desk)
    delete(desk)
    loop, key = Deletion(desk.store), f"{ACCOUNT}/us-east-1/app/db"
    with desk.store.tx() as tx:
        assert tx.execute("select due from work where kind=? and key=?", (KIND, key)).fetchone() == (
            desk.clock.now() + 30 * DAY_S,)
    desk.clock.time += 29 * DAY_S
    assert asyncio.run(loop.reconcile(key)) == Again(DAY_S)
    assert describe(desk)["Name"] == "app/db"
    desk.clock.time += DAY_S
    assert asyncio.run(loop.reconcile(key)) == Done()
    assert refused(desk, "DescribeSecret", SecretId="app/db")[0] == "ResourceNotFoundException"
    with desk.store.tx() as tx:
        assert tx.execute("select count(*) from record where kind like 'secretsmanager.%'").fetchone() == (0,)


def test_the_loop_leaves_alone_what_was_restored(desk: Desk) -> None:
    create(desk)
    delete(desk, RecoveryWindowInDays=7)
    desk(secretsmanager, "RestoreSecret", SecretId="app/db")
    desk.clock.time += 8 * DAY_S
    assert asyncio.run(Deletion(desk.store).reconcile(f"{ACCOUNT}/us-east-1/app/db")) == Done()
    assert get(desk)["SecretString"] == "s3cr3t"


def test_without_recovery_a_secret_is_gone_at_once(desk: Desk) -> None:
    arn = create(desk)["ARN"]
    delete(desk)
    delete(desk, ForceDeleteWithoutRecovery=True)
    assert refused(desk, "DescribeSecret", SecretId="app/db")[0] == "ResourceNotFoundException"
    assert delete(desk, ForceDeleteWithoutRecovery=True)["Name"] == "app/db"  # a repeated request
    again = create(desk, value="second life")
    assert again["ARN"] != arn and get(desk)["SecretString"] == "second life"
    assert refused(desk, "GetSecretValue", SecretId=arn)[0] == "ResourceNotFoundException"


@pytest.mark.parametrize("request_", [
    {"RecoveryWindowInDays": 6}, {"RecoveryWindowInDays": 31},
    {"RecoveryWindowInDays": 7, "ForceDeleteWithoutRecovery": True}])
def test_windows_that_are_none(desk: Desk, request_: dict[str, Any]) -> None:
    create(desk)
    assert refused(desk, "DeleteSecret", SecretId="app/db", **request_)[0] == "InvalidParameterException"


@pytest.fixture
def many(desk: Desk) -> Desk:
    for number, (name, description) in enumerate([
            ("testing1/one", "a secret"), ("/testing2/two", "an secret"), ("testing3/Three", "asecret")]):
        desk.clock.time += 1
        create(desk, name, token=f"{number}" * 32, Description=description,
               Tags=[{"Key": "team", "Value": f"t{number}"}])
    return desk


def listed(desk: Desk, *filters: tuple[str, list[str]], **request: Any) -> list[str]:
    answer = desk(secretsmanager, "ListSecrets", **request,
                  Filters=[{"Key": key, "Values": values} for key, values in filters])
    return [each["Name"] for each in answer["SecretList"]]


@pytest.mark.parametrize(("filters", "names"), [
    ([("name", ["/"])], ["/testing2/two"]),
    ([("name", ["!/"])], ["testing3/Three", "testing1/one"]),
    ([("name", ["testing1 one"])], []),
    ([("description", ["a"])], ["testing3/Three", "/testing2/two", "testing1/one"]),
    ([("description", ["a secret"])], ["/testing2/two", "testing1/one"]),
    ([("tag-key", ["te"]), ("tag-value", ["t1", "t2"])], ["testing3/Three", "/testing2/two"]),
    ([("all", ["three"])], ["testing3/Three"]), ([("all", ["t0"])], ["testing1/one"]),
    ([("owning-service", ["x"])], [])])
def test_secrets_are_listed_by_filters(many: Desk, filters: list[tuple[str, list[str]]], names: list[str]) -> None:
    assert listed(many, *filters) == names


def test_secrets_are_listed_in_order(many: Desk) -> None:
    assert listed(many) == ["testing3/Three", "/testing2/two", "testing1/one"]
    assert listed(many, SortOrder="asc") == ["testing1/one", "/testing2/two", "testing3/Three"]
    assert listed(many, SortBy="name", SortOrder="asc") == ["/testing2/two", "testing1/one", "testing3/Three"]
    assert refused(many, "ListSecrets", Filters=[{"Key": "name"}])[0] == "InvalidParameterException"
