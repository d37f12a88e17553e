"""Tasks: RunTask and StopTask write what is wanted, the rest reads what was seen."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, any_resource
from cloudlet.services.ecs import arns, definitions
from cloudlet.services.ecs.api import InvalidParameterException, ecs, unsupported
from cloudlet.services.ecs.fargate import PLATFORM_FAMILY, PLATFORM_VERSION, check_platform, choose_provider, launch_on
from cloudlet.services.ecs.launch import Order, check_network, check_overrides, launch, network_of
from cloudlet.services.ecs.records import Cluster, Definition, Tags, Task, TaskContainer
from cloudlet.services.ecs.settings import check_tagging
from cloudlet.services.ecs.tags import merged, tag_list, tags_of
from cloudlet.services.ecs.task_plan import stopped
from cloudlet.store.db import Tx

RUN_MAX = 10
DESCRIBED_MAX = 100
# EC2's refusals that concern capacity, which RunTask answers as failures rather than errors.
_FULL = "InsufficientFreeAddressesInSubnet"


@ecs.write(resources=lambda call, request: [arns.definition_arn(call, request["taskDefinition"])])
def run_task(call: Call, tx: Tx, request: Input) -> Any:
    """Starts up to ten tasks from a definition, each with a network interface of its own."""
    count = 1 if request.get("count") is None else request["count"]
    if not 1 <= count <= RUN_MAX:
        raise InvalidParameterException(f"Count must be between 1 and {RUN_MAX}.")
    _refuse_unsupported(request)
    cluster = arns.active_cluster(call, tx, request.get("cluster"))
    definition = definitions.runnable(call, tx, request["taskDefinition"], request.get("overrides"))
    launch_type, strategy = launch_on(request, cluster.strategy)
    check_tagging(call, tx, request, call.arn("ecs", f"task/{cluster.name}/*"), "RunTask")
    check_platform(request.get("platformVersion"))
    network, tags = network_of(request), task_tags(request, definition, cluster)
    check_network(call, tx, network)
    overrides = check_overrides(definition, request.get("overrides") or {})
    tasks: list[Task] = []
    providers: Counter[str] = Counter()
    for number in range(count):
        provider = choose_provider(strategy, providers) if strategy else ""
        providers[provider] += 1
        order = Order(cluster, definition, network, request.get("group") or f"family:{definition.family}",
                      request.get("startedBy") or "", launch_type, provider, overrides=overrides, tags=tags)
        try:
            tasks.append(launch(call, tx, order, network.subnets[number % len(network.subnets)]))
        except InvalidParameterException as error:
            if _FULL not in error.message or not tasks:
                raise
            return {"tasks": [view(task) for task in tasks],
                    "failures": [{"arn": cluster.arn, "reason": "RESOURCE:ENI"}] * (count - number)}
    return {"tasks": [view(task) for task in tasks], "failures": []}


def _refuse_unsupported(request: Input) -> None:
    if request.get("placementConstraints"):
        raise InvalidParameterException("Placement constraints are not supported with FARGATE launch type.")
    if request.get("placementStrategy"):
        raise InvalidParameterException("Placement strategies are not supported with FARGATE launch type.")
    for name in ("enableExecuteCommand", "volumeConfigurations"):
        if request.get(name):
            raise unsupported(name)
    if request.get("propagateTags") == "SERVICE":
        raise InvalidParameterException("The propagateTags value SERVICE is only valid for tasks of a service.")
    group = request.get("group") or ""
    if group.startswith(("service:", "family:")):
        raise InvalidParameterException("The group name cannot begin with 'service:' or 'family:'.")
    if len(request.get("startedBy") or "") > 128:
        raise InvalidParameterException("startedBy can have at most 128 characters.")


def task_tags(request: Input, definition: Definition, cluster: Cluster) -> Tags:
    """The tags of a task that is run: its own, its definition's if asked, and AWS's own if asked."""
    own = dict(tags_of(request))
    if request.get("propagateTags") == "TASK_DEFINITION":
        own = {**dict(definition.tags), **own}
    if request.get("enableECSManagedTags"):
        own["aws:ecs:clusterName"] = cluster.name
    return merged((), own)


@ecs.write(resources=lambda call, request: [arns.task_arn(call, request.get("cluster"), request["task"])])
def stop_task(call: Call, tx: Tx, request: Input) -> Any:
    """Asks a task to stop; one that stops already is answered as it is."""
    cluster = arns.active_cluster(call, tx, request.get("cluster"))
    task = arns.find_task(call, tx, cluster.name, request["task"])
    if task is None:
        raise InvalidParameterException("The referenced task was not found.")
    if task.desired == "RUNNING":
        task = stopped(task, "UserInitiated", request.get("reason") or "Task stopped by user", call.now)
        tx.put(replace(task, version=task.version + 1))
    return {"task": view(task)}


@ecs.read(resources=lambda call, request: [arns.task_arn(call, request.get("cluster"), t) for t in request["tasks"]])
def describe_tasks(call: Call, tx: Tx, request: Input) -> Any:
    """Tasks by id or ARN; stopped ones stay for an hour."""
    cluster = arns.active_cluster(call, tx, request.get("cluster"))
    asked, include = request["tasks"], request.get("include") or ()
    if not asked:
        raise InvalidParameterException("Tasks cannot be empty.")
    if len(asked) > DESCRIBED_MAX:
        raise InvalidParameterException(f"Tasks cannot have more than {DESCRIBED_MAX} elements.")
    found, failures = [], []
    for text in asked:
        task = arns.find_task(call, tx, cluster.name, text)
        if task is None:
            failures.append({"arn": arns.task_arn(call, cluster.name, text), "reason": "MISSING"})
        else:
            found.append(view(task, "TAGS" in include))
    return {"tasks": found, "failures": failures}


@ecs.read(resources=any_resource)
def list_tasks(call: Call, tx: Tx, request: Input) -> Any:
    """ARNs of a cluster's tasks that should run (or, if asked, should not), narrowed by what the request names."""
    cluster = arns.active_cluster(call, tx, request.get("cluster"))
    if request.get("containerInstance"):
        raise InvalidParameterException("Tasks on Fargate have no container instance.")
    if request.get("daemonName"):
        raise unsupported("daemonName")
    service = None
    if request.get("serviceName"):
        service = arns.known_service(call, tx, cluster.name, request["serviceName"]).key
    desired = request.get("desiredStatus") or "RUNNING"
    family, started_by = request.get("family"), request.get("startedBy")
    launch_type = request.get("launchType")
    return {"taskArns": [
        task.arn for task in tx.find(Task, f"{cluster.key}/")
        if task.desired == desired  # nothing is ever wanted PENDING, as the API reference says
        and (service is None or task.service == service)
        and (not family or task.revision.partition(":")[0] == family)
        and (not started_by or task.started_by == started_by)
        and (not launch_type or task.launch_type == launch_type)]}


