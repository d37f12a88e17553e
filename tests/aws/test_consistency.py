"""What was made is told at once, and the same by every operation, in AWS's forms; no token makes anything twice."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jmespath
import pytest
from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, Shape, StructureShape

from tests.running import Cloudlet

TRUST = json.dumps({"Version": "2012-10-17", "Statement": {
    "Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}})
ALLOW = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ecs:List*", "Resource": "*"}})
DEFINITION = {"family": "c", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256",
              "memory": "512", "containerDefinitions": [{"name": "c", "image": "nowhere:1"}]}
CONTAINER = {"cluster": "c"}

Case = tuple[str, str, dict[str, Any], str, str, dict[str, Any], str]
# service, what makes it (operation, request, where it is told), what tells it (the same); "{…}": as the first told it
CASES: list[Case] = [
    ("iam", "create_user", {"UserName": "c"}, "User", "get_user", {"UserName": "c"}, "User"),
    ("iam", "create_user", {"UserName": "d", "Path": "/p/"}, "User", "list_users", {"PathPrefix": "/p/"}, "Users[0]"),
    ("iam", "create_role", {"RoleName": "c", "AssumeRolePolicyDocument": TRUST}, "Role", "get_role", {"RoleName": "c"},
     "Role"),
    ("iam", "create_group", {"GroupName": "c"}, "Group", "get_group", {"GroupName": "c"}, "Group"),
    ("iam", "create_policy", {"PolicyName": "c", "PolicyDocument": ALLOW}, "Policy", "get_policy",
     {"PolicyArn": "{Policy.Arn}"}, "Policy"),
    ("iam", "create_instance_profile", {"InstanceProfileName": "c"}, "InstanceProfile", "get_instance_profile",
     {"InstanceProfileName": "c"}, "InstanceProfile"),
    ("ecr", "create_repository", {"repositoryName": "cc"}, "repository", "describe_repositories",
     {"repositoryNames": ["cc"]}, "repositories[0]"),
    ("logs", "create_log_group", {"logGroupName": "/c"}, "{}", "describe_log_groups", {"logGroupNamePrefix": "/c"},
     "logGroups[0]"),
    ("logs", "create_log_stream", {"logGroupName": "/c", "logStreamName": "s"}, "{}", "describe_log_streams",
     {"logGroupName": "/c"}, "logStreams[0]"),
    ("ssm", "put_parameter", {"Name": "/c", "Value": "v", "Type": "String"}, "{Version: Version}", "get_parameter",
     {"Name": "/c"}, "Parameter"),
    ("secretsmanager", "create_secret", {"Name": "c", "SecretString": "s"}, "{ARN: ARN, Name: Name}",
     "describe_secret", {"SecretId": "{ARN}"}, "@"),
    ("ec2", "create_vpc", {"CidrBlock": "10.9.0.0/16"}, "Vpc | {VpcId: VpcId, CidrBlock: CidrBlock}", "describe_vpcs",
     {"VpcIds": ["{Vpc.VpcId}"]}, "Vpcs[0]"),
    ("ec2", "create_internet_gateway", {}, "InternetGateway", "describe_internet_gateways",
     {"InternetGatewayIds": ["{InternetGateway.InternetGatewayId}"]}, "InternetGateways[0]"),
    ("ec2", "create_security_group", {"GroupName": "c", "Description": "c"}, "{GroupId: GroupId}",
     "describe_security_groups", {"GroupIds": ["{GroupId}"]}, "SecurityGroups[0]"),
    ("ec2", "allocate_address", {}, "{AllocationId: AllocationId, PublicIp: PublicIp}", "describe_addresses",
     {"AllocationIds": ["{AllocationId}"]}, "Addresses[0]"),
    ("ecs", "create_cluster", {"clusterName": "c"}, "cluster", "describe_clusters",
     {"clusters": ["c"], "include": ["SETTINGS"]}, "clusters[0]"),
    ("ecs", "register_task_definition", DEFINITION, "taskDefinition", "describe_task_definition",
     {"taskDefinition": "c"}, "taskDefinition"),
    ("ecs", "create_service", {"serviceName": "c", **CONTAINER, "taskDefinition": "c", "desiredCount": 0,
                               "launchType": "FARGATE", "networkConfiguration": "NETWORK"},
     "service | {serviceArn: serviceArn, createdAt: createdAt, taskDefinition: taskDefinition}", "describe_services",
     {"services": ["c"], **CONTAINER}, "services[0]"),
    ("ecs", "run_task", {**CONTAINER, "taskDefinition": "c", "launchType": "FARGATE",
                         "networkConfiguration": "NETWORK"},
     "tasks[0] | {taskArn: taskArn, createdAt: createdAt, cpu: cpu}", "describe_tasks",
     {"tasks": ["{tasks[0].taskArn}"], **CONTAINER}, "tasks[0]")]

# The forms of what AWS gives names to, by the member that tells it.
_ARN = re.compile(r"arn:aws:[a-z0-9-]+:([a-z]{2}-[a-z]+-\d)?:(\d{12}|aws)?:\S+")
_HEX = "[0-9a-f]{17}"
FORMS: list[tuple[re.Pattern[str], re.Pattern[str]]] = [(re.compile(name), re.compile(form)) for name, form in (
    (r"(?i).*arn", _ARN.pattern), ("UserId", "AIDA[A-Z2-7]{17}"), ("RoleId", "AROA[A-Z2-7]{17}"),
    ("PolicyId", "ANPA[A-Z2-7]{17}"), ("InstanceProfileId", "AIPA[A-Z2-7]{17}"), ("VpcId", f"vpc-{_HEX}"),
    ("SubnetId", f"subnet-{_HEX}"), ("InternetGatewayId", f"igw-{_HEX}"), ("AllocationId", f"eipalloc-{_HEX}"),
    ("registryId", r"\d{12}"), ("OwnerId", r"\d{12}"), ("VersionId", ".{32,64}|v[0-9]+"),
    ("repositoryUri", r"\S+/\S+"), ("CidrBlock", r"[\d.]+/\d+"))]


def filled(value: Any, answer: Any, network: dict[str, Any]) -> Any:
    if value == "NETWORK":
        return network
    if isinstance(value, dict):
        return {name: filled(item, answer, network) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, answer, network) for item in value]
    if isinstance(value, str) and value.startswith("{") and value.endswith("}") and '"' not in value:
        return jmespath.search(value[1:-1], answer)
    return value


def leaves(shape: Shape | None, value: Any, name: str = "") -> Iterator[tuple[str, Shape, Any]]:
    """Each scalar of an answer with the name of its member."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for member, item in value.items():
            if member in shape.members:
                yield from leaves(shape.members[member], item, member)
    elif isinstance(shape, ListShape):
        for item in value:
            yield from leaves(shape.member, item, name)
    elif shape is not None and not isinstance(shape, MapShape):
        yield name, shape, value


