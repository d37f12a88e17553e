"""Deployments: the versions of a service, the newest first, and the rules of how one replaces another."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.ecs import history
from cloudlet.services.ecs.api import InvalidParameterException, unsupported
from cloudlet.services.ecs.fargate import PLATFORM_FAMILY, PLATFORM_VERSION, strategy_list
from cloudlet.services.ecs.history import Revision, ServiceDeployment, Share
from cloudlet.services.ecs.launch import network_view
from cloudlet.services.ecs.records import Breaker, Definition, Deployment, Network, Service, Task
from cloudlet.store.db import Tx

PERCENT_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Configuration:
    """How deployments of a service replace one another."""

    minimum_percent: int
    maximum_percent: int
    breaker: Breaker


DEFAULT = Configuration(100, 200, Breaker())


def configuration(given: Input, before: Configuration) -> Configuration:
    """A deploymentConfiguration; what it does not say stays. Raises InvalidParameterException for what cannot be
    kept."""
    if (given.get("alarms") or {}).get("enable"):
        raise unsupported("The deployment configuration's alarms")
    if given.get("strategy", "ROLLING") != "ROLLING":
        raise unsupported(f"The deployment strategy {given['strategy']}, which shifts traffic of a load balancer,")
    for name in ("lifecycleHooks", "linearConfiguration", "canaryConfiguration", "bakeTimeInMinutes",
                 "earlySuccessCriteria"):
        if given.get(name):
            raise unsupported(f"The deployment configuration's {name}")
    least = before.minimum_percent if given.get("minimumHealthyPercent") is None else given["minimumHealthyPercent"]
    most = before.maximum_percent if given.get("maximumPercent") is None else given["maximumPercent"]
    if not 0 <= least <= 100 or not 100 <= most <= PERCENT_MAX:
        raise InvalidParameterException("minimumHealthyPercent must be between 0 and 100, and maximumPercent at least"
                                        " 100.")
    if least == most == 100:
        raise InvalidParameterException("Both maximumPercent and minimumHealthyPercent cannot be 100 as this will"
                                        " block deployments.")
    return Configuration(least, most, _breaker(given.get("deploymentCircuitBreaker") or {}, before.breaker))


def _breaker(given: Mapping[str, Any], before: Breaker) -> Breaker:
    if not given:
        return before
    limit = given.get("thresholdConfiguration") or {"type": before.threshold, "value": before.value}
    if limit["value"] < 1:
        raise InvalidParameterException("The value of the deployment circuit breaker's thresholdConfiguration must be"
                                        " at least 1.")
    reset = before.reset if given.get("resetOnHealthyTask") is None else given["resetOnHealthyTask"]
    return Breaker(given["enable"], given["rollback"], reset, limit["type"], limit["value"])


def configured(service: Service | ServiceDeployment) -> Configuration:
    """The configuration of a service, or that which a service deployment began with."""
    return Configuration(service.minimum_percent, service.maximum_percent, service.breaker)


def configuration_view(kept: Configuration) -> dict[str, Any]:
    """A deploymentConfiguration as the API speaks it."""
    breaker = kept.breaker
    return {
        "deploymentCircuitBreaker": {
            "enable": breaker.enable, "rollback": breaker.rollback, "resetOnHealthyTask": breaker.reset,
            "thresholdConfiguration": {"type": breaker.threshold, "value": breaker.value}},
        "strategy": "ROLLING", "bakeTimeInMinutes": 0, "maximumPercent": kept.maximum_percent,
        "minimumHealthyPercent": kept.minimum_percent}


def begin(call: Call, tx: Tx, service: Service, definition: Definition, network: Network,
          zones: tuple[str, ...]) -> Service:
    """The service with a new primary deployment, of a new revision, which a new service deployment is about.

    The service deployment that was under way is asked to stop.
    """
    revision, deployment_id = f"{int(tx.token(16), 16) % 10**19:019d}", f"ecs-svc/{int(tx.token(16), 16) % 10**19:019d}"
    images = tuple((container["name"], container["image"]) for container in definition.containers)
    tx.put(Revision(f"{service.key}/{revision}", definition.arn, network, call.now, service.launch_type,
                    service.strategy, service.platform_version, images))
    before = history.latest(tx, service)
    if before is not None and before.status not in history.OVER:
        tx.put(replace(before, status="STOP_REQUESTED", updated_at=call.now))
    sources = tuple(Share(one.revision, service.desired if position == 0 else 0, *_tasks(tx, one.id))
                    for position, one in enumerate(service.deployments) if one.revision)
    rollout = _short_id(tx)
    tx.put(ServiceDeployment(
        f"{service.key}/{rollout}", deployment_id, sources, Share(revision), service.breaker, service.minimum_percent,
        service.maximum_percent, call.now, call.now))
    new = Deployment(deployment_id, definition.key, definition.arn, network, call.now, call.now, zones=zones,
                     launch_type=service.launch_type, strategy=service.strategy,
                     platform_version=service.platform_version, revision=revision)
    service = replace(service, deployments=(new, *service.deployments), rollout=rollout, balancing=False, steady=False)
    history.prune(tx, service)
    return service


def _short_id(tx: Tx) -> str:
    """An id as service deployments have it: 21 letters, digits, "-" and "_"."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    number = int(tx.token(32), 16)
    return "".join(letters[number >> 6 * place & 63] for place in range(21))


def _tasks(tx: Tx, deployment: str) -> tuple[int, int]:
    """How many tasks of a deployment run, and how many are on their way."""
    running, pending = (tx.count(Task, state=f"{deployment} {word}") for word in ("running", "pending"))
    return running, pending


def share(tx: Tx, deployment: Deployment, requested: int) -> Share:
    """The tasks of a deployment now, as those of its revision."""
    return Share(deployment.revision, requested, *_tasks(tx, deployment.id))


def deployments_view(tx: Tx, service: Service) -> list[dict[str, Any]]:
    """The deployments as the API speaks them; their tasks are counted now."""
    answer = []
    for position, deployment in enumerate(service.deployments):
        running, pending = _tasks(tx, deployment.id)
        words = {"IN_PROGRESS": "in progress", "COMPLETED": "completed", "FAILED": "failed"}[deployment.state]
        view: dict[str, Any] = {
            "id": deployment.id, "status": "ACTIVE" if position else "PRIMARY",
            "taskDefinition": deployment.definition_arn, "desiredCount": 0 if position else service.desired,
            "pendingCount": pending, "runningCount": running, "failedTasks": deployment.failures,
            "createdAt": deployment.created_at, "updatedAt": deployment.updated_at,
            "platformVersion": PLATFORM_VERSION, "platformFamily": PLATFORM_FAMILY,
            "networkConfiguration": network_view(deployment.network), "rolloutState": deployment.state,
            "rolloutStateReason": deployment.reason or f"ECS deployment {deployment.id} {words}."}
        own = deployment if deployment.launch_type or deployment.strategy else service
        answer.append(view | capacity_view(own))
    return answer


def capacity_view(own: Service | Deployment | Revision) -> dict[str, Any]:
    """The launch type or the capacity provider strategy as the API speaks it."""
    if own.strategy:
        return {"capacityProviderStrategy": strategy_list(own.strategy)}
    return {"launchType": own.launch_type}
