"""Replication of a registry's images to other regions and accounts."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import any_resource
from cloudlet.services.ecr.service import ecr
from cloudlet.store.db import Tx


@ecr.read(resources=any_resource)
def describe_registry(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The registry of the caller, which replicates nowhere."""
    return {"registryId": call.account, "replicationConfiguration": {"rules": []}}
