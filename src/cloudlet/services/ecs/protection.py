"""Task scale-in protection: tasks that the scheduler of their service lets run, in deployments and when it scales in.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.ecs import arns
from cloudlet.services.ecs.api import InvalidParameterException, ecs
from cloudlet.services.ecs.records import Service, Task
from cloudlet.store.db import Tx

UPDATED_MAX, DESCRIBED_MAX = 10, 100
MINUTES, MINUTES_MAX = 120, 2880  # the default, and 48 hours


def _arns(call: Call, request: Input) -> list[str]:
    return [arns.task_arn(call, request["cluster"], text) for text in request.get("tasks") or ()]


@ecs.read(resources=_arns)
def get_task_protection(call: Call, tx: Tx, request: Input) -> Any:
    """The protection of tasks of services; others are failures."""
    return _answer(call, tx, request, DESCRIBED_MAX, None)


@ecs.write(resources=_arns)
def update_task_protection(call: Call, tx: Tx, request: Input) -> Any:
    """Protects tasks of services for a time, or ends that."""
    minutes = MINUTES if request.get("expiresInMinutes") is None else request["expiresInMinutes"]
    if not 1 <= minutes <= MINUTES_MAX:
        raise InvalidParameterException(f"expiresInMinutes must be between 1 and {MINUTES_MAX}.")
    until = call.now + 60.0 * minutes if request["protectionEnabled"] else 0.0
    return _answer(call, tx, request, UPDATED_MAX, until)


def _answer(call: Call, tx: Tx, request: Input, most: int, until: float | None) -> dict[str, Any]:
    cluster = arns.active_cluster(call, tx, request["cluster"])
    asked: Sequence[str] = request.get("tasks") or []
    if not asked:
        raise InvalidParameterException("Tasks cannot be empty.")
    if len(asked) > most:
        raise InvalidParameterException(f"Tasks cannot have more than {most} elements.")
    protected, failures = [], []
    for text in asked:
        task = arns.find_task(call, tx, cluster.name, text)
        reason = "MISSING" if task is None else refusal(tx, task, until)
        if task is None or reason:
            failures.append({"arn": arns.task_arn(call, cluster.name, text), "reason": reason})
        else:
            protected.append(view(protect(tx, task, until), tx.now))
    return {"protectedTasks": protected, "failures": failures}


def refusal(tx: Tx, task: Task, until: float | None) -> str:
    """The failure's reason where a task cannot be protected, or asked for that; "" where it can.

    A task of an older deployment gets no more protection than it has: the deployment that replaces it would never end.
    """
    if not task.service or task.desired != "RUNNING":
        return "TASK_NOT_VALID"
    service = tx.get(Service, task.service)
    if until and service is not None and service.deployments[0].id != task.deployment:
        return "DEPLOYMENT_BLOCKED"
    return ""


def protect(tx: Tx, task: Task, until: float | None) -> Task:
    """Writes until when a task is protected (0: no more; None: as it is), and tells its service."""
    if until is None:
        return task
    changed = replace(task, protected_until=until or None)
    tx.put(changed, wake=False)
    tx.enqueue("ecs.service", task.service)
    return changed


def view(task: Task, now: float) -> dict[str, Any]:
    """A task's protection as the API speaks it."""
    answer: dict[str, Any] = {"taskArn": task.arn, "protectionEnabled": task.is_protected(now)}
    return answer | {"expirationDate": task.protected_until} if task.is_protected(now) else answer
