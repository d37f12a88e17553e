"""Finding whom an ARN of IAM names."""

from collections.abc import Mapping

from cloudlet.services.iam.records import Group, InstanceProfile, ManagedPolicy, Role, User, key_of_arn
from cloudlet.services.iam.service import iam
from cloudlet.store.db import Tx

Noun = User | Group | Role | InstanceProfile
_KINDS: dict[str, type[Noun]] = {"user": User, "group": Group, "role": Role, "instance-profile": InstanceProfile}


def find_by_arn(tx: Tx, arn: str, *, exact: bool = True) -> Noun | None:
    """Whom or what an ARN names: a user, group, role or instance profile; `exact`: its path must be right, too."""
    parts = arn.split(":", 5)
    cls = _KINDS.get(parts[5].partition("/")[0]) if len(parts) == 6 and parts[2] == "iam" else None
    found = tx.get(cls, key_of_arn(arn)) if cls is not None else None
    if found is None or found.name != arn.rpartition("/")[2] or (exact and found.arn != arn):
        return None
    return found


@iam.resource_tags
def tags_of(tx: Tx, arn: str) -> Mapping[str, str]:
    """The tags of what an ARN names: a user, a role, an instance profile or a customer's policy."""
    found = find_by_arn(tx, arn) or tx.get(ManagedPolicy, arn)
    return found.tags if isinstance(found, User | Role | InstanceProfile | ManagedPolicy) else {}
