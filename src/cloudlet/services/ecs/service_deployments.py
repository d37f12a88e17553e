"""Service deployments and service revisions: the operations on the history of a service.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.kernel.paging import InvalidToken, cut
from cloudlet.kernel.service import Input
from cloudlet.services.ecs import arns, history
from cloudlet.services.ecs.api import (
    ConflictException,
    InvalidParameterException,
    ServiceDeploymentNotFoundException,
    ecs,
)
from cloudlet.services.ecs.deployments import capacity_view, configuration_view, configured, share
from cloudlet.services.ecs.fargate import PLATFORM_FAMILY, PLATFORM_VERSION
from cloudlet.services.ecs.history import Revision, ServiceDeployment, Share
from cloudlet.services.ecs.launch import network_view
from cloudlet.services.ecs.records import Service, Task
from cloudlet.services.ecs.rollout import threshold
from cloudlet.store.db import Tx

DESCRIBED_MAX = 20
PAGE, PAGE_MAX = 20, 100


def deployment_arn(service_arn: str, id: str) -> str:
    """The ARN of a service deployment."""
    return f"{service_arn.replace(':service/', ':service-deployment/', 1)}/{id}"


def revision_arn(service_arn: str, id: str) -> str:
    """The ARN of a service revision."""
    return f"{service_arn.replace(':service/', ':service-revision/', 1)}/{id}"


def _key(call: Call, text: str, kind: str) -> str | None:
    """The key that an ARN of ours stands for; None for one of another account or region. Raises
    InvalidParameterException for what is no such ARN."""
    arn = Arn.parse(text)
    if arn is None or arn.service != "ecs" or not arn.resource.startswith(f"{kind}/") or arn.resource.count("/") != 3:
        raise InvalidParameterException(f"Invalid identifier: {text}")
    if (arn.account, arn.region) != (call.account, call.region):
        return None
    return f"{call.scope}/{arn.resource.removeprefix(f'{kind}/')}"


def _service_of(tx: Tx, key: str) -> Service | None:
    return tx.get(Service, key.rpartition("/")[0])


@ecs.read(resources=lambda call, request: [arns.service_arn(call, request.get("cluster"), request["service"])])
def list_service_deployments(call: Call, tx: Tx, request: Input) -> Any:
    """A service's deployments in brief, the newest first, by status and time of creation."""
    limit = PAGE if request.get("maxResults") is None else request["maxResults"]
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidParameterException(f"maxResults must be between 1 and {PAGE_MAX}.")
    cluster = arns.active_cluster(call, tx, request.get("cluster"))
    service = arns.known_service(call, tx, cluster.name, request["service"])
    statuses, created = request.get("status") or (), request.get("createdAt") or {}
    found = [one for one in history.deployments_of(tx, service.key)
             if (not statuses or one.status in statuses)
             and created.get("after", 0.0) <= one.created_at and one.created_at <= created.get("before", call.now)]
    try:
        page, following = cut(found, token=request.get("nextToken"), limit=limit, identity=lambda one: one.key,
                              scope=f"{service.key}/{statuses}/{created}")
    except InvalidToken:
        raise InvalidParameterException("Invalid token in request") from None
    answer: dict[str, Any] = {"serviceDeployments": [_brief(service, one) for one in page]}
    return answer | ({"nextToken": following} if following else {})


def _brief(service: Service, one: ServiceDeployment) -> dict[str, Any]:
    answer = {"serviceDeploymentArn": deployment_arn(service.arn, one.id), "serviceArn": service.arn,
              "clusterArn": service.cluster_arn, "createdAt": one.created_at, "status": one.status,
              "targetServiceRevisionArn": revision_arn(service.arn, one.target.revision)}
    return answer | _present(startedAt=one.started_at, finishedAt=one.finished_at, statusReason=one.reason or None)


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _asked(texts: list[str]) -> list[str]:
    if not 1 <= len(texts) <= DESCRIBED_MAX:
        raise InvalidParameterException(f"You can specify between 1 and {DESCRIBED_MAX} ARNs.")
    return texts


@ecs.read(resources=lambda call, request: request["serviceDeploymentArns"])
def describe_service_deployments(call: Call, tx: Tx, request: Input) -> Any:
    """Service deployments by ARN; the tasks of one that is under way are counted now."""
    found, failures = [], []
    for text in _asked(request["serviceDeploymentArns"]):
        key = _key(call, text, "service-deployment")
        one = tx.get(ServiceDeployment, key) if key else None
        service = _service_of(tx, key) if key else None
        if one is None or service is None:
            failures.append({"arn": text, "reason": "MISSING"})
        else:
            found.append(_view(tx, service, one))
    return {"serviceDeployments": found, "failures": failures}


