"""ECR's declaration: the service, its errors in AWS's words, and the grammar of its names."""

import re
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Service
from cloudlet.store.blobs import is_digest

ecr = Service("ecr")

AccessDenied = ecr.error("AccessDeniedException", status=400)
ImageNotFoundException = ecr.error("ImageNotFoundException")
ImageTagAlreadyExists = ecr.error("ImageTagAlreadyExistsException")
InvalidLayer = ecr.error("InvalidLayerException")
InvalidParameter = ecr.error("InvalidParameterException")
InvalidTagParameter = ecr.error("InvalidTagParameterException")
LayersNotFound = ecr.error("LayersNotFoundException")
ReferencedImagesNotFound = ecr.error("ReferencedImagesNotFoundException")
RepositoryAlreadyExists = ecr.error("RepositoryAlreadyExistsException")
RepositoryNotEmpty = ecr.error("RepositoryNotEmptyException")
RepositoryNotFound = ecr.error("RepositoryNotFoundException")
TooManyTags = ecr.error("TooManyTagsException")

REPOSITORY_PATTERN = "(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*"  # as AWS prints it
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")

__all__ = ["ecr", "is_digest", "is_repository_name", "is_tag", "registry_of", "repository_arns"]


def is_repository_name(text: str) -> bool:
    """Whether a repository may be called so: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Repository.html."""
    return 2 <= len(text) <= 256 and _REPOSITORY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether an image may be tagged so."""
    return _TAG.fullmatch(text) is not None


def repository_arn(account: str, region: str, name: str) -> str:
    """The ARN of a repository; `name` may be `*`."""
    return f"arn:aws:ecr:{region}:{account}:repository/{name}"


def repository_arns(call: Call, request: dict[str, Any]) -> list[str]:
    """What an operation on one repository (or on several, or on any) acts on, for the policies."""
    account = request.get("registryId") or call.account
    names = [request["repositoryName"]] if "repositoryName" in request else request.get("repositoryNames") or ["*"]
    return [repository_arn(account, call.region, name) for name in names]


def registry_of(call: Call, request: dict[str, Any]) -> str:
    """The account whose registry is meant. Raises AccessDenied for another's: no repository policy can allow it."""
    account: str = request.get("registryId") or call.account
    if account != call.account:
        raise AccessDenied(f"User: {call.principal.arn} is not authorized to access the registry with id '{account}' "
                           "because no resource-based policy allows it")
    return account
