"""Services: the operations that say how many tasks of which definition should run."""

from dataclasses import replace
from typing import Any, Literal

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, any_resource
from cloudlet.services.ecs import arns, definitions
from cloudlet.services.ecs.api import (
    InvalidParameterException,
    ServiceNotActiveException,
    ServiceNotFoundException,
    ecs,
    unsupported,
)
from cloudlet.services.ecs.deployments import (
    DEFAULT,
    Configuration,
    begin,
    capacity_view,
    configuration,
    configuration_view,
    configured,
    deployments_view,
)
from cloudlet.services.ecs.fargate import PLATFORM_FAMILY, check_platform, launch_on
from cloudlet.services.ecs.launch import check_network, network_of, network_view
from cloudlet.services.ecs.records import Definition, Service, Task
from cloudlet.services.ecs.service_deployments import current_revisions, deployment_arn
from cloudlet.services.ecs.settings import check_tagging
from cloudlet.services.ecs.tags import tag_list, tags_of
from cloudlet.store.db import Tx

DESCRIBED_MAX = 10
DESIRED_MAX = 5000  # tasks a service: the quota of ECS

_NOT_YET = ("loadBalancers", "serviceRegistries", "volumeConfigurations", "vpcLatticeConfigurations",
            "enableExecuteCommand", "gatewayConnectors", "monitoring", "role")


def _arn(call: Call, request: Input) -> list[str]:
    return [arns.service_arn(call, request.get("cluster"), request.get("service") or request.get("serviceName") or "")]


@ecs.write(resources=_arn)
def create_service(call: Call, tx: Tx, request: Input) -> Any:
    """Makes a service and its first deployment; the scheduler starts the tasks."""
    cluster = arns.active_cluster(call, tx, request.get("cluster"))
    name = request["serviceName"]
    if not arns.NAME.fullmatch(name):
        raise InvalidParameterException("Service name must consist of up to 255 letters, numbers, hyphens and"
                                        " underscores.")
    _refuse_unsupported(request)
    check_tagging(call, tx, request, call.arn("ecs", f"service/{cluster.name}/{name}"), "CreateService")
    if not request.get("taskDefinition"):
        raise InvalidParameterException("TaskDefinition can not be blank.")
    if request.get("desiredCount") is None:
        raise InvalidParameterException("DesiredCount is missing")
    definition = definitions.runnable(call, tx, request["taskDefinition"])
    launch_type, strategy = launch_on(request, cluster.strategy)
    network = network_of(request)
    zones = check_network(call, tx, network)
    key = f"{cluster.key}/{name}"
    before = tx.get(Service, key)
    if before is not None and before.status == "DRAINING":
        raise InvalidParameterException("Unable to Start a service that is still Draining.")
    if before is not None and before.status == "ACTIVE":
        raise InvalidParameterException("Creation of service was not idempotent.")
    kept = configuration(request.get("deploymentConfiguration") or {}, DEFAULT)
    service = Service(
        key, call.account, call.region, cluster.name, name, _count(request["desiredCount"]), (), call.now,
        call.principal.arn, launch_type=launch_type, strategy=strategy, minimum_percent=kept.minimum_percent,
        maximum_percent=kept.maximum_percent, breaker=kept.breaker,
        platform_version=check_platform(request.get("platformVersion")),
        propagate_tags=request.get("propagateTags") or "NONE", managed_tags=bool(request.get("enableECSManagedTags")),
        rebalancing=_rebalancing(request, kept, "ENABLED" if kept.maximum_percent > 100 else "DISABLED"),
        tags=tags_of(request))
    service = begin(call, tx, service, definition, network, zones)
    tx.put(service)
    return {"service": view(tx, service)}


def _rebalancing(request: Input, kept: Configuration, default: Literal["ENABLED", "DISABLED"],
                 ) -> Literal["ENABLED", "DISABLED"]:
    """Whether zones are balanced; new services are, where their percentages allow it."""
    wanted: Literal["ENABLED", "DISABLED"] = request.get("availabilityZoneRebalancing") or default
    if wanted == "ENABLED" and kept.maximum_percent <= 100:
        raise InvalidParameterException("Availability Zone rebalancing requires a maximumPercent greater than 100.")
    return wanted


