"""What tasks reach on 169.254.170.2: the credentials of their role, metadata and statistics (3 and 4), and the agent.

The connection says which network it came from, and the source address which interface, hence which task: a task sees
itself and nobody else, whatever path it guesses.
"""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from cloudlet.engines.ports import Engines
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import AwsError, EngineError
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.site import Site
from cloudlet.services.ec2 import NetworkInterface, find_interface_by_address
from cloudlet.services.ecs.agent import Agent
from cloudlet.services.ecs.container_spec import container_name, group_name, labels
from cloudlet.services.ecs.credentials import TaskCredentials, refusal
from cloudlet.services.ecs.docker_stats import Sample, stats
from cloudlet.services.ecs.records import Definition, Task, TaskContainer
from cloudlet.services.ecs.tasks import override_of
from cloudlet.store.db import Store

_CREDENTIALS = re.compile(r"/v2/credentials/([0-9a-f-]{36})")
_METADATA = re.compile(r"/v([34])/([0-9a-f-]{1,64})(|/task|/taskWithTags|/stats|/task/stats)/?")
_PROTECTION = re.compile(r"/api/([0-9a-f-]{1,64})/task-protection/v1/state/?")
SAMPLE_S = 0.5  # between the two samples of a container that was not measured before
SAMPLES_MAX = 1000  # of containers whose last sample is remembered


