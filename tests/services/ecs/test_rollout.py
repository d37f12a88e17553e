"""Deployments that fail, are rolled back and are stopped, on fake engines in virtual time; and what is remembered."""

from dataclasses import replace
from typing import Any

import pytest

from cloudlet.engines.fake import Program
from cloudlet.services.ecs.api import (
    ConflictException,
    InvalidParameterException,
    ServiceDeploymentNotFoundException,
)
from cloudlet.services.ecs.records import Breaker
from cloudlet.services.ecs.rollout import advance, threshold
from cloudlet.services.ecs.service_plan import after_failure
from tests.services.ecs.plane import Plane, create, said, virtual_time
from tests.services.ecs.test_service_plan import NOW, service

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


def bad(plane: Plane) -> None:
    """A definition of a program that ends at once."""
    plane.world.containers.programs["bad:1"] = Program(exits_after_s=0.1, exit_code=1)
    plane.register("bad", [{"image": "bad:1"}])


def history(plane: Plane, name: str = "web", **more: Any) -> list[dict[str, Any]]:
    listed = plane.ask("ListServiceDeployments", service=name, **more)["serviceDeployments"]
    if not listed:
        return []
    described = plane.ask("DescribeServiceDeployments",
                          serviceDeploymentArns=[one["serviceDeploymentArn"] for one in listed])
    assert described["failures"] == []
    found: list[dict[str, Any]] = described["serviceDeployments"]
    return found


@pytest.mark.parametrize(("desired", "breaker", "expected"), [
    (1, Breaker(), 3), (6, Breaker(), 3), (25, Breaker(), 13), (400, Breaker(), 200), (800, Breaker(), 200),
    (800, Breaker(threshold="UNBOUNDED_PERCENT"), 400), (1, Breaker(threshold="UNBOUNDED_PERCENT"), 1),
    (800, Breaker(threshold="COUNT", value=5), 5), (50, Breaker(value=100), 50)])
def test_how_many_failures_trip_the_circuit_breaker(desired: int, breaker: Breaker, expected: int) -> None:
    """The examples of the developer guide ("How the deployment circuit breaker detects failures")."""
    assert threshold(service(desired, breaker=breaker)) == expected


def test_the_circuit_breaker_is_over_once_a_deployment_has_completed() -> None:
    failing = service(1, breaker=Breaker(enable=True))
    for _ in range(3):
        assert advance(failing, None, NOW).service == failing
        failing = after_failure(failing, "new", NOW)
    assert advance(failing, None, NOW).service.deployments[0].state == "FAILED"
    done = replace(failing, deployments=(replace(failing.deployments[0], state="COMPLETED"),))
    assert advance(done, None, NOW).service == done


def test_a_roll_back_that_fails_is_not_rolled_back() -> None:
    failing = service(1, "old", breaker=Breaker(enable=True, rollback=True))
    for _ in range(3):
        failing = after_failure(failing, "new", NOW)
    back = advance(failing, None, NOW)
    assert [one.id for one in back.service.deployments] == ["old", "new"]
    assert back.said == (
        "(deployment new) deployment failed: tasks failed to start.", "rolling back to deployment old.")
    gone = advance(failing, None, NOW, runnable=False)
    assert [(one.id, one.state) for one in gone.service.deployments] == [("new", "FAILED"), ("old", "COMPLETED")]


