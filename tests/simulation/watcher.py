"""Judges each transaction as it commits: what the scheduler of services did by itself, and what it said of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from cloudlet.kernel.call import Call, Principal
from cloudlet.services import ecs
from cloudlet.services.ecs.records import Service, Task
from cloudlet.store.db import Store, Tx

_NAMED = re.compile(r"\(task ([0-9a-f]{32})\)")


class Watcher:
    """`complaints` holds the first sentence of each promise that was broken between two transactions."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._tasks: dict[str, Task | None] = {}  # key -> as it was before the transaction
        self._services: dict[str, Service | None] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sees every write of a task or a service, whichever store it goes to."""
        put = Tx.put

        def watched(tx: Tx, rec: Any, *, wake: bool = True) -> None:
            if isinstance(rec, Task) and rec.key not in self._tasks:
                self._tasks[rec.key] = tx.get(Task, rec.key)
            elif isinstance(rec, Service) and rec.key not in self._services:
                self._services[rec.key] = tx.get(Service, rec.key)
            put(tx, rec, wake=wake)

        with patch.object(Tx, "put", watched):
            yield

    def begin(self) -> None:
        """Nothing was written yet."""
        self._tasks.clear()
        self._services.clear()

    def committed(self, store: Store) -> None:
        """What was written since `begin` is now the truth."""
        tasks, services = dict(self._tasks), dict(self._services)
        self.begin()
        if not tasks and not services:
            return
        with Store.tx(store) as tx:
            now = {key: tx.get(Task, key) for key in tasks}
            touched = {task.service for task in now.values() if task is not None and task.service}
            for key in sorted(touched | services.keys()):
                service = tx.get(Service, key)
                if service is not None:
                    mine = [(tasks[task], after) for task, after in now.items()
                            if after is not None and after.service == key]
                    try:
                        self._judge(tx, services.get(key, service), service, mine)
                    except AssertionError as error:
                        self.complaints.append(str(error))

    def _judge(self, tx: Tx, before: Service | None, service: Service,
               changed: list[tuple[Task | None, Task]]) -> None:
        told, tasks = _describe(tx, service), tx.find(Task, service=service.key)
        live = [task for task in tasks if task.desired == "RUNNING"]
        wanted, name = told["desiredCount"], service.name
        started = {after.id for was, after in changed if was is None and after.desired == "RUNNING"}
        stopped = [was for was, after in changed if was is not None and was.desired == "RUNNING"
                   and after.desired == "STOPPED" and after.stop_code == "ServiceSchedulerInitiated"
                   and after.health != "UNHEALTHY"]  # whose end would not be our own doing
        if told["status"] == "ACTIVE":
            rules = told["deploymentConfiguration"]
            most = max(wanted, wanted * rules["maximumPercent"] // 100)
            assert not started or len(live) <= most, f"{name}: {len(live)} tasks are more than {most} of {wanted}"
            least = -(-wanted * rules["minimumHealthyPercent"] // 100)
            healthy = sum(map(is_healthy, live))
            shielded = [task.id for task in stopped if (task.protected_until or 0.0) > tx.now]
            assert not shielded, f"{name}: stopped, and was protected: {shielded[0]}"
            assert healthy >= least or not any(map(is_healthy, stopped)), (
                f"{name}: {healthy} healthy tasks were left of {wanted}, where {least} are the least")
        else:
            assert not started, f"{name} starts tasks, and is {told['status']}"
        self._judge_words(before, told, live, started, {task.id for task in stopped if task.status == "RUNNING"},
                          [after for _, after in changed])

    @staticmethod
    def _judge_words(before: Service | None, told: dict[str, Any], live: list[Task], started: set[str],
                     stopped: set[str], ended: list[Task]) -> None:
        name, heard = told["serviceName"], {event.id for event in before.events} if before else set()
        words = [event["message"] for event in told["events"] if event["id"] not in heard]
        named: dict[str, set[str]] = {"started": set(), "stopped": set()}
        for message in words:
            found = re.search(r"has (started|stopped) (\d+) (?:running )?tasks?(?: in [^:]*)?: ", message)
            if found:
                ids = set(_NAMED.findall(message))
                assert int(found[2]) == len(ids), f"{name} miscounts: {message}"
                named[found[1]] |= ids
        assert named["started"] == started, f"{name} says it has started {named['started']}, and started {started}"
        unhealthy = {task.id for task in ended if task.health == "UNHEALTHY"}
        lied = (named["stopped"] - unhealthy) ^ stopped
        assert not lied, f"{name} says it has stopped {named['stopped']}, and stopped {stopped}"
        primary = told["deployments"][0] if told["deployments"] else {}
        settled = (len(live) == told["desiredCount"] and all(
            task.status == "RUNNING" and task.deployment == primary.get("id") for task in live))
        if any("has reached a steady state" in message for message in words):
            assert settled, f"{name} says that it is steady, and has {[(t.id, t.status) for t in live]}"
        states = {deployment.id: deployment.state for deployment in before.deployments} if before else {}
        for deployment in told["deployments"]:
            if deployment["rolloutState"] == "COMPLETED" and states.get(deployment["id"]) != "COMPLETED":
                assert settled and deployment is primary, f"{name}: {deployment['id']} is completed too early"
            if deployment["rolloutState"] == "FAILED" and states.get(deployment["id"]) == "IN_PROGRESS":
                bound = min(200, max(3, -(-told["desiredCount"] // 2)))
                assert deployment["failedTasks"] >= bound, f"{name}: {deployment['id']} has failed too early"


def is_healthy(task: Task) -> bool:
    """Whether a task counts for the minimum."""
    wanted = ("HEALTHY",) if task.revision.startswith("healthy:") else ("HEALTHY", "UNKNOWN")
    return task.status == "RUNNING" and task.desired == "RUNNING" and task.health in wanted


def _describe(tx: Tx, service: Service) -> dict[str, Any]:
    """As the customer is told, by somebody whose process does not die."""
    arn = f"arn:aws:iam::{service.account}:root"
    call = Call("watcher", service.account, service.region, Principal("root", service.account, arn, service.account),
                tx.now, "http://localhost")
    request = {"cluster": service.cluster, "services": [service.name]}
    answer: dict[str, Any] = ecs.ecs.operations["DescribeServices"].run(call, tx, request)["services"][0]
    return answer
