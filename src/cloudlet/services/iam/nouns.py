"""The table of IAM's nouns: how requests, ARNs and messages call users, groups, roles and instance profiles.

What their operations have in common is here; what one of them has for itself, in the file of that noun.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.iam.naming import check_name, check_path
from cloudlet.services.iam.records import Group, InstanceProfile, ManagedPolicy, Role, User, entity_key, key_of_arn
from cloudlet.services.iam.service import EntityAlreadyExists, NoSuchEntity, iam
from cloudlet.store.db import Tx

N = TypeVar("N", User, Group, Role, InstanceProfile)


@dataclass(frozen=True, slots=True)
class Noun(Generic[N]):
    """A kind of thing with a name that is unique in its account. `word` stands in ARNs, `member` in requests and
    answers ("User" of "UserName"); `missing` and `taken` are AWS's messages about a name."""

    record: type[N]
    word: str
    member: str
    missing: str
    taken: str

    def arn(self, call: Call, name: str, path: str = "/") -> str:
        """The ARN of one in the caller's account."""
        return f"arn:aws:iam::{call.account}:{self.word}{path}{name}"

    def named(self, call: Call, request: Input) -> list[str]:
        """The resource of operations on one."""
        return [self.arn(call, request[f"{self.member}Name"])]

    def new(self, call: Call, request: Input) -> list[str]:
        """The resource of its creation."""
        return [self.arn(call, request[f"{self.member}Name"], request.get("Path") or "/")]

    def renamed(self, call: Call, request: Input) -> list[str]:
        """The resources of a change of its name or its path: as it is, and as it will be."""
        name = request[f"{self.member}Name"]
        return [self.arn(call, name),
                self.arn(call, request.get(f"New{self.member}Name") or name, request.get("NewPath") or "/")]

    def under(self, call: Call, request: Input) -> list[str]:
        """The resource of operations on all of them under a path."""
        return [self.arn(call, "", request.get("PathPrefix") or "/")]

    def find(self, tx: Tx, call: Call, name: str) -> N:
        """The one of that name in the caller's account, which is known by its case; raises NoSuchEntity."""
        found = tx.get(self.record, entity_key(call.account, name))
        if found is None or found.name != name:
            raise NoSuchEntity(self.missing.format(name))
        return found

    def asked(self, tx: Tx, call: Call, request: Input) -> N:
        """The one that a request names; raises NoSuchEntity."""
        return self.find(tx, call, request[f"{self.member}Name"])

    def listed(self, tx: Tx, call: Call, request: Input) -> list[N]:
        """The account's, of the path that a request asks for."""
        prefix = request.get("PathPrefix") or "/"
        return [each for each in tx.find(self.record, f"{call.account}/") if each.path.startswith(prefix)]

    def check_new(self, tx: Tx, call: Call, request: Input) -> tuple[str, str, str]:
        """Key, name and path of one that may be made. Raises ValidationError or EntityAlreadyExists."""
        member = f"{self.member[0].lower()}{self.member[1:]}Name"
        name, path = check_name(member, request[f"{self.member}Name"]), check_path(request.get("Path") or "/")
        return self._free(tx, call, name), name, path

    def check_change(self, tx: Tx, call: Call, request: Input, had: N) -> tuple[str, str, str]:
        """Key, name and path as a request wants them from now on. Raises ValidationError or EntityAlreadyExists."""
        name = check_name(f"new{self.member}Name", request.get(f"New{self.member}Name") or had.name)
        path = check_path(request.get("NewPath") or had.path, "newPath")
        same = entity_key(call.account, name) == had.key
        return had.key if same else self._free(tx, call, name), name, path

    def _free(self, tx: Tx, call: Call, name: str) -> str:
        key = entity_key(call.account, name)
        if tx.get(self.record, key) is not None:
            raise EntityAlreadyExists(self.taken.format(name))
        return key


USER = Noun(User, "user", "User", "The user with name {} cannot be found.", "User with name {} already exists.")
GROUP = Noun(Group, "group", "Group", "The group with name {} cannot be found.", "Group with name {} already exists.")
ROLE = Noun(Role, "role", "Role", "The role with name {} cannot be found.", "Role with name {} already exists.")
PROFILE = Noun(InstanceProfile, "instance-profile", "InstanceProfile", "Instance Profile {} cannot be found.",
               "Instance Profile {} already exists.")
_RECORDS = {noun.word: noun.record for noun in (USER, GROUP, ROLE, PROFILE)}


def find_by_arn(tx: Tx, arn: str, *, exact: bool = True) -> User | Group | Role | InstanceProfile | None:
    """Whom or what an ARN names: a user, group, role or instance profile; `exact`: its path must be right, too."""
    parts = arn.split(":", 5)
    cls = _RECORDS.get(parts[5].partition("/")[0]) if len(parts) == 6 and parts[2] == "iam" else None
    found = tx.get(cls, key_of_arn(arn)) if cls is not None else None
    if found is None or found.name != arn.rpartition("/")[2] or (exact and found.arn != arn):
        return None
    return found


@iam.resource_tags
def tags_of(tx: Tx, arn: str) -> Mapping[str, str]:
    """The tags of what an ARN names: a user, a role, an instance profile or a customer's policy."""
    found = find_by_arn(tx, arn) or tx.get(ManagedPolicy, arn)
    return found.tags if isinstance(found, User | Role | InstanceProfile | ManagedPolicy) else {}