@ecs.write(resources=_arn)
def update_service(call: Call, tx: Tx, request: Input) -> Any:
    """Changes a service. What concerns its tasks begins a new deployment, which replaces them."""
    service = _active(call, tx, request)
    _refuse_unsupported(request)
    kept = configuration(request.get("deploymentConfiguration") or {}, configured(service))
    changed = replace(
        service, minimum_percent=kept.minimum_percent, maximum_percent=kept.maximum_percent, breaker=kept.breaker,
        rebalancing=_rebalancing(request, kept, service.rebalancing),
        propagate_tags=request.get("propagateTags") or service.propagate_tags,
        platform_version=check_platform(request.get("platformVersion") or service.platform_version))
    if request.get("desiredCount") is not None:
        changed = replace(changed, desired=_count(request["desiredCount"]))
    if request.get("enableECSManagedTags") is not None:
        changed = replace(changed, managed_tags=request["enableECSManagedTags"])
    if request.get("capacityProviderStrategy") is not None:
        changed = _elsewhere(call, tx, request, changed)
    if changed.desired != service.desired:
        changed = replace(changed, balancing=False)
    changed = _redeployed(call, tx, request, service, changed)
    tx.put(replace(changed, steady=False))
    return {"service": view(tx, changed)}


def _elsewhere(call: Call, tx: Tx, request: Input, service: Service) -> Service:
    """The service on other capacity; none named means back to the launch type."""
    items = request["capacityProviderStrategy"]
    launch_type, strategy = launch_on({"capacityProviderStrategy": items}, ()) if items else ("FARGATE", ())
    changed = replace(service, launch_type=launch_type, strategy=strategy)
    if changed != service and not request.get("forceNewDeployment"):
        raise InvalidParameterException(
            "When switching from launch type to capacity provider strategy on an existing service, or making a change"
            " to a capacity provider strategy on a service that is already using one, you must force a new deployment.")
    return changed


def _redeployed(call: Call, tx: Tx, request: Input, before: Service, after: Service) -> Service:
    """The service with a new primary deployment, if the request asks for one or changes what tasks are made of."""
    primary = after.deployments[0]
    network, zones, definition_key = primary.network, primary.zones, primary.definition
    if request.get("networkConfiguration"):
        network = network_of(request)
        zones = check_network(call, tx, network)
    if request.get("taskDefinition"):
        definition_key = definitions.runnable(call, tx, request["taskDefinition"]).key
    same = (network == primary.network and definition_key == primary.definition
            and after.platform_version == before.platform_version)
    if same and not request.get("forceNewDeployment"):
        return after
    definition = tx.get(Definition, definition_key)
    if definition is None:
        raise InvalidParameterException("TaskDefinition not found.")
    return begin(call, tx, after, definition, network, zones)


@ecs.write(resources=_arn)
def delete_service(call: Call, tx: Tx, request: Input) -> Any:
    """Drains a service: its tasks stop, then it is INACTIVE, and an hour later forgotten."""
    cluster = arns.active_cluster(call, tx, request.get("cluster"))
    service = arns.known_service(call, tx, cluster.name, request["service"])
    if service.status == "INACTIVE":
        raise ServiceNotFoundException()
    if service.desired > 0 and not request.get("force"):
        raise InvalidParameterException("The service cannot be stopped while it is scaled above 0.")
    changed = replace(service, status="DRAINING", desired=0)
    tx.put(changed)
    return {"service": view(tx, changed)}


@ecs.read(resources=lambda call, request: [arns.service_arn(call, request.get("cluster"), text)
                                           for text in request["services"]])
def describe_services(call: Call, tx: Tx, request: Input) -> Any:
    """Services by name or ARN, drained ones too."""
    cluster = arns.active_cluster(call, tx, request.get("cluster"))
    asked = request["services"]
    if not asked:
        raise InvalidParameterException("Services cannot be empty.")
    if len(asked) > DESCRIBED_MAX:
        raise InvalidParameterException(f"Services cannot have more than {DESCRIBED_MAX} elements.")
    found, failures = [], []
    for text in asked:
        service = arns.find_service(call, tx, cluster.name, text)
        if service is None:
            failures.append({"arn": arns.service_arn(call, cluster.name, text), "reason": "MISSING"})
        else:
            found.append(view(tx, service, "TAGS" in (request.get("include") or ())))
    return {"services": found, "failures": failures}


