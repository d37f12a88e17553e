"""Which tags of a repository stay on their image once set, and what a request may say of that.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
"""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.ecr.contents import require_repository
from cloudlet.services.ecr.records import Repository
from cloudlet.services.ecr.service import ecr, refused, registry_of, repository_arns
from cloudlet.store.db import Tx

WILDCARDS_MAX = 2  # in one filter


def asked(request: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Whether a request wants immutable tags, and for which filters the opposite. Raises InvalidParameter."""
    setting = request.get("imageTagMutability") or "MUTABLE"
    filters = tuple(dict.fromkeys(each["filter"] for each in request.get("imageTagMutabilityExclusionFilters") or ()))
    if setting.endswith("_WITH_EXCLUSION") != bool(filters):
        raise refused("imageTagMutabilityExclusionFilters",
                      "must be given with IMMUTABLE_WITH_EXCLUSION and MUTABLE_WITH_EXCLUSION, and with no other "
                      "imageTagMutability")
    for text in filters:
        if text.count("*") > WILDCARDS_MAX:
            raise refused("imageTagMutabilityExclusionFilters",
                          f"a filter must not contain more than {WILDCARDS_MAX} wildcards")
    return setting.startswith("IMMUTABLE"), filters


def shown(repository: Repository) -> dict[str, Any]:
    """The setting as answers have it."""
    setting = "IMMUTABLE" if repository.immutable else "MUTABLE"
    if not repository.exclusions:
        return {"imageTagMutability": setting}
    return {"imageTagMutability": f"{setting}_WITH_EXCLUSION", "imageTagMutabilityExclusionFilters": [
        {"filterType": "WILDCARD", "filter": text} for text in repository.exclusions]}


@ecr.write(resources=repository_arns)
def put_image_tag_mutability(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Changes which tags may move from now on; those that are there stay."""
    repository = require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])
    immutable, exclusions = asked(request)
    changed = dataclasses.replace(repository, immutable=immutable, exclusions=exclusions)
    tx.put(changed)
    return {"registryId": changed.account, "repositoryName": changed.name, **shown(changed)}