@virtual_time
async def test_a_failed_deployment_is_rolled_back_to_the_last_that_completed(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 2, deploymentConfiguration=BREAKER)
        first = (await plane.completed())["deployments"][0]
        before = set(plane.tasks())
        bad(plane)
        answer = plane.ask("UpdateService", service="web", taskDefinition="bad")["service"]
        broken = answer["deployments"][0]["id"]
        states: dict[str, tuple[str, str]] = {}

        def over() -> bool:
            service = plane.service()
            assert service["runningCount"] >= 2
            for one in service["deployments"]:
                states[f"{one['id']} {one['rolloutState']}"] = one["status"], one["rolloutStateReason"]
            return bool(service["deployments"][0]["id"] == first["id"] and len(service["deployments"]) == 1)
        await plane.until(over)
        await plane.completed()
        assert states[f"{broken} FAILED"] == (
            "ACTIVE", "ECS deployment circuit breaker: tasks failed to start.")
        assert states[f"{first['id']} IN_PROGRESS"] == (
            "PRIMARY", f"ECS deployment circuit breaker: rolling back to deploymentId {first['id']}.")
        assert set(plane.tasks()) == before
        assert plane.service()["taskDefinition"].endswith(":task-definition/web:1")
        spoken = said(plane)
        position = spoken.index(f"(service web) rolling back to deployment {first['id']}.")
        assert spoken[position + 1] == f"(service web) (deployment {broken}) deployment failed: tasks failed to start."
        newest, oldest = history(plane)
        assert (newest["status"], newest["statusReason"]) == (
            "ROLLBACK_SUCCESSFUL", "Service deployment rolled back because the circuit breaker threshold was exceeded.")
        assert newest["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 4, "threshold": 3}
        assert newest["rollback"]["serviceRevisionArn"] == oldest["targetServiceRevision"]["arn"]
        assert oldest["status"] == "SUCCESSFUL"
        assert oldest["deploymentCircuitBreaker"]["status"] == "MONITORING_COMPLETE"
        assert oldest["targetServiceRevision"]["runningTaskCount"] == 2
        assert [source["arn"] for source in newest["sourceServiceRevisions"]] == [
            oldest["targetServiceRevision"]["arn"]]
        (revision,) = plane.ask("DescribeServiceRevisions", serviceRevisionArns=[
            newest["targetServiceRevision"]["arn"]])["serviceRevisions"]
        assert revision["taskDefinition"].endswith("bad:1")
        assert revision["containerImages"] == [{"containerName": "web", "image": "bad:1"}]


@virtual_time
async def test_a_version_that_fails_its_health_checks_costs_the_old_one_nothing(plane: Plane) -> None:
    plane.world.containers.programs["sick:1"] = Program(healthy_after_s=1e9)
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 2, deploymentConfiguration=BREAKER)
        await plane.completed()
        before = set(plane.tasks())
        plane.register("sick", [{"image": "sick:1", "healthCheck": {
            "command": ["CMD-SHELL", "false"], "interval": 5, "retries": 2}}])
        plane.ask("UpdateService", service="web", taskDefinition="sick")
        await plane.until(lambda: plane.service()["taskDefinition"].endswith("web:1"), 120)
        assert (await plane.completed())["runningCount"] == 2
        assert set(plane.tasks()) == before
        spoken = said(plane)
        assert sum(") failed container health checks." in message for message in spoken) >= 3
        assert any(message.endswith("Amazon ECS replaced 1 tasks due to an unhealthy status.") for message in spoken)
        assert history(plane)[0]["deploymentCircuitBreaker"]["status"] == "TRIGGERED"


@virtual_time
async def test_a_roll_back_starts_anew_what_was_drained_already(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 2, deploymentConfiguration={**BREAKER, "minimumHealthyPercent": 0, "maximumPercent": 100})
        await plane.completed()
        bad(plane)
        plane.ask("UpdateService", service="web", taskDefinition="bad")
        await plane.until(lambda: plane.service()["taskDefinition"].endswith("bad:1"))
        await plane.until(lambda: plane.service()["taskDefinition"].endswith("web:1"))
        assert (await plane.completed())["runningCount"] == 2


