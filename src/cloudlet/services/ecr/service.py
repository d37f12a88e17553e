"""ECR's declaration: the service, its errors in AWS's words, and the grammar of its names."""

import re
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.service import Service
from cloudlet.store.blobs import is_digest

ecr = Service("ecr")

AccessDenied = ecr.error("AccessDeniedException", status=400)
EmptyUpload = ecr.error("EmptyUploadException", "The specified upload does not contain any layer parts.")
ImageAlreadyExists = ecr.error("ImageAlreadyExistsException")
ImageDigestDoesNotMatch = ecr.error("ImageDigestDoesNotMatchException")
ImageNotFoundException = ecr.error("ImageNotFoundException")
ImageTagAlreadyExists = ecr.error("ImageTagAlreadyExistsException")
InvalidLayer = ecr.error("InvalidLayerException")
InvalidLayerPart = ecr.error("InvalidLayerPartException")
InvalidParameter = ecr.error("InvalidParameterException")
InvalidTagParameter = ecr.error("InvalidTagParameterException")
LayerAlreadyExists = ecr.error("LayerAlreadyExistsException")
LayerInaccessible = ecr.error("LayerInaccessibleException")
LayerPartTooSmall = ecr.error("LayerPartTooSmallException")
LayersNotFound = ecr.error("LayersNotFoundException")
LifecyclePolicyNotFound = ecr.error("LifecyclePolicyNotFoundException")
LifecyclePolicyPreviewInProgress = ecr.error("LifecyclePolicyPreviewInProgressException")
LifecyclePolicyPreviewNotFound = ecr.error("LifecyclePolicyPreviewNotFoundException")
ReferencedImagesNotFound = ecr.error("ReferencedImagesNotFoundException")
RegistryPolicyNotFound = ecr.error("RegistryPolicyNotFoundException")
RepositoryAlreadyExists = ecr.error("RepositoryAlreadyExistsException")
RepositoryNotEmpty = ecr.error("RepositoryNotEmptyException")
RepositoryNotFound = ecr.error("RepositoryNotFoundException")
RepositoryPolicyNotFound = ecr.error("RepositoryPolicyNotFoundException")
ScanNotFound = ecr.error("ScanNotFoundException")
TemplateAlreadyExists = ecr.error("TemplateAlreadyExistsException")
TemplateNotFound = ecr.error("TemplateNotFoundException")
TooManyTags = ecr.error("TooManyTagsException")
UnsupportedImageType = ecr.error("UnsupportedImageTypeException")
UploadNotFound = ecr.error("UploadNotFoundException")
Validation = ecr.error("ValidationException")

REPOSITORY_PATTERN = "(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*"  # as AWS prints it
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")

__all__ = ["ecr", "is_digest", "is_repository_name", "is_tag", "own_registry", "refused", "registry_of",
           "repository_arns"]


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
    """The account whose registry is meant, by operations on repositories: whether the caller may is asked of the
    policies, by the ARNs above."""
    account: str = request.get("registryId") or call.account
    return account


def own_registry(call: Call, request: dict[str, Any]) -> str:
    """The account, by operations on a registry as a whole, which no policy opens to others. Raises AccessDenied."""
    account = registry_of(call, request)
    if account != call.account:
        raise AccessDenied(f"User: {call.principal.arn} is not authorized to access the registry with id '{account}' "
                           "because no resource-based policy allows it")
    return account


def refused(member: str, constraint: str) -> AwsError:
    """InvalidParameterException in AWS's words: at which member, and what it does not satisfy."""
    return InvalidParameter(f"Invalid parameter at '{member}' failed to satisfy constraint: '{constraint}'")
