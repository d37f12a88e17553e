"""What a task finds on 169.254.170.2, and what it does not."""

from typing import Any

import msgspec
import pytest

from cloudlet.kernel.http import Body, Request
from cloudlet.services.iam import iam
from tests.services.ecs.plane import Plane, virtual_time

ROLE = "arn:aws:iam::123456789012:role/worker"
TRUST = ('{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",'
         ' "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]}')


async def nothing() -> Any:
    for chunk in ():
        yield chunk


async def fetch(plane: Plane, path: str, source: str, network: str | None = None,
                method: str = "GET") -> tuple[int, Any]:
    """GET over the door of the network (by default the only one there is)."""
    if network is None:
        (network,) = plane.world.networks.networks
    answer = await plane.metadata(Request(method, path, "", {}, Body(nothing()), source, network=network))
    assert isinstance(answer.body, bytes)
    try:
        return answer.status, msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return answer.status, answer.body.decode()


async def two_tasks(plane: Plane) -> list[tuple[str, dict[str, str]]]:
    """Two running tasks with a role: each one's address and environment."""
    plane.ask("CreateCluster")
    with plane.store.tx() as tx:
        iam.operations["CreateRole"].run(plane.call(), tx, {"RoleName": "worker", "AssumeRolePolicyDocument": TRUST})
    plane.register(taskRoleArn=ROLE, containers=[{"dockerLabels": {"l": "v"}}])
    found = []
    for arn in plane.run(count=2):
        task = await plane.becomes(arn, "RUNNING")
        address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
        runtime = task["containers"][0]["runtimeId"]
        (spec,) = [body.spec for body in plane.world.containers.bodies.values() if body.seen.id == runtime]
        found.append((address, dict(spec.environment)))
    return found


@virtual_time
async def test_a_task_reads_its_own_credentials_and_nobody_elses(plane: Plane) -> None:
    async with plane:
        (mine, environment), (other, _) = await two_tasks(plane)
        path = environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
        status, found = await fetch(plane, path, mine)
        assert status == 200
        assert set(found) == {"RoleArn", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
        assert (found["RoleArn"], found["AccessKeyId"][:4]) == (ROLE, "ASIA")
        assert (await fetch(plane, path, mine))[1] == found
        await plane.clock.sleep(5 * 3600)
        renewed = (await fetch(plane, path, mine))[1]
        assert renewed["Expiration"] > found["Expiration"]
        assert renewed["AccessKeyId"] != found["AccessKeyId"]
        assert await fetch(plane, path, other) == (400, {
            "code": "InvalidIdInRequest", "message": "CredentialsV2Request: ID not found", "HTTPErrorCode": 400})
        for source, network in (("127.0.0.1", ""), (mine, ""), (mine, "cl-abcdef-vpc-0000000000"), ("10.9.9.9", None)):
            assert (await fetch(plane, path, source, network))[0] == 404
        assert (await fetch(plane, path, mine, method="PUT"))[0] == 405


@virtual_time
async def test_metadata_of_container_and_task(plane: Plane) -> None:
    async with plane:
        (mine, environment), (other, _) = await two_tasks(plane)
        path = environment["ECS_CONTAINER_METADATA_URI_V4"].removeprefix("http://169.254.170.2")
        status, container = await fetch(plane, path, mine)
        assert status == 200
        assert (container["Name"], container["KnownStatus"], container["Type"]) == ("web", "RUNNING", "NORMAL")
        assert container["Networks"][0]["IPv4Addresses"] == [mine]
        assert container["Networks"][0]["SubnetGatewayIpv4Address"].endswith(".1/20")
        assert container["Labels"]["l"] == "v"
        assert container["ContainerARN"].startswith("arn:aws:ecs:us-east-1:123456789012:container/default/")
        _, task = await fetch(plane, path + "/task", mine)
        assert (task["Family"], task["Revision"], task["LaunchType"]) == ("web", "1", "FARGATE")
        assert task["Limits"] == {"CPU": 0.25, "Memory": 512}
        assert [c["DockerId"] for c in task["Containers"]] == [container["DockerId"]]
        await plane.clock.sleep(100)
        _, stats = await fetch(plane, path + "/stats", mine)
        assert stats["memory_stats"]["usage"] == 20 << 20  # with the cache, as Docker has it
        assert (stats["memory_stats"]["limit"], stats["memory_stats"]["stats"]) == (
            512 << 20, {"inactive_file": 4 << 20})
        assert stats["networks"]["eth0"]["rx_bytes"] > 9000
        assert stats["blkio_stats"]["io_service_bytes_recursive"][1] == {
            "major": 8, "minor": 0, "op": "Write", "value": 512}
        assert stats["pids_stats"] == {"current": 1}
        cpu, before = stats["cpu_stats"], stats["precpu_stats"]
        used = cpu["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
        assert used / (cpu["system_cpu_usage"] - before["system_cpu_usage"]) == pytest.approx(0.01, rel=0.01)
        await plane.clock.sleep(10)
        later = (await fetch(plane, path + "/stats", mine))[1]
        assert later["preread"] == stats["read"]
        assert later["network_rate_stats"]["rx_bytes_per_sec"] == pytest.approx(100, rel=0.2)
        assert 0.9e9 < stats["cpu_stats"]["cpu_usage"]["total_usage"] < 1.2e9
        _, together = await fetch(plane, path + "/task/stats", mine)
        assert together[container["DockerId"]]["id"] == container["DockerId"]
        third = path.replace("/v4/", "/v3/")
        assert environment["ECS_CONTAINER_METADATA_URI"].endswith(third)
        assert "ContainerARN" not in (await fetch(plane, third, mine))[1]
        for wrong in (path.replace("/v4/", "/v5/"), path + "/else", "/v4/x", "/", "/v4/" + "a" * 500,
                      path + "/../task"):
            assert (await fetch(plane, wrong, mine))[0] == 404
        assert (await fetch(plane, path, other))[0] == 404


@virtual_time
async def test_metadata_tells_health_restarts_and_tags(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[{"healthCheck": {"command": ["CMD", "true"], "interval": 5},
                                    "restartPolicy": {"enabled": True}}, {"name": "plain"}])
        (arn,) = plane.run(tags=[{"key": "a", "value": "b"}])
        task = await plane.becomes(arn, "RUNNING")
        address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
        token = plane.token(arn)
        plain = (await fetch(plane, f"/v4/{token}/taskWithTags", address))[1]
        assert plain["TaskTags"] == {"a": "b"}
        checked, unchecked = plain["Containers"]
        assert (checked["Health"]["status"], checked["RestartCount"]) == ("UNKNOWN", 0)
        assert not {"Health", "RestartCount"} & set(unchecked)
        assert "TaskTags" not in (await fetch(plane, f"/v4/{token}/task", address))[1]
        await plane.clock.sleep(310)
        plane.world.containers.exit(next(n for n in plane.world.containers.running() if n.endswith("web")), 1)
        await plane.clock.sleep(10)
        container = (await fetch(plane, f"/v4/{token}", address))[1]
        assert (container["Health"]["status"], container["RestartCount"]) == ("HEALTHY", 1)
        assert "Health" not in (await fetch(plane, f"/v3/{token}", address))[1]
