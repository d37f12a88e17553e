"""IAM as boto3 and the aws CLI see it, and what policies do to other services' operations."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.running import Cloudlet

TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                                                 "Action": "sts:AssumeRole"}]}
EXECUTION = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"


def document(*actions: str, resource: str = "*") -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions,
                                                               "Resource": resource}]})


def code_of(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


def test_a_role_as_terraform_and_scripts_make_it(cloudlet: Cloudlet) -> None:
    iam = cloudlet.client("iam")
    made = iam.create_role(RoleName="task", AssumeRolePolicyDocument=json.dumps(TRUST), Tags=[{"Key": "a",
                                                                                              "Value": "b"}])["Role"]
    assert made["AssumeRolePolicyDocument"] == TRUST  # botocore decodes it
    iam.get_waiter("role_exists").wait(RoleName="task")
    iam.attach_role_policy(RoleName="task", PolicyArn=EXECUTION)
    iam.put_role_policy(RoleName="task", PolicyName="inline", PolicyDocument=document("s3:GetObject"))
    assert iam.get_role_policy(RoleName="task", PolicyName="inline")["PolicyDocument"] == json.loads(
        document("s3:GetObject"))
    attached = iam.list_attached_role_policies(RoleName="task")
    assert (attached["AttachedPolicies"][0]["PolicyArn"], attached["IsTruncated"]) == (EXECUTION, False)
    assert iam.list_instance_profiles_for_role(RoleName="task")["InstanceProfiles"] == []
    with pytest.raises(ClientError) as refused:
        iam.delete_role(RoleName="task")
    assert code_of(refused) == "DeleteConflict"
    iam.detach_role_policy(RoleName="task", PolicyArn=EXECUTION)
    iam.delete_role_policy(RoleName="task", PolicyName="inline")
    iam.delete_role(RoleName="task")
    with pytest.raises(ClientError) as refused:
        iam.get_role(RoleName="task")
    assert code_of(refused) == "NoSuchEntity"
    assert refused.value.response["Error"]["Message"] == "The role with name task cannot be found."


def test_a_user_may_what_its_policies_allow_and_no_more(cloudlet: Cloudlet) -> None:
    iam = cloudlet.client("iam")
    iam.create_user(UserName="dev")
    key = iam.create_access_key(UserName="dev")["AccessKey"]
    mine: dict[str, Any] = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    who = cloudlet.client("sts", **mine).get_caller_identity()
    assert who["Arn"] == "arn:aws:iam::000000000000:user/dev"
    logs = cloudlet.client("logs", **mine)
    with pytest.raises(ClientError) as refused:
        logs.create_log_group(logGroupName="allowed/x")
    assert code_of(refused) == "AccessDeniedException"
    assert refused.value.response["Error"]["Message"] == (
        "User: arn:aws:iam::000000000000:user/dev is not authorized to perform: logs:CreateLogGroup on resource: "
        "arn:aws:logs:us-east-1:000000000000:log-group:allowed/x:log-stream: because no identity-based policy allows "
        "the logs:CreateLogGroup action")
    policy = iam.create_policy(PolicyName="logs", PolicyDocument=document(
        "logs:CreateLog*", resource="arn:aws:logs:*:*:log-group:allowed/*"))["Policy"]["Arn"]
    iam.attach_user_policy(UserName="dev", PolicyArn=policy)
    logs.create_log_group(logGroupName="allowed/x")
    logs.create_log_stream(logGroupName="allowed/x", logStreamName="s")
    for call in (lambda: logs.create_log_group(logGroupName="other"),
                 lambda: logs.delete_log_group(logGroupName="allowed/x"), lambda: logs.describe_log_groups()):
        with pytest.raises(ClientError) as refused:
            call()
        assert code_of(refused) == "AccessDeniedException"
    iam.detach_user_policy(UserName="dev", PolicyArn=policy)
    with pytest.raises(ClientError):
        logs.create_log_stream(logGroupName="allowed/x", logStreamName="t")
    iam.update_access_key(UserName="dev", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with pytest.raises(ClientError) as refused:
        cloudlet.client("sts", **mine).get_caller_identity()
    assert code_of(refused) == "InvalidClientTokenId"


@pytest.mark.parametrize(("secret", "key", "code"), [
    ("wrong", "test", "SignatureDoesNotMatch"), ("test", "AKIAIOSFODNN7EXAMPLE", "InvalidClientTokenId")])
def test_a_stranger_gets_nothing(cloudlet: Cloudlet, secret: str, key: str, code: str) -> None:
    with pytest.raises(ClientError) as refused:
        cloudlet.client("iam", key=key, secret=secret).list_users()
    assert code_of(refused) == code


def test_lists_come_in_pages(cloudlet: Cloudlet) -> None:
    iam = cloudlet.client("iam", key="222222222222")
    for number in range(5):
        iam.create_user(UserName=f"user{number}", Path="/many/")
    pages = list(iam.get_paginator("list_users").paginate(PathPrefix="/many/", PaginationConfig={"PageSize": 2}))
    assert [len(page["Users"]) for page in pages] == [2, 2, 1]
    assert [user["UserName"] for page in pages for user in page["Users"]] == [f"user{number}" for number in range(5)]
    assert len(list(iam.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": 50}))) == 2
    entities = iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=EXECUTION).build_full_result()
    assert entities == {"PolicyGroups": [], "PolicyUsers": [], "PolicyRoles": []}


@pytest.mark.parametrize(("operation", "request_"), [
    ("create_user", {"UserName": "a b"}), ("create_user", {"UserName": "x" * 65}), ("create_user", {"UserName": "é"}),
    ("create_role", {"RoleName": "a", "AssumeRolePolicyDocument": "{"}),
    ("create_policy", {"PolicyName": "a", "PolicyDocument": "[1]"}), ("get_policy", {"PolicyArn": "x" * 30}),
    ("attach_role_policy", {"RoleName": "ghost", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
    ("tag_user", {"UserName": "ghost", "Tags": []})])
def test_bad_input_is_the_customers_fault(cloudlet: Cloudlet, operation: str, request_: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(cloudlet.client("iam"), operation)(**request_)
    assert 400 <= refused.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500


def test_groups_profiles_and_the_whole_account(cloudlet: Cloudlet) -> None:
    iam = cloudlet.client("iam")
    iam.create_user(UserName="ann", PermissionsBoundary=EXECUTION)
    iam.create_group(GroupName="devs")
    iam.add_user_to_group(GroupName="devs", UserName="ann")
    iam.attach_group_policy(GroupName="devs", PolicyArn=EXECUTION)
    iam.create_login_profile(UserName="ann", Password="Correct1horse")
    iam.create_instance_profile(InstanceProfileName="web")
    iam.update_account_password_policy(MinimumPasswordLength=8)
    assert iam.get_account_password_policy()["PasswordPolicy"]["MinimumPasswordLength"] == 8
    assert iam.get_account_summary()["SummaryMap"]["Groups"] == 1
    pages = iam.get_paginator("get_account_authorization_details").paginate(PaginationConfig={"PageSize": 1})
    users = [user for page in pages for user in page["UserDetailList"]]
    assert [user["GroupList"] for user in users if user["UserName"] == "ann"] == [["devs"]]
    answer = iam.simulate_principal_policy(PolicySourceArn=iam.get_user(UserName="ann")["User"]["Arn"],
                                           ActionNames=["ecr:GetAuthorizationToken", "ecr:PutImage"])
    assert [each["EvalDecision"] for each in answer["EvaluationResults"]] == ["allowed", "implicitDeny"]
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    cloudlet.client("sts", key=key["AccessKeyId"], secret=key["SecretAccessKey"]).get_caller_identity()
    used = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"]
    assert (used["ServiceName"], used["Region"]) == ("sts", "us-east-1")


def test_what_is_not_built_says_so(cloudlet: Cloudlet) -> None:
    with pytest.raises(ClientError) as refused:
        cloudlet.client("iam").upload_server_certificate(
            ServerCertificateName="c", CertificateBody="b", PrivateKey="k")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_the_aws_cli_speaks_to_it(cloudlet: Cloudlet) -> None:
    def aws(*arguments: str) -> Any:
        return json.loads(cloudlet.aws(*arguments, "--output", "json").stdout or "null")

    aws("iam", "create-role", "--role-name", "cli", "--assume-role-policy-document", json.dumps(TRUST))
    aws("iam", "attach-role-policy", "--role-name", "cli", "--policy-arn", EXECUTION)
    role = aws("iam", "get-role", "--role-name", "cli")["Role"]
    assert role["AssumeRolePolicyDocument"] == TRUST
    assert [each["RoleName"] for each in aws("iam", "list-roles", "--path-prefix", "/")["Roles"]] == ["cli"]
