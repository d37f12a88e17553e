"""Managed policies and their versions: the customer's, and those of AWS (read only)."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam import managed
from cloudlet.services.iam.documents import check_managed, encoded
from cloudlet.services.iam.ids import unique_id
from cloudlet.services.iam.managed import AwsPolicy
from cloudlet.services.iam.naming import check_name, check_path, merged_tags, remaining_tags, tag_list
from cloudlet.services.iam.records import Group, ManagedPolicy, Role, User
from cloudlet.services.iam.service import (
    AccessDenied,
    DeleteConflict,
    EntityAlreadyExists,
    InvalidInput,
    LimitExceeded,
    NoSuchEntity,
    iam,
)
from cloudlet.store.db import Tx

VERSIONS_MAX = 5
AnyPolicy = AwsPolicy | ManagedPolicy


def the_policy(call: Call, request: Input) -> list[str]:
    """The resource of operations on one managed policy."""
    return [request["PolicyArn"]]


def find_any(tx: Tx, account: str, arn: str) -> AnyPolicy | None:
    """The managed policy of that ARN, AWS's or of the account, or None. Raises InvalidInput for no ARN."""
    parts = Arn.parse(arn)
    if parts is None or parts.service != "iam" or not parts.resource.startswith("policy/"):
        raise InvalidInput(f"ARN {arn} is not valid.")
    theirs = tx.get(ManagedPolicy, arn) if parts.account == account else None
    return managed.find(arn) or theirs


def readable(tx: Tx, call: Call, arn: str) -> AnyPolicy:
    """The managed policy of that ARN; raises NoSuchEntity."""
    found = find_any(tx, call.account, arn)
    if found is None:
        raise NoSuchEntity(f"Policy {arn} was not found.")
    return found


def attached_to(tx: Tx, account: str, arn: str) -> list[User | Group | Role]:
    """The account's users, groups and roles to which a policy is attached."""
    where = f"{account}/"
    return [*tx.find(User, where, policy=arn), *tx.find(Group, where, policy=arn), *tx.find(Role, where, policy=arn)]


def bounded_by(tx: Tx, account: str, arn: str) -> list[User | Role]:
    """The account's users and roles whose permissions boundary a policy is."""
    return [*tx.find(User, f"{account}/", boundary=arn), *tx.find(Role, f"{account}/", boundary=arn)]


@iam.write(resources=lambda call, request: [_arn(call, request)])
def create_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a managed policy with its first version."""
    name, path = check_name("policyName", request["PolicyName"]), check_path(request.get("Path") or "/")
    document = check_managed(request["PolicyDocument"])
    if any(policy.name.lower() == name.lower() for policy in tx.find(ManagedPolicy, account=call.account)):
        raise EntityAlreadyExists(f"A policy called {name} already exists. Duplicate names are not allowed.")
    policy = ManagedPolicy(
        _arn(call, request), call.account, unique_id(tx, "ANPA", call.account), name, path, tx.now, tx.now, "v1", 1,
        {"v1": (document, tx.now)}, request.get("Description") or "",
        merged_tags({}, request.get("Tags") or (), "TagsPerPolicy"))
    tx.put(policy)
    return {"Policy": {**described(tx, call, policy), **({"Tags": tag_list(policy.tags)} if policy.tags else {})}}


@iam.read(resources=the_policy)
def get_policy(call: Call, tx: Tx, request: Input) -> Output:
    """A managed policy, without its document."""
    policy = readable(tx, call, request["PolicyArn"])
    shown = {**described(tx, call, policy), "Tags": tag_list(policy.tags if isinstance(policy, ManagedPolicy) else {})}
    if isinstance(policy, ManagedPolicy) and policy.description:
        shown["Description"] = policy.description
    return {"Policy": shown}


@iam.read(resources=lambda call, request: [f"policy path {request.get('PathPrefix') or '/'}"])
def list_policies(call: Call, tx: Tx, request: Input) -> Output:
    """Managed policies by scope and path; the customer's first."""
    scope, prefix = request.get("Scope") or "All", request.get("PathPrefix") or "/"
    found: list[AnyPolicy] = [*(tx.find(ManagedPolicy, account=call.account) if scope != "AWS" else ()),
                              *(managed.policies().values() if scope != "Local" else ())]
    shown = [described(tx, call, policy) for policy in found if policy.path.startswith(prefix)]
    use, counts = request.get("PolicyUsageFilter"), ("AttachmentCount", "PermissionsBoundaryUsageCount")
    if use is not None:
        count = counts[use == "PermissionsBoundary"]
        shown = [each for each in shown if each[count]]
    return {"Policies": [each for each in shown if not request.get("OnlyAttached") or any(map(each.get, counts))]}


