"""Scan settings are kept; no answer says that a scan took place."""

from typing import Any

import pytest

from cloudlet.services.ecr.service import ImageNotFoundException, InvalidParameter, ScanNotFound, UnsupportedImageType
from tests.services.desk import ACCOUNT
from tests.services.ecr.counter import Counter

ON_PUSH = {"imageScanningConfiguration": {"scanOnPush": True}}
FAILED = {"status": "FAILED",
          "description": "ScannerNotAvailable: there is no vulnerability scanner here: the image was not scanned."}


def rule(frequency: str, *filters: str) -> dict[str, Any]:
    return {"scanFrequency": frequency,
            "repositoryFilters": [{"filter": text, "filterType": "WILDCARD"} for text in filters]}


def findings(counter: Counter, repository: str = "app", **image_id: str) -> Any:
    return counter("DescribeImageScanFindings", repositoryName=repository, imageId=image_id)


def test_a_scan_that_was_wanted_failed_and_one_that_was_not_is_not_there(counter: Counter) -> None:
    digest = counter.push("v1")
    with pytest.raises(ScanNotFound) as missing:
        findings(counter, imageTag="v1")
    assert missing.value.message == (
        f"Image scan does not exist for the image with '{{imageDigest:'{digest}', imageTag:'v1'}}' in the repository "
        f"with name 'app' in the registry with id '{ACCOUNT}'")
    assert "imageScanStatus" not in counter.images()[0]
    answer = counter("PutImageScanningConfiguration", repositoryName="app", **ON_PUSH)
    assert answer["imageScanningConfiguration"] == {"scanOnPush": True}
    found = findings(counter, imageTag="v1")
    assert found == {"registryId": ACCOUNT, "repositoryName": "app", "imageScanStatus": FAILED,
                     "imageId": {"imageTag": "v1", "imageDigest": digest}}
    assert counter.images()[0]["imageScanStatus"] == FAILED
    assert "imageScanFindingsSummary" not in counter.images()[0]
    with pytest.raises(ImageNotFoundException):
        findings(counter, imageTag="v2")
    with pytest.raises(InvalidParameter):
        findings(counter)


def test_nothing_scans_an_image_on_demand(counter: Counter) -> None:
    counter.push("v1")
    with pytest.raises(UnsupportedImageType, match="the image was not scanned"):
        counter("StartImageScan", repositoryName="app", imageId={"imageTag": "v1"})
    with pytest.raises(ImageNotFoundException):
        counter("StartImageScan", repositoryName="app", imageId={"imageTag": "v2"})


def test_the_settings_of_repository_and_registry_add_up(counter: Counter) -> None:
    made = counter("CreateRepository", repositoryName="made", **ON_PUSH)["repository"]
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert counter("GetRegistryScanningConfiguration") == {
        "registryId": ACCOUNT, "scanningConfiguration": {"scanType": "BASIC", "rules": []}}
    rules = [rule("SCAN_ON_PUSH", "a*"), rule("MANUAL", "*")]
    answer = counter("PutRegistryScanningConfiguration", scanType="BASIC", rules=rules)
    assert answer["registryScanningConfiguration"] == {"scanType": "BASIC", "rules": rules}
    assert counter("GetRegistryScanningConfiguration")["scanningConfiguration"]["rules"] == rules
    assert counter("GetRegistryScanningConfiguration", region="eu-west-1")["scanningConfiguration"]["rules"] == []
    counter("CreateRepository", repositoryName="by-hand")
    answer = counter("BatchGetRepositoryScanningConfiguration", repositoryNames=["app", "made", "by-hand", "gone"])
    assert [(one["repositoryName"], one["scanOnPush"], one["scanFrequency"], one["appliedScanFilters"])
            for one in answer["scanningConfigurations"]] == [
        ("app", True, "SCAN_ON_PUSH", [{"filter": "a*", "filterType": "WILDCARD"}]),
        ("made", True, "SCAN_ON_PUSH", []), ("by-hand", False, "MANUAL", [])]
    assert answer["failures"] == [{"repositoryName": "gone", "failureCode": "REPOSITORY_NOT_FOUND",
                                   "failureReason": "Repository 'gone' not found"}]
    counter.push("v1")
    assert findings(counter, imageTag="v1")["imageScanStatus"] == FAILED


@pytest.mark.parametrize(("text", "fits"), [
    ("*", True), ("prod", True), ("team/pro*", True), ("pro*", False), ("*app", True), ("app*", False),
    ("prods", False)])
def test_a_filter_without_a_wildcard_fits_what_contains_it(counter: Counter, text: str, fits: bool) -> None:
    counter("CreateRepository", repositoryName="team/prod-app")
    counter("PutRegistryScanningConfiguration", rules=[rule("SCAN_ON_PUSH", text)])
    (found,) = counter("BatchGetRepositoryScanningConfiguration", repositoryNames=["team/prod-app"])[
        "scanningConfigurations"]
    assert found["scanOnPush"] == fits


@pytest.mark.parametrize("request_", [
    {"scanType": "ENHANCED"}, {"rules": [rule("CONTINUOUS_SCAN", "*")]},
    {"rules": [rule("MANUAL", "a"), rule("MANUAL", "b")]}])
def test_enhanced_scanning_is_refused(counter: Counter, request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        counter("PutRegistryScanningConfiguration", **request_)