@ecs.read(resources=any_resource)
def list_services(call: Call, tx: Tx, request: Input) -> Any:
    """ARNs of a cluster's services, narrowed by launch type or scheduling strategy."""
    cluster = arns.active_cluster(call, tx, request.get("cluster"))
    launch_type = request.get("launchType")
    if request.get("schedulingStrategy") == "DAEMON" or request.get("resourceManagementType") == "ECS":
        return {"serviceArns": []}
    return {"serviceArns": [service.arn for service in tx.find(Service, f"{cluster.key}/")
                            if service.status != "INACTIVE"
                            and (not launch_type or service.launch_type == launch_type)]}


def _active(call: Call, tx: Tx, request: Input) -> Service:
    cluster = arns.active_cluster(call, tx, request.get("cluster"))
    service = arns.known_service(call, tx, cluster.name, request["service"])
    if service.status != "ACTIVE":
        raise ServiceNotActiveException()
    return service


def _count(desired: int) -> int:
    if not 0 <= desired <= DESIRED_MAX:
        raise InvalidParameterException(f"DesiredCount must be between 0 and {DESIRED_MAX}.")
    return desired


def _refuse_unsupported(request: Input) -> None:
    """Names what AWS would do and we do not do yet, and what AWS itself refuses on Fargate."""
    if request.get("schedulingStrategy") == "DAEMON":
        raise InvalidParameterException("The daemon scheduling strategy does not support the FARGATE launch type."
                                        " Change the launch type and try again")
    controller = (request.get("deploymentController") or {}).get("type", "ECS")
    if controller != "ECS":
        raise unsupported(f"The deployment controller {controller}")
    if request.get("placementConstraints"):
        raise InvalidParameterException("Placement constraints are not supported with FARGATE launch type.")
    if request.get("placementStrategy"):
        raise InvalidParameterException("Placement strategies are not supported with FARGATE launch type.")
    if request.get("healthCheckGracePeriodSeconds"):
        raise InvalidParameterException("Health check grace period is only valid for services configured to use load"
                                        " balancers")
    if (request.get("serviceConnectConfiguration") or {}).get("enabled"):
        raise unsupported("serviceConnectConfiguration")
    for name in _NOT_YET:
        if request.get(name):
            raise unsupported(name)


def view(tx: Tx, service: Service, tags: bool = True) -> dict[str, Any]:
    """A service as the API speaks it; its tasks are counted now."""
    primary = service.deployments[0]
    answer: dict[str, Any] = {
        "serviceArn": service.arn, "serviceName": service.name, "clusterArn": service.cluster_arn,
        "status": service.status, "desiredCount": service.desired, **counts(tx, service.key),
        "taskDefinition": primary.definition_arn, "deployments": deployments_view(tx, service),
        "networkConfiguration": network_view(primary.network), "platformVersion": service.platform_version,
        "platformFamily": PLATFORM_FAMILY, "schedulingStrategy": "REPLICA", "deploymentController": {"type": "ECS"},
        "deploymentConfiguration": configuration_view(configured(service)), "createdAt": service.created_at,
        "createdBy": service.created_by, "propagateTags": service.propagate_tags,
        "enableECSManagedTags": service.managed_tags, "enableExecuteCommand": False,
        "availabilityZoneRebalancing": service.rebalancing, "loadBalancers": [], "serviceRegistries": [],
        "placementConstraints": [], "placementStrategy": [], "tags": tag_list(service.tags) if tags else [],
        "events": [{"id": event.id, "createdAt": event.at, "message": event.message} for event in service.events]}
    if service.rollout:
        answer["currentServiceDeployment"] = deployment_arn(service.arn, service.rollout)
        answer["currentServiceRevisions"] = current_revisions(tx, service)
    return answer | capacity_view(service)


def counts(tx: Tx, key: str) -> dict[str, int]:
    """How many tasks of a service (by key) or deployment (by id) run, and how many are on their way."""
    return {f"{word}Count": tx.count(Task, state=f"{key} {word}") for word in ("running", "pending")}
