"""Repository creation templates: what repositories are like that come by themselves, and making one.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-creation-templates.html
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import any_resource
from cloudlet.services.ecr import lifecycle, mutability, policies
from cloudlet.services.ecr.contents import LIFECYCLE
from cloudlet.services.ecr.records import LifecyclePolicy, Repository, Template, repository_key
from cloudlet.services.ecr.service import TemplateAlreadyExists, TemplateNotFound, ecr, refused
from cloudlet.services.ecr.tags import checked_tags
from cloudlet.services.iam import pass_role_refusal
from cloudlet.store.db import Tx

ANY = "ROOT"  # the prefix that every repository has
_SETTINGS = ("description", "encryptionConfiguration", "resourceTags", "imageTagMutability",
             "imageTagMutabilityExclusionFilters", "repositoryPolicy", "lifecyclePolicy", "appliedFor", "customRoleArn")


def make_repository(tx: Tx, account: str, region: str, name: str, why: str) -> Repository:
    """A new repository, by the template for its name if there is one for `why`: REPLICATION, PULL_THROUGH_CACHE or
    CREATE_ON_PUSH."""
    template = matching(tx, account, region, name, why)
    settings: Mapping[str, Any] = template.settings if template is not None else {}
    immutable, exclusions = mutability.asked(dict(settings))
    repository = Repository(repository_key(account, region, name), account, region, name, tx.now, immutable,
                            checked_tags({}, settings.get("resourceTags", [])), exclusions,
                            policy=settings.get("repositoryPolicy") or None)
    tx.put(repository)
    if settings.get("lifecyclePolicy"):
        tx.put(LifecyclePolicy(repository.key, settings["lifecyclePolicy"]))
        tx.enqueue(LIFECYCLE, repository.key)
    return repository


def matching(tx: Tx, account: str, region: str, name: str, why: str) -> Template | None:
    """The template for a repository of that name: the longest prefix counts, and ROOT last."""
    found = [template for template in tx.find(Template, f"{account}/{region}/")
             if why in template.settings["appliedFor"]
             and (template.prefix == ANY or name.startswith(template.prefix.removesuffix("/") + "/"))]
    return max(found, key=lambda template: (template.prefix != ANY, len(template.prefix)), default=None)


@ecr.write(resources=any_resource)
def create_repository_creation_template(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A template for repositories whose names begin with a prefix."""
    key, prefix = _key(call, request["prefix"]), request["prefix"]
    if tx.get(Template, key) is not None:
        raise TemplateAlreadyExists(f"The repository creation template with prefix '{prefix}' already exists in the "
                                    f"registry with id '{call.account}'")
    template = Template(key, _checked(call, tx, request), tx.now, tx.now)
    tx.put(template)
    return _answer(call, template)


@ecr.write(resources=any_resource)
def update_repository_creation_template(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Changes the settings that are given; repositories that are there stay as they are."""
    template = _find(call, tx, request["prefix"])
    changed = dataclasses.replace(template, settings=_checked(call, tx, {**template.settings, **request}),
                                  updated_at=tx.now)
    tx.put(changed)
    return _answer(call, changed)


@ecr.write(resources=any_resource)
def delete_repository_creation_template(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Deletes a template, and answers what it was."""
    template = _find(call, tx, request["prefix"])
    tx.delete(Template, template.key)
    return _answer(call, template)


@ecr.read(resources=any_resource)
def describe_repository_creation_templates(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Those of the prefixes, or all."""
    prefixes = request.get("prefixes")
    found = [template for template in tx.find(Template, f"{call.scope}/")
             if not prefixes or template.prefix in prefixes]
    return {"registryId": call.account, "repositoryCreationTemplates": [_shown(template) for template in found]}


def _key(call: Call, prefix: str) -> str:
    return f"{call.scope}/{prefix}"


def _find(call: Call, tx: Tx, prefix: str) -> Template:
    template = tx.get(Template, _key(call, prefix))
    if template is None:
        raise TemplateNotFound(f"The repository creation template with prefix '{prefix}' does not exist in the "
                               f"registry with id '{call.account}'")
    return template


def _checked(call: Call, tx: Tx, request: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a request, such that a repository can be made of them."""
    settings = {name: request[name] for name in _SETTINGS if request.get(name) not in (None, "")}
    if settings.get("encryptionConfiguration", {}).get("encryptionType", "AES256") != "AES256":
        raise refused("encryptionConfiguration", "encryptionType must be AES256: KMS keys are not available here")
    if not settings.get("appliedFor"):
        raise refused("appliedFor", "must name at least one of REPLICATION, PULL_THROUGH_CACHE and CREATE_ON_PUSH")
    mutability.asked(settings)
    checked_tags({}, settings.get("resourceTags", []))
    if "repositoryPolicy" in settings:
        policies.check(settings["repositoryPolicy"], "repository")
    if "lifecyclePolicy" in settings:
        lifecycle.check(settings["lifecyclePolicy"])
    if request.get("customRoleArn"):
        refusal = pass_role_refusal(tx, call, request["customRoleArn"], "ecr.amazonaws.com")
        if refusal is not None:
            raise refused("customRoleArn", refusal.message)
    return settings


def _shown(template: Template) -> dict[str, Any]:
    return {"encryptionConfiguration": {"encryptionType": "AES256"}, "imageTagMutability": "MUTABLE",
            **template.settings, "prefix": template.prefix, "createdAt": template.created_at,
            "updatedAt": template.updated_at}


def _answer(call: Call, template: Template) -> dict[str, Any]:
    return {"registryId": call.account, "repositoryCreationTemplate": _shown(template)}