def misshapen(client: Any, operation: str, answer: dict[str, Any]) -> list[str]:
    """What of an answer does not look as AWS's."""
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    wrong, now = [], datetime.now(UTC)
    for name, shape, value in leaves(model.output_shape, answer):
        if shape.type_name == "timestamp" and not now - timedelta(minutes=5) < value <= now + timedelta(seconds=5):
            wrong.append(f"{name} is {value}")
        if isinstance(value, str):
            wrong += [f"{name} is {value!r}" for member, form in FORMS if member.fullmatch(name) and value
                      and not form.fullmatch(value)]
    return wrong


def test_what_was_made_is_told_at_once(cloudlet: Cloudlet) -> None:
    subnet = cloudlet.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    network = {"awsvpcConfiguration": {"subnets": [subnet]}}
    problems = []
    for service, make, request, told, tell, question, where in CASES:
        client = cloudlet.client(service)
        made = getattr(client, make)(**filled(request, {}, network))
        found = getattr(client, tell)(**filled(question, made, network))
        first, then = jmespath.search(told, made) if told != "{}" else {}, jmespath.search(where, found)
        if then is None:
            problems.append(f"{make}: {tell} does not know it")
            continue
        problems += [f"{make}: {name} was {value!r}, and {tell} says {then.get(name)!r}" for name, value in
                     (first or {}).items() if name in then and then[name] != value]
        problems += [f"{make}: {name} is not told by {tell}" for name in first if name not in then
                     and first[name] not in ([], {}, None)]
        problems += [f"{operation}: {wrong}" for operation, answer in ((make, made), (tell, found))
                     for wrong in misshapen(client, operation, answer)]
    assert not problems, "\n".join(problems)


Ask = Callable[..., Any]
TOKENS: list[tuple[str, str, str, dict[str, Any], dict[str, Any], str]] = [
    # service, operation, the token's member, a request, what the second time is different, what the answer must repeat
    ("ec2", "create_route_table", "ClientToken", {"VpcId": "VPC"}, {"VpcId": "vpc-0123456789abcdef0"},
     "RouteTable.RouteTableId"),
    ("ec2", "create_network_interface", "ClientToken", {"SubnetId": "SUBNET"}, {"Description": "another"},
     "NetworkInterface.NetworkInterfaceId"),
    ("ecs", "run_task", "clientToken", {"cluster": "t", "taskDefinition": "t", "launchType": "FARGATE",
                                        "networkConfiguration": "NETWORK"}, {"count": 2}, "tasks[].taskArn"),
    ("ecs", "create_service", "clientToken", {"cluster": "t", "serviceName": "t", "taskDefinition": "t",
                                              "desiredCount": 0, "launchType": "FARGATE",
                                              "networkConfiguration": "NETWORK"}, {"desiredCount": 1},
     "service.[serviceArn, createdAt]"),
    ("secretsmanager", "create_secret", "ClientRequestToken", {"Name": "t", "SecretString": "s"},
     {"SecretString": "other"}, "[ARN, VersionId]")]


@pytest.mark.parametrize("case", TOKENS, ids=lambda case: case[1])
def test_a_repeated_token_makes_nothing_twice(cloudlet: Cloudlet, case: Any) -> None:
    service, operation, member, request, other, where = case
    ec2, ecs = cloudlet.client("ec2"), cloudlet.client("ecs")
    subnet = ec2.describe_subnets()["Subnets"][0]
    ecs.create_cluster(clusterName="t")
    ecs.register_task_definition(**{**DEFINITION, "family": "t"})  # type: ignore[arg-type]
    words = {"VPC": subnet["VpcId"], "SUBNET": subnet["SubnetId"],
             "NETWORK": {"awsvpcConfiguration": {"subnets": [subnet["SubnetId"]]}}}
    ready = {name: words.get(value, value) if isinstance(value, str) else value for name, value in request.items()}
    ask: Ask = getattr(cloudlet.client(service), operation)
    token = {member: str(uuid.uuid4())}
    first = jmespath.search(where, ask(**ready, **token))
    assert first
    assert jmespath.search(where, ask(**ready, **token)) == first
    with pytest.raises(ClientError) as refused:
        ask(**{**ready, **other}, **token)
    assert re.search("Idempotent|Conflict|ResourceExists", refused.value.response["Error"]["Code"])
    if service == "ec2":
        assert jmespath.search(where, ask(**ready, **{member: str(uuid.uuid4())})) != first
