"""Clusters, and the two capacity providers of Fargate."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.paging import InvalidToken, cut
from cloudlet.kernel.service import Input, any_resource
from cloudlet.services.ecs.api import (
    ClusterContainsServicesException,
    ClusterContainsTasksException,
    ClusterNotFoundException,
    InvalidParameterException,
    ecs,
    unsupported,
)
from cloudlet.services.ecs.arns import DEFAULT_CLUSTER, NAME, active_cluster, cluster_arn, cluster_name
from cloudlet.services.ecs.fargate import PROVIDERS, strategy_list, strategy_of
from cloudlet.services.ecs.records import Cluster, Service, Tags, Task
from cloudlet.services.ecs.settings import check_tagging, effective
from cloudlet.services.ecs.tags import tag_list, tags_of
from cloudlet.store.db import Tx

DESCRIBED_MAX = 100
PROVIDERS_MAX = 10  # a page of DescribeCapacityProviders
_ALL = ("SETTINGS", "CONFIGURATIONS", "TAGS")
_INSIGHTS = ("enabled", "disabled", "enhanced")


@ecs.write(resources=lambda call, request: [cluster_arn(call, request.get("clusterName"))])
def create_cluster(call: Call, tx: Tx, request: Input) -> Any:
    """Makes a cluster ("default" where no name is given); one that is there already is answered as it is."""
    name = request.get("clusterName") or DEFAULT_CLUSTER
    if not NAME.fullmatch(name):
        raise InvalidParameterException("Cluster name must consist of up to 255 letters, numbers, hyphens and"
                                        " underscores.")
    _refuse_unsupported(request)
    check_tagging(call, tx, request, call.arn("ecs", f"cluster/{name}"), "CreateCluster")
    existing = tx.get(Cluster, f"{call.scope}/{name}")
    if existing is not None and existing.status == "ACTIVE":
        return {"cluster": view(tx, existing, _ALL)}
    providers = _providers(request.get("capacityProviders") or [])
    cluster = Cluster(
        f"{call.scope}/{name}", call.account, call.region, name,
        settings=_settings(request.get("settings") or [],
                           (("containerInsights", effective(call, tx, "containerInsights")),)),
        providers=providers, configuration=request.get("configuration") or {},
        strategy=_strategy(request.get("defaultCapacityProviderStrategy") or [], providers), tags=tags_of(request))
    tx.put(cluster)
    return {"cluster": view(tx, cluster, _ALL)}


@ecs.read(resources=lambda call, request: [cluster_arn(call, name) for name in request.get("clusters") or [None]])
def describe_clusters(call: Call, tx: Tx, request: Input) -> Any:
    """Clusters by name or ARN, deleted ones too; "default" where none is named."""
    asked = request.get("clusters") or [DEFAULT_CLUSTER]
    if len(asked) > DESCRIBED_MAX:
        raise InvalidParameterException(f"Clusters cannot have more than {DESCRIBED_MAX} elements.")
    found, failures = [], []
    for text in asked:
        name = cluster_name(call, text)
        cluster = tx.get(Cluster, f"{call.scope}/{name}") if name else None
        if cluster is None:
            failures.append({"arn": cluster_arn(call, text), "reason": "MISSING"})
        else:
            found.append(view(tx, cluster, request.get("include") or ()))
    return {"clusters": found, "failures": failures}


@ecs.read(resources=any_resource)
def list_clusters(call: Call, tx: Tx, request: Input) -> Any:
    """The ARNs of all active clusters."""
    return {"clusterArns": [c.arn for c in tx.find(Cluster, f"{call.scope}/") if c.status == "ACTIVE"]}


@ecs.write(resources=lambda call, request: [cluster_arn(call, request["cluster"])])
def update_cluster(call: Call, tx: Tx, request: Input) -> Any:
    """Changes a cluster's settings."""
    _refuse_unsupported(request)
    return _update(call, tx, request)


@ecs.write(resources=lambda call, request: [cluster_arn(call, request["cluster"])])
def update_cluster_settings(call: Call, tx: Tx, request: Input) -> Any:
    """Changes a cluster's settings."""
    return _update(call, tx, request)


def _update(call: Call, tx: Tx, request: Input) -> Any:
    cluster = active_cluster(call, tx, request["cluster"])
    changed = replace(cluster, settings=_settings(request.get("settings") or [], cluster.settings),
                      configuration=request.get("configuration") or cluster.configuration)
    tx.put(changed)
    return {"cluster": view(tx, changed, _ALL)}


@ecs.write(resources=lambda call, request: [cluster_arn(call, request["cluster"])])
def put_cluster_capacity_providers(call: Call, tx: Tx, request: Input) -> Any:
    """Replaces a cluster's capacity providers and its default strategy."""
    cluster = active_cluster(call, tx, request["cluster"])
    providers = _providers(request["capacityProviders"])
    changed = replace(cluster, providers=providers,
                      strategy=_strategy(request["defaultCapacityProviderStrategy"], providers))
    tx.put(changed)
    return {"cluster": view(tx, changed, _ALL)}


