"""Policies of repositories and registries: what they let in, keep out, and do not take."""

import json
from typing import Any

import pytest

from cloudlet.kernel.call import Principal
from cloudlet.services import ecr, iam
from cloudlet.services.ecr import ImageNotFound
from cloudlet.services.ecr.service import (
    AccessDenied,
    InvalidParameter,
    RegistryPolicyNotFound,
    RepositoryNotFound,
    RepositoryPolicyNotFound,
)
from tests.services.desk import ACCOUNT, Desk, root
from tests.services.ecr.counter import Counter

OTHER = "210987654321"
ARN = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/app"
HOST = f"{ACCOUNT}.dkr.ecr.us-east-1.localhost:4566"
PULL = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
PUSH = ["ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"]
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


def document(*statements: dict[str, Any], version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": PULL, **statement} for statement in statements]})


def user(desk: Desk, name: str = "bob", policy: str | None = None, account: str = ACCOUNT) -> Principal:
    owner = root(account)
    desk(iam.iam, "CreateUser", owner, UserName=name)
    if policy is not None:
        desk(iam.iam, "PutUserPolicy", owner, UserName=name, PolicyName="p", PolicyDocument=policy)
    principal = desk.principal(desk(iam.iam, "CreateAccessKey", owner, UserName=name)["AccessKey"]["AccessKeyId"])
    assert principal is not None
    return principal


def put(counter: Counter, *statements: dict[str, Any], **request: Any) -> Any:
    return counter("SetRepositoryPolicy", repositoryName="app", policyText=document(*statements), **request)


def pulls(counter: Counter, who: Principal) -> bool:
    """Whether both doors let somebody pull: the registry and the API."""
    through = counter.ask("GET", "/v2/app/manifests/v1", password=counter.login(who), host=HOST).status
    refusal = counter.asked(who, "BatchGetImage", registryId=ACCOUNT, repositoryName="app")
    assert through == (200 if refusal is None else 403)
    return through == 200


def pushes(counter: Counter, who: Principal) -> bool:
    answer = counter.ask("POST", "/v2/app/blobs/uploads/", password=counter.login(who), host=HOST)
    refusal = counter.asked(who, "InitiateLayerUpload", registryId=ACCOUNT, repositoryName="app")
    assert answer.status == (202 if refusal is None else 403)
    return answer.status == 202


def test_set_get_delete(counter: Counter) -> None:
    with pytest.raises(RepositoryPolicyNotFound) as missing:
        counter("GetRepositoryPolicy", repositoryName="app")
    assert missing.value.message == ("Repository policy does not exist for the repository with name 'app' in the "
                                     f"registry with id '{ACCOUNT}'")
    text = "  " + document({"Sid": "a"}, version="2008-10-17")
    expected = {"registryId": ACCOUNT, "repositoryName": "app", "policyText": text}
    assert counter("SetRepositoryPolicy", repositoryName="app", policyText=text) == expected
    assert counter("GetRepositoryPolicy", repositoryName="app") == expected
    assert counter("DeleteRepositoryPolicy", repositoryName="app") == expected
    for operation in ("GetRepositoryPolicy", "DeleteRepositoryPolicy"):
        with pytest.raises(RepositoryPolicyNotFound):
            counter(operation, repositoryName="app")
    for operation in ("GetRepositoryPolicy", "DeleteRepositoryPolicy", "SetRepositoryPolicy"):
        with pytest.raises(RepositoryNotFound):
            counter(operation, repositoryName="nosuch", policyText=text)


@pytest.mark.parametrize("text", [
    "", "{", "[]", "{}", document({"Principal": {"Nobody": "x"}}), document({"Resource": "*"}),
    document({"Action": "s3:GetObject"}), document({"Action": []}), document({"Effect": "Maybe"}),
    document({"Condition": {"NoOperator": {}}}), document({"Sid": "a"}, {"Sid": "a"}), document(version="1999-01-01"),
    json.dumps({"Statement": {"Effect": "Allow", "Action": "ecr:*"}})])
def test_documents_that_are_no_policy_of_a_repository(counter: Counter, text: str) -> None:
    put(counter, {"Sid": "kept"})
    with pytest.raises(InvalidParameter) as refused:
        counter("SetRepositoryPolicy", repositoryName="app", policyText=text)
    assert refused.value.message.startswith("Invalid parameter at 'PolicyText' failed to satisfy constraint: "
                                            "'Invalid repository policy provided")
    assert "kept" in counter("GetRepositoryPolicy", repositoryName="app")["policyText"]


def test_a_policy_lets_a_user_of_the_account_in(counter: Counter) -> None:
    counter.push("v1")
    bob, eve = user(counter.desk), user(counter.desk, "eve")
    assert not pulls(counter, bob)
    put(counter, {"Principal": {"AWS": bob.arn}})
    assert pulls(counter, bob) and not pushes(counter, bob) and not pulls(counter, eve)
    put(counter, {"Principal": {"AWS": bob.arn}, "Action": [*PULL, *PUSH]})
    assert pushes(counter, bob)
    counter("DeleteRepositoryPolicy", repositoryName="app")
    assert not pulls(counter, bob) and not pushes(counter, bob)


def test_another_account_needs_the_allowance_of_both(counter: Counter) -> None:
    counter.push("v1")
    stranger, helper = user(counter.desk, account=OTHER), user(counter.desk, "helper", EVERYTHING, OTHER)
    for who in (stranger, helper, root(OTHER)):
        assert not pulls(counter, who) and not pushes(counter, who)
    put(counter, {"Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}})
    assert pulls(counter, helper) and pulls(counter, root(OTHER)) and not pulls(counter, stranger)
    assert not pushes(counter, helper)
    put(counter, {"Principal": {"AWS": OTHER}, "Condition": {"StringEquals": {"aws:PrincipalTag/team": "blue"}}})
    assert not pulls(counter, helper)
    counter.desk(iam.iam, "TagUser", root(OTHER), UserName="helper", Tags=[{"Key": "team", "Value": "blue"}])
    assert pulls(counter, helper)
    own = counter.asked(helper, "BatchGetImage", repositoryName="app")  # in the helper's own account
    assert own is None


def test_a_deny_counts_for_everybody_at_once(counter: Counter) -> None:
    counter.push("v1")
    bob = user(counter.desk, policy=EVERYTHING)
    password = counter.login(bob)
    assert pulls(counter, bob)
    put(counter, {"Effect": "Deny"})
    assert not pulls(counter, bob) and not pulls(counter, root())
    answer = counter.ask("GET", "/v2/app/manifests/v1", password=password)
    assert answer.error[2].endswith("with an explicit deny in a resource-based policy")
    put(counter, {"Effect": "Deny", "Condition": {"StringNotEquals": {"ecr:ResourceTag/open": "yes"}}})
    assert not pulls(counter, bob)
    counter("TagResource", resourceArn=ARN, tags=[{"Key": "open", "Value": "yes"}])
    assert pulls(counter, bob)


def test_tags_of_a_repository_count_in_identity_policies(counter: Counter) -> None:
    counter.push("v1")
    bob = user(counter.desk, policy=json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "ecr:*", "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:username}"}}}}))
    assert not pulls(counter, bob)
    counter("TagResource", resourceArn=ARN, tags=[{"Key": "team", "Value": "bob"}])
    assert pulls(counter, bob)


