"""Container instances, of which there are none."""

import pytest

from cloudlet.services.ecs.api import ClientException, InvalidParameterException
from tests.services.ecs.plane import Plane, virtual_time


@virtual_time
async def test_nothing_starts_on_container_instances(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        answer = plane.ask("StartTask", taskDefinition="web", containerInstances=["a"])
        assert answer == {"tasks": [], "failures": [{
            "arn": "arn:aws:ecs:us-east-1:123456789012:container-instance/default/a", "reason": "MISSING"}]}
        for wrong in ([], ["a"] * 11):
            with pytest.raises(InvalidParameterException):
                plane.ask("StartTask", taskDefinition="web", containerInstances=wrong)
        with pytest.raises(ClientException, match="TaskDefinition not found"):
            plane.ask("StartTask", taskDefinition="nothing", containerInstances=["a"])
        with pytest.raises(InvalidParameterException, match="No Container Instances were found in your cluster"):
            plane.run(launchType="EC2")
        assert plane.tasks() == []