@ecs.read(resources=any_resource)
def describe_capacity_providers(call: Call, tx: Tx, request: Input) -> Any:
    """The two that AWS has made: FARGATE and FARGATE_SPOT (which is never interrupted here); of a cluster, its own."""
    names: Iterable[str] = PROVIDERS
    if request.get("cluster"):
        names = active_cluster(call, tx, request["cluster"]).providers
    asked = [text.rsplit("/", 1)[-1] for text in request.get("capacityProviders") or names]
    limit = PROVIDERS_MAX if request.get("maxResults") is None else request["maxResults"]
    if not 1 <= limit <= PROVIDERS_MAX:
        raise InvalidParameterException(f"maxResults must be between 1 and {PROVIDERS_MAX}.")
    try:
        page, following = cut([name for name in asked if name in names], token=request.get("nextToken"), limit=limit,
                              identity=str, scope=f"{call.scope}/{asked}")
    except InvalidToken:
        raise InvalidParameterException("Invalid token in request") from None
    answer: dict[str, Any] = {
        "capacityProviders": [{
            "capacityProviderArn": call.arn("ecs", f"capacity-provider/{name}"), "name": name, "status": "ACTIVE",
            "type": name, "tags": []} for name in page],
        "failures": [{"arn": call.arn("ecs", f"capacity-provider/{name}"), "reason": "MISSING"}
                     for name in asked if name not in names]}
    return answer | ({"nextToken": following} if following else {})


@ecs.write(resources=lambda call, request: [cluster_arn(call, request["cluster"])])
def delete_cluster(call: Call, tx: Tx, request: Input) -> Any:
    """Ends an empty cluster; it stays visible as INACTIVE."""
    name = cluster_name(call, request["cluster"])
    cluster = tx.get(Cluster, f"{call.scope}/{name}") if name else None
    if cluster is None:
        raise ClusterNotFoundException()
    if any(tx.count(Service, cluster=f"{cluster.key} {status}") for status in ("ACTIVE", "DRAINING")):
        raise ClusterContainsServicesException()
    if any(tx.count(Task, state=f"{cluster.key} {word}") for word in ("running", "pending", "stopping")):
        raise ClusterContainsTasksException()
    changed = replace(cluster, status="INACTIVE", providers=(), strategy=())
    tx.put(changed)
    return {"cluster": view(tx, changed, _ALL)}


def _refuse_unsupported(request: Input) -> None:
    """What is said about ECS Exec is kept, for the day when there is such a thing; keys to encrypt with are refused."""
    given = request.get("configuration") or {}
    if request.get("serviceConnectDefaults"):
        raise unsupported("The cluster's serviceConnectDefaults")
    if any((given.get("managedStorageConfiguration") or {}).values()):
        raise unsupported("The cluster's managedStorageConfiguration")
    exec_ = given.get("executeCommandConfiguration") or {}
    if exec_.get("kmsKeyId"):
        raise unsupported("The kmsKeyId of the cluster's executeCommandConfiguration")
    if exec_.get("logging") == "OVERRIDE" and not exec_.get("logConfiguration"):
        raise InvalidParameterException("The logConfiguration must be specified when the logging is OVERRIDE.")
    if exec_.get("logConfiguration") and exec_.get("logging") != "OVERRIDE":
        raise InvalidParameterException("The logging must be OVERRIDE when a logConfiguration is specified.")


def _settings(given: Iterable[Mapping[str, str]], before: Tags) -> Tags:
    settings = dict(before)
    for setting in given:
        if setting.get("name") != "containerInsights" or setting.get("value") not in _INSIGHTS:
            raise InvalidParameterException("A cluster setting is containerInsights with the value enabled, disabled or"
                                            " enhanced.")
        settings["containerInsights"] = setting["value"]
    return tuple(settings.items())


def _providers(names: list[str]) -> tuple[str, ...]:
    for name in names:
        if name not in PROVIDERS:
            raise InvalidParameterException("The specified capacity provider was not found. Specify a valid name or ARN"
                                            " and try again.")
    return tuple(dict.fromkeys(names))


def _strategy(items: list[dict[str, Any]], providers: tuple[str, ...]) -> Any:
    strategy = strategy_of(items)
    for name, _, _ in strategy:
        if name not in providers:
            raise InvalidParameterException(
                "The specified capacity provider strategy cannot contain a capacity provider that is not associated"
                f" with the cluster: {name}. Associate the capacity provider with the cluster and try again.")
    return strategy


def view(tx: Tx, cluster: Cluster, include: Iterable[str]) -> dict[str, Any]:
    """A cluster as the API speaks it; the counts are taken now."""
    running, pending = (tx.count(Task, state=f"{cluster.key} {word}") for word in ("running", "pending"))
    active = tx.count(Service, cluster=f"{cluster.key} ACTIVE")
    answer: dict[str, Any] = {
        "clusterArn": cluster.arn, "clusterName": cluster.name, "status": cluster.status,
        "registeredContainerInstancesCount": 0, "runningTasksCount": running, "pendingTasksCount": pending,
        "activeServicesCount": active, "statistics": [], "tags": [], "settings": [],
        "capacityProviders": list(cluster.providers),
        "defaultCapacityProviderStrategy": strategy_list(cluster.strategy)}
    for part in include:
        if part == "SETTINGS":
            answer["settings"] = [{"name": name, "value": value} for name, value in cluster.settings]
        elif part == "TAGS":
            answer["tags"] = tag_list(cluster.tags)
        elif part == "CONFIGURATIONS" and cluster.configuration:
            answer["configuration"] = cluster.configuration
        elif part == "STATISTICS":
            draining = tx.count(Service, cluster=f"{cluster.key} DRAINING")
            answer["statistics"] = _statistics(running, pending, active, draining)
    return answer


def _statistics(running: int, pending: int, active: int, draining: int) -> list[dict[str, str]]:
    counts = (("running{}TasksCount", running), ("pending{}TasksCount", pending),
              ("active{}ServiceCount", active), ("draining{}ServiceCount", draining))
    return [{"name": name.format(kind), "value": str(count if kind == "Fargate" else 0)}
            for name, count in counts for kind in ("EC2", "Fargate", "External")]
