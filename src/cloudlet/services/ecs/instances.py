"""What there is none of on Fargate, told honestly: container instances, and services of a Cloud Map namespace."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, any_resource
from cloudlet.services.ecs.api import InvalidParameterException, NamespaceNotFoundException, ecs
from cloudlet.services.ecs.arns import active_cluster, cluster_arn, definition_arn
from cloudlet.services.ecs.definitions import runnable
from cloudlet.store.db import Tx

DESCRIBED_MAX, STARTED_MAX = 100, 10


def _arn(call: Call, cluster: str | None, text: str) -> str:
    if text.startswith("arn:"):
        return text
    return call.arn("ecs", f"container-instance/{cluster_arn(call, cluster).rsplit('/', 1)[-1]}/{text}")


@ecs.read(resources=lambda call, request: [cluster_arn(call, request.get("cluster"))])
def list_container_instances(call: Call, tx: Tx, request: Input) -> Any:
    """None: tasks run on Fargate."""
    active_cluster(call, tx, request.get("cluster"))
    return {"containerInstanceArns": []}


@ecs.read(resources=lambda call, request: [_arn(call, request.get("cluster"), text)
                                           for text in request["containerInstances"]])
def describe_container_instances(call: Call, tx: Tx, request: Input) -> Any:
    """Each one that is asked for is missing."""
    cluster = active_cluster(call, tx, request.get("cluster"))
    asked = request["containerInstances"]
    if not 1 <= len(asked) <= DESCRIBED_MAX:
        raise InvalidParameterException("Container instances cannot be empty." if not asked else
                                        f"Container instances cannot have more than {DESCRIBED_MAX} elements.")
    return {"containerInstances": [],
            "failures": [{"arn": _arn(call, cluster.name, text), "reason": "MISSING"} for text in asked]}


@ecs.write(resources=lambda call, request: [definition_arn(call, request["taskDefinition"])])
def start_task(call: Call, tx: Tx, request: Input) -> Any:
    """Would place a task on each of the container instances named: each is missing, and nothing starts."""
    cluster = active_cluster(call, tx, request.get("cluster"))
    runnable(call, tx, request["taskDefinition"], request.get("overrides"))
    asked = request["containerInstances"]
    if not 1 <= len(asked) <= STARTED_MAX:
        raise InvalidParameterException("Container instances cannot be empty." if not asked else
                                        f"Container instances cannot have more than {STARTED_MAX} elements.")
    return {"tasks": [],
            "failures": [{"arn": _arn(call, cluster.name, text), "reason": "MISSING"} for text in asked]}


@ecs.read(resources=any_resource)
def list_services_by_namespace(call: Call, tx: Tx, request: Input) -> Any:
    """There are no namespaces yet."""
    raise NamespaceNotFoundException()
