"""ECR: repositories, their images, and the registry that docker, podman and ECS push to and pull from."""

from cloudlet.services.ecr import (
    account_settings,
    images,
    layers,
    lifecycle,
    mutability,
    policies,
    pull_through_rules,
    putting,
    replication,
    repositories,
    scanning,
    tags,
    templates,
    tokens,
)
from cloudlet.services.ecr.collect import controller
from cloudlet.services.ecr.references import ImageNotFound, ResolvedImage, resolve_image
from cloudlet.services.ecr.registry import registry
from cloudlet.services.ecr.service import ecr

__all__ = ["ImageNotFound", "ResolvedImage", "account_settings", "controller", "ecr", "images", "layers", "lifecycle",
           "mutability", "policies", "pull_through_rules", "putting", "registry", "replication", "repositories",
           "resolve_image", "scanning", "tags", "templates", "tokens"]
