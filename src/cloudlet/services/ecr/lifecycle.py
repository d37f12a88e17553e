"""Lifecycle policies of repositories, and previews of what they would do."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.ecr import lifecycle_rules
from cloudlet.services.ecr.contents import LIFECYCLE, PREVIEW, require_repository
from cloudlet.services.ecr.image_ids import require_image
from cloudlet.services.ecr.records import LifecyclePolicy, Preview, Repository
from cloudlet.services.ecr.service import (
    LifecyclePolicyNotFound,
    LifecyclePolicyPreviewInProgress,
    LifecyclePolicyPreviewNotFound,
    ecr,
    refused,
    registry_of,
    repository_arns,
)
from cloudlet.store.db import Tx


@ecr.write(resources=repository_arns)
def put_lifecycle_policy(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Gives a repository its policy, which is applied from now on."""
    repository, text = _repository(call, tx, request), request["lifecyclePolicyText"]
    check(text)
    tx.put(LifecyclePolicy(repository.key, text))
    tx.enqueue(LIFECYCLE, repository.key)
    return {**_named(repository), "lifecyclePolicyText": text}


@ecr.read(resources=repository_arns)
def get_lifecycle_policy(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A repository's policy, as it was put, and when it was last applied."""
    repository = _repository(call, tx, request)
    return _answer(repository, _policy(tx, repository))


@ecr.write(resources=repository_arns)
def delete_lifecycle_policy(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Takes a repository's policy away, and answers what it was."""
    repository = _repository(call, tx, request)
    policy = _policy(tx, repository)
    tx.delete(LifecyclePolicy, policy.key)
    return _answer(repository, policy)


@ecr.write(resources=repository_arns)
def start_lifecycle_policy_preview(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Asks what a policy would do to the images that are there, without doing it: this one, or the repository's."""
    repository, text = _repository(call, tx, request), request.get("lifecyclePolicyText")
    if text is None:
        text = _policy(tx, repository).text
    check(text)
    running = tx.get(Preview, repository.key)
    if running is not None and not running.complete:
        raise LifecyclePolicyPreviewInProgress(
            f"The lifecycle policy preview for the repository with name '{repository.name}' in the registry with id "
            f"'{repository.account}' has not completed. Wait and try again.")
    tx.put(Preview(repository.key, text))
    tx.enqueue(PREVIEW, repository.key)
    return {**_named(repository), "lifecyclePolicyText": text, "status": "IN_PROGRESS"}


@ecr.read(resources=repository_arns)
def get_lifecycle_policy_preview(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """What the last preview found: the images that would expire, oldest first."""
    repository = _repository(call, tx, request)
    preview = tx.get(Preview, repository.key)
    if preview is None:
        raise LifecyclePolicyPreviewNotFound(
            f"Lifecycle policy preview does not exist for the repository with name '{repository.name}' in the registry "
            f"with id '{repository.account}'")
    answer = {**_named(repository), "lifecyclePolicyText": preview.text}
    if not preview.complete:
        return {**answer, "status": "IN_PROGRESS"}
    wanted = {require_image(tx, repository, image_id).digest for image_id in request.get("imageIds") or ()}
    status = request.get("filter", {}).get("tagStatus", "ANY")
    shown = [one for one in preview.expired if (not wanted or one["imageDigest"] in wanted)
             and status in ("ANY", "TAGGED" if one.get("imageTags") else "UNTAGGED")]
    return {**answer, "status": "COMPLETE", "previewResults": shown,
            "summary": {"expiringImageTotalCount": len(preview.expired)}}


def check(text: str) -> None:
    """Raises InvalidParameter unless the text is a lifecycle policy."""
    try:
        lifecycle_rules.parse(text)
    except lifecycle_rules.BadPolicy as bad:
        raise refused("LifecyclePolicyText", f"Lifecycle policy validation failure: {bad}") from None


def _repository(call: Call, tx: Tx, request: dict[str, Any]) -> Repository:
    return require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])


def _policy(tx: Tx, repository: Repository) -> LifecyclePolicy:
    found = tx.get(LifecyclePolicy, repository.key)
    if found is None:
        raise LifecyclePolicyNotFound(f"Lifecycle policy does not exist for the repository with name "
                                      f"'{repository.name}' in the registry with id '{repository.account}'")
    return found


def _named(repository: Repository) -> dict[str, Any]:
    return {"registryId": repository.account, "repositoryName": repository.name}


def _answer(repository: Repository, policy: LifecyclePolicy) -> dict[str, Any]:
    return {**_named(repository), "lifecyclePolicyText": policy.text, "lastEvaluatedAt": policy.evaluated_at}
