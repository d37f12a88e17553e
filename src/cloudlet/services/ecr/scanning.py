"""Scan settings, which are kept, and scans, which do not happen: there is no scanner, and every answer says so.

A repository that scans on push shows a failed scan, with the reason, so that nobody waits for one; else there is none.
"""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.policy_match import glob_one
from cloudlet.kernel.service import any_resource
from cloudlet.services.ecr.contents import require_repository
from cloudlet.services.ecr.image_ids import require_image
from cloudlet.services.ecr.records import Repository, ScanRules, repository_key
from cloudlet.services.ecr.service import (
    ScanNotFound,
    UnsupportedImageType,
    ecr,
    refused,
    registry_of,
    repository_arn,
    repository_arns,
)
from cloudlet.store.db import Tx

NO_SCANNER = "there is no vulnerability scanner here: the image was not scanned."


def filters_on_push(tx: Tx, repository: Repository) -> list[str]:
    """The filters of the registry's rules by which the repository's images are scanned as they are pushed.

    One without a wildcard fits every name that contains it:
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-filters.html
    """
    rules = tx.get(ScanRules, f"{repository.account}/{repository.region}")
    return [text for rule in (rules.rules if rules is not None else ()) if rule["scanFrequency"] == "SCAN_ON_PUSH"
            for text in (each["filter"] for each in rule["repositoryFilters"])
            if (glob_one(text)(repository.name) if "*" in text else text in repository.name)]


def scan_status(tx: Tx, repository: Repository) -> dict[str, str] | None:
    """What became of the scan of an image: it failed where it was wanted; None where it was not."""
    if repository.scan_on_push or filters_on_push(tx, repository):
        return {"status": "FAILED", "description": f"ScannerNotAvailable: {NO_SCANNER}"}
    return None


@ecr.write(resources=repository_arns)
def put_image_scanning_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Keeps whether images are to be scanned as they are pushed."""
    repository = require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])
    wanted = bool(request["imageScanningConfiguration"].get("scanOnPush"))
    tx.put(dataclasses.replace(repository, scan_on_push=wanted))
    return {"registryId": repository.account, "repositoryName": repository.name,
            "imageScanningConfiguration": {"scanOnPush": wanted}}


@ecr.read(resources=repository_arns)
def describe_image_scan_findings(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The failed scan of an image, or that there was none; never findings."""
    repository = require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])
    image = require_image(tx, repository, request["imageId"])
    status = scan_status(tx, repository)
    if status is None:
        raise ScanNotFound(f"Image scan does not exist for the image with '{{imageDigest:'{image.digest}', imageTag:'"
                           f"{request['imageId'].get('imageTag', 'null')}'}}' in the repository with name "
                           f"'{repository.name}' in the registry with id '{repository.account}'")
    return {"registryId": repository.account, "repositoryName": repository.name,
            "imageId": {**request["imageId"], "imageDigest": image.digest}, "imageScanStatus": status}


@ecr.write(resources=repository_arns)
def start_image_scan(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Refused: nothing here can scan an image."""
    repository = require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])
    require_image(tx, repository, request["imageId"])
    raise UnsupportedImageType(f"The image cannot be scanned: {NO_SCANNER}")


@ecr.write(resources=any_resource)
def put_registry_scanning_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Keeps the registry's rules of basic scanning; enhanced scanning is Amazon Inspector's, which is not here."""
    rules = request.get("rules") or []
    if request.get("scanType", "BASIC") != "BASIC":
        raise refused("scanType", "scanType must be BASIC: Amazon Inspector is not available here")
    if any(rule["scanFrequency"] == "CONTINUOUS_SCAN" for rule in rules):
        raise refused("rules", "scanFrequency must be SCAN_ON_PUSH or MANUAL with the scanType BASIC")
    if len({rule["scanFrequency"] for rule in rules}) < len(rules):
        raise refused("rules", "there must be one rule for a scanFrequency")
    tx.put(ScanRules(call.scope, rules))
    return {"registryScanningConfiguration": {"scanType": "BASIC", "rules": rules}}


@ecr.read(resources=any_resource)
def get_registry_scanning_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The registry's rules, as they were put."""
    found = tx.get(ScanRules, call.scope)
    return {"registryId": call.account,
            "scanningConfiguration": {"scanType": "BASIC", "rules": found.rules if found is not None else []}}


@ecr.read(resources=repository_arns)
def batch_get_repository_scanning_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """What applies to each repository: its own setting and the registry's rules."""
    found, failures = [], []
    for name in request["repositoryNames"]:
        repository = tx.get(Repository, repository_key(call.account, call.region, name))
        if repository is None:
            failures.append({"repositoryName": name, "failureCode": "REPOSITORY_NOT_FOUND",
                             "failureReason": f"Repository '{name}' not found"})
            continue
        filters = filters_on_push(tx, repository)
        on_push = repository.scan_on_push or bool(filters)
        found.append({"repositoryArn": repository_arn(call.account, call.region, name), "repositoryName": name,
                      "scanOnPush": on_push, "scanFrequency": "SCAN_ON_PUSH" if on_push else "MANUAL",
                      "appliedScanFilters": [{"filter": text, "filterType": "WILDCARD"} for text in filters]})
    return {"scanningConfigurations": found, "failures": failures}