class Metadata:
    """Answers requests of tasks; `handle` is an http.Handler."""

    def __init__(self, store: Store, engines: Engines, site: Site, clock: Clock,
                 credentials: TaskCredentials, agent: Agent) -> None:
        self._store, self._engines, self._site, self._clock = store, engines, site, clock
        self._credentials, self._agent = credentials, agent
        self._samples: dict[str, Sample] = {}

    async def handle(self, request: Request) -> Response:
        """One request. Who asks is told by the network and the source address."""
        agent = _PROTECTION.fullmatch(request.path)
        if request.method not in (("GET", "PUT") if agent else ("GET", "HEAD")):
            return _text(405, "Method Not Allowed")
        with self._store.tx() as tx:
            interface = find_interface_by_address(tx, request.network, request.source) if request.network else None
            tasks = tx.find(Task, interface=interface.id) if interface else []
            task = tasks[0] if tasks else None
            definition = tx.get(Definition, task.definition) if task else None
        if interface is None or task is None or definition is None:
            return _text(404, "404 page not found")
        if agent and any(container.token == agent[1] for container in task.containers):
            status, said = await self._agent.protection(request, task)
            return _json(_protection(said), status)
        if match := _CREDENTIALS.fullmatch(request.path):
            return self._role(task, match[1])
        if match := _METADATA.fullmatch(request.path):
            positions = [n for n, container in enumerate(task.containers) if container.token == match[2]]
            if not positions:
                return _text(404, f"V{match[1]} metadata handler: unable to get container ID from request")
            return await self._metadata(task, definition, interface, positions[0], int(match[1]), match[3])
        return _text(404, "404 page not found")

    def _role(self, task: Task, asked: str) -> Response:
        if not task.credentials or asked != task.credentials:
            return _json({"code": "InvalidIdInRequest", "message": "CredentialsV2Request: ID not found",
                          "HTTPErrorCode": 400}, 400)
        try:
            with self._store.tx() as tx:
                found = self._credentials.of(tx, task)
        except AwsError as error:
            return _json({"code": error.code, "message": refusal(task, error), "HTTPErrorCode": 500}, 500)
        return _json({"RoleArn": task.task_role, "AccessKeyId": found.access_key_id, "SecretAccessKey": found.secret,
                      "Token": found.token, "Expiration": _time(found.expires, whole=True)})

    async def _metadata(self, task: Task, definition: Definition, interface: NetworkInterface, position: int,
                        version: int, what: str) -> Response:
        match what:
            case "/task" | "/taskWithTags":
                answer = self._task(task, definition, interface, version)
                if what == "/taskWithTags":
                    answer["TaskTags"] = dict(task.tags)
                return _json(answer if version == 3 else answer | await self._storage(task))
            case "/stats":
                return _json(await self._stats(task, position))
            case "/task/stats":
                there = [n for n, container in enumerate(task.containers) if container.runtime_id]
                found = await asyncio.gather(*(self._stats(task, n) for n in there))
                return _json({task.containers[n].runtime_id: said for n, said in zip(there, found, strict=True)})
        return _json(self._container(task, definition, interface, position, version))

    def _task(self, task: Task, definition: Definition, interface: NetworkInterface, version: int) -> dict[str, Any]:
        family, _, revision = task.revision.partition(":")
        answer: dict[str, Any] = {
            "Cluster": task.cluster_arn, "TaskARN": task.arn, "Family": family, "Revision": revision,
            "DesiredStatus": task.desired, "KnownStatus": task.status,
            "Limits": {"CPU": task.cpu / 1024, "Memory": task.memory},
            "Containers": [self._container(task, definition, interface, n, version)
                           for n in range(len(task.containers))],
            "AvailabilityZone": task.attachment.zone}
        if version == 4:
            answer |= {"LaunchType": "FARGATE", "VPCID": interface.vpc_id}
            if task.service:
                answer["ServiceName"] = task.service.rpartition("/")[2]
        times = (("PullStartedAt", task.pull_started_at), ("PullStoppedAt", task.pull_stopped_at),
                 ("ExecutionStoppedAt", task.execution_stopped_at))
        return answer | {name: _time(at) for name, at in times if at is not None}

    async def _storage(self, task: Task) -> dict[str, Any]:
        """What the task takes of its ephemeral storage, in MiB, as far as it can be measured now."""
        try:
            used = await self._engines.storages.usage(group_name(self._site.installation, task.key))
        except EngineError:
            return {}
        return {"EphemeralStorageMetrics": {"Utilized": used >> 20, "Reserved": task.storage_gib << 10}}

    def _container(self, task: Task, definition: Definition, interface: NetworkInterface, position: int,
                   version: int) -> dict[str, Any]:
        container, defined = task.containers[position], definition.containers[position]
        name = container_name(self._site.installation, task, position)
        override = override_of(task, container.name)
        network: dict[str, Any] = {"NetworkMode": "awsvpc", "IPv4Addresses": [interface.private_ip]}
        if version == 4:
            network |= {"AttachmentIndex": 0, "MACAddress": interface.mac, "PrivateDNSName": interface.private_dns_name,
                        "IPv4SubnetCIDRBlock": interface.subnet_cidr, "DomainNameServers": [interface.resolver],
                        "DomainNameSearchList": [interface.private_dns_name.partition(".")[2]],
                        "SubnetGatewayIpv4Address": _gateway(interface.subnet_cidr)}
        answer: dict[str, Any] = {
            "DockerId": container.runtime_id, "Name": container.name, "DockerName": name, "Image": container.image,
            "ImageID": container.digest, "Labels": {**(defined.get("dockerLabels") or {}), **labels(task, position)},
            "DesiredStatus": task.desired, "KnownStatus": container.status,
            "Limits": _limits(container, override), "CreatedAt": _time(task.created_at), "Type": "NORMAL",
            "Networks": [network]}
        if container.started_at is not None:
            answer["StartedAt"] = _time(container.started_at)
        if container.finished_at is not None:
            answer["FinishedAt"] = _time(container.finished_at)
        if container.exit_code is not None:
            answer["ExitCode"] = container.exit_code
        if version == 4:
            if container.restart is not None:
                answer["RestartCount"] = container.restarts
            if defined.get("healthCheck"):
                since = container.health_since or container.started_at or task.created_at
                answer["Health"] = {"status": container.health, "statusSince": _time(since)}
            answer["ContainerARN"] = (f"arn:aws:ecs:{task.region}:{task.account}:container/{task.cluster}/{task.id}"
                                      f"/{container.id}")
            logging = defined.get("logConfiguration") or {}
            if logging.get("logDriver") == "awslogs":
                options = logging["options"]
                answer |= {"LogDriver": "awslogs", "LogOptions": {
                    **options, "awslogs-stream":
                        f"{options['awslogs-stream-prefix']}/{container.name}/{task.id}"}}
        return answer

    async def _stats(self, task: Task, position: int) -> dict[str, Any] | None:
        """Docker's statistics; None for a container that does not run."""
        name, container = container_name(self._site.installation, task, position), task.containers[position]
        before = self._samples.pop(container.runtime_id, None)
        if before is None:  # rates need two
            before = await self._sample(name)
            await self._clock.sleep(SAMPLE_S)
        now = await self._sample(name)
        if now is None:
            return None
        if before is not None and before.usage.cpu_seconds > now.usage.cpu_seconds:  # it was started again
            before = None
        self._samples[container.runtime_id] = now
        while len(self._samples) > SAMPLES_MAX:
            del self._samples[next(iter(self._samples))]
        return stats(container.runtime_id, name, before, now, _time)

    async def _sample(self, name: str) -> Sample | None:
        try:
            usage = await self._engines.containers.usage(name)
        except EngineError:
            return None
        return Sample(self._clock.now(), usage) if usage else None


def _limits(container: TaskContainer, override: dict[str, Any]) -> dict[str, int]:
    limits = {"CPU": override.get("cpu", container.cpu)}
    memory = override.get("memory", container.memory)
    return limits | {"Memory": memory} if memory else limits


def _protection(said: dict[str, Any]) -> dict[str, Any]:
    """The answer of an operation in the agent's own spelling."""
    if "protection" not in said:
        return said
    seen = said["protection"]
    until = seen.get("expirationDate")
    return {"protection": {"ExpirationDate": _time(until, whole=True) if until is not None else None,
                           "ProtectionEnabled": seen["protectionEnabled"], "TaskArn": seen["taskArn"]}}


def _gateway(cidr: str) -> str:
    address, _, prefix = cidr.partition("/")
    host = address.rpartition(".")
    return f"{host[0]}.{int(host[2]) + 1}/{prefix}"


def _time(at: float, whole: bool = False) -> str:
    moment = datetime.fromtimestamp(int(at) if whole else at, UTC)
    text = moment.isoformat(timespec="seconds" if whole else "microseconds")
    return text.replace("+00:00", "Z")


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, {"content-type": "application/json"}, msgspec.json.encode(value))


def _text(status: int, text: str) -> Response:
    return Response(status, {"content-type": "text/plain; charset=utf-8"}, text.encode())
