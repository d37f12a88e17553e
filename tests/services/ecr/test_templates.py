"""Creation templates: which one counts, what it makes, and repositories that come with a push."""

import json
from typing import Any

import pytest

from cloudlet.services import ecr, iam
from cloudlet.services.ecr.lifecycle_rules import BY_COUNT
from cloudlet.services.ecr.service import InvalidParameter, RepositoryNotFound, TemplateAlreadyExists, TemplateNotFound
from cloudlet.services.ecr.templates import make_repository
from tests.services.desk import ACCOUNT
from tests.services.ecr.counter import Counter
from tests.services.ecr.test_collect import work_through
from tests.services.ecr.test_lifecycle_rules import policy, rule
from tests.services.ecr.test_policies import document, user
from tests.services.ecr.test_pull_through import There

PUSH: dict[str, Any] = {"appliedFor": ["CREATE_ON_PUSH"]}
WHOLE: dict[str, Any] = {
    "description": "ours", "resourceTags": [{"Key": "team", "Value": "blue"}], "imageTagMutability": "IMMUTABLE",
    "repositoryPolicy": document({"Sid": "pull"}), "lifecyclePolicy": policy(rule(1, "any", BY_COUNT, 5)),
    "appliedFor": ["REPLICATION", "CREATE_ON_PUSH"]}


def create(counter: Counter, prefix: str, **settings: Any) -> dict[str, Any]:
    made: dict[str, Any] = counter("CreateRepositoryCreationTemplate", prefix=prefix, **(settings or PUSH))[
        "repositoryCreationTemplate"]
    return made


def templates(counter: Counter, **request: Any) -> list[str]:
    answer = counter("DescribeRepositoryCreationTemplates", **request)
    return [one["prefix"] for one in answer["repositoryCreationTemplates"]]


def test_create_describe_update_delete(counter: Counter) -> None:
    made = create(counter, "team", **WHOLE)
    now = counter.desk.clock.time
    assert made == {**WHOLE, "prefix": "team", "encryptionConfiguration": {"encryptionType": "AES256"},
                    "createdAt": now, "updatedAt": now}
    create(counter, "ROOT")
    assert (templates(counter), templates(counter, prefixes=["team", "x"])) == (["ROOT", "team"], ["team"])
    with pytest.raises(TemplateAlreadyExists):
        create(counter, "team")
    counter.desk.clock.time += 1
    changed = counter("UpdateRepositoryCreationTemplate", prefix="team", imageTagMutability="MUTABLE",
                      description="")["repositoryCreationTemplate"]
    assert changed == {**{name: value for name, value in made.items() if name != "description"},
                       "imageTagMutability": "MUTABLE", "updatedAt": now + 1}
    deleted = counter("DeleteRepositoryCreationTemplate", prefix="team")
    assert deleted == {"registryId": ACCOUNT, "repositoryCreationTemplate": changed}
    for operation in ("UpdateRepositoryCreationTemplate", "DeleteRepositoryCreationTemplate"):
        with pytest.raises(TemplateNotFound):
            counter(operation, prefix="team")
    assert templates(counter) == ["ROOT"]


@pytest.mark.parametrize("settings", [
    {"encryptionConfiguration": {"encryptionType": "KMS"}}, {"imageTagMutability": "MUTABLE_WITH_EXCLUSION"},
    {"repositoryPolicy": "{"}, {"lifecyclePolicy": "{}"}, {"appliedFor": []},
    {"resourceTags": [{"Key": "aws:x", "Value": ""}]}])
def test_settings_of_which_no_repository_can_be_made(counter: Counter, settings: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="Invalid parameter at"):
        create(counter, "team", **{**PUSH, **settings})
    create(counter, "team")
    with pytest.raises(Exception, match="Invalid parameter at"):
        counter("UpdateRepositoryCreationTemplate", prefix="team", **settings)


