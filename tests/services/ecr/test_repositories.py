"""Repositories: names, settings that are honoured or refused, and deletion with and without force."""

from pathlib import Path
from typing import Any

import pytest

from cloudlet.services.ecr.hosts import registry_at, registry_host, resolves_below_localhost
from cloudlet.services.ecr.records import Image, Layer, Manifest, Tag, Upload
from cloudlet.services.ecr.service import (
    InvalidParameter,
    RepositoryAlreadyExists,
    RepositoryNotEmpty,
    RepositoryNotFound,
)
from tests.services.desk import ACCOUNT, root
from tests.services.ecr.counter import Counter


def test_create_and_describe(counter: Counter) -> None:
    answer = counter("CreateRepository", repositoryName="team/web-app_1.x", tags=[{"Key": "a", "Value": "b"}])
    made = answer["repository"]
    host = registry_host("http://localhost:4566", ACCOUNT, "us-east-1")
    assert made == {
        "repositoryArn": f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/team/web-app_1.x",
        "registryId": ACCOUNT, "repositoryName": "team/web-app_1.x", "repositoryUri": f"{host}/team/web-app_1.x",
        "createdAt": counter.desk.clock.time, "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {"scanOnPush": False}, "encryptionConfiguration": {"encryptionType": "AES256"}}
    assert counter("DescribeRepositories", repositoryNames=["team/web-app_1.x"])["repositories"] == [made]
    listed = counter("DescribeRepositories")["repositories"]
    assert [repository["repositoryName"] for repository in listed] == ["app", "team/web-app_1.x"]
    assert counter("DescribeRepositories", region="eu-west-1")["repositories"] == []
    assert counter("DescribeRegistry") == {"registryId": ACCOUNT, "replicationConfiguration": {"rules": []}}


@pytest.mark.parametrize("name", ["A", "a", "-ab", "ab-", "a..b", "a/_b", "/ab", "ab/", "a//b", "../ab", "a b", "ab\n",
                                  "a" * 257, "é" * 3, "a___b"])
def test_names_that_are_none(counter: Counter, name: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid parameter at 'repositoryName' failed to satisfy constraint"):
        counter("CreateRepository", repositoryName=name)


@pytest.mark.parametrize("name", ["ab", "a-b", "a--b", "a__b", "a.b/c/d_e", "1" * 256])
def test_names_that_are_good(counter: Counter, name: str) -> None:
    assert counter("CreateRepository", repositoryName=name)["repository"]["repositoryName"] == name


def test_a_name_is_taken_once(counter: Counter) -> None:
    with pytest.raises(RepositoryAlreadyExists) as refused:
        counter("CreateRepository", repositoryName="app")
    assert refused.value.message == (
        f"The repository with name 'app' already exists in the registry with id '{ACCOUNT}'")
    counter("CreateRepository", region="eu-west-1", repositoryName="app")
    counter("CreateRepository", root("999999999999"), repositoryName="app")


@pytest.mark.parametrize("settings", [
    {"encryptionConfiguration": {"encryptionType": "KMS"}},
    {"encryptionConfiguration": {"encryptionType": "KMS_DSSE", "kmsKey": "k"}},
    {"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"},
    {"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
     "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "d*e*v*"}]},
    {"imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "dev*"}]}])
def test_settings_that_nothing_would_honour_are_refused(counter: Counter, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        counter("CreateRepository", repositoryName="other", **settings)


def test_settings_that_are_the_default_are_fine(counter: Counter) -> None:
    made = counter("CreateRepository", repositoryName="other", imageTagMutability="IMMUTABLE",
                   imageScanningConfiguration={"scanOnPush": False},
                   encryptionConfiguration={"encryptionType": "AES256"})["repository"]
    assert made["imageTagMutability"] == "IMMUTABLE"


def test_a_repository_with_images_is_deleted_only_by_force(counter: Counter) -> None:
    counter.push_list("all", counter.push("v1"))
    counter.ask("POST", "/v2/app/blobs/uploads/")
    with pytest.raises(RepositoryNotEmpty) as refused:
        counter("DeleteRepository", repositoryName="app")
    assert refused.value.message == (f"The repository with name 'app' in registry with id '{ACCOUNT}' cannot be "
                                     "deleted because it still contains images")
    assert counter("DeleteRepository", repositoryName="app", force=True)["repository"]["repositoryName"] == "app"
    with counter.desk.store.tx() as tx:
        assert [tx.find(kind) for kind in (Image, Manifest, Tag, Layer, Upload)] == [[]] * 5
    for operation in ("DeleteRepository", "DescribeImages", "ListImages"):
        with pytest.raises(RepositoryNotFound) as unknown:
            counter(operation, repositoryName="app")
        assert unknown.value.message == (
            f"The repository with name 'app' does not exist in the registry with id '{ACCOUNT}'")
    with pytest.raises(RepositoryNotFound):
        counter("DescribeRepositories", repositoryNames=["app"])


def test_deleting_one_spares_those_whose_names_begin_alike(counter: Counter) -> None:
    for name in ("app2", "app/x", "ap"):
        counter("CreateRepository", repositoryName=name)
        counter.push("v1", name)
    counter("DeleteRepository", repositoryName="app", force=True)
    for name in ("app2", "app/x", "ap"):
        assert counter.ask("GET", f"/v2/{name}/manifests/v1").status == 200


@pytest.mark.parametrize("operation", ["DescribeRepositories", "DescribeImages", "DeleteRepository", "ListImages",
                                       "PutImageTagMutability", "GetRepositoryPolicy", "CreateRepository"])
def test_another_accounts_registry_is_closed(counter: Counter, operation: str) -> None:
    request = {} if operation == "DescribeRepositories" else {"repositoryName": "app"}
    refusal = counter.asked(root("999999999999"), operation, registryId=ACCOUNT, **request)
    assert refusal is not None
    assert f"because no resource-based policy allows the ecr:{operation} action" in refusal.message
    assert counter.asked(root(), operation, registryId=ACCOUNT, **request) is None


def test_a_token_names_the_registries_that_were_asked_for(counter: Counter) -> None:
    """It is the caller's nevertheless, and opens nothing there that no policy lets it."""
    answer = counter("GetAuthorizationToken", root("999999999999"), registryIds=[ACCOUNT, "999999999999"])
    assert len({data["authorizationToken"] for data in answer["authorizationData"]}) == 1
    password = counter.login(root("999999999999"))
    host = f"{ACCOUNT}.dkr.ecr.us-east-1.localhost:4566"
    assert counter.ask("GET", "/v2/app/tags/list", password=password, host=host).status == 403


def test_hosts() -> None:
    assert registry_at("123456789012.dkr.ecr.eu-west-1.localhost:4566") == ("123456789012", "eu-west-1")
    assert registry_at("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn") == ("123456789012", "cn-north-1")
    for host in ("localhost:4566", "12345678901.dkr.ecr.eu-west-1.x", "123456789012.dkr.ecr.eu-west-1", ""):
        assert registry_at(host) is None
    below = resolves_below_localhost()
    for name in ("localhost", "127.0.0.1", "[::1]", "app.localhost"):
        expected = "123456789012.dkr.ecr.eu-west-1.localhost:99" if below else "localhost:99"
        assert registry_host(f"http://{name}:99", "123456789012", "eu-west-1") == expected
    assert registry_host("http://host.example:99", "1" * 12, "eu-west-1") == "host.example:99"
    assert registry_host("https://host.example", "1" * 12, "eu-west-1") == "host.example"
    assert registry_host("http://999999999999.dkr.ecr.us-east-1.localhost:99", "1" * 12, "eu-west-1") == (
        "111111111111.dkr.ecr.eu-west-1.localhost:99")


@pytest.mark.parametrize("text", ["hosts: files dns\n", "hosts: files dns myhostname\n", "passwd: files\n", ""])
def test_names_below_localhost_are_never_asked_of_dns(text: str, tmp_path: Path) -> None:
    (tmp_path / "nsswitch.conf").write_text(text)
    assert not resolves_below_localhost(tmp_path / "nsswitch.conf")
    assert not resolves_below_localhost(tmp_path / "missing")
