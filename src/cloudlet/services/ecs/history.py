"""The history of a service as records: what was to be deployed (revisions), and how that went (service deployments)."""

from dataclasses import dataclass
from typing import Literal

from cloudlet.services.ecs.records import Breaker, Network, Service, Strategy
from cloudlet.store.db import Tx
from cloudlet.store.records import record

KEPT_S = 90 * 86400.0  # "the most recent 90 days of history" (service deployments, developer guide)
KEPT_MAX = 200

DeploymentStatus = Literal["PENDING", "IN_PROGRESS", "SUCCESSFUL", "STOP_REQUESTED", "STOPPED", "ROLLBACK_REQUESTED",
                           "ROLLBACK_IN_PROGRESS", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"]
OVER: tuple[DeploymentStatus, ...] = ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")


@record("ecs.service-revision")
class Revision:
    """What a service was to run. Key: the service's key, "/", the revision's id. `images` are names of containers and
    images."""

    key: str
    definition_arn: str
    network: Network
    created_at: float
    launch_type: str = ""
    strategy: Strategy = ()
    platform_version: str = "LATEST"
    images: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """How many tasks of a revision were wanted, ran, and were on their way."""

    revision: str
    requested: int = 0
    running: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Rollback:
    """Why and when a service deployment was rolled back, and to which revision."""

    reason: str
    started_at: float
    revision: str = ""


@record("ecs.service-deployment")
class ServiceDeployment:
    """One change of a service. Key: the service's key, "/", the id. `deployment` is the id ("ecs-svc/…") under which
    its tasks are started; `target` is counted anew until the deployment is over."""

    key: str
    deployment: str
    sources: tuple[Share, ...]
    target: Share
    breaker: Breaker
    minimum_percent: int
    maximum_percent: int
    created_at: float
    updated_at: float
    status: DeploymentStatus = "PENDING"
    reason: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    stopped_at: float | None = None
    failures: int = 0
    tripped: bool = False
    rollback: Rollback | None = None

    @property
    def id(self) -> str:
        """The last part of its ARN."""
        return self.key.rpartition("/")[2]


def latest(tx: Tx, service: Service) -> ServiceDeployment | None:
    """The service deployment that is under way, or was the last; None for a service of before there were such."""
    return tx.get(ServiceDeployment, f"{service.key}/{service.rollout}") if service.rollout else None


def deployments_of(tx: Tx, service: str) -> list[ServiceDeployment]:
    """All that are remembered of a service (by key), the newest first."""
    return sorted(tx.find(ServiceDeployment, f"{service}/"), key=lambda one: (one.created_at, one.key), reverse=True)


def forget(tx: Tx, service: str) -> None:
    """The service is gone: its history goes with it, as on AWS."""
    for deployment in tx.find(ServiceDeployment, f"{service}/"):
        tx.delete(ServiceDeployment, deployment.key)
    for revision in tx.find(Revision, f"{service}/"):
        tx.delete(Revision, revision.key)


def prune(tx: Tx, service: Service) -> None:
    """Forgets what is too old, or too much; and revisions that nothing names any more."""
    kept = deployments_of(tx, service.key)
    for one in [one for n, one in enumerate(kept) if n >= KEPT_MAX or one.created_at < tx.now - KEPT_S]:
        if one.id != service.rollout:
            tx.delete(ServiceDeployment, one.key)
            kept.remove(one)
    needed = {deployment.revision for deployment in (*service.deployments, service.completed) if deployment}
    for one in kept:
        needed |= {one.target.revision, *(share.revision for share in one.sources)}
        needed |= {one.rollback.revision} if one.rollback else set()
    for revision in tx.find(Revision, f"{service.key}/"):
        if revision.key.rpartition("/")[2] not in needed:
            tx.delete(Revision, revision.key)
