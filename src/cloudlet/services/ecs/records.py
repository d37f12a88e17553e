"""What ECS remembers: clusters, task definitions, tasks, services, and how far each container's log was shipped."""

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from cloudlet.store.records import record

Tags = tuple[tuple[str, str], ...]
Strategy = tuple[tuple[str, int, int], ...]  # capacity provider, base, weight

Status = Literal["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING",
                 "STOPPED"]
STARTING: tuple[Status, ...] = ("PROVISIONING", "PENDING", "ACTIVATING")


@record("ecs.cluster")
class Cluster:
    """A name for tasks and services to live under. Key: account/region/name."""

    key: str
    account: str
    region: str
    name: str
    status: Literal["ACTIVE", "INACTIVE"] = "ACTIVE"
    settings: Tags = ()
    providers: tuple[str, ...] = ()
    strategy: Strategy = ()
    tags: Tags = ()
    configuration: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def arn(self) -> str:
        """The cluster's ARN."""
        return f"arn:aws:ecs:{self.region}:{self.account}:cluster/{self.name}"


@record("ecs.family")
class Family:
    """The last revision a family ever had: numbers are never given twice. Key: account/region/family."""

    key: str
    revision: int


@record("ecs.definition", reconciled=True)
class Definition:
    """A revision of a task definition. Key: account/region/family:revision (six digits, so that keys sort).

    `document` is the definition as AWS's API speaks it, defaults filled in. Reconciled only for its end: one that is
    being deleted goes when nothing uses it any more.
    """

    key: str
    account: str
    region: str
    family: str
    revision: int
    document: dict[str, Any]
    registered_at: float
    registered_by: str
    status: Literal["ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"] = "ACTIVE"
    deregistered_at: float | None = None
    delete_requested_at: float | None = None
    tags: Tags = ()

    @property
    def arn(self) -> str:
        """The revision's ARN."""
        return f"arn:aws:ecs:{self.region}:{self.account}:task-definition/{self.family}:{self.revision}"

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Its container definitions."""
        found: list[dict[str, Any]] = self.document["containerDefinitions"]
        return found


@dataclass(frozen=True, slots=True)
class Network:
    """An awsvpc configuration."""

    subnets: tuple[str, ...]
    groups: tuple[str, ...] = ()
    public: bool = False


Health = Literal["HEALTHY", "UNHEALTHY", "UNKNOWN"]


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a container that has ended is started again: if it ran for the period, and ended with no ignored code."""

    period_s: int
    ignored: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskContainer:
    """One container of a task. `id` ends its ARN; `token` is its secret path to the metadata endpoint.

    `digest` pins the image of a registry of ours from the first look on; `reference` is what the engine starts, known
    once it is pulled. `runtime_id` is set from the first time the container was seen. `depends` are pairs of a
    container's name and a condition. After `restarts` it is to have been started once more often than that. `volumes`
    are the paths that its image declares as such.
    """

    name: str
    id: str
    token: str
    image: str
    essential: bool = True
    cpu: int = 0
    memory: int | None = None
    memory_reservation: int | None = None
    digest: str = ""
    reference: str = ""
    runtime_id: str = ""
    status: Literal["PENDING", "RUNNING", "STOPPED"] = "PENDING"
    exit_code: int | None = None
    reason: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    kill_at: float | None = None  # when the stop signal's grace ends
    depends: tuple[tuple[str, str], ...] = ()
    start_timeout_s: int | None = None
    health: Health = "UNKNOWN"
    health_since: float | None = None
    restart: RestartPolicy | None = None
    restarts: int = 0
    volumes: tuple[str, ...] = ()
    checked: bool = False  # it has a health check


@dataclass(frozen=True, slots=True)
class Attachment:
    """A task's network interface, remembered so that a stopped task still shows it."""

    id: str
    interface: str
    subnet: str
    zone: str
    mac: str
    address: str
    dns_name: str
    ready: bool = False
    released: bool = False


def handle(key: str) -> str:
    """What the engine names of a task's containers have in common, whichever the installation."""
    return hashlib.blake2s(key.encode()).hexdigest()[:10]


@record("ecs.task", reconciled=True, indexes={
    "handle": lambda task: handle(task.key),
    "service": lambda task: task.service if task.service and task.status != "STOPPED" else None,
    "state": lambda task: task_states(task),
    "interface": lambda task: task.attachment.interface,
    "definition": lambda task: task.definition if task.status != "STOPPED" else None,
})
class Task:
    """A task on Fargate. Key: account/region/cluster/id. Times are epoch seconds; `cpu` in units, `memory` in MiB."""

    key: str
    account: str
    region: str
    cluster: str
    id: str
    definition: str  # key of the Definition
    revision: str  # family:revision
    containers: tuple[TaskContainer, ...]
    attachment: Attachment
    cpu: int
    memory: int
    created_at: float
    group: str
    desired: Literal["RUNNING", "STOPPED"] = "RUNNING"
    status: Status = "PROVISIONING"
    version: int = 1
    started_by: str = ""
    service: str = ""  # key of the Service
    deployment: str = ""  # id of its deployment
    launch_type: str = "FARGATE"
    provider: str = ""
    task_role: str = ""
    execution_role: str = ""
    credentials: str = ""  # the secret path to the task role's credentials
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    tags: Tags = ()
    pull_started_at: float | None = None
    pull_stopped_at: float | None = None
    connected_at: float | None = None
    started_at: float | None = None
    stopping_at: float | None = None
    execution_stopped_at: float | None = None
    stopped_at: float | None = None
    stop_code: str = ""
    stopped_reason: str = ""
    protected_until: float | None = None  # from scale-in and deployments
    storage_gib: int = 20  # of ephemeral storage

    @property
    def health(self) -> Health:
        """That of its essential containers together: the worst, where UNKNOWN is better than UNHEALTHY only."""
        seen = {container.health for container in self.containers if container.essential}
        return "UNHEALTHY" if "UNHEALTHY" in seen else "UNKNOWN" if "UNKNOWN" in seen else "HEALTHY"

    def is_protected(self, now: float) -> bool:
        """Whether the scheduler of its service must let it run."""
        return self.protected_until is not None and self.protected_until > now

    @property
    def arn(self) -> str:
        """The task's ARN, in the long format."""
        return f"arn:aws:ecs:{self.region}:{self.account}:task/{self.cluster}/{self.id}"

    @property
    def cluster_arn(self) -> str:
        """The ARN of the cluster it runs in."""
        return f"arn:aws:ecs:{self.region}:{self.account}:cluster/{self.cluster}"

    @property
    def definition_arn(self) -> str:
        """The ARN of the revision it was made from."""
        return f"arn:aws:ecs:{self.region}:{self.account}:task-definition/{self.revision}"