_TIMES = (("pullStartedAt", "pull_started_at"), ("pullStoppedAt", "pull_stopped_at"), ("startedAt", "started_at"),
          ("connectivityAt", "connected_at"), ("stoppingAt", "stopping_at"),
          ("executionStoppedAt", "execution_stopped_at"), ("stoppedAt", "stopped_at"))


def view(task: Task, tags: bool = True) -> dict[str, Any]:
    """A task as the API speaks it."""
    answer: dict[str, Any] = {
        "taskArn": task.arn, "clusterArn": task.cluster_arn, "taskDefinitionArn": task.definition_arn,
        "group": task.group, "lastStatus": task.status, "desiredStatus": task.desired, "version": task.version,
        "createdAt": task.created_at, "cpu": str(task.cpu), "memory": str(task.memory),
        "launchType": task.launch_type, "platformVersion": PLATFORM_VERSION, "platformFamily": PLATFORM_FAMILY,
        "availabilityZone": task.attachment.zone, "enableExecuteCommand": False, "healthStatus": task.health,
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}], "inferenceAccelerators": [],
        "attachments": [_attachment(task)],
        "containers": [_container(task, container) for container in task.containers],
        "overrides": task.overrides or {"containerOverrides": [], "inferenceAcceleratorOverrides": []},
        "ephemeralStorage": {"sizeInGiB": task.storage_gib}, "fargateEphemeralStorage": {"sizeInGiB": task.storage_gib},
        "tags": tag_list(task.tags) if tags else []}
    optional = (("startedBy", task.started_by), ("capacityProviderName", task.provider),
                ("stopCode", task.stop_code), ("stoppedReason", task.stopped_reason),
                ("connectivity", "CONNECTED" if task.connected_at else ""))
    answer |= {name: value for name, value in optional if value}
    for name, attribute in _TIMES:
        at = getattr(task, attribute)
        if at is not None:
            answer[name] = at
    return answer


def _attachment(task: Task) -> dict[str, Any]:
    held = task.attachment
    status = "DELETED" if held.released else "ATTACHED" if held.ready else "PRECREATED"
    if task.status == "DEPROVISIONING" and not held.released:
        status = "DETACHING"
    details: Iterable[tuple[str, str]] = (
        ("subnetId", held.subnet), ("networkInterfaceId", held.interface), ("macAddress", held.mac),
        ("privateDnsName", held.dns_name), ("privateIPv4Address", held.address))
    return {"id": held.id, "type": "ElasticNetworkInterface", "status": status,
            "details": [{"name": name, "value": value} for name, value in details]}


def _container(task: Task, container: TaskContainer) -> dict[str, Any]:
    override = override_of(task, container.name)
    answer: dict[str, Any] = {
        "containerArn": f"arn:aws:ecs:{task.region}:{task.account}:container/{task.cluster}/{task.id}/{container.id}",
        "taskArn": task.arn, "name": container.name, "image": container.image, "lastStatus": container.status,
        "healthStatus": container.health, "networkBindings": [], "cpu": str(override.get("cpu", container.cpu)),
        "networkInterfaces": [{"attachmentId": task.attachment.id, "privateIpv4Address": task.attachment.address}]}
    limits = (("memory", container.memory), ("memoryReservation", container.memory_reservation))
    for name, value in limits:
        value = override.get(name, value)
        if value is not None:
            answer[name] = str(value)
    optional = (("runtimeId", container.runtime_id), ("imageDigest", container.digest), ("reason", container.reason))
    answer |= {name: value for name, value in optional if value}
    if container.exit_code is not None and container.status == "STOPPED":
        answer["exitCode"] = container.exit_code
    return answer


def override_of(task: Task, container: str) -> dict[str, Any]:
    """What RunTask overrides of one container."""
    for override in task.overrides.get("containerOverrides") or ():
        if override["name"] == container:
            found: dict[str, Any] = override
            return found
    return {}
