"""Lifecycle policies on a repository: what is deleted and when, what is spared, and previews that delete nothing."""

import json
from typing import Any

import pytest

from cloudlet.services.ecr.contents import UNUSED_LAYER_S
from cloudlet.services.ecr.expiry import EVALUATE_S, SETTLED_S
from cloudlet.services.ecr.lifecycle_rules import BY_AGE, BY_COUNT, DAY_S
from cloudlet.services.ecr.manifests import DOCKER_IMAGE, OCI_IMAGE
from cloudlet.services.ecr.service import (
    InvalidParameter,
    LifecyclePolicyNotFound,
    LifecyclePolicyPreviewInProgress,
    LifecyclePolicyPreviewNotFound,
    RepositoryNotFound,
)
from cloudlet.store import queue
from tests.services.desk import ACCOUNT
from tests.services.ecr.counter import Counter
from tests.services.ecr.test_collect import files, work_through
from tests.services.ecr.test_lifecycle_rules import policy, rule

APP: dict[str, Any] = {"repositoryName": "app"}
NAMED = {"registryId": ACCOUNT, **APP}


def put(counter: Counter, *rules: dict[str, Any]) -> str:
    text = policy(*rules)
    assert counter("PutLifecyclePolicy", **APP, lifecyclePolicyText=text) == {**NAMED, "lifecyclePolicyText": text}
    work_through(counter)
    return text


def left(counter: Counter) -> set[str]:
    return {image["imageDigest"] for image in counter.images()}


def push(counter: Counter, *tags: str, days_apart: float = 1) -> list[str]:
    """Images, one after another."""
    pushed = []
    for tag in tags:
        pushed.append(counter.push(tag))
        counter.desk.clock.time += days_apart * DAY_S
        counter.password = counter.login()
    return pushed


def test_a_policy_is_kept_and_shown_until_it_is_deleted(counter: Counter) -> None:
    for operation in ("GetLifecyclePolicy", "DeleteLifecyclePolicy", "StartLifecyclePolicyPreview"):
        with pytest.raises(LifecyclePolicyNotFound) as missing:
            counter(operation, **APP)
        assert missing.value.message == ("Lifecycle policy does not exist for the repository with name 'app' in the "
                                         f"registry with id '{ACCOUNT}'")
        with pytest.raises(RepositoryNotFound):
            counter(operation, repositoryName="gone")
    text = put(counter, rule(1, "any", BY_COUNT, 1))
    shown = {**NAMED, "lifecyclePolicyText": text, "lastEvaluatedAt": counter.desk.clock.time}
    assert counter("GetLifecyclePolicy", **APP) == shown
    with pytest.raises(InvalidParameter) as refused:
        counter("PutLifecyclePolicy", **APP, lifecyclePolicyText="{}")
    assert refused.value.message == (
        "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation "
        "failure: object has missing required properties ([\"rules\"])'")
    assert counter("GetLifecyclePolicy", **APP) == shown
    assert counter("DeleteLifecyclePolicy", **APP) == shown
    counter.desk.clock.time += EVALUATE_S
    work_through(counter)
    assert queue.waiting(counter.desk.store, 10) == []


def test_images_expire_by_count_and_by_age_and_free_their_space(counter: Counter) -> None:
    one, two, three = push(counter, "v1", "v2", "v3")
    assert left(counter) == {one, two, three}
    put(counter, rule(1, "tagged", BY_COUNT, 2, tagPrefixList=["v"]))
    assert left(counter) == {two, three}
    assert counter.ask("GET", "/v2/app/manifests/v1").status == 404
    counter.desk.clock.time += UNUSED_LAYER_S
    work_through(counter)
    assert len(files(counter)) == 4
    put(counter, rule(1, "any", BY_AGE, 3))
    assert left(counter) == {two, three}
    counter.desk.clock.time += 1 * DAY_S
    work_through(counter)  # nobody asks: the loop looks again by itself
    assert left(counter) == {three}


def test_an_image_that_came_a_moment_ago_is_spared(counter: Counter) -> None:
    """It may be one of several, whose list is pushed after them."""
    put(counter, rule(1, "any", BY_COUNT, 1))
    counter.desk.clock.time += EVALUATE_S - 10
    parts = push(counter, "amd64", "arm64", days_apart=1 / DAY_S)
    counter.desk.clock.time += 10
    work_through(counter)
    assert left(counter) == set(parts)
    whole = counter.push_list("all", *parts)
    counter.desk.clock.time += EVALUATE_S
    work_through(counter)
    assert left(counter) == {whole, *parts}
    alone = push(counter, "alone", "newer", days_apart=1 / DAY_S)
    counter.desk.clock.time += SETTLED_S - 10
    work_through(counter)
    assert left(counter) == {whole, *parts, *alone}
    counter.desk.clock.time += EVALUATE_S
    work_through(counter)
    assert left(counter) == {alone[1]}