def task_states(task: Any) -> tuple[str, ...]:
    """Under which words a task is counted: running or pending, in its cluster, its service and its deployment."""
    if task.status == "RUNNING":
        word = "running"
    elif task.status in STARTING and task.desired == "RUNNING":
        word = "pending"
    else:
        return (f"{cluster_key(task)} stopping",) if task.status != "STOPPED" else ()
    words = (f"{cluster_key(task)} {word}",)
    return (*words, f"{task.service} {word}", f"{task.deployment} {word}") if task.service else words


def cluster_key(owned: Any) -> str:
    """The key of the cluster that a task or service belongs to."""
    return f"{owned.account}/{owned.region}/{owned.cluster}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One wanted version of a service. `failures` counts its tasks that failed in a row; no start before `retry_at`.

    `zones` are those of the network's subnets, in their order. `launch_type` and `strategy` are both empty in what was
    written before a deployment had its own: then the service's count.
    """

    id: str
    definition: str  # key of the Definition
    definition_arn: str
    network: Network
    created_at: float
    updated_at: float
    state: Literal["IN_PROGRESS", "COMPLETED", "FAILED"] = "IN_PROGRESS"
    failures: int = 0
    retry_at: float = 0.0
    impaired: bool = False  # its tasks fail in a row, and an event said so
    zones: tuple[str, ...] = ()
    launch_type: str = ""
    strategy: Strategy = ()
    platform_version: str = "LATEST"
    revision: str = ""  # id of the service revision
    reason: str = ""  # rolloutStateReason, where it is not the usual sentence
    failed_at: float = 0.0  # when a task last failed


@dataclass(frozen=True, slots=True)
class Breaker:
    """A deployment circuit breaker, as configured; the threshold is a COUNT or a percentage of the wanted tasks."""

    enable: bool = False
    rollback: bool = False
    reset: bool = True  # a task that becomes healthy clears the count
    threshold: Literal["COUNT", "BOUNDED_PERCENT", "UNBOUNDED_PERCENT"] = "BOUNDED_PERCENT"
    value: int = 50


@dataclass(frozen=True, slots=True)
class Event:
    """A sentence of the service scheduler."""

    id: str
    at: float
    message: str


@record("ecs.service", reconciled=True, indexes={
    "definition": lambda service: _definitions(service),
    "cluster": lambda service: f"{cluster_key(service)} {service.status}",
})
class Service:
    """N tasks of a definition, kept running. Key: account/region/cluster/name. The first deployment is the primary.

    `rollout` is the id of the latest service deployment, `completed` the last deployment that completed, to which a
    failed one is rolled back. `balancing`: tasks are being moved from a full zone to an empty one, no move before
    `rebalance_at`.
    """

    key: str
    account: str
    region: str
    cluster: str
    name: str
    desired: int
    deployments: tuple[Deployment, ...]
    created_at: float
    created_by: str
    status: Literal["ACTIVE", "DRAINING", "INACTIVE"] = "ACTIVE"
    launch_type: str = "FARGATE"
    strategy: Strategy = ()
    minimum_percent: int = 100
    maximum_percent: int = 200
    platform_version: str = "LATEST"
    propagate_tags: str = "NONE"
    managed_tags: bool = False
    tags: Tags = ()
    events: tuple[Event, ...] = ()
    steady: bool = False
    inactive_at: float | None = None
    breaker: Breaker = Breaker()
    rollout: str = ""
    completed: Deployment | None = None
    rebalancing: Literal["ENABLED", "DISABLED"] = "DISABLED"
    balancing: bool = False
    rebalance_at: float = 0.0

    @property
    def arn(self) -> str:
        """The service's ARN, in the long format."""
        return f"arn:aws:ecs:{self.region}:{self.account}:service/{self.cluster}/{self.name}"

    @property
    def cluster_arn(self) -> str:
        """The ARN of its cluster."""
        return f"arn:aws:ecs:{self.region}:{self.account}:cluster/{self.cluster}"


def _definitions(service: Any) -> list[str] | None:
    """The definitions that a service needs: what runs, and what it may be rolled back to."""
    if service.status == "INACTIVE":
        return None
    return [d.definition for d in (*service.deployments, service.completed) if d is not None]


@record("ecs.log")
class LogPosition:
    """Up to which byte a container's output is in CloudWatch Logs. Key: the task's key, "/", the container's name.

    `unfinished` are the lines before that byte which wait for the rest of their event, the first since `since`.
    """

    key: str
    offset: int
    unfinished: str = ""
    since: float = 0.0