def test_nobody_locks_themselves_out_but_by_force(counter: Counter) -> None:
    with pytest.raises(InvalidParameter, match="use force"):
        put(counter, {"Effect": "Deny", "Action": "ecr:*"})
    with pytest.raises(RepositoryPolicyNotFound):
        counter("GetRepositoryPolicy", repositoryName="app")
    put(counter, {"Effect": "Deny", "Action": "ecr:*"}, force=True)
    assert counter.asked(root(), "SetRepositoryPolicy", repositoryName="app") is not None


def test_the_registrys_policy_counts_for_all_its_repositories(counter: Counter) -> None:
    counter.push("v1")
    helper = user(counter.desk, "helper", EVERYTHING, OTHER)
    with pytest.raises(RegistryPolicyNotFound) as missing:
        counter("GetRegistryPolicy")
    assert missing.value.message == f"Registry policy does not exist in the registry with id '{ACCOUNT}'"
    text = document({"Principal": {"AWS": OTHER}, "Action": [*PULL, "ecr:CreateRepository"],
                     "Resource": f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/*"}, version="2008-10-17")
    assert counter("PutRegistryPolicy", policyText=text) == {"registryId": ACCOUNT, "policyText": text}
    assert counter("GetRegistryPolicy")["policyText"] == text
    assert pulls(counter, helper) and not pushes(counter, helper)
    put(counter, {"Principal": {"AWS": OTHER}, "Action": PUSH})
    assert pulls(counter, helper) and pushes(counter, helper)  # both together
    put(counter, {"Effect": "Deny", "Principal": {"AWS": helper.arn}})
    assert not pulls(counter, helper)
    assert counter.asked(helper, "CreateRepository", registryId=ACCOUNT, repositoryName="made") is None
    made = counter("CreateRepository", helper, registryId=ACCOUNT, repositoryName="made")["repository"]
    assert made["repositoryArn"] == ARN.replace("app", "made")
    assert counter("DeleteRegistryPolicy")["policyText"] == text
    assert not pulls(counter, helper)
    with pytest.raises(RegistryPolicyNotFound):
        counter("DeleteRegistryPolicy")


@pytest.mark.parametrize("text", ["{", document({}), document({"Action": "s3:*", "Resource": "*"})])
def test_documents_that_are_no_policy_of_a_registry(counter: Counter, text: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid registry policy provided"):
        counter("PutRegistryPolicy", policyText=text)


def test_a_variable_in_an_older_document_stays_text(counter: Counter) -> None:
    """Also where the registry has a policy of the newer version."""
    counter.push("v1")
    bob = user(counter.desk)
    counter("SetRepositoryPolicy", repositoryName="app", policyText=document(
        {"Condition": {"StringEquals": {"aws:username": "${aws:username}"}}}, version="2008-10-17"))
    assert not pulls(counter, bob)
    counter("PutRegistryPolicy", policyText=document({"Effect": "Deny", "Action": "ecr:PutImage", "Resource": "*"}))
    assert not pulls(counter, bob)


def test_tasks_of_another_account_pull_as_their_execution_role(counter: Counter) -> None:
    counter.push("v1")
    trust = json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}})
    role = counter.desk(iam.iam, "CreateRole", root(OTHER), RoleName="pull", AssumeRolePolicyDocument=trust)["Role"]

    def resolve() -> ecr.ResolvedImage | None:
        with counter.desk.store.tx() as tx:
            return ecr.resolve_image(tx, OTHER, "us-east-1", f"{HOST}/app:v1", counter.desk.site, role["Arn"])
    with pytest.raises(ImageNotFound, match="no resource-based policy allows"):
        resolve()
    put(counter, {"Principal": {"AWS": role["Arn"]}})
    with pytest.raises(ImageNotFound, match="no identity-based policy allows"):
        resolve()
    counter.desk(iam.iam, "PutRolePolicy", root(OTHER), RoleName="pull", PolicyName="p", PolicyDocument=EVERYTHING)
    found = resolve()
    assert found is not None
    pulled = counter.ask("GET", f"/v2/{found.reference.partition('/')[2].replace('@', '/manifests/')}",
                         password=found.password)
    assert pulled.status == 200
    counter("DeleteRepositoryPolicy", repositoryName="app")
    with pytest.raises(ImageNotFound, match="no resource-based policy allows"):
        resolve()


@pytest.mark.parametrize("operation", [name for name, declared in ecr.ecr.operations.items()
                                       if "registryId" in declared.model.input_shape.members])
def test_no_operation_reaches_into_another_account_unasked(counter: Counter, operation: str) -> None:
    """Either its policies are asked about what the operation is on, or it refuses by itself."""
    declared, request = ecr.ecr.operations[operation], {
        "registryId": ACCOUNT, "repositoryName": "app", "ecrRepositoryPrefix": "cache",
        "upstreamRegistryUrl": "localhost:5000", "credentialArn": ARN}
    assert declared.resources is not None
    if tuple(declared.resources(counter.desk.call(root(OTHER)), request)) != ("*",):
        refusal = counter.asked(root(OTHER), operation, **request)
        assert refusal is not None and "no resource-based policy allows" in refusal.message
        return
    run = counter.wait if declared.mode == "wait" else counter
    with pytest.raises(AccessDenied):
        run(operation, root(OTHER), **request)
