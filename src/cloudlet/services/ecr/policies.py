"""Policies of repositories and of whole registries, which count in every decision about a repository.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html and registry-permissions.html: the
registry's policy has the scope V2, so that it counts for every action.
"""

import dataclasses
from typing import Any

import msgspec

from cloudlet.kernel import policy, policy_grammar
from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import any_resource
from cloudlet.services.ecr.contents import require_repository
from cloudlet.services.ecr.records import RegistryPolicy, Repository, repository_at
from cloudlet.services.ecr.service import (
    RegistryPolicyNotFound,
    RepositoryPolicyNotFound,
    ecr,
    refused,
    registry_of,
    repository_arns,
)
from cloudlet.services.iam import Permissions
from cloudlet.store.db import Tx

_OWN = Permissions((ecr,))


@ecr.resource_policy
def policy_of(tx: Tx, arn: str) -> str | None:
    """What a repository's own policy and its registry's say together, also of a repository that is yet to be made."""
    parsed = Arn.parse(arn)
    if parsed is None or not parsed.resource.startswith("repository/"):
        return None
    repository = repository_at(tx, arn)
    registry = tx.get(RegistryPolicy, f"{parsed.account}/{parsed.region}")
    own = repository.policy if repository is not None else None
    if registry is None:
        return own
    return registry.policy if own is None else policy.merge([_as_of_today(own), _as_of_today(registry.policy)])


def _as_of_today(document: str) -> str:
    """The same in the newer version, which alone has variables: "${" of an older document is only text."""
    older = msgspec.json.decode(document).get("Version") != "2012-10-17"
    return document.replace("${", "${$}{") if older else document


@ecr.write(resources=repository_arns)
def set_repository_policy(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Gives a repository its policy. One that would keep the caller from setting another needs `force`."""
    repository, document = _repository(call, tx, request), request["policyText"]
    check(document, "repository")
    changed = dataclasses.replace(repository, policy=document)
    tx.put(changed)
    if not request.get("force") and _OWN.refusal(tx, call, "ecr:SetRepositoryPolicy", (repository.arn,)):
        raise refused("PolicyText", "the policy would prevent you from setting another policy in the future: "
                                    "use force to set it nevertheless")
    return _answer(changed)


@ecr.read(resources=repository_arns)
def get_repository_policy(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A repository's policy, as it was set."""
    return _answer(_with_policy(call, tx, request))


@ecr.write(resources=repository_arns)
def delete_repository_policy(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Takes a repository's policy away, and answers what it was."""
    repository = _with_policy(call, tx, request)
    tx.put(dataclasses.replace(repository, policy=None))
    return _answer(repository)


@ecr.write(resources=any_resource)
def put_registry_policy(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Gives the caller's registry its policy."""
    document = request["policyText"]
    check(document, "registry")
    tx.put(RegistryPolicy(call.scope, document))
    return {"registryId": call.account, "policyText": document}


@ecr.read(resources=any_resource)
def get_registry_policy(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The policy of the caller's registry, as it was put."""
    return {"registryId": call.account, "policyText": _of_registry(call, tx).policy}


@ecr.write(resources=any_resource)
def delete_registry_policy(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Takes the policy of the caller's registry away, and answers what it was."""
    found = _of_registry(call, tx)
    tx.delete(RegistryPolicy, found.key)
    return {"registryId": call.account, "policyText": found.policy}


def check(document: str, of: str) -> None:
    """Raises InvalidParameter unless the document is the policy of a "repository" or a "registry": in AWS's words,
    which do not say what is wrong; we do, behind them."""
    try:
        policy_grammar.check(document, "resource")
        for statement in policy.listed(msgspec.json.decode(document)["Statement"]):
            for action in policy.listed(statement.get("Action", statement.get("NotAction"))):
                if action != "*" and not action.lower().startswith("ecr:"):
                    raise policy_grammar.Malformed(f"{action} is not an action of ECR")
            named = "Resource" in statement or "NotResource" in statement
            if of == "repository" and named:
                raise policy_grammar.Malformed("the resource is the repository, and must not be named")
            if of == "registry" and not named:
                raise policy_grammar.Malformed("a statement must name its resources")
    except policy_grammar.Malformed as error:
        raise refused("PolicyText", f"Invalid {of} policy provided: {error}") from None


def _repository(call: Call, tx: Tx, request: dict[str, Any]) -> Repository:
    return require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])


def _with_policy(call: Call, tx: Tx, request: dict[str, Any]) -> Repository:
    repository = _repository(call, tx, request)
    if repository.policy is None:
        raise RepositoryPolicyNotFound(f"Repository policy does not exist for the repository with name "
                                       f"'{repository.name}' in the registry with id '{repository.account}'")
    return repository


def _of_registry(call: Call, tx: Tx) -> RegistryPolicy:
    found = tx.get(RegistryPolicy, call.scope)
    if found is None:
        raise RegistryPolicyNotFound(f"Registry policy does not exist in the registry with id '{call.account}'")
    return found


def _answer(repository: Repository) -> dict[str, Any]:
    return {"registryId": repository.account, "repositoryName": repository.name, "policyText": repository.policy}
