"""Task protection: who has it, who may ask for it, and what it keeps from being stopped."""

from typing import Any

import msgspec
import pytest

from cloudlet.kernel.http import Body, Request
from cloudlet.services.ecs.api import InvalidParameterException
from cloudlet.services.iam import iam
from tests.services.ecs.plane import Plane, virtual_time
from tests.services.ecs.test_metadata import ROLE, TRUST

ALLOW = ('{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*",'
         ' "Action": ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]}]}')


async def service(plane: Plane, desired: int = 2, **definition: Any) -> list[str]:
    """A service of so many running tasks; their ARNs."""
    plane.ask("CreateCluster")
    plane.register(**definition)
    plane.ask("CreateService", serviceName="web", taskDefinition="web", desiredCount=desired, launchType="FARGATE",
              networkConfiguration=plane.network())
    await plane.steady()
    return plane.tasks()


def protect(plane: Plane, *tasks: str, on: bool = True, **more: Any) -> Any:
    return plane.ask("UpdateTaskProtection", cluster="default", tasks=list(tasks), protectionEnabled=on, **more)


@virtual_time
async def test_protection_is_told_and_ends(plane: Plane) -> None:
    async with plane:
        one, two = await service(plane)
        answer = protect(plane, one, two.rpartition("/")[2], expiresInMinutes=60)
        assert answer["failures"] == []
        assert [(t["taskArn"], t["protectionEnabled"]) for t in answer["protectedTasks"]] == [(one, True), (two, True)]
        assert answer["protectedTasks"][0]["expirationDate"] == pytest.approx(plane.clock.now() + 3600)
        asked = {"cluster": "default", "tasks": [one]}
        assert plane.ask("GetTaskProtection", **asked)["protectedTasks"] == answer["protectedTasks"][:1]
        assert protect(plane, one, on=False)["protectedTasks"] == [{"taskArn": one, "protectionEnabled": False}]
        await plane.clock.sleep(3601)
        assert plane.ask("GetTaskProtection", cluster="default", tasks=[two])["protectedTasks"] == [
            {"taskArn": two, "protectionEnabled": False}]
        default = protect(plane, one)["protectedTasks"][0]["expirationDate"]
        assert default == pytest.approx(plane.clock.now() + 7200)


@virtual_time
async def test_what_cannot_be_protected(plane: Plane) -> None:
    async with plane:
        (one,) = await service(plane, 1)
        (alone,) = plane.run()
        missing = one[:-32] + "0" * 32
        answer = protect(plane, one, alone, missing)
        assert [t["taskArn"] for t in answer["protectedTasks"]] == [one]
        assert answer["failures"] == [{"arn": alone, "reason": "TASK_NOT_VALID"}, {"arn": missing, "reason": "MISSING"}]
        assert plane.ask("GetTaskProtection", cluster="default", tasks=[alone])["failures"][0]["reason"] == (
            "TASK_NOT_VALID")
        for wrong in ({"tasks": []}, {"tasks": [one] * 11}, {"tasks": [one], "expiresInMinutes": 0},
                      {"tasks": [one], "expiresInMinutes": 2881}):
            with pytest.raises(InvalidParameterException):
                plane.ask("UpdateTaskProtection", cluster="default", protectionEnabled=True, **wrong)
        with pytest.raises(InvalidParameterException):
            plane.ask("GetTaskProtection", cluster="default", tasks=[one] * 101)


async def ask(plane: Plane, source: str, path: str, method: str = "GET", body: str = "") -> tuple[int, Any]:
    async def chunks() -> Any:
        yield body.encode()
    (network,) = plane.world.networks.networks
    answer = await plane.metadata(Request(method, path, "", {}, Body(chunks()), source, network=network))
    assert isinstance(answer.body, bytes)
    try:
        return answer.status, msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return answer.status, answer.body.decode()


