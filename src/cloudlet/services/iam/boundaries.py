"""Permissions boundaries: the managed policy beyond which a user's or a role's own policies give nothing."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.iam import managed
from cloudlet.services.iam.records import ManagedPolicy
from cloudlet.services.iam.service import InvalidInput, NoSuchEntity
from cloudlet.store.db import Tx


def asked_boundary(tx: Tx, call: Call, request: Input) -> str:
    """The managed policy that a request sets as a boundary, "" where it sets none. Raises NoSuchEntity."""
    arn: str = request.get("PermissionsBoundary") or ""
    if not arn:
        return ""
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[2] != "iam" or not parts[5].startswith("policy/"):
        raise InvalidInput(f"ARN {arn} is not valid.")
    theirs = tx.get(ManagedPolicy, arn) if parts[4] == call.account else None
    if theirs is None and managed.find(arn) is None:
        raise NoSuchEntity(f"Scope ARN: {arn} does not exist or is not attachable.")
    return arn


def shown_boundary(arn: str) -> dict[str, Any]:
    """A boundary as answers carry it."""
    return {"PermissionsBoundary": {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}} if arn else {}
