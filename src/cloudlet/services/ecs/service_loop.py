"""The scheduler of services: a step is one transaction, in which it plans, starts tasks and stops tasks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.errors import AwsError
from cloudlet.services.ecs.fargate import choose_provider
from cloudlet.services.ecs.launch import Order, launch
from cloudlet.services.ecs.records import Cluster, Definition, Event, Service, Tags, Task, cluster_key
from cloudlet.services.ecs.service_plan import Plan, emptiest, is_steady, plan, settled
from cloudlet.services.ecs.task_plan import stopped
from cloudlet.store.db import Store, Tx

EVENTS_MAX = 100  # "we only show the 100 most recent events" (service event messages)
UNPLACED_AGAIN_S = 10.0
INACTIVE_KEPT_S = 3600.0
STARTS_MAX = 20  # in one step, so that a big service does not hold the others up


@dataclass(slots=True)
class _Step:
    """A step's working copy of a service and its tasks."""

    tx: Tx
    service: Service
    tasks: list[Task] = field(default_factory=list)
    after: float | None = None  # seconds until the next look, if one is needed

    def say(self, message: str) -> None:
        """An event. The same sentence is not said twice in a row."""
        message = f"(service {self.service.name}) {message}"
        if not self.service.events or self.service.events[0].message != message:
            event = Event(self.tx.token(32), self.tx.now, message)
            self.service = replace(self.service, events=(event, *self.service.events[:EVENTS_MAX - 1]))

    def again(self, seconds: float) -> None:
        """Looks again in so many seconds, or earlier."""
        self.after = seconds if self.after is None else min(self.after, seconds)


async def reconcile(store: Store, key: str) -> Outcome:
    """One step of one service. It touches no engine, so it never waits, and no other writer can come in between."""
    with store.tx() as tx:
        service = tx.get(Service, key)
        if service is None:
            return Done()
        if service.status == "INACTIVE":
            return _forget(tx, service)
        step = _Step(tx, service, tx.find(Task, service=key))
        decided = plan(service, step.tasks, tx.now)
        if decided.after is not None:
            step.again(decided.after)
        _stop(step, decided.stop)
        _start(step, decided)
        _impaired(step)
        _roll_out(step)
        if service.status == "DRAINING" and not step.tasks:
            step.service = replace(step.service, status="INACTIVE", inactive_at=tx.now)
            step.again(INACTIVE_KEPT_S)
        if step.service != service:
            tx.put(step.service, wake=False)
    return Done() if step.after is None else Again(step.after, "")


def _forget(tx: Tx, service: Service) -> Outcome:
    left = (service.inactive_at or 0.0) + INACTIVE_KEPT_S - tx.now
    if left > 0:
        return Again(left, "is inactive; stays visible for an hour")
    tx.delete(Service, service.key)
    return Done()


def _stop(step: _Step, tasks: Sequence[Task]) -> None:
    running = [task for task in tasks if task.status == "RUNNING"]
    for task in tasks:
        ending = stopped(task, "ServiceSchedulerInitiated",
                         f"Scaling activity initiated by (deployment {task.deployment})", step.tx.now)
        step.tx.put(replace(ending, version=task.version + 1))
        step.tasks[step.tasks.index(task)] = ending
    if running:
        step.say(f"has stopped {len(running)} running tasks: {_named(running)}.")


def _start(step: _Step, decided: Plan) -> None:
    if decided.stuck:
        step.say("was unable to stop or start tasks during a deployment because of the service deployment"
                 " configuration. Update the minimumHealthyPercent or maximumPercent value and try again.")
    if not decided.start:
        return
    service, primary = step.service, step.service.deployments[0]
    cluster = step.tx.get(Cluster, cluster_key(service))
    definition = step.tx.get(Definition, primary.definition)
    if cluster is None or definition is None:
        step.say("was unable to place a task. Reason: its cluster or task definition is gone.")
        return
    started: list[Task] = []
    providers = Counter(task.provider for task in step.tasks if task.desired == "RUNNING")
    for _ in range(min(decided.start, STARTS_MAX)):
        provider = choose_provider(service.strategy, providers) if service.strategy else ""
        order = Order(cluster, definition, primary.network, f"service:{service.name}", primary.id,
                      service.launch_type, provider, service.key, primary.id, tags=_tags(service, definition))
        try:
            task = launch(scheduler(step.tx, service), step.tx, order, emptiest(primary.network.subnets, step.tasks))
        except AwsError as error:
            step.say(f"was unable to place a task. Reason: {error.message}.")
            step.again(UNPLACED_AGAIN_S)
            break
        providers[provider] += 1
        started.append(task)
        step.tasks.append(task)
    else:
        if decided.start > STARTS_MAX:
            step.again(0.0)
    if started:
        step.say(f"has started {len(started)} tasks: {_named(started)}.")


def _impaired(step: _Step) -> None:
    """Says once that tasks keep failing, and forgets it when those that run have proven themselves."""
    service, primary = step.service, step.service.deployments[0]
    if primary.retry_at > step.tx.now and not primary.impaired:
        primary = replace(primary, impaired=True)
        step.say("is unable to consistently start tasks successfully. For more information, see the Troubleshooting"
                 " section of the Amazon ECS Developer Guide.")
    elif is_steady(service, step.tasks):
        left = settled(primary, step.tasks, step.tx.now)
        if left == 0.0:
            primary = replace(primary, failures=0, retry_at=0.0, impaired=False)
        elif left is not None:
            step.again(left)
    step.service = replace(step.service, deployments=(primary, *step.service.deployments[1:]))


def _roll_out(step: _Step) -> None:
    """Old deployments whose tasks are gone are dropped; the primary is completed when all is as it should be."""
    service = step.service
    alive = {task.deployment for task in step.tasks if task.desired == "RUNNING" or task.status == "RUNNING"}
    primary, *older = service.deployments
    kept = tuple(deployment for deployment in older if deployment.id in alive)
    steady = is_steady(service, step.tasks) and not kept
    if steady and primary.state == "IN_PROGRESS":
        primary = replace(primary, state="COMPLETED", updated_at=step.tx.now)
        step.say(f"(deployment {primary.id}) deployment completed.")
    if steady and not service.steady:
        step.say("has reached a steady state.")
    step.service = replace(step.service, deployments=(primary, *kept), steady=steady)


def _tags(service: Service, definition: Definition) -> Tags:
    source: dict[str, Tags] = {"SERVICE": service.tags, "TASK_DEFINITION": definition.tags}
    tags = dict(source.get(service.propagate_tags, ()))
    if service.managed_tags:
        tags |= {"aws:ecs:clusterName": service.cluster, "aws:ecs:serviceName": service.name}
    return tuple(sorted(tags.items()))


def scheduler(tx: Tx, service: Service) -> Call:
    """The call as which the scheduler acts: the service-linked role of ECS in the customer's account."""
    arn = f"arn:aws:iam::{service.account}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
    principal = Principal("service", service.account, arn, "ecs.amazonaws.com", arn)
    return Call(tx.token(32), service.account, service.region, principal, tx.now, "http://localhost")


def _named(tasks: Sequence[Task]) -> str:
    return " ".join(f"(task {task.id})" for task in tasks)