@virtual_time
async def test_a_task_protects_itself_if_its_role_may(plane: Plane) -> None:
    async with plane:
        with plane.store.tx() as tx:
            iam.operations["CreateRole"].run(plane.call(), tx, {
                "RoleName": "worker", "AssumeRolePolicyDocument": TRUST})
        one, two = await service(plane, taskRoleArn=ROLE)
        address, other = (plane.task(arn)["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
                          for arn in (one, two))
        (spec,) = [body.spec for body in plane.world.containers.bodies.values()
                   if body.seen.id == plane.task(one)["containers"][0]["runtimeId"]]
        path = dict(spec.environment)["ECS_AGENT_URI"].removeprefix("http://169.254.170.2")
        path += "/task-protection/v1/state"
        status, denied = await ask(plane, address, path)
        assert (status, denied["error"]["Code"], denied["error"]["Arn"]) == (400, "AccessDeniedException", one)
        assert "is not authorized to perform: ecs:GetTaskProtection on resource: " + one in denied["error"]["Message"]
        with plane.store.tx() as tx:
            iam.operations["PutRolePolicy"].run(plane.call(), tx, {
                "RoleName": "worker", "PolicyName": "p", "PolicyDocument": ALLOW})
        unprotected = {"protection": {"ExpirationDate": None, "ProtectionEnabled": False, "TaskArn": one}}
        assert await ask(plane, address, path) == (200, unprotected)
        status, said = await ask(plane, address, path, "PUT", '{"ProtectionEnabled": true, "ExpiresInMinutes": 60}')
        assert (status, said["protection"]["ProtectionEnabled"]) == (200, True)
        assert said["protection"]["ExpirationDate"].endswith("Z")
        assert plane.ask("GetTaskProtection", cluster="default", tasks=[one, two])["protectedTasks"][0][
            "protectionEnabled"]
        for body in ("", "{}", '{"ProtectionEnabled": 1}', '{"ProtectionEnabled": true, "X": 1}', " " * 5000):
            status, said = await ask(plane, address, path, "PUT", body)
            assert (status, said["error"]["Code"]) == (400, "InvalidParameterException")
        assert (await ask(plane, other, path))[0] == 404  # somebody else's path
        assert (await ask(plane, address, path, "POST"))[0] == 405
        assert (await ask(plane, address, path, "PUT", '{"ProtectionEnabled": false}')) == (200, unprotected)


@virtual_time
async def test_a_task_without_a_role_or_a_service(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        (arn,) = plane.run()
        task = await plane.becomes(arn, "RUNNING")
        address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
        path = f"/api/{plane.token(arn)}/task-protection/v1/state"
        status, said = await ask(plane, address, path)
        assert (status, said["error"]["Code"]) == (400, "AccessDeniedException")
        with plane.store.tx() as tx:
            iam.operations["CreateRole"].run(plane.call(), tx, {
                "RoleName": "worker", "AssumeRolePolicyDocument": TRUST})
            iam.operations["PutRolePolicy"].run(plane.call(), tx, {
                "RoleName": "worker", "PolicyName": "p", "PolicyDocument": ALLOW})
        (arn,) = plane.run(overrides={"taskRoleArn": ROLE})
        task = await plane.becomes(arn, "RUNNING")
        address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
        assert await ask(plane, address, f"/api/{plane.token(arn)}/task-protection/v1/state") == (200, {
            "failure": {"Arn": arn, "Detail": None, "Reason": "TASK_NOT_VALID"}})


@virtual_time
async def test_scale_in_and_deployments_spare_a_protected_task(plane: Plane) -> None:
    async with plane:
        one, _, _ = await service(plane, 3)
        protect(plane, one, expiresInMinutes=10)
        plane.ask("UpdateService", service="web", desiredCount=1)
        await plane.steady()
        assert plane.tasks() == [one]
        plane.register()
        plane.ask("UpdateService", service="web", taskDefinition="web:2")
        await plane.clock.sleep(300)
        assert one in plane.tasks()
        assert len(plane.tasks()) == 2  # the new one beside it
        assert protect(plane, one)["failures"] == [{"arn": one, "reason": "DEPLOYMENT_BLOCKED"}]
        await plane.clock.sleep(290)
        assert plane.task(one)["lastStatus"] == "RUNNING"
        await plane.becomes(one, "STOPPED")  # when its time is over
        await plane.steady()
        assert one not in plane.tasks()


@virtual_time
async def test_giving_protection_up_ends_the_wait(plane: Plane) -> None:
    async with plane:
        one, two = await service(plane)
        protect(plane, one, two)
        plane.ask("UpdateService", service="web", desiredCount=0)
        await plane.clock.sleep(120)
        assert plane.tasks() == [one, two]
        protect(plane, two, on=False)
        await plane.becomes(two, "STOPPED")
        assert plane.tasks() == [one]
        plane.ask("DeleteService", service="web", force=True)  # protection is from scaling, not from deletion
        await plane.becomes(one, "STOPPED")
