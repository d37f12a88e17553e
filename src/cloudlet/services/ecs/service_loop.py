"""The scheduler of services: a step is one transaction, in which it plans, starts tasks and stops tasks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.errors import AwsError
from cloudlet.services.ecs import history
from cloudlet.services.ecs.fargate import choose_provider
from cloudlet.services.ecs.health import UNHEALTHY_REASON
from cloudlet.services.ecs.history import ServiceDeployment
from cloudlet.services.ecs.launch import Order, launch
from cloudlet.services.ecs.placement import Spread, imbalance, per_zone
from cloudlet.services.ecs.records import Cluster, Definition, Event, Service, Tags, Task, cluster_key
from cloudlet.services.ecs.rollout import Turn, advance, candidate, over, settle
from cloudlet.services.ecs.service_plan import Plan, after_failure, plan, struggles
from cloudlet.services.ecs.task_plan import stopped
from cloudlet.store.db import Store, Tx

EVENTS_MAX = 100  # "we only show the 100 most recent events" (service event messages)
UNPLACED_AGAIN_S = 10.0
REBALANCE_AGAIN_S = 60.0
INACTIVE_KEPT_S = 3600.0
STARTS_MAX = 20  # in one step, so that a big service does not hold the others up


@dataclass(slots=True)
class _Step:
    """A step's working copy of a service, its latest service deployment and its tasks by key."""

    tx: Tx
    service: Service
    current: ServiceDeployment | None
    tasks: dict[str, Task] = field(default_factory=dict)
    after: float | None = None  # seconds until the next look, if one is needed

    def say(self, message: str) -> None:
        """An event. The same sentence is not said twice in a row."""
        message = f"(service {self.service.name}) {message}"
        if not self.service.events or self.service.events[0].message != message:
            event = Event(self.tx.token(32), self.tx.now, message)
            self.service = replace(self.service, events=(event, *self.service.events[:EVENTS_MAX - 1]))

    def again(self, seconds: float | None) -> None:
        """Looks again in so many seconds (None: no need to), or earlier."""
        if seconds is not None:
            self.after = seconds if self.after is None else min(self.after, seconds)

    def take(self, turn: Turn) -> None:
        """The service and its deployment as a pure function changed them."""
        self.service, self.current = turn.service, turn.current
        for message in turn.said:
            self.say(message)


async def reconcile(store: Store, key: str) -> Outcome:
    """One step of one service. It touches no engine, so it never waits, and no other writer can come in between."""
    with store.tx() as tx:
        service = tx.get(Service, key)
        if service is None:
            return Done()
        if service.status == "INACTIVE":
            return _forget(tx, service)
        under_way = service.deployments[0].state == "IN_PROGRESS"
        before = history.latest(tx, service) if under_way else None
        step = _Step(tx, service, before, {task.key: task for task in tx.find(Task, service=key)})
        _begin(step)
        decided = plan(step.service, list(step.tasks.values()), tx.now)
        step.again(decided.after)
        _replace(step, decided)
        _stop(step, decided.stop)
        _start(step, decided)
        _impaired(step)
        step.take(settle(step.service, step.current, list(step.tasks.values()), tx.now))
        if under_way and step.service.deployments[0].state == "COMPLETED":
            step.again(0.0)  # the zones may be uneven
        _balanced(step, decided)
        if service.status == "DRAINING" and not step.tasks:
            step.service = replace(step.service, status="INACTIVE", inactive_at=tx.now, rollout="", completed=None)
            history.forget(tx, key)
            step.again(INACTIVE_KEPT_S)
        elif step.current is not None and step.current != before:
            tx.put(step.current)
        if step.service != service:
            tx.put(step.service, wake=False)
    return Done() if step.after is None else Again(step.after, "")


def _forget(tx: Tx, service: Service) -> Outcome:
    left = (service.inactive_at or 0.0) + INACTIVE_KEPT_S - tx.now
    if left > 0:
        return Again(left, "is inactive; stays visible for an hour")
    tx.delete(Service, service.key)
    return Done()


def _begin(step: _Step) -> None:
    """What was asked for, and what went wrong, since the last step: see `advance`."""
    if step.current is not None and step.current.status == "PENDING":
        for one in history.deployments_of(step.tx, step.service.key):
            if one.status == "STOP_REQUESTED":
                step.tx.put(over(step.service, one, step.tx.now))
    if step.service.deployments[0].state == "IN_PROGRESS":
        to = candidate(step.service)
        runnable = to is not None and step.tx.get(Definition, to.definition) is not None
        step.take(advance(step.service, step.current, step.tx.now, runnable=runnable))


def _replace(step: _Step, decided: Plan) -> None:
    """Tasks that failed their health checks end, and count as failed."""
    for task in decided.replace:
        step.service = after_failure(step.service, task.deployment, step.tx.now)
        step.say(f"(task {task.id}) failed container health checks.")
    _stop(step, decided.replace, UNHEALTHY_REASON)


