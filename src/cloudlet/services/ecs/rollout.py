"""How a deployment begins, completes, fails and is rolled back: pure functions of a service and what it remembers.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cloudlet.services.ecs.history import Rollback, ServiceDeployment, Share
from cloudlet.services.ecs.records import Deployment, Service, Task
from cloudlet.services.ecs.service_plan import healthy_at, is_steady, returns_at

BOUNDS = 3, 200  # of the circuit breaker's threshold
TRIPPED = "Service deployment {} because the circuit breaker threshold was exceeded."
ASKED = "Service deployment rolled back because it was stopped by a user."
NO_CANDIDATE = "No rollback candidate was found to run the rollback."
SUPERSEDED = "Service deployment stopped because a newer service deployment was started."
_FAILED = "ECS deployment circuit breaker: tasks failed to start."


@dataclass(frozen=True, slots=True)
class Turn:
    """A service, its latest service deployment, and what the scheduler says of how they changed, in order."""

    service: Service
    current: ServiceDeployment | None
    said: tuple[str, ...] = ()


def threshold(service: Service) -> int:
    """How many tasks of a deployment may fail in a row before the circuit breaker trips."""
    breaker = service.breaker
    if breaker.threshold == "COUNT":
        return breaker.value
    share = -(-service.desired * breaker.value // 100)
    return max(1, share) if breaker.threshold == "UNBOUNDED_PERCENT" else min(max(share, BOUNDS[0]), BOUNDS[1])


def tripped(service: Service) -> bool:
    """Whether the primary deployment has failed for good. One that has completed never does."""
    primary = service.deployments[0]
    return service.breaker.enable and primary.state == "IN_PROGRESS" and primary.failures >= threshold(service)


def candidate(service: Service) -> Deployment | None:
    """The deployment that a failing one is rolled back to: the last that completed."""
    older = (deployment for deployment in service.deployments[1:] if deployment.state == "COMPLETED")
    return next(older, service.completed)


def advance(service: Service, current: ServiceDeployment | None, now: float, *, runnable: bool = True) -> Turn:
    """Before a step plans: a deployment that was asked for has begun; one whose tasks failed too often has failed.

    `runnable`: whether the candidate's task definition is still there.
    """
    primary = service.deployments[0]
    if service.status != "ACTIVE" or primary.state != "IN_PROGRESS":
        return Turn(service, current)
    if current is not None and current.status == "PENDING":
        current = replace(current, status="IN_PROGRESS", started_at=now, updated_at=now)
    to = candidate(service) if runnable else None
    if current is not None and current.status == "ROLLBACK_REQUESTED":
        if to is None:
            return Turn(_failed(service, NO_CANDIDATE, now), _over(service, current, "ROLLBACK_FAILED", now,
                                                                   reason=NO_CANDIDATE))
        return _roll_back(service, current, to, ASKED, f"ECS deployment {primary.id} stopped.", now)
    if not tripped(service):
        return Turn(service, current)
    said = f"(deployment {primary.id}) deployment failed: tasks failed to start."
    if current is not None:
        current = replace(current, tripped=True, failures=primary.failures)
    if current is not None and current.status == "ROLLBACK_IN_PROGRESS":
        return Turn(_failed(service, _FAILED, now), _over(service, current, "ROLLBACK_FAILED", now), (said,))
    if service.breaker.rollback and to is not None:
        turn = _roll_back(service, current, to, TRIPPED.format("rolled back"), _FAILED, now)
        return replace(turn, said=(said, *turn.said))
    if current is not None:
        current = (_over(service, current, "ROLLBACK_FAILED", now, reason=NO_CANDIDATE) if service.breaker.rollback else
                   _over(service, current, "STOPPED", now, reason=TRIPPED.format("stopped")))
    return Turn(_failed(service, _FAILED, now), current, (said,))


def _failed(service: Service, reason: str, now: float) -> Service:
    primary = replace(service.deployments[0], state="FAILED", reason=reason, updated_at=now)
    return replace(service, deployments=(primary, *service.deployments[1:]), balancing=False)


def _roll_back(service: Service, current: ServiceDeployment | None, to: Deployment, reason: str, failed: str,
               now: float) -> Turn:
    """The last completed deployment is the primary one again, under its own id: tasks of it that still run are kept."""
    because = "circuit breaker: " if current is None or current.tripped else ""
    back = replace(to, state="IN_PROGRESS", failures=0, retry_at=0.0, impaired=False, updated_at=now,
                   reason=f"ECS deployment {because}rolling back to deploymentId {to.id}.")
    older = tuple(one for one in _failed(service, failed, now).deployments if one.id != to.id)
    changed = replace(service, deployments=(back, *older), steady=False, balancing=False)
    if to.launch_type or to.strategy:
        changed = replace(changed, launch_type=to.launch_type, strategy=to.strategy,
                          platform_version=to.platform_version)
    if current is not None:
        current = replace(current, status="ROLLBACK_IN_PROGRESS", reason=reason, updated_at=now,
                          rollback=Rollback(reason, now, to.revision))
    return Turn(changed, current, (f"rolling back to deployment {to.id}.",))


def settle(service: Service, current: ServiceDeployment | None, tasks: Sequence[Task], now: float) -> Turn:
    """After a step acted: old deployments without tasks are gone (one that failed, when the next has completed),
    failures are forgotten once a task has proven itself, and the primary is completed when all is as it should be."""
    alive = {task.deployment for task in tasks if task.desired == "RUNNING" or task.status == "RUNNING"}
    kept = tuple(deployment for deployment in service.deployments[1:] if deployment.id in alive)
    primary = forgiven(service, tasks, now)
    steady = (not kept and primary.state != "FAILED" and is_steady(service, tasks, now)
              and returns_at(service) <= now)
    if primary.state == "IN_PROGRESS" and not steady:
        kept = tuple(one for one in service.deployments[1:] if one.id in alive or one.state == "FAILED")
    service = replace(service, deployments=(primary, *kept))
    said = []
    if steady and primary.state == "IN_PROGRESS":
        primary = replace(primary, state="COMPLETED", reason="", updated_at=now)
        service = replace(service, deployments=(primary, *kept), completed=primary)
        said.append(f"(deployment {primary.id}) deployment completed.")
        if current is not None and current.status in ("IN_PROGRESS", "ROLLBACK_IN_PROGRESS"):
            current = _over(service, current, "ROLLBACK_SUCCESSFUL" if current.rollback else "SUCCESSFUL", now, tasks)
    if steady and not service.steady:
        said.append("has reached a steady state.")
    return Turn(replace(service, steady=steady), current, tuple(said))


def forgiven(service: Service, tasks: Sequence[Task], now: float) -> Deployment:
    """The primary deployment, its failures forgotten if a task of it became healthy after the last one.

    The circuit breaker may be told to remember them while the deployment is under way (resetOnHealthyTask).
    """
    primary = service.deployments[0]
    if not primary.failures and not primary.impaired:
        return primary
    moments = (healthy_at(task) for task in tasks if task.deployment == primary.id)
    if not any(moment is not None and primary.failed_at < moment <= now for moment in moments):
        return primary
    remembers = service.breaker.enable and not service.breaker.reset and primary.state == "IN_PROGRESS"
    return replace(primary, retry_at=0.0, impaired=False, failures=primary.failures if remembers else 0)


def over(service: Service, current: ServiceDeployment, now: float) -> ServiceDeployment:
    """A service deployment that was stopped since a newer one began."""
    return _over(service, current, "STOPPED", now, reason=SUPERSEDED)


def _over(service: Service, current: ServiceDeployment, status: str, now: float, tasks: Sequence[Task] = (),
          reason: str = "") -> ServiceDeployment:
    """The service deployment as it is remembered, with the numbers of its end."""
    counts = Counter(task.status == "RUNNING" for task in tasks if task.deployment == current.deployment)
    failures = next((one.failures for one in service.deployments if one.id == current.deployment), current.failures)
    return replace(current, status=status, reason=reason or current.reason, updated_at=now, finished_at=now,  # type: ignore[arg-type]
                   stopped_at=now if status == "STOPPED" else None, failures=max(failures, current.failures),
                   target=Share(current.target.revision, service.desired, counts[True], counts[False]))