@iam.write(resources=the_policy)
def delete_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a policy that is attached to nobody and has one version left."""
    policy = _own(tx, call, request["PolicyArn"])
    if attached_to(tx, call.account, policy.arn) or bounded_by(tx, call.account, policy.arn):
        raise DeleteConflict("Cannot delete a policy attached to entities.")
    if len(policy.versions) > 1:
        raise DeleteConflict("This policy has more than one version. Before you delete a policy, you must delete the "
                             "policy's versions. The default version is deleted with the policy.")
    tx.delete(ManagedPolicy, policy.arn)


@iam.write(resources=the_policy)
def create_policy_version(call: Call, tx: Tx, request: Input) -> Output:
    """Adds a version; as the default it counts from the next request."""
    policy = _own(tx, call, request["PolicyArn"])
    document = check_managed(request["PolicyDocument"])
    if len(policy.versions) >= VERSIONS_MAX:
        raise LimitExceeded(f"A managed policy can have up to {VERSIONS_MAX} versions. Before you create a new version,"
                            " you must delete an existing version.")
    version = f"v{policy.last_version + 1}"
    policy = dataclasses.replace(
        policy, last_version=policy.last_version + 1, updated=tx.now,
        versions={**policy.versions, version: (document, tx.now)},
        default=version if request.get("SetAsDefault") else policy.default)
    tx.put(policy)
    return {"PolicyVersion": _version(policy, version)}


@iam.read(resources=the_policy)
def get_policy_version(call: Call, tx: Tx, request: Input) -> Output:
    """One version with its document."""
    policy, version = readable(tx, call, request["PolicyArn"]), request["VersionId"]
    if isinstance(policy, AwsPolicy):
        if version != policy.version:
            raise _no_version(policy.arn, version)
        return {"PolicyVersion": {"Document": encoded(policy.document), "VersionId": version, "IsDefaultVersion": True,
                                  "CreateDate": policy.updated}}
    if version not in policy.versions:
        raise _no_version(policy.arn, version)
    return {"PolicyVersion": {"Document": encoded(policy.versions[version][0]), **_version(policy, version)}}


@iam.read(resources=the_policy)
def list_policy_versions(call: Call, tx: Tx, request: Input) -> Output:
    """The versions, newest first; of AWS's policies only the current one is known here."""
    policy = readable(tx, call, request["PolicyArn"])
    if isinstance(policy, AwsPolicy):
        versions = [{"VersionId": policy.version, "IsDefaultVersion": True, "CreateDate": policy.updated}]
    else:
        versions = [_version(policy, name) for name in sorted(policy.versions, key=lambda name: -int(name[1:]))]
    return {"Versions": versions}


@iam.write(resources=the_policy)
def set_default_policy_version(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a version the one that counts, from the next request."""
    policy = _own(tx, call, request["PolicyArn"])
    if request["VersionId"] not in policy.versions:
        raise _no_version(policy.arn, request["VersionId"])
    tx.put(dataclasses.replace(policy, default=request["VersionId"], updated=tx.now))


@iam.write(resources=the_policy)
def delete_policy_version(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a version that is not the default."""
    policy, version = _own(tx, call, request["PolicyArn"]), request["VersionId"]
    if version not in policy.versions:
        raise _no_version(policy.arn, version)
    if version == policy.default:
        raise DeleteConflict("Cannot delete the default version of a policy.")
    tx.put(dataclasses.replace(
        policy, updated=tx.now, versions={name: value for name, value in policy.versions.items() if name != version}))


@iam.write(resources=the_policy)
def tag_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags or changes their values."""
    policy = _own(tx, call, request["PolicyArn"])
    tx.put(dataclasses.replace(policy, tags=merged_tags(policy.tags, request["Tags"], "TagsPerPolicy")))


@iam.write(resources=the_policy)
def untag_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags; keys that are not there do no harm."""
    policy = _own(tx, call, request["PolicyArn"])
    tx.put(dataclasses.replace(policy, tags=remaining_tags(policy.tags, request["TagKeys"])))


@iam.read(resources=the_policy)
def list_policy_tags(call: Call, tx: Tx, request: Input) -> Output:
    """A policy's tags."""
    policy = readable(tx, call, request["PolicyArn"])
    return {"Tags": tag_list(policy.tags if isinstance(policy, ManagedPolicy) else {})}


def _arn(call: Call, request: Input) -> str:
    return f"arn:aws:iam::{call.account}:policy{request.get('Path') or '/'}{request['PolicyName']}"


def _own(tx: Tx, call: Call, arn: str) -> ManagedPolicy:
    """A policy that the caller's account may change."""
    policy = readable(tx, call, arn)
    if isinstance(policy, AwsPolicy):
        raise AccessDenied(f"User: {call.principal.arn} is not authorized to change {arn}: the policy belongs to AWS")
    return policy


def _no_version(arn: str, version: str) -> AwsError:
    return NoSuchEntity(f"Policy {arn} version {version} does not exist or is not attachable.")


def _version(policy: ManagedPolicy, name: str) -> dict[str, Any]:
    return {"VersionId": name, "IsDefaultVersion": name == policy.default, "CreateDate": policy.versions[name][1]}


def described(tx: Tx, call: Call, policy: AnyPolicy) -> dict[str, Any]:
    """A managed policy as answers carry it, without its document."""
    default = policy.version if isinstance(policy, AwsPolicy) else policy.default
    return {"PolicyName": policy.name, "PolicyId": policy.id, "Arn": policy.arn, "Path": policy.path,
            "DefaultVersionId": default, "AttachmentCount": len(attached_to(tx, call.account, policy.arn)),
            "PermissionsBoundaryUsageCount": len(bounded_by(tx, call.account, policy.arn)), "IsAttachable": True,
            "CreateDate": policy.created, "UpdateDate": policy.updated}
