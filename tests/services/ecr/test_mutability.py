"""Tags that stay on their image, and those that may move nevertheless."""

from typing import Any

import pytest

from cloudlet.services.ecr.manifests import DOCKER_IMAGE
from cloudlet.services.ecr.service import InvalidParameter
from tests.services.ecr.counter import Counter


def excluding(setting: str, *filters: str) -> dict[str, Any]:
    return {"imageTagMutability": setting, "imageTagMutabilityExclusionFilters": [
        {"filterType": "WILDCARD", "filter": text} for text in filters]}


def moves(counter: Counter, tag: str, repository: str = "app") -> bool:
    """Whether a second image may take the tag of the first."""
    first, second = counter.push(tag, repository), counter.push("other", repository)
    manifest = counter.ask("GET", f"/v2/{repository}/manifests/{second}").body
    answer = counter.put_manifest(tag, manifest, DOCKER_IMAGE, repository)
    holder = counter.ask("HEAD", f"/v2/{repository}/manifests/{tag}").headers["docker-content-digest"]
    assert (answer.status == 201) == (holder == second) == (holder != first)
    if answer.status != 201:
        assert answer.error == (400, "TAG_INVALID", f"The image tag '{tag}' already exists in the '{repository}' "
                                "repository and cannot be overwritten because the repository is immutable.")
    counter("BatchDeleteImage", repositoryName=repository, imageIds=[{"imageTag": "other"}])
    return answer.status == 201


@pytest.mark.parametrize(("setting", "filters", "free", "pinned"), [
    ("MUTABLE", (), ["v1", "dev-1"], []),
    ("IMMUTABLE", (), [], ["v1", "dev-1"]),
    ("IMMUTABLE_WITH_EXCLUSION", ("dev-*", "latest"), ["dev-", "dev-1", "latest"], ["dev", "latest-1", "my-dev-1"]),
    ("MUTABLE_WITH_EXCLUSION", ("*-rc*", "v1.0"), ["v1", "rc1", "v1x0"], ["1-rc", "1-rc2", "v1.0"])])
def test_tags_move_where_they_may(counter: Counter, setting: str, filters: tuple[str, ...], free: list[str],
                                  pinned: list[str]) -> None:
    request = excluding(setting, *filters) if filters else {"imageTagMutability": setting}
    made = counter("CreateRepository", repositoryName="made", **request)["repository"]
    changed = counter("PutImageTagMutability", repositoryName="app", **request)
    for answer in (made, changed, counter("DescribeRepositories", repositoryNames=["app"])["repositories"][0]):
        assert answer["imageTagMutability"] == setting
        assert answer.get("imageTagMutabilityExclusionFilters", []) == request.get(
            "imageTagMutabilityExclusionFilters", [])
    for tag in free:
        assert moves(counter, tag) and moves(counter, tag, "made"), tag
    for tag in pinned:
        assert not moves(counter, tag), tag


def test_what_is_there_when_tags_are_pinned_stays(counter: Counter) -> None:
    digest = counter.push("v1")
    counter("PutImageTagMutability", repositoryName="app", imageTagMutability="IMMUTABLE")
    manifest = counter.ask("GET", "/v2/app/manifests/v1").body
    assert counter.put_manifest("v1", manifest, DOCKER_IMAGE).status == 201  # nothing moves
    counter("BatchDeleteImage", repositoryName="app", imageIds=[{"imageTag": "v1"}])
    assert counter.push("v1") != digest  # a tag that is gone may be set again


@pytest.mark.parametrize("request_", [
    excluding("IMMUTABLE", "dev*"), excluding("MUTABLE", "dev*"), {"imageTagMutability": "MUTABLE_WITH_EXCLUSION"},
    excluding("IMMUTABLE_WITH_EXCLUSION", "ok", "a*b*c*")])
def test_settings_that_contradict_themselves(counter: Counter, request_: dict[str, Any]) -> None:
    for operation, name in (("CreateRepository", "made"), ("PutImageTagMutability", "app")):
        with pytest.raises(InvalidParameter, match="imageTagMutabilityExclusionFilters"):
            counter(operation, repositoryName=name, **request_)
    assert counter("DescribeRepositories")["repositories"][0]["imageTagMutability"] == "MUTABLE"