def _view(tx: Tx, service: Service, one: ServiceDeployment) -> dict[str, Any]:
    live = next((deployment for deployment in service.deployments if deployment.id == one.deployment), None)
    target, failures = one.target, one.failures
    if one.status not in history.OVER:
        running, pending = (tx.count(Task, state=f"{one.deployment} {word}") for word in ("running", "pending"))
        target = Share(target.revision, 0 if one.rollback else service.desired, running, pending)
        failures = max(failures, live.failures if live else 0)
    monitors = "TRIGGERED" if one.tripped else "MONITORING_COMPLETE" if one.status in history.OVER else "MONITORING"
    answer: dict[str, Any] = {
        "serviceDeploymentArn": deployment_arn(service.arn, one.id), "serviceArn": service.arn,
        "clusterArn": service.cluster_arn, "createdAt": one.created_at, "updatedAt": one.updated_at,
        "status": one.status, "sourceServiceRevisions": [share_view(service, source) for source in one.sources],
        "targetServiceRevision": share_view(service, target), "alarms": {"status": "DISABLED", "alarmNames": []},
        "deploymentConfiguration": configuration_view(configured(one)),
        "deploymentCircuitBreaker": {
            "status": monitors if one.breaker.enable else "DISABLED", "failureCount": failures,
            "threshold": threshold(replace(service, breaker=one.breaker))}}
    if one.rollback is not None:
        answer["rollback"] = {"reason": one.rollback.reason, "startedAt": one.rollback.started_at}
        if one.rollback.revision:
            answer["rollback"]["serviceRevisionArn"] = revision_arn(service.arn, one.rollback.revision)
    return answer | _present(startedAt=one.started_at, finishedAt=one.finished_at, stoppedAt=one.stopped_at,
                             statusReason=one.reason or None)


def share_view(service: Service, share: Share) -> Mapping[str, Any]:
    """The tasks of a revision as the API speaks them."""
    return {"arn": revision_arn(service.arn, share.revision), "requestedTaskCount": share.requested,
            "runningTaskCount": share.running, "pendingTaskCount": share.pending}


def current_revisions(tx: Tx, service: Service) -> list[Mapping[str, Any]]:
    """The revisions of which a service has tasks, or wants some."""
    return [share_view(service, share(tx, one, 0 if position else service.desired))
            for position, one in enumerate(service.deployments) if one.revision]


@ecs.read(resources=lambda call, request: request["serviceRevisionArns"])
def describe_service_revisions(call: Call, tx: Tx, request: Input) -> Any:
    """Service revisions by ARN; the digests of their images are those that tasks were started with."""
    found, failures = [], []
    for text in _asked(request["serviceRevisionArns"]):
        key = _key(call, text, "service-revision")
        one = tx.get(Revision, key) if key else None
        service = _service_of(tx, key) if key else None
        if one is None or service is None:
            failures.append({"arn": text, "reason": "MISSING"})
            continue
        found.append({
            "serviceRevisionArn": text, "serviceArn": service.arn, "clusterArn": service.cluster_arn,
            "taskDefinition": one.definition_arn, "platformVersion": PLATFORM_VERSION,
            "platformFamily": PLATFORM_FAMILY, "networkConfiguration": network_view(one.network),
            "containerImages": _images(tx, service, one), "guardDutyEnabled": False, "createdAt": one.created_at,
            "loadBalancers": [], "serviceRegistries": [], **capacity_view(one)})
    return {"serviceRevisions": found, "failures": failures}


def _images(tx: Tx, service: Service, revision: Revision) -> list[dict[str, str]]:
    id = revision.key.rpartition("/")[2]
    deployment = next((one.id for one in service.deployments if one.revision == id), None)
    tasks = [task for task in tx.find(Task, service=service.key) if task.deployment == deployment]
    digests = {container.name: container.digest for task in tasks for container in task.containers if container.digest}
    return [{"containerName": name, "image": image, **({"imageDigest": digests[name]} if name in digests else {})}
            for name, image in revision.images]


@ecs.write(resources=lambda call, request: [request["serviceDeploymentArn"]])
def stop_service_deployment(call: Call, tx: Tx, request: Input) -> Any:
    """Has a deployment that is under way rolled back to the last that completed."""
    if request.get("stopType", "ROLLBACK") != "ROLLBACK":
        raise InvalidParameterException("The valid value of stopType is ROLLBACK.")
    text = request["serviceDeploymentArn"]
    key = _key(call, text, "service-deployment")
    one = tx.get(ServiceDeployment, key) if key else None
    service = _service_of(tx, key) if key else None
    if one is None or service is None:
        raise ServiceDeploymentNotFoundException()
    if one.status in history.OVER or service.status != "ACTIVE":
        raise ConflictException(f"The service deployment cannot be stopped: its status is {one.status}.")
    if one.status in ("PENDING", "IN_PROGRESS"):
        tx.put(replace(one, status="ROLLBACK_REQUESTED", updated_at=call.now))
        tx.enqueue(Service.KIND, service.key)  # type: ignore[attr-defined]
    return {"serviceDeploymentArn": text}
