"""Deployments: the versions of a service, the newest first, and the rules of how one replaces another."""

from typing import Any

from cloudlet.kernel.service import Input
from cloudlet.services.ecs.api import InvalidParameterException, unsupported
from cloudlet.services.ecs.fargate import PLATFORM_FAMILY, PLATFORM_VERSION, strategy_list
from cloudlet.services.ecs.launch import network_view
from cloudlet.services.ecs.records import Definition, Deployment, Network, Service, Task
from cloudlet.store.db import Tx

PERCENT_MAX = 20_000


def in_progress(tx: Tx, definition: Definition, network: Network) -> Deployment:
    """A deployment that begins now."""
    number = int(tx.token(16), 16) % 10**19
    return Deployment(f"ecs-svc/{number:019d}", definition.key, definition.arn, network, tx.now, tx.now)


def percentages(given: Input, before: tuple[int, int]) -> tuple[int, int]:
    """minimumHealthyPercent and maximumPercent. Raises InvalidParameterException for what cannot be kept."""
    for name in ("alarms", "deploymentCircuitBreaker"):
        if (given.get(name) or {}).get("enable"):
            raise unsupported(f"The deployment configuration's {name}")
    if given.get("strategy", "ROLLING") != "ROLLING":
        raise unsupported(f"The deployment strategy {given['strategy']}")
    for name in ("lifecycleHooks", "linearConfiguration", "canaryConfiguration", "bakeTimeInMinutes",
                 "earlySuccessCriteria"):
        if given.get(name):
            raise unsupported(f"The deployment configuration's {name}")
    least = before[0] if given.get("minimumHealthyPercent") is None else given["minimumHealthyPercent"]
    most = before[1] if given.get("maximumPercent") is None else given["maximumPercent"]
    if not 0 <= least <= 100 or not 100 <= most <= PERCENT_MAX:
        raise InvalidParameterException("minimumHealthyPercent must be between 0 and 100, and maximumPercent at least"
                                        " 100.")
    if least == most == 100:
        raise InvalidParameterException("minimumHealthyPercent and maximumPercent cannot both be 100.")
    return least, most


def deployments_view(tx: Tx, service: Service) -> list[dict[str, Any]]:
    """The deployments as the API speaks them; their tasks are counted now."""
    answer = []
    for position, deployment in enumerate(service.deployments):
        running, pending = (tx.count(Task, state=f"{deployment.id} {word}") for word in ("running", "pending"))
        words = {"IN_PROGRESS": "in progress", "COMPLETED": "completed", "FAILED": "failed"}[deployment.state]
        view: dict[str, Any] = {
            "id": deployment.id, "status": "ACTIVE" if position else "PRIMARY",
            "taskDefinition": deployment.definition_arn, "desiredCount": 0 if position else service.desired,
            "pendingCount": pending, "runningCount": running, "failedTasks": deployment.failures,
            "createdAt": deployment.created_at, "updatedAt": deployment.updated_at,
            "platformVersion": PLATFORM_VERSION, "platformFamily": PLATFORM_FAMILY,
            "networkConfiguration": network_view(deployment.network), "rolloutState": deployment.state,
            "rolloutStateReason": f"ECS deployment {deployment.id} {words}."}
        if service.strategy:
            view["capacityProviderStrategy"] = strategy_list(service.strategy)
        else:
            view["launchType"] = service.launch_type
        answer.append(view)
    return answer
