"""Tags of users, roles and instance profiles."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, Resources
from cloudlet.services.iam.naming import merged_tags, remaining_tags, tag_list
from cloudlet.services.iam.nouns import PROFILE, ROLE, USER, Noun
from cloudlet.services.iam.service import iam
from cloudlet.services.iam.users import the_user
from cloudlet.store.db import Tx


def _declare(noun: Noun[Any], the_owner: Resources) -> None:
    """The three operations of one noun, e.g. tag_user."""
    def tag(call: Call, tx: Tx, request: Input) -> Output:
        owner = noun.asked(tx, call, request)
        tx.put(dataclasses.replace(owner, tags=merged_tags(owner.tags, request["Tags"], f"TagsPer{noun.member}")))

    def untag(call: Call, tx: Tx, request: Input) -> Output:
        owner = noun.asked(tx, call, request)
        tx.put(dataclasses.replace(owner, tags=remaining_tags(owner.tags, request["TagKeys"])))

    def listed(call: Call, tx: Tx, request: Input) -> Output:
        return {"Tags": tag_list(noun.asked(tx, call, request).tags)}

    word = noun.word.replace("-", "_")
    for declare, operation, name in ((iam.write, tag, f"tag_{word}"), (iam.write, untag, f"untag_{word}"),
                                     (iam.read, listed, f"list_{word}_tags")):
        operation.__name__ = name
        declare(resources=the_owner)(operation)


_declare(USER, the_user)
_declare(ROLE, ROLE.named)
_declare(PROFILE, PROFILE.named)
