"""Inline policies: documents that belong to one user, one group or one role."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, Resources
from cloudlet.services.iam.documents import GROUP_SIZE_MAX, ROLE_SIZE_MAX, USER_SIZE_MAX, check, encoded, size
from cloudlet.services.iam.naming import check_name
from cloudlet.services.iam.nouns import GROUP, ROLE, USER, Noun
from cloudlet.services.iam.records import Group, Role, User
from cloudlet.services.iam.roles import changeable
from cloudlet.services.iam.service import LimitExceeded, NoSuchEntity, iam
from cloudlet.services.iam.users import the_user
from cloudlet.store.db import Tx


def _declare(noun: Noun[Any], the_owner: Resources, size_max: int) -> None:
    """The four operations of one noun, e.g. put_user_policy. What they change counts from the next request, in open
    sessions and for the users of a group, too."""
    def owner_of(tx: Tx, call: Call, request: Input) -> User | Group | Role:
        owner: User | Group | Role = noun.asked(tx, call, request)
        return changeable(owner) if isinstance(owner, Role) else owner

    def put(call: Call, tx: Tx, request: Input) -> Output:
        owner, name = owner_of(tx, call, request), check_name("policyName", request["PolicyName"])
        inline = {**owner.inline, name: check(request["PolicyDocument"], "identity")}
        if sum(map(size, inline.values())) > size_max:
            raise LimitExceeded(f"Maximum policy size of {size_max} bytes exceeded for {noun.word} {owner.name}")
        tx.put(dataclasses.replace(owner, inline=inline))

    def get(call: Call, tx: Tx, request: Input) -> Output:
        owner, name = noun.asked(tx, call, request), request["PolicyName"]
        return {f"{noun.member}Name": owner.name, "PolicyName": name,
                "PolicyDocument": encoded(_must_have(owner.inline, name, noun.word)[name])}

    def names(call: Call, tx: Tx, request: Input) -> Output:
        return {"PolicyNames": sorted(noun.asked(tx, call, request).inline)}

    def delete(call: Call, tx: Tx, request: Input) -> Output:
        owner, gone = owner_of(tx, call, request), request["PolicyName"]
        left = {name: text for name, text in _must_have(owner.inline, gone, noun.word).items() if name != gone}
        tx.put(dataclasses.replace(owner, inline=left))

    for declare, operation, name in ((iam.write, put, f"put_{noun.word}_policy"),
                                     (iam.read, get, f"get_{noun.word}_policy"),
                                     (iam.read, names, f"list_{noun.word}_policies"),
                                     (iam.write, delete, f"delete_{noun.word}_policy")):
        operation.__name__ = name
        declare(resources=the_owner)(operation)


def _must_have(inline: Mapping[str, str], name: str, owner: str) -> Mapping[str, str]:
    if name not in inline:
        raise NoSuchEntity(f"The {owner} policy with name {name} cannot be found.")
    return inline


_declare(USER, the_user, USER_SIZE_MAX)
_declare(GROUP, GROUP.named, GROUP_SIZE_MAX)
_declare(ROLE, ROLE.named, ROLE_SIZE_MAX)