def _stop(step: _Step, tasks: Sequence[Task], reason: str = "") -> None:
    running = [task for task in tasks if task.status == "RUNNING"]
    for task in tasks:
        ending = stopped(task, "ServiceSchedulerInitiated",
                         reason or f"Scaling activity initiated by (deployment {task.deployment})", step.tx.now)
        step.tx.put(replace(ending, version=task.version + 1))
        step.tasks[task.key] = ending
    if running and step.service.balancing:
        zones = ", ".join(sorted({task.attachment.zone for task in running}))
        step.say(f"has stopped {len(running)} running tasks in {zones} due to AZ rebalancing: {_named(running)}.")
    elif running:
        step.say(f"has stopped {len(running)} running tasks: {_named(running)}.")


def _start(step: _Step, decided: Plan) -> None:
    if decided.hold == "percentages":
        step.say("was unable to stop or start tasks during a deployment because of the service deployment"
                 " configuration. Update the minimumHealthyPercent or maximumPercent value and try again.")
    if decided.shielded:
        step.say(f"was unable to scale in due to (reason {decided.shielded} tasks under protection).")
    if not decided.start:
        return
    if decided.zone and not step.service.balancing:
        step.service = replace(step.service, balancing=True)
        step.say(f"is not AZ balanced with {_zones(step)}. AZ Rebalancing in progress.")
    started = _launch(step, min(decided.start, STARTS_MAX), decided.zone)
    if decided.start > STARTS_MAX:
        step.again(0.0)
    if started and decided.zone:
        step.say(f"has started {len(started)} tasks in {decided.zone} to AZ Rebalance: {_named(started)}.")
    elif started:
        sick = f" Amazon ECS replaced {len(decided.replace)} tasks due to an unhealthy status."
        step.say(f"has started {len(started)} tasks: {_named(started)}.{sick if decided.replace else ''}")


def _launch(step: _Step, number: int, zone: str) -> list[Task]:
    """Starts so many tasks, or as many as there is room for; what is said and done where there is none."""
    service, primary = step.service, step.service.deployments[0]
    cluster = step.tx.get(Cluster, cluster_key(service))
    definition = step.tx.get(Definition, primary.definition)
    if cluster is None or definition is None:
        step.say("was unable to place a task. Reason: its cluster or task definition is gone.")
        return []
    ours = [task for task in step.tasks.values() if task.desired == "RUNNING" and task.deployment == primary.id]
    spread, providers = Spread(primary, ours), Counter(task.provider for task in ours)
    strategy = primary.strategy if primary.strategy or primary.launch_type else service.strategy
    started: list[Task] = []
    for _ in range(number):
        provider = choose_provider(strategy, providers) if strategy else ""
        order = Order(cluster, definition, primary.network, f"service:{service.name}", primary.id,
                      primary.launch_type or service.launch_type, provider, service.key, primary.id,
                      tags=_tags(service, definition))
        placed = _place(step, order, spread.choices(zone))
        if isinstance(placed, AwsError):
            _unplaced(step, placed, zone)
            break
        spread.add(placed)
        providers[provider] += 1
        started.append(placed)
        step.tasks[placed.key] = placed
    return started


def _place(step: _Step, order: Order, subnets: Sequence[str]) -> Task | AwsError:
    """The task in the first subnet that has room for it, or why the last has none."""
    call, refusal = scheduler(step.tx, step.service), None
    for subnet in subnets:
        try:
            return launch(call, step.tx, order, subnet)
        except AwsError as error:
            refusal = error
    assert refusal is not None, "a service has at least one subnet"
    return refusal


def _unplaced(step: _Step, error: AwsError, zone: str) -> None:
    """A task that cannot be placed counts as failed: the deployment may be beyond hope. Tried again after a while."""
    now = step.tx.now
    if zone:
        step.say(f"is unable to place a task in {zone}.")
        step.service = replace(step.service, rebalance_at=now + REBALANCE_AGAIN_S)
        step.again(REBALANCE_AGAIN_S)
        return
    step.say(f"was unable to place a task. Reason: {error.message}.")
    step.service = after_failure(step.service, step.service.deployments[0].id, now, UNPLACED_AGAIN_S)
    step.again(0.0)  # the circuit breaker may trip; else that look waits as long as it must


def _impaired(step: _Step) -> None:
    """Says once that tasks keep failing."""
    primary = step.service.deployments[0]
    if primary.retry_at > step.tx.now and struggles(step.service) and not primary.impaired:
        step.service = replace(step.service, deployments=(replace(primary, impaired=True),
                                                          *step.service.deployments[1:]))
        step.say("is unable to consistently start tasks successfully. For more information, see the Troubleshooting"
                 " section of the Amazon ECS Developer Guide.")


def _balanced(step: _Step, decided: Plan) -> None:
    """Says that the zones are even again, or that they will not be made so any more."""
    service = step.service
    if service.balancing and service.steady and not decided.start and decided.hold != "balance":
        even = imbalance(_live(step), service.deployments[0]) is None
        step.service = replace(service, balancing=False, rebalance_at=0.0)
        step.say(f"is AZ balanced with {_zones(step)}." if even else "stopped AZ Rebalancing.")


def _live(step: _Step) -> list[Task]:
    return [task for task in step.tasks.values() if task.desired == "RUNNING"]


def _zones(step: _Step) -> str:
    counts = per_zone(_live(step), step.service.deployments[0])
    return ", ".join(f"{number} tasks in {zone}" for zone, number in counts.items())


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
