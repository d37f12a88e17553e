"""What a registry replicates to other regions and accounts of this installation, and how far that got.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html
"""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import any_resource
from cloudlet.services.ecr.contents import require_repository
from cloudlet.services.ecr.image_ids import require_image
from cloudlet.services.ecr.records import Replica, ReplicationRules
from cloudlet.services.ecr.service import ecr, refused, registry_of, repository_arns
from cloudlet.store.db import Tx

RULES_MAX, DESTINATIONS_MAX = 10, 25


@ecr.read(resources=any_resource)
def describe_registry(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The registry of the caller, and its rules as they were put."""
    found = tx.get(ReplicationRules, call.scope)
    return {"registryId": call.account, "replicationConfiguration": {"rules": found.rules if found else []}}


@ecr.write(resources=any_resource)
def put_replication_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Replicates what is pushed from now on; what is there already stays where it is."""
    rules = request["replicationConfiguration"]["rules"]
    destinations = {(each["registryId"], each["region"]) for rule in rules for each in rule["destinations"]}
    if len(rules) > RULES_MAX or len(destinations) > DESTINATIONS_MAX:
        raise refused("replicationConfiguration", f"there may be {RULES_MAX} rules and {DESTINATIONS_MAX} destinations")
    if (call.account, call.region) in destinations:
        raise refused("replicationConfiguration", "the destination must be in another region or registry than the "
                                                  "source")
    if any(rule.get("deleteReplication", {}).get("enabled") for rule in rules):
        raise refused("replicationConfiguration", "deleteReplication must not be enabled: deletions are not replicated "
                                                  "here")
    tx.put(ReplicationRules(call.scope, rules))
    return {"replicationConfiguration": {"rules": rules}}


@ecr.read(resources=repository_arns)
def describe_image_replication_status(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Where an image is replicated to, and how far that got."""
    repository = require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])
    image = require_image(tx, repository, request["imageId"])
    return {"repositoryName": repository.name, "imageId": {**request["imageId"], "imageDigest": image.digest},
            "replicationStatuses": [
                {"region": replica.region, "registryId": replica.account, "status": replica.status,
                 **({"failureCode": replica.failure} if replica.failure else {})}
                for replica in tx.find(Replica, f"{image.key}>")]}
