"""Replication: what is pushed appears elsewhere with its parts, if it is wanted there; and how far that got."""

import json
from typing import Any

import pytest

from cloudlet.services.ecr.manifests import DOCKER_IMAGE
from cloudlet.services.ecr.records import Replica
from cloudlet.services.ecr.service import InvalidParameter
from tests.services.desk import ACCOUNT, root
from tests.services.ecr.counter import Counter
from tests.services.ecr.test_collect import work_through

OTHER = "210987654321"
WEST, THEIRS = (ACCOUNT, "eu-west-1"), (OTHER, "us-east-1")


def rule(*destinations: tuple[str, str], prefixes: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    filters = [{"filter": prefix, "filterType": "PREFIX_MATCH"} for prefix in prefixes]
    return {"destinations": [{"region": region, "registryId": account} for account, region in destinations],
            **({"repositoryFilters": filters} if filters else {}), **more}


def replicate(counter: Counter, *rules: dict[str, Any]) -> None:
    configuration = {"replicationConfiguration": {"rules": list(rules)}}
    assert counter("PutReplicationConfiguration", **configuration) == configuration
    assert counter("DescribeRegistry") == {"registryId": ACCOUNT, **configuration}


def status(counter: Counter, tag: str = "v1", repository: str = "app") -> list[tuple[str, str, str, str]]:
    answer = counter("DescribeImageReplicationStatus", repositoryName=repository, imageId={"imageTag": tag})
    return [(one["registryId"], one["region"], one["status"], one.get("failureCode", ""))
            for one in answer["replicationStatuses"]]


def images(counter: Counter, where: tuple[str, str], repository: str = "app") -> dict[str, list[str]]:
    found = counter("DescribeImages", root(where[0]), where[1], repositoryName=repository)["imageDetails"]
    return {image["imageDigest"]: image.get("imageTags", []) for image in found}


def repositories(counter: Counter, where: tuple[str, str]) -> list[str]:
    return [one["repositoryName"] for one in counter("DescribeRepositories", root(where[0]), where[1])["repositories"]]


def test_an_image_and_a_list_appear_in_another_region(counter: Counter) -> None:
    before = counter.push("before")
    replicate(counter, rule(WEST))
    one = counter.push("v1", layer=b"the layer")
    assert status(counter) == [(*WEST, "IN_PROGRESS", "")]
    work_through(counter)
    assert status(counter) == [(*WEST, "COMPLETE", "")]
    assert images(counter, WEST) == {one: ["v1"]}
    whole = counter.push_list("all", one, before)
    work_through(counter)
    assert images(counter, WEST) == {one: ["v1"], before: ["before"], whole: ["all"]}
    west = counter.login(region="eu-west-1")
    manifest = counter.ask("GET", "/v2/app/manifests/v1", password=west)
    assert manifest.body == counter.ask("GET", "/v2/app/manifests/v1").body
    for layer in json.loads(manifest.body)["layers"]:
        assert counter.ask("GET", f"/v2/app/blobs/{layer['digest']}", password=west).body == b"the layer"
    counter("DeleteRepository", repositoryName="app", force=True)
    counter.desk.clock.time += 24 * 3600
    work_through(counter)
    west = counter.login(region="eu-west-1")
    assert counter.ask("GET", f"/v2/app/blobs/{layer['digest']}", password=west).body == b"the layer"
    with counter.desk.store.tx() as tx:
        assert tx.find(Replica) == []


def test_tags_that_move_or_are_added_follow(counter: Counter) -> None:
    replicate(counter, rule(WEST))
    one = counter.push("v1")
    work_through(counter)
    counter.put_manifest("v2", counter.ask("GET", "/v2/app/manifests/v1").body, DOCKER_IMAGE)
    two = counter.push("v1")
    work_through(counter)
    assert images(counter, WEST) == {one: ["v2"], two: ["v1"]}


def test_a_tag_that_must_stay_there_stays(counter: Counter) -> None:
    replicate(counter, rule(WEST))
    one = counter.push("v1")
    work_through(counter)
    counter("PutImageTagMutability", None, "eu-west-1", repositoryName="app", imageTagMutability="IMMUTABLE")
    two = counter.push("v1")
    work_through(counter)
    assert images(counter, WEST) == {one: ["v1"], two: []}
    assert status(counter) == [(*WEST, "COMPLETE", "")]


def test_only_what_a_filter_wants_and_not_from_there_on(counter: Counter) -> None:
    """A replica is not replicated again: rules count for pushes."""
    counter("CreateRepository", repositoryName="team/app")
    replicate(counter, rule(WEST, prefixes=("team/", "x")), rule((ACCOUNT, "eu-north-1"), prefixes=("nothing",)))
    counter("PutReplicationConfiguration", None, "eu-west-1",
            replicationConfiguration={"rules": [rule((ACCOUNT, "us-west-2"))]})
    counter.push("v1")
    counter.push("v1", "team/app")
    work_through(counter)
    assert repositories(counter, WEST) == ["team/app"]
    assert repositories(counter, (ACCOUNT, "us-west-2")) == []
    assert status(counter) == []
    assert status(counter, repository="team/app") == [(*WEST, "COMPLETE", "")]
    replicate(counter)
    counter.push("v2", "team/app")
    work_through(counter)
    assert status(counter, "v2", "team/app") == []


def test_another_account_must_let_it_in(counter: Counter) -> None:
    replicate(counter, rule(THEIRS))

    def allow(*actions: str) -> None:
        counter("PutRegistryPolicy", root(OTHER), policyText=json.dumps({"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": list(actions),
            "Resource": f"arn:aws:ecr:us-east-1:{OTHER}:repository/*"}}))
    refused = [(*THEIRS, "FAILED", "AccessDenied")]
    counter.push("v1")
    work_through(counter)
    assert status(counter) == refused
    allow("ecr:ReplicateImage")
    counter.push("v1")
    work_through(counter)
    assert (status(counter), repositories(counter, THEIRS)) == (refused, [])
    allow("ecr:ReplicateImage", "ecr:CreateRepository")
    one = counter.push("v1")
    work_through(counter)
    assert status(counter) == [(*THEIRS, "COMPLETE", "")]
    allow("ecr:ReplicateImage")
    two = counter.push("v2")
    work_through(counter)
    assert images(counter, THEIRS) == {one: ["v1"], two: ["v2"]}
    counter("DeleteRegistryPolicy", root(OTHER))
    counter.push("v3")
    work_through(counter)
    assert status(counter, "v3") == refused


def test_an_image_that_is_gone_before_its_turn(counter: Counter) -> None:
    replicate(counter, rule(WEST))
    counter.push("v1")
    counter("BatchDeleteImage", repositoryName="app", imageIds=[{"imageTag": "v1"}])
    work_through(counter)
    assert repositories(counter, WEST) == []


@pytest.mark.parametrize("rules", [
    [rule((ACCOUNT, "us-east-1"))], [rule(WEST, (ACCOUNT, "us-east-1"))],
    [rule(WEST, deleteReplication={"enabled": True})],
    [rule(*((ACCOUNT, f"eu-west-{number}") for number in range(26)))], [rule(WEST)] * 11])
def test_rules_that_are_refused(counter: Counter, rules: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidParameter):
        counter("PutReplicationConfiguration", replicationConfiguration={"rules": rules})
    assert counter("DescribeRegistry")["replicationConfiguration"]["rules"] == []
    replicate(counter, rule(WEST, deleteReplication={"enabled": False}))
