"""What is said of a whole account: its alias, how much of everything there is, and all of it in one answer."""

import dataclasses
import re
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.iam import groups, managed, policies, roles, users
from cloudlet.services.iam.attachments import ATTACHED_MAX
from cloudlet.services.iam.boundaries import shown_boundary
from cloudlet.services.iam.documents import (
    GROUP_SIZE_MAX,
    MANAGED_SIZE_MAX,
    ROLE_SIZE_MAX,
    TRUST_SIZE_MAX,
    USER_SIZE_MAX,
    encoded,
)
from cloudlet.services.iam.groups import GROUPS_PER_USER_MAX
from cloudlet.services.iam.instance_profiles import described as described_profile
from cloudlet.services.iam.naming import tag_list
from cloudlet.services.iam.policies import VERSIONS_MAX
from cloudlet.services.iam.records import (
    Account,
    Group,
    InstanceProfile,
    ManagedPolicy,
    MfaDevice,
    OidcProvider,
    Role,
    User,
)
from cloudlet.services.iam.service import EntityAlreadyExists, NoSuchEntity, ValidationError, iam
from cloudlet.store.db import Tx

_ALIAS = re.compile(r"(?!\d{12}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


@iam.write(resources=any_resource)
def create_account_alias(call: Call, tx: Tx, request: Input) -> Output:
    """Gives the account a name; it has one at most, and no two accounts share one."""
    alias = request["AccountAlias"]
    if not _ALIAS.fullmatch(alias) or "--" in alias:
        raise ValidationError(f"1 validation error detected: Value '{alias}' at 'accountAlias' failed to satisfy"
                              " constraint: Member must satisfy regular expression pattern: "
                              "^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$")
    if any(owner.id != call.account for owner in tx.find(Account, alias=alias)):
        raise EntityAlreadyExists(f"The account alias {alias} already exists.")
    tx.put(dataclasses.replace(tx.get(Account, call.account) or Account(call.account), alias=alias))


@iam.read(resources=any_resource)
def list_account_aliases(call: Call, tx: Tx, request: Input) -> Output:
    """The account's alias, if it has one."""
    account = tx.get(Account, call.account)
    return {"AccountAliases": [account.alias] if account is not None and account.alias else []}


@iam.write(resources=any_resource)
def delete_account_alias(call: Call, tx: Tx, request: Input) -> Output:
    """Takes the account's alias away."""
    account = tx.get(Account, call.account)
    if account is None or account.alias != request["AccountAlias"]:
        raise NoSuchEntity(f"The account alias {request['AccountAlias']} cannot be found.")
    tx.put(dataclasses.replace(account, alias=""))


@iam.read(resources=any_resource)
def get_account_summary(call: Call, tx: Tx, request: Input) -> Output:
    """How much of everything the account has, and the limits that are enforced here."""
    where, own = f"{call.account}/", tx.find(ManagedPolicy, account=call.account)
    devices = tx.find(MfaDevice, account=call.account)
    return {"SummaryMap": {
        "Users": len(tx.find(User, where)), "Groups": len(tx.find(Group, where)), "Roles": len(tx.find(Role, where)),
        "InstanceProfiles": len(tx.find(InstanceProfile, where)), "Policies": len(own),
        "PolicyVersionsInUse": sum(len(policy.versions) for policy in own),
        "Providers": len(tx.find(OidcProvider, account=call.account)),
        "MFADevices": len(devices), "MFADevicesInUse": sum(bool(each.user) for each in devices),
        "AccountMFAEnabled": 0, "AccountAccessKeysPresent": 0,
        "AccountSigningCertificatesPresent": 0, "ServerCertificates": 0,
        "AccessKeysPerUserQuota": 2, "GroupsPerUserQuota": GROUPS_PER_USER_MAX,
        "AttachedPoliciesPerUserQuota": ATTACHED_MAX, "AttachedPoliciesPerGroupQuota": ATTACHED_MAX,
        "AttachedPoliciesPerRoleQuota": ATTACHED_MAX, "VersionsPerPolicyQuota": VERSIONS_MAX,
        "PolicySizeQuota": MANAGED_SIZE_MAX, "UserPolicySizeQuota": USER_SIZE_MAX,
        "GroupPolicySizeQuota": GROUP_SIZE_MAX, "RolePolicySizeQuota": ROLE_SIZE_MAX,
        "AssumeRolePolicySizeQuota": TRUST_SIZE_MAX}}


@iam.read(resources=any_resource)
def get_account_authorization_details(call: Call, tx: Tx, request: Input) -> Output:
    """Every user, group, role and policy with everything that counts for it, in one list that pages as a whole."""
    wanted = set(request.get("Filter") or ("User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"))
    where = f"{call.account}/"
    answer: dict[str, Any] = {
        "UserDetailList": [_user(tx, user) for user in tx.find(User, where)] if "User" in wanted else [],
        "GroupDetailList": [_group(group) for group in tx.find(Group, where)] if "Group" in wanted else [],
        "RoleDetailList": [_role(tx, role) for role in tx.find(Role, where)] if "Role" in wanted else [],
        "Policies": []}
    if "LocalManagedPolicy" in wanted:
        answer["Policies"] += [_policy(tx, call, each) for each in tx.find(ManagedPolicy, account=call.account)]
    if "AWSManagedPolicy" in wanted:  # those in use, as on AWS
        answer["Policies"] += [_policy(tx, call, each) for each in managed.policies().values()
                               if policies.attached_to(tx, call.account, each.arn)]
    return answer


def _policies(owner: User | Group | Role, kind: str) -> dict[str, Any]:
    return {f"{kind}PolicyList": [{"PolicyName": name, "PolicyDocument": encoded(text)}
                                  for name, text in sorted(owner.inline.items())],
            "AttachedManagedPolicies": [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}
                                        for arn in owner.attached]}


def _user(tx: Tx, user: User) -> dict[str, Any]:
    names = [group.name for key in sorted(user.groups) if (group := tx.get(Group, key)) is not None]
    return {**users.described(user, listed=True), **_policies(user, "User"), "GroupList": names,
            **shown_boundary(user.boundary), "Tags": tag_list(user.tags)}


def _group(group: Group) -> dict[str, Any]:
    return {**groups.described(group), **_policies(group, "Group")}


def _role(tx: Tx, role: Role) -> dict[str, Any]:
    profiles = [described_profile(tx, each, listed=True) for each in tx.find(InstanceProfile, role=role.key)]
    shown = roles.described(role, listed=True)
    for absent in ("Description", "MaxSessionDuration"):
        shown.pop(absent, None)
    return {**shown, **_policies(role, "Role"), "InstanceProfileList": profiles, **shown_boundary(role.boundary),
            "Tags": tag_list(role.tags), **roles.last_used(tx, role)}


def _policy(tx: Tx, call: Call, policy: policies.AnyPolicy) -> dict[str, Any]:
    if isinstance(policy, ManagedPolicy):
        versions = [{"Document": encoded(text), "VersionId": name, "IsDefaultVersion": name == policy.default,
                     "CreateDate": created} for name, (text, created) in policy.versions.items()]
    else:
        versions = [{"Document": encoded(policy.document), "VersionId": policy.version, "IsDefaultVersion": True,
                     "CreateDate": policy.updated}]
    return {**policies.described(tx, call, policy), "PolicyVersionList": versions}
