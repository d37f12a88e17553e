"""Secrets and registry credentials: read with the execution role when a task starts, and seen nowhere."""

import json
from typing import Any

import pytest

from cloudlet.engines.fake import Faults
from cloudlet.kernel.service import Service
from cloudlet.services.iam import iam
from cloudlet.services.secretsmanager import secretsmanager
from cloudlet.services.ssm import ssm
from tests.services.ecs.plane import ACCOUNT, IMAGE, Plane, virtual_time
from tests.services.ecs.test_metadata import TRUST

ROLE = f"arn:aws:iam::{ACCOUNT}:role/execution"
VALUE = "correct horse battery staple"


def ask(plane: Plane, service: Service, operation: str, **request: Any) -> Any:
    with plane.store.tx() as tx:
        return service.operations[operation].run(plane.call(), tx, request)


def allow(plane: Plane, *statements: dict[str, Any]) -> None:
    """What the execution role may do from now on."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]}
    ask(plane, iam, "PutRolePolicy", RoleName="execution", PolicyName="p", PolicyDocument=json.dumps(document))


def settle(plane: Plane) -> str:
    """A cluster, the execution role that may read both stores, a parameter and a secret; the secret's ARN."""
    plane.ask("CreateCluster")
    ask(plane, iam, "CreateRole", RoleName="execution", AssumeRolePolicyDocument=TRUST)
    ask(plane, ssm, "PutParameter", Name="/app/key", Value=VALUE, Type="SecureString")
    secret = ask(plane, secretsmanager, "CreateSecret", Name="db", ClientRequestToken="1" * 32,
                 SecretString=json.dumps({"username": "app", "password": VALUE}))
    allow(plane, {"Action": "ssm:GetParameters", "Resource": f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/app/*"},
          {"Action": "secretsmanager:GetSecretValue", "Resource": secret["ARN"]})
    return str(secret["ARN"])


def register(plane: Plane, *references: str, **container: Any) -> None:
    plane.register(executionRoleArn=ROLE, containers=[{"secrets": [
        {"name": f"S{number}", "valueFrom": reference} for number, reference in enumerate(references)], **container}])


async def reason(plane: Plane, **more: Any) -> str:
    """Why a task stopped before it started."""
    (arn,) = plane.run(**more)
    task = await plane.becomes(arn, "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert not plane.world.containers.starts
    return str(task["stoppedReason"])


@virtual_time
async def test_values_are_in_the_environment_and_nowhere_else(plane: Plane) -> None:
    async with plane:
        secret = settle(plane)
        register(plane, "/app/key", f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/app/key:1", f"{secret}:password::",
                 f"{secret}::AWSCURRENT:", environment=[{"name": "PLAIN", "value": "x"}])
        (arn,) = plane.run(overrides={"containerOverrides": [
            {"name": "web", "environment": [{"name": "S0", "value": "not this"}]}]})
        task = await plane.becomes(arn, "RUNNING")
        (body,) = plane.world.containers.bodies.values()
        environment = dict(body.spec.environment)
        assert [environment[name] for name in ("S0", "S1", "S2", "PLAIN")] == [VALUE, VALUE, VALUE, "x"]
        assert json.loads(environment["S3"])["username"] == "app"
        definition = plane.ask("DescribeTaskDefinition", taskDefinition="web")
        assert definition["taskDefinition"]["containerDefinitions"][0]["secrets"][0] == {
            "name": "S0", "valueFrom": "/app/key"}
        for shown in (task, definition, body.spec, dict(body.spec.labels)):
            assert VALUE not in repr(shown)
    for file in plane.directory.glob("cloudlet.db*"):
        assert VALUE.encode() not in file.read_bytes()


@virtual_time
async def test_what_may_not_be_read_stops_the_task_in_awss_words(plane: Plane) -> None:
    async with plane:
        secret = settle(plane)
        allow(plane, {"Action": "s3:*", "Resource": "*"})
        register(plane, "/app/key")
        said = await reason(plane)
        assert said.startswith(
            "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed:"
            " unable to retrieve secrets from ssm: service call has been retried 1 time(s): AccessDeniedException:"
            f" User: arn:aws:sts::{ACCOUNT}:assumed-role/execution/")
        assert (f" is not authorized to perform: ssm:GetParameters on resource: arn:aws:ssm:us-east-1:{ACCOUNT}"
                ":parameter/app/key because no identity-based policy allows the ssm:GetParameters action status code:"
                " 400, request id: ") in said
        register(plane, secret)
        said = await reason(plane)
        assert (f"unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret"
                f" {secret} from secrets manager: AccessDeniedException: User: ") in said
        assert VALUE not in said


@virtual_time
async def test_what_is_not_there_stops_the_task_in_awss_words(plane: Plane) -> None:
    async with plane:
        secret = settle(plane)
        allow(plane, {"Action": "*", "Resource": "*"})
        for reference, words in [
                ("/app/other", "unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid"
                               " parameters: /app/other"),
                ("/app/key:7", "invalid parameters: /app/key:7"),
                (f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:no-AbCdEf",
                 "ResourceNotFoundException: Secrets Manager can't find the specified secret."),
                (f"{secret}:nothing::", "unable to retrieve secret from asm: retrieved secret from Secrets Manager did"
                                        " not contain json key nothing"),
                (f"{secret}::AWSPREVIOUS:", "ResourceNotFoundException: Secrets Manager can't find the specified secret"
                                            " value for staging label: AWSPREVIOUS")]:
            register(plane, reference)
            assert words in await reason(plane)


@virtual_time
async def test_a_permission_that_was_taken_a_moment_ago_is_gone(plane: Plane) -> None:
    plane.world.faults = Faults(lag_s=2.0)
    async with plane:
        settle(plane)
        register(plane, "/app/key")
        (arn,) = plane.run()
        await plane.until(lambda: plane.task(arn).get("pullStoppedAt"))
        ask(plane, iam, "DeleteRolePolicy", RoleName="execution", PolicyName="p")
        task = await plane.becomes(arn, "STOPPED")
        assert "AccessDeniedException" in task["stoppedReason"]
        assert not plane.world.containers.starts


@virtual_time
async def test_a_role_that_is_not_there_or_trusts_nobody(plane: Plane) -> None:
    async with plane:
        settle(plane)
        register(plane, "/app/key")
        trust = json.loads(TRUST)
        trust["Statement"][0]["Principal"] = {"Service": "ec2.amazonaws.com"}
        ask(plane, iam, "UpdateAssumeRolePolicy", RoleName="execution", PolicyDocument=json.dumps(trust))
        assert (f"execution resource retrieval failed: ECS was unable to assume the role '{ROLE}' that was provided for"
                " this task.") in await reason(plane)
        other = f"arn:aws:iam::{ACCOUNT}:role/other"
        assert f"the role '{other}'" in await reason(plane, overrides={"executionRoleArn": other})


@virtual_time
async def test_a_crash_while_it_starts_reads_them_again(plane: Plane) -> None:
    plane.world.faults = Faults(lag_s=1.0, late=1.0)
    async with plane:
        settle(plane)
        register(plane, "/app/key")
        (arn,) = plane.run()
        await plane.until(lambda: plane.task(arn).get("pullStoppedAt"))
        for _ in range(3):
            await plane.clock.sleep(0.4)
            await plane.crash()
            plane.start()
        await plane.becomes(arn, "RUNNING", 200)
        assert {dict(body.spec.environment)["S0"] for body in plane.world.containers.bodies.values()} == {VALUE}
        assert set(plane.world.containers.starts.values()) == {1}


@virtual_time
async def test_a_private_registry_is_asked_with_the_credentials_of_a_secret(plane: Plane) -> None:
    plane.world.images.logins["registry.example.com/app:1"] = ("app", VALUE)
    async with plane:
        secret = settle(plane)
        ask(plane, secretsmanager, "CreateSecret", Name="bad", ClientRequestToken="2" * 32, SecretString="no JSON")
        allow(plane, {"Action": "secretsmanager:*", "Resource": "*"})
        for reference in (secret, "db"):
            plane.register(executionRoleArn=ROLE, containers=[{
                "image": "registry.example.com/app:1", "repositoryCredentials": {"credentialsParameter": reference}}])
            (arn,) = plane.run()
            assert VALUE not in repr(await plane.becomes(arn, "RUNNING"))
        plane.world.containers.starts.clear()
        plane.register(containers=[{"image": "registry.example.com/app:1"}])
        assert "authorization failed" in await reason(plane)
        plane.register(executionRoleArn=ROLE, containers=[{
            "image": IMAGE, "repositoryCredentials": {"credentialsParameter": "bad"}}])
        assert "unable to pull secrets or registry auth" in (said := await reason(plane))
        assert "the secret bad is not a JSON object with a username and a password" in said
        allow(plane, {"Action": "s3:*", "Resource": "*"})
        assert "AccessDeniedException" in await reason(plane)


@pytest.mark.parametrize("size", [20, 201])
@virtual_time
async def test_an_override_of_storage_is_checked(plane: Plane, size: int) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        with pytest.raises(Exception, match="between 21 and 200 GiB"):
            plane.run(overrides={"ephemeralStorage": {"sizeInGiB": size}})