def test_a_role_is_passed_only_by_who_may(counter: Counter) -> None:
    bob = user(counter.desk)
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    with pytest.raises(InvalidParameter, match="iam:PassRole"):
        counter("CreateRepositoryCreationTemplate", bob, prefix="x", customRoleArn=role, **PUSH)
    assert create(counter, "x", customRoleArn=role, **PUSH)["customRoleArn"] == role


@pytest.mark.parametrize(("name", "why", "team"), [
    ("team/app", "CREATE_ON_PUSH", "team"), ("team/web/app", "CREATE_ON_PUSH", "team/web/"),
    ("teams/app", "CREATE_ON_PUSH", "ROOT"), ("team", "CREATE_ON_PUSH", "ROOT"), ("team/app", "REPLICATION", None)])
def test_the_longest_prefix_counts(counter: Counter, name: str, why: str, team: str | None) -> None:
    for prefix in ("ROOT", "team", "team/web/"):
        create(counter, prefix, **PUSH, resourceTags=[{"Key": "by", "Value": prefix}])
    with counter.desk.store.tx() as tx:
        made = make_repository(tx, ACCOUNT, "us-east-1", name, why)
    assert made.tags == ({"by": team} if team else {})


def test_a_push_makes_its_repository(counter: Counter) -> None:
    assert counter.ask("POST", "/v2/team/app/blobs/uploads/").error[:2] == (404, "NAME_UNKNOWN")
    create(counter, "team", **WHOLE)
    assert counter.ask("POST", "/v2/other/blobs/uploads/").error[:2] == (404, "NAME_UNKNOWN")
    assert counter.ask("GET", "/v2/team/app/tags/list").error[:2] == (404, "NAME_UNKNOWN")
    counter.push("v1", "team/app")
    (made,) = counter("DescribeRepositories", repositoryNames=["team/app"])["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert counter("ListTagsForResource", resourceArn=made["repositoryArn"])["tags"] == WHOLE["resourceTags"]
    assert counter("GetRepositoryPolicy", repositoryName="team/app")["policyText"] == WHOLE["repositoryPolicy"]
    assert counter("GetLifecyclePolicy", repositoryName="team/app")["lifecyclePolicyText"] == WHOLE["lifecyclePolicy"]


def test_who_may_not_make_a_repository_does_not_by_pushing(counter: Counter) -> None:
    create(counter, "team")
    allowed = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Resource": "*",
        "Action": ["ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"]}]}
    bob = user(counter.desk, policy=json.dumps(allowed))
    denied = counter.ask("POST", "/v2/team/app/blobs/uploads/", password=counter.login(bob))
    assert denied.status == 403
    assert "is not authorized to perform: ecr:CreateRepository" in denied.error[2]
    with pytest.raises(RepositoryNotFound):
        counter("DescribeRepositories", repositoryNames=["team/app"])
    allowed["Statement"][0]["Action"].append("ecr:CreateRepository")  # type: ignore[index]
    counter.desk(iam.iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=json.dumps(allowed))
    assert counter.ask("POST", "/v2/team/app/blobs/uploads/", password=counter.login(bob)).status == 202


def test_a_replica_is_made_by_the_template_of_its_region(counter: Counter) -> None:
    counter.desk(ecr.ecr, "CreateRepositoryCreationTemplate", None, "eu-west-1", prefix="ROOT", **WHOLE)
    counter("PutReplicationConfiguration", replicationConfiguration={"rules": [
        {"destinations": [{"region": "eu-west-1", "registryId": ACCOUNT}]}]})
    counter.push("v1")
    work_through(counter)
    (made,) = counter("DescribeRepositories", region="eu-west-1")["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"


def test_a_repository_of_another_registrys_images_is_made_by_its_template(counter: Counter) -> None:
    counter("CreatePullThroughCacheRule", ecrRepositoryPrefix="cache", upstreamRegistryUrl="localhost:5000")
    There(counter).push("v1")
    create(counter, "cache", **{**WHOLE, "appliedFor": ["PULL_THROUGH_CACHE"]})
    assert counter.ask("GET", "/v2/cache/team/app/manifests/v1").status == 200
    (made,) = counter("DescribeRepositories", repositoryNames=["cache/team/app"])["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"