@virtual_time
async def test_without_roll_back_a_failed_deployment_stands_still(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 2, deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": False}})
        await plane.completed()
        before = set(plane.tasks())
        bad(plane)
        plane.ask("UpdateService", service="web", taskDefinition="bad")
        await plane.until(lambda: plane.service()["deployments"][0]["rolloutState"] == "FAILED")
        starts = sum(plane.world.containers.starts.values())
        await plane.clock.sleep(900)
        assert sum(plane.world.containers.starts.values()) == starts
        assert set(plane.tasks()) == before
        (failed, first) = history(plane)
        assert (failed["status"], first["status"]) == ("STOPPED", "SUCCESSFUL")
        assert failed["stoppedAt"] == failed["finishedAt"]
        plane.ask("UpdateService", service="web", taskDefinition="web")
        await plane.completed()
        assert history(plane, status=["SUCCESSFUL"])[1]["serviceDeploymentArn"] == first["serviceDeploymentArn"]


@virtual_time
async def test_a_first_deployment_has_nothing_to_go_back_to(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        bad(plane)
        create(plane, 1, taskDefinition="bad", deploymentConfiguration=BREAKER)
        await plane.until(lambda: plane.service()["deployments"][0]["rolloutState"] == "FAILED")
        (only,) = history(plane)
        assert (only["status"], only["statusReason"]) == (
            "ROLLBACK_FAILED", "No rollback candidate was found to run the rollback.")


@virtual_time
async def test_failures_count_in_a_row_unless_asked_otherwise(plane: Plane) -> None:
    """A task that becomes healthy clears the count, but not with resetOnHealthyTask off."""
    async with plane:
        plane.ask("CreateCluster")
        bad(plane)
        for name, reset in (("forgets", True), ("remembers", False)):
            plane.world.containers.programs["bad:1"] = Program(exits_after_s=0.1, exit_code=1)
            create(plane, 1, serviceName=name, taskDefinition="bad", deploymentConfiguration={
                "deploymentCircuitBreaker": {"enable": True, "rollback": False, "resetOnHealthyTask": reset,
                                             "thresholdConfiguration": {"type": "COUNT", "value": 6}}})
            await plane.until(lambda name=name: plane.service(name)["deployments"][0]["failedTasks"] == 2)
            plane.world.containers.programs["bad:1"] = Program(exits_after_s=4.0)
            await plane.until(lambda name=name: plane.service(name)["deployments"][0]["failedTasks"] == 4)
            plane.world.containers.programs.clear()
            await plane.completed(name)
            assert history(plane, name)[0]["deploymentCircuitBreaker"]["failureCount"] == (0 if reset else 4)


@virtual_time
async def test_a_deployment_can_be_stopped(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 2)
        await plane.completed()
        bad(plane)
        answer = plane.ask("UpdateService", service="web", taskDefinition="bad")["service"]
        arn = answer["currentServiceDeployment"]
        (pending,) = history(plane, status=["PENDING"])
        assert pending["serviceDeploymentArn"] == arn
        await plane.until(lambda: history(plane)[0]["status"] == "IN_PROGRESS")
        assert plane.ask("StopServiceDeployment", serviceDeploymentArn=arn, stopType="ROLLBACK") == {
            "serviceDeploymentArn": arn}
        assert history(plane)[0]["status"] == "ROLLBACK_REQUESTED"
        plane.ask("StopServiceDeployment", serviceDeploymentArn=arn)
        await plane.until(lambda: history(plane)[0]["status"] == "ROLLBACK_SUCCESSFUL")
        assert plane.service()["taskDefinition"].endswith("web:1")
        with pytest.raises(ConflictException):
            plane.ask("StopServiceDeployment", serviceDeploymentArn=arn)
        with pytest.raises(InvalidParameterException):
            plane.ask("StopServiceDeployment", serviceDeploymentArn=arn, stopType="ABORT")
        with pytest.raises(ServiceDeploymentNotFoundException):
            plane.ask("StopServiceDeployment", serviceDeploymentArn=arn + "x")


@virtual_time
async def test_a_newer_deployment_stops_the_older(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 2)
        bad(plane)
        plane.ask("UpdateService", service="web", taskDefinition="bad")
        plane.ask("UpdateService", service="web", taskDefinition="web", forceNewDeployment=True)
        assert [one["status"] for one in history(plane)] == ["PENDING", "STOP_REQUESTED", "STOP_REQUESTED"]
        assert len(plane.service()["currentServiceRevisions"]) == 3
        await plane.completed()
        assert [one["status"] for one in history(plane)] == ["SUCCESSFUL", "STOPPED", "STOPPED"]
        assert len(plane.service()["currentServiceRevisions"]) == 1
        plane.ask("UpdateService", service="web", desiredCount=3)
        await plane.steady()
        assert len(history(plane)) == 3


@virtual_time
async def test_the_history_of_a_service_is_listed_in_pages_and_goes_with_it(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        created = create(plane, 0)
        begun = plane.clock.now()
        for _ in range(4):
            await plane.completed()
            await plane.clock.sleep(10)
            plane.ask("UpdateService", service="web", forceNewDeployment=True)
        await plane.completed()
        arns: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = plane.ask("ListServiceDeployments", service="web", maxResults=2, **token)
            arns += [one["serviceDeploymentArn"] for one in page["serviceDeployments"]]
            if "nextToken" not in page:
                break
            token = {"nextToken": page["nextToken"]}
        assert len(set(arns)) == 5
        assert arns[-1] == created["currentServiceDeployment"]
        assert len(plane.ask("ListServiceDeployments", service="web",
                             createdAt={"after": begun + 5})["serviceDeployments"]) == 4
        with pytest.raises(InvalidParameterException, match="Invalid token"):
            plane.ask("ListServiceDeployments", service="web", nextToken="x")
        with pytest.raises(InvalidParameterException, match="Invalid identifier"):
            plane.ask("DescribeServiceDeployments", serviceDeploymentArns=[created["serviceArn"]])
        revision = created["currentServiceRevisions"][0]["arn"]
        assert plane.ask("DescribeServiceRevisions", serviceRevisionArns=[revision])["failures"] == []
        plane.ask("DeleteService", service="web")
        await plane.until(lambda: plane.service()["status"] == "INACTIVE")
        assert plane.ask("DescribeServiceDeployments", serviceDeploymentArns=arns[:1])["failures"] == [
            {"arn": arns[0], "reason": "MISSING"}]
        assert plane.ask("DescribeServiceRevisions", serviceRevisionArns=[revision])["failures"] == [
            {"arn": revision, "reason": "MISSING"}]
        create(plane, 1)
        await plane.completed()
        assert len(history(plane)) == 1


@virtual_time
async def test_capacity_changes_only_with_a_new_deployment_and_comes_back_with_the_old(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 1, deploymentConfiguration=BREAKER)
        await plane.completed()
        bad(plane)
        spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]
        with pytest.raises(InvalidParameterException, match="you must force a new deployment"):
            plane.ask("UpdateService", service="web", capacityProviderStrategy=spot)
        plane.ask("UpdateService", service="web", taskDefinition="bad", capacityProviderStrategy=spot,
                  forceNewDeployment=True)
        assert plane.service()["capacityProviderStrategy"] == spot
        await plane.until(lambda: plane.service().get("launchType") == "FARGATE")
        await plane.completed()
        plane.ask("UpdateService", service="web", capacityProviderStrategy=spot, forceNewDeployment=True)
        await plane.completed()
        assert [plane.task(arn)["capacityProviderName"] for arn in plane.tasks()] == ["FARGATE_SPOT"]
        plane.ask("UpdateService", service="web", capacityProviderStrategy=[], forceNewDeployment=True)
        assert (await plane.completed())["launchType"] == "FARGATE"


@virtual_time
async def test_zones_are_balanced_when_there_is_room_again(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        vpc = plane.ask("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        zones = ("us-east-1a", "us-east-1b")
        wide, small = (plane.ask("CreateSubnet", VpcId=vpc, CidrBlock=cidr, AvailabilityZone=zone)["Subnet"]["SubnetId"]
                       for cidr, zone in zip(("10.0.1.0/24", "10.0.2.0/28"), zones, strict=True))
        network = {"awsvpcConfiguration": {"subnets": [wide, small]}}
        create(plane, 11, serviceName="other", availabilityZoneRebalancing="DISABLED",
               networkConfiguration={"awsvpcConfiguration": {"subnets": [small]}})
        await plane.completed("other")
        assert create(plane, 4, networkConfiguration=network)["availabilityZoneRebalancing"] == "ENABLED"
        await plane.completed()

        def spread() -> list[int]:
            found = [plane.task(arn)["availabilityZone"] for arn in plane.tasks(serviceName="web")]
            return [found.count(zone) for zone in zones]
        assert spread() == [4, 0]
        await plane.clock.sleep(5)
        assert said(plane)[0] == "(service web) is unable to place a task in us-east-1b."
        plane.ask("UpdateService", service="other", desiredCount=0)
        await plane.until(lambda: "is AZ balanced" in said(plane)[0], 240)
        assert spread() == [2, 2]
        spoken = said(plane)
        assert spoken[0] == "(service web) is AZ balanced with 2 tasks in us-east-1a, 2 tasks in us-east-1b."
        assert any("is not AZ balanced with 4 tasks in us-east-1a, 0 tasks in us-east-1b. AZ Rebalancing in progress."
                   in message for message in spoken)
        assert any("has started 1 tasks in us-east-1b to AZ Rebalance: (task " in message for message in spoken)
        assert any("has stopped 1 running tasks in us-east-1a due to AZ rebalancing: (task " in message
                   for message in spoken)


@virtual_time
async def test_a_deleted_subnet_or_group_is_said_and_survived(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        vpc = plane.ask("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        one, two = (plane.ask("CreateSubnet", VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]
                    for cidr in ("10.0.1.0/24", "10.0.2.0/24"))
        group = plane.ask("CreateSecurityGroup", GroupName="g", Description="d", VpcId=vpc)["GroupId"]
        create(plane, 0, networkConfiguration={"awsvpcConfiguration": {
            "subnets": [one, two], "securityGroups": [group]}})
        await plane.completed()
        plane.ask("DeleteSubnet", SubnetId=one)
        plane.ask("UpdateService", service="web", desiredCount=2)
        await plane.steady()
        plane.ask("UpdateService", service="web", desiredCount=0)
        await plane.until(lambda: not plane.tasks() and plane.service()["runningCount"] == 0)
        await plane.until(lambda: not plane.ask("DescribeNetworkInterfaces", Filters=[
            {"Name": "group-id", "Values": [group]}])["NetworkInterfaces"])
        plane.ask("DeleteSecurityGroup", GroupId=group)
        plane.ask("UpdateService", service="web", desiredCount=1)
        await plane.until(lambda: "was unable to place a task. Reason:" in said(plane)[0])
        assert group in said(plane)[0]
        plane.ask("UpdateService", service="web", networkConfiguration={"awsvpcConfiguration": {"subnets": [two]}})
        await plane.completed()


@virtual_time
async def test_what_begins_a_deployment_and_what_does_not(plane: Plane) -> None:
    """UpdateService says of each parameter whether it triggers a new service deployment."""
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 1)
        await plane.completed()
        quiet: dict[str, Any] = {
            "desiredCount": 2, "deploymentConfiguration": {"minimumHealthyPercent": 50, **BREAKER},
            "availabilityZoneRebalancing": "DISABLED", "enableECSManagedTags": True, "propagateTags": "SERVICE",
            "taskDefinition": "web:1", "networkConfiguration": plane.network(), "platformVersion": "LATEST"}
        for name, value in quiet.items():
            plane.ask("UpdateService", service="web", **{name: value})
            assert len(history(plane)) == 1, name
        kept = plane.service()
        assert kept["deploymentConfiguration"]["minimumHealthyPercent"] == 50
        assert kept["deploymentConfiguration"]["deploymentCircuitBreaker"]["rollback"] is True
        assert (kept["availabilityZoneRebalancing"], kept["enableECSManagedTags"], kept["propagateTags"]) == (
            "DISABLED", True, "SERVICE")
        plane.ask("UpdateService", service="web", deploymentConfiguration={"maximumPercent": 150})
        assert plane.service()["deploymentConfiguration"] == {
            **kept["deploymentConfiguration"], "maximumPercent": 150}
        plane.register()
        loud: dict[str, Any] = {
            "taskDefinition": "web", "networkConfiguration": plane.network(assignPublicIp="ENABLED"),
            "platformVersion": "1.4.0", "forceNewDeployment": True}
        for number, (name, value) in enumerate(loud.items(), start=2):
            plane.ask("UpdateService", service="web", **{name: value})
            assert len(history(plane)) == number, name
        assert (await plane.completed())["runningCount"] == 2


@virtual_time
async def test_a_deregistered_definition_still_serves_its_service(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 1)
        await plane.completed()
        plane.ask("DeregisterTaskDefinition", taskDefinition="web:1")
        plane.ask("UpdateService", service="web", desiredCount=2)
        assert (await plane.steady())["runningCount"] == 2
        with pytest.raises(Exception, match="TaskDefinition is inactive"):
            plane.ask("UpdateService", service="web", taskDefinition="web:1")
        plane.ask("DeleteTaskDefinitions", taskDefinitions=["web:1"])
        await plane.clock.sleep(200)
        assert plane.ask("DescribeTaskDefinition", taskDefinition="web:1")["taskDefinition"]["status"] == (
            "DELETE_IN_PROGRESS")


@virtual_time
async def test_history_and_events_are_kept_within_limits(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudlet.services.ecs.history.KEPT_MAX", 3)
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        first = create(plane, 0)["currentServiceRevisions"][0]["arn"]
        await plane.completed()
        for _ in range(60):
            plane.ask("UpdateService", service="web", forceNewDeployment=True)
            await plane.completed()
        assert len(said(plane)) == 100
        kept = history(plane)
        assert len(kept) == 3
        assert plane.service()["currentServiceDeployment"] == kept[0]["serviceDeploymentArn"]
        arns = [one["targetServiceRevision"]["arn"] for one in kept]
        assert plane.ask("DescribeServiceRevisions", serviceRevisionArns=arns)["failures"] == []
        assert plane.ask("DescribeServiceRevisions", serviceRevisionArns=[first])["failures"] == [
            {"arn": first, "reason": "MISSING"}]