def test_a_list_holds_its_images_until_it_expires(counter: Counter) -> None:
    one, two = push(counter, "t", "t")
    whole = counter.push_list("all", one, two)
    counter.desk.clock.time += 60
    newer = push(counter, "t")[0]
    put(counter, rule(1, "untagged", BY_AGE, 1))
    assert left(counter) == {one, two, whole, newer}
    put(counter, rule(1, "any", BY_COUNT, 1))
    assert left(counter) == {newer}


def test_what_refers_to_an_image_goes_with_it_and_not_before(counter: Counter) -> None:
    one = counter.push("v1")
    subject = {"mediaType": DOCKER_IMAGE, "digest": one, "size": 500}
    signature = counter.push("sig", media_type=OCI_IMAGE, subject=subject)
    of_signature = counter.push("sig2", media_type=OCI_IMAGE, subject={**subject, "digest": signature})
    counter.desk.clock.time += 2 * DAY_S
    counter.password = counter.login()
    two = counter.push("v2")
    put(counter, rule(1, "tagged", BY_AGE, 1, tagPrefixList=["sig"]))
    assert left(counter) == {one, two, signature, of_signature}
    put(counter, rule(1, "tagged", BY_AGE, 1, tagPrefixList=["v"]))
    assert left(counter) == {two}


def test_a_deleted_repository_takes_its_policy_along(counter: Counter) -> None:
    put(counter, rule(1, "any", BY_COUNT, 1))
    counter("StartLifecyclePolicyPreview", **APP)
    counter("DeleteRepository", **APP, force=True)
    counter("CreateRepository", **APP)
    with pytest.raises(LifecyclePolicyNotFound):
        counter("GetLifecyclePolicy", **APP)
    with pytest.raises(LifecyclePolicyPreviewNotFound):
        counter("GetLifecyclePolicyPreview", **APP)


def test_many_images_expire_in_several_moves(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudlet.services.ecr.expiry.DELETED_MAX", 2)
    pushed = push(counter, *(f"v{number}" for number in range(7)))
    put(counter, rule(1, "any", BY_COUNT, 1))
    assert left(counter) == {pushed[-1]}


def test_a_preview_says_what_would_go_and_deletes_nothing(counter: Counter) -> None:
    one, two, three = push(counter, "v1", "v2", "v3")
    counter("BatchDeleteImage", **APP, imageIds=[{"imageTag": "v2"}])
    two = counter.push("v2")
    counter("BatchDeleteImage", **APP, imageIds=[{"imageDigest": two}])
    with pytest.raises(LifecyclePolicyPreviewNotFound):
        counter("GetLifecyclePolicyPreview", **APP)
    text = policy(rule(1, "tagged", BY_COUNT, 1, tagPatternList=["v*"]))
    expected = {**NAMED, "lifecyclePolicyText": text, "status": "IN_PROGRESS"}
    assert counter("StartLifecyclePolicyPreview", **APP, lifecyclePolicyText=text) == expected
    assert counter("GetLifecyclePolicyPreview", **APP) == expected
    with pytest.raises(LifecyclePolicyPreviewInProgress):
        counter("StartLifecyclePolicyPreview", **APP, lifecyclePolicyText=text)
    work_through(counter)
    found = counter("GetLifecyclePolicyPreview", **APP)
    (gone,) = found["previewResults"]
    assert (found["status"], found["summary"]) == ("COMPLETE", {"expiringImageTotalCount": 1})
    assert gone == {"imageDigest": one, "imageTags": ["v1"], "imagePushedAt": gone["imagePushedAt"],
                    "action": {"type": "EXPIRE"}, "appliedRulePriority": 1, "storageClass": "STANDARD"}
    assert left(counter) == {one, three}
    for image_id, results in (({"imageDigest": one}, [gone]), ({"imageTag": "v3"}, [])):
        shown = counter("GetLifecyclePolicyPreview", **APP, imageIds=[image_id])
        assert (shown["previewResults"], shown["summary"]["expiringImageTotalCount"]) == (results, 1)
    assert counter("GetLifecyclePolicyPreview", **APP, filter={"tagStatus": "UNTAGGED"})["previewResults"] == []
    with pytest.raises(InvalidParameter):
        counter("StartLifecyclePolicyPreview", **APP, lifecyclePolicyText="{}")
    put(counter, rule(1, "untagged", BY_COUNT, 9))
    assert json.loads(counter("StartLifecyclePolicyPreview", **APP)["lifecyclePolicyText"])["rules"][0]["selection"][
        "countNumber"] == 9
    work_through(counter)
    assert counter("GetLifecyclePolicyPreview", **APP)["previewResults"] == []
