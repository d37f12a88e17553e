"""Images as people write them in task definitions, resolved to what can be pulled from here."""

import dataclasses
import re
from dataclasses import dataclass

from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.site import Site
from cloudlet.services.ecr import hosts, tokens
from cloudlet.services.ecr.contents import find_image
from cloudlet.services.ecr.pull_through import wants_upstream
from cloudlet.services.ecr.pull_through_rules import find_rule
from cloudlet.services.ecr.records import Repository, repository_key
from cloudlet.services.ecr.service import ecr, is_digest, is_repository_name, is_tag, repository_arn
from cloudlet.services.ecr.tokens import PULL_ACTIONS, USERNAME, Grant
from cloudlet.services.iam import Permissions, find_role
from cloudlet.store.db import Tx

PULL_S = 3600.0  # how long the credentials for one pull are good
_permissions = Permissions((ecr,))
_REFERENCE = re.compile(r"(?P<name>[^:@]+)(?::(?P<tag>[^:@/]+))?(?:@(?P<digest>[^@/]+))?")


class ImageNotFound(Exception):
    """The image is of one of our registries, and is not there; the text says why, as ECS would show it."""


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """`reference` is pinned by digest and reached on loopback, over plain HTTP where `plain_http`, with credentials
    that pull from its repository and do nothing else. For a list of images, `digest` is the list's.

    Where a tag's image must be brought from an upstream registry first, as the pull will do, `digest` is empty and
    `reference` not pinned.
    """

    reference: str
    digest: str
    username: str
    password: str
    plain_http: bool = True


def resolve_image(tx: Tx, account: str, region: str, image: str, site: Site,
                  role_arn: str = "") -> ResolvedImage | None:
    """What to pull for an image of the registries here; None for one from elsewhere.

    `account` and `region` are those of who runs it, and say whose registry a plain `localhost:PORT` means. From another
    account's it is pulled as the role `role_arn`, which its own policies and that account's must allow it. Raises
    ImageNotFound.
    """
    host, slash, rest = image.partition("/")
    registry = _registry(host, account, region, site) if slash else None
    if registry is None:
        return None
    match = _REFERENCE.fullmatch(rest)
    name = match["name"] if match else ""
    reference = (match["digest"] or match["tag"] or "latest") if match else ""
    if not is_repository_name(name) or not (is_digest(reference) or is_tag(reference)):
        raise ImageNotFound(f"invalid reference format: {image}")
    owner, where = registry
    if owner != account:
        why = _refusal(tx, role_arn, where, repository_arn(owner, where, name), site)
        if why is not None:
            raise ImageNotFound(f"failed to resolve ref {image}: pulling from {host}/{name} denied: {why}")
    key = repository_key(owner, where, name)
    principal = Principal("service", owner, "ecs.amazonaws.com", "ecs.amazonaws.com")
    grant = Grant(principal, where, tx.now + PULL_S, pull_only=key)
    if owner == account and wants_upstream(tx, key, reference) and find_rule(tx, owner, where, name) is not None:
        digest = reference if is_digest(reference) else ""
        return ResolvedImage(f"localhost:{site.port}/{name}{'@' if digest else ':'}{reference}", digest, USERNAME,
                             tokens.issue(tx, dataclasses.replace(grant, imports=True)))
    if tx.get(Repository, key) is None:
        raise ImageNotFound(f"failed to resolve ref {image}: name unknown: The repository with name '{name}' does not "
                            f"exist in the registry with id '{owner}'")
    found = find_image(tx, key, reference)
    if found is None:
        raise ImageNotFound(f"failed to resolve ref {image}: {image}: not found")
    return ResolvedImage(f"localhost:{site.port}/{name}@{found.digest}", found.digest, USERNAME,
                         tokens.issue(tx, grant))


def _refusal(tx: Tx, role_arn: str, region: str, repository: str, site: Site) -> str | None:
    """Why a role may not pull from another account's repository, or None. Without a role nobody may."""
    role = find_role(tx, role_arn) if role_arn else None
    if role is None:
        return "there is no execution role whom a resource-based policy could allow it"
    arn = f"arn:aws:sts::{role.account}:assumed-role/{role.name}/ecs"
    principal = Principal("role", role.account, arn, f"{role.id}:ecs", role.arn)
    call = Call("", role.account, region, principal, tx.now, f"http://localhost:{site.port}")
    for action in sorted(PULL_ACTIONS):
        refusal = _permissions.refusal(tx, call, action, (repository,))
        if refusal is not None:
            return refusal.message
    return None


def _registry(host: str, account: str, region: str, site: Site) -> tuple[str, str] | None:
    """The (account, region) of the registry that a host means; None for one that is not here."""
    if host in (f"localhost:{site.port}", f"127.0.0.1:{site.port}", f"[::1]:{site.port}"):
        return account, region
    return hosts.registry_at(host)
