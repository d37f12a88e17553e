"""Repositories: what images are pushed to, one registry for each account and region."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.ecr import mutability
from cloudlet.services.ecr.contents import delete_contents, require_repository
from cloudlet.services.ecr.hosts import registry_host
from cloudlet.services.ecr.records import Image, Repository, repository_key
from cloudlet.services.ecr.service import (
    REPOSITORY_PATTERN,
    RepositoryAlreadyExists,
    RepositoryNotEmpty,
    ecr,
    is_repository_name,
    refused,
    registry_of,
    repository_arns,
)
from cloudlet.services.ecr.tags import checked_tags
from cloudlet.store.db import Tx


def _shown(call: Call, repository: Repository) -> dict[str, Any]:
    host = registry_host(call.endpoint, repository.account, repository.region)
    return {
        "repositoryArn": repository.arn,
        "registryId": repository.account,
        "repositoryName": repository.name,
        "repositoryUri": f"{host}/{repository.name}",
        "createdAt": repository.created_at,
        **mutability.shown(repository),
        "imageScanningConfiguration": {"scanOnPush": repository.scan_on_push},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }


@ecr.write(resources=repository_arns)
def create_repository(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A repository. KMS keys are refused; `scanOnPush` is kept, and what becomes of it stands in `scanning`."""
    account, name = registry_of(call, request), request["repositoryName"]
    if not is_repository_name(name):
        raise refused("repositoryName", f"must satisfy regular expression '{REPOSITORY_PATTERN}'")
    if request.get("encryptionConfiguration", {}).get("encryptionType", "AES256") != "AES256":
        raise refused("encryptionConfiguration", "encryptionType must be AES256: KMS keys are not available here")
    immutable, exclusions = mutability.asked(request)
    tags = checked_tags({}, request.get("tags", []))
    key = repository_key(account, call.region, name)
    if tx.get(Repository, key) is not None:
        raise RepositoryAlreadyExists(
            f"The repository with name '{name}' already exists in the registry with id '{account}'")
    repository = Repository(key, account, call.region, name, tx.now, immutable, tags, exclusions,
                            bool(request.get("imageScanningConfiguration", {}).get("scanOnPush")))
    tx.put(repository)
    return {"repository": _shown(call, repository)}


@ecr.read(resources=repository_arns)
def describe_repositories(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Those named, or all of the registry in order of name."""
    account = registry_of(call, request)
    if names := request.get("repositoryNames"):
        found = [require_repository(tx, account, call.region, name) for name in names]
    else:
        found = tx.find(Repository, repository_key(account, call.region, ""))
    return {"repositories": [_shown(call, repository) for repository in found]}


@ecr.write(resources=repository_arns)
def delete_repository(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """With `force` also when there are images in it."""
    repository = require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])
    if not request.get("force") and tx.find(Image, f"{repository.key}@", limit=1):
        raise RepositoryNotEmpty(f"The repository with name '{repository.name}' in registry with id "
                                 f"'{repository.account}' cannot be deleted because it still contains images")
    delete_contents(tx, repository)
    tx.delete(Repository, repository.key)
    return {"repository": _shown(call, repository)}
