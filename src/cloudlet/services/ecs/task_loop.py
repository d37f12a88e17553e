"""The loop of tasks: look, decide, make one move, record what was seen. Every step may be cut off and repeated."""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.engines.ports import Container, Engines, ImageSpec, StorageSpec
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import AwsError, Conflict, Refused
from cloudlet.kernel.site import Site
from cloudlet.services.ec2 import NetworkInterface, find_interface, release_interface
from cloudlet.services.ecr import ImageNotFound, ResolvedImage, resolve_image
from cloudlet.services.ecs import awslogs
from cloudlet.services.ecs.awslogs import Shipper
from cloudlet.services.ecs.container_spec import container_name, container_spec, group_name, stop_timeout
from cloudlet.services.ecs.credentials import TaskCredentials, refusal
from cloudlet.services.ecs.health import Prober
from cloudlet.services.ecs.records import Definition, Service, Task, TaskContainer
from cloudlet.services.ecs.service_plan import after_failure, failed
from cloudlet.services.ecs.task_plan import KILL_AGAIN_S, Move, Sight, decide, ended, note, stopped, visible_for
from cloudlet.services.ecs.task_secrets import Unreadable, read_secrets, registry_login
from cloudlet.services.ecs.task_volumes import mounts, volume_names
from cloudlet.store.db import OutOfSpace, Store, Tx

log = logging.getLogger(__name__)


class TaskLoop:
    """Steps of the kind "ecs.task"."""

    def __init__(self, store: Store, engines: Engines, site: Site, clock: Clock, shipper: Shipper,
                 prober: Prober, credentials: TaskCredentials) -> None:
        self._store, self._engines, self._site, self._clock = store, engines, site, clock
        self._shipper, self._prober, self._credentials = shipper, prober, credentials

    async def reconcile(self, key: str) -> Outcome:
        """One step of one task."""
        with self._store.tx() as tx:
            task = tx.get(Task, key)
            definition = tx.get(Definition, task.definition) if task else None
            interface = find_interface(tx, task.attachment.interface) if task else None
        if task is None:
            return Done()
        if task.status == "STOPPED" or definition is None:
            return self._rest(task)
        noted = note(task, await self._look(task, interface), self._clock.now())
        if not self._record(task, noted):
            return Again()
        self._prober.follow(noted, definition)
        move = decide(noted, self._clock.now())
        match move.verb:
            case "pull":
                return await self._pull(noted, definition, move)
            case "await-interface":  # its own loop tells us, in time
                return Again(move.after or 0.0, "waits for its network interface")
            case "give-up":
                return self._fail(noted, "Timeout waiting for network interface provisioning to complete.")
            case "start":
                return await self._start(noted, definition, interface, move)
            case "await-dependencies":  # their ends and their health are told
                return Done() if move.after is None else Again(move.after, "waits for containers it depends on")
            case "watch":
                return self._watch(noted, definition)
            case "signal" | "kill":
                return await self._stop(noted, definition, move)
            case "await-exit":
                return Again(move.after or 0.0, "waits for its containers to stop")
            case "tear-down":
                return await self._tear_down(noted, definition)
        return Again()

    async def _look(self, task: Task, interface: NetworkInterface | None) -> Sight:
        """What is there of a task that has not stopped. A container can only be there once its image was."""
        seen: Sequence[Container | None] = ()
        if task.pull_stopped_at is not None:
            seen = await asyncio.gather(*(self._engines.containers.observe(self._name(task, position))
                                          for position in range(len(task.containers))))
        return Sight(interface is not None and interface.ready, dict(enumerate(seen)))

    def _name(self, task: Task, position: int) -> str:
        return container_name(self._site.installation, task, position)

    def _record(self, seen: Task, changed: Task) -> bool:
        """Writes what was seen, and tells the service; False where somebody wrote meanwhile."""
        with self._store.tx() as tx:
            return record(tx, seen, changed)

    def _fail(self, task: Task, reason: str, position: int | None = None) -> Outcome:
        """The task will never start: it stops, with the reason that AWS would show."""
        changed = stopped(task, "TaskFailedToStart", reason, self._clock.now())
        if position is not None:
            changed = _with(changed, position, replace(task.containers[position], reason=reason))
        self._record(task, replace(changed, version=task.version + 1))
        return Again()

    def _lose(self, task: Task, reason: str, position: int) -> Outcome:
        """A container that ended could not be started again, and so has ended for good."""
        ended = replace(task.containers[position], status="STOPPED", reason=reason, finished_at=self._clock.now())
        changed = _with(task, position, ended)
        if ended.essential:
            changed = stopped(changed, "EssentialContainerExited", "Essential container in task exited",
                              self._clock.now())
        self._record(task, replace(changed, version=task.version + 1))
        return Again()

    async def _pull(self, task: Task, definition: Definition, move: Move) -> Outcome:
        """Pulls the images, while the interface is being made. The digest is pinned before the first pull."""
        resolved: dict[int, ResolvedImage | None] = {}
        logins: dict[int, tuple[str, str]] = {}
        pinned = replace(task, pull_started_at=task.pull_started_at or self._clock.now())
        for position in move.containers:
            container = task.containers[position]
            image = pinned_image(container.image, container.digest) if container.digest else container.image
            try:
                with self._store.tx() as tx:
                    found = resolved[position] = resolve_image(tx, task.account, task.region, image, self._site,
                                                               task.execution_role)
                    if found is None and (login := registry_login(tx, task, definition, position)):
                        logins[position] = login
            except Unreadable as error:
                return self._fail(task, str(error), position)
            except ImageNotFound as error:
                return self._fail(task, "CannotPullContainerError: pull image manifest has been retried 1 time(s):"
                                        f" {error}", position)
            if found:
                pinned = _with(pinned, position, replace(container, digest=found.digest))
        if not self._record(task, pinned):
            return Again()
        pulled = pinned
        for position, found in resolved.items():
            container = pinned.containers[position]
            spec = (ImageSpec(found.reference, found.username, found.password, plain_http=True) if found
                    else ImageSpec(container.image, *logins.get(position, ())))
            try:
                image_here = await self._engines.images.ensure(spec)
            except Refused as error:
                return self._fail(pinned, worded("CannotPullContainerError", error), position)
            pulled = _with(pulled, position, replace(container, reference=spec.reference,
                                                     digest=container.digest or image_here.digest,
                                                     volumes=image_here.volumes))
        self._record(pinned, replace(pulled, pull_stopped_at=self._clock.now(), version=pinned.version + 1))
        return Again()

    async def _start(self, task: Task, definition: Definition, interface: NetworkInterface | None,
                     move: Move) -> Outcome:
        """Starts the containers, all at once, after what they need was seen to be there."""
        if interface is None:
            return Again()
        wanted = list(awslogs.targets(self._site.installation, task, definition))
        try:
            with self._store.tx() as tx:
                if task.credentials:
                    self._credentials.of(tx, task)
        except OutOfSpace:  # says nothing of the role: the next attempt may find room
            raise
        except AwsError as error:
            return self._fail(task, refusal(task, error))
        try:
            with self._store.tx() as tx:
                for target in wanted:
                    awslogs.prepare(tx, target)
        except OutOfSpace:
            raise
        except AwsError as error:
            return self._fail(task, "ResourceInitializationError: failed to validate logger args: create stream has"
                                    " been retried 1 times: failed to create Cloudwatch log stream:"
                                    f" {error.code}: {error.message} : exit status 1")
        try:
            with self._store.tx() as tx:
                fresh = [position for position in move.containers if not task.containers[position].restarts]
                secrets = read_secrets(tx, task, definition, fresh)  # one that starts again keeps its own
            paths = await self._make_volumes(task, definition)
        except Unreadable as error:
            return self._fail(task, str(error))
        except Refused as error:
            return self._fail(task, worded("ResourceInitializationError", error))
        specs = [container_spec(self._site, task, definition, position, interface,
                                mounts(task, definition, position, paths), secrets.get(position, ()))
                 for position in move.containers]
        results = await asyncio.gather(*(self._engines.containers.ensure(spec) for spec in specs),
                                       return_exceptions=True)
        for target in wanted:
            self._shipper.follow(target)
        seen: dict[int, Container | None] = {}
        for position, result in zip(move.containers, results, strict=True):
            if isinstance(result, Refused) and task.containers[position].restarts:
                return self._lose(task, worded("CannotStartContainerError", result), position)
            if isinstance(result, Refused):
                return self._fail(task, worded("CannotStartContainerError", result), position)
            if isinstance(result, Conflict):  # its image may be gone again: the next step makes sure
                lost = replace(task.containers[position], reference="")
                self._record(task, _with(task, position, lost))
            if isinstance(result, BaseException):
                raise result
            seen[position] = result
        noted = note(task, Sight(True, seen), self._clock.now())
        self._record(task, noted)
        return Done() if decide(noted, self._clock.now()).verb == "watch" else Again()

    async def _make_volumes(self, task: Task, definition: Definition) -> Mapping[str, str]:
        """The directories of the task's volumes. Most tasks have none."""
        names = volume_names(task, definition)
        if not names:
            return {}
        spec = StorageSpec(group_name(self._site.installation, task.key), names)
        return (await self._engines.storages.ensure(spec)).paths

    def _watch(self, task: Task, definition: Definition) -> Outcome:
        """All is as it should be; whoever adopted the task after a restart follows its logs again."""
        for target in awslogs.targets(self._site.installation, task, definition):
            self._shipper.follow(target)
        return Done()

    async def _stop(self, task: Task, definition: Definition, move: Move) -> Outcome:
        """Sends the stop signal, or SIGKILL when the grace is over, and records when that is. A crash in between sends
        the signal twice, which does no harm; recorded first, it might never be sent."""
        now, changed = self._clock.now(), task
        for position in move.containers:
            after = KILL_AGAIN_S if move.verb == "kill" else stop_timeout(definition, position)
            changed = _with(changed, position, replace(task.containers[position], kill_at=now + after))
        graces = {position: 0.0 if move.verb == "kill" else float(stop_timeout(definition, position))
                  for position in move.containers}
        await asyncio.gather(*(self._engines.containers.stop(self._name(task, position), grace)
                               for position, grace in graces.items()))
        self._record(task, replace(changed, status="STOPPING", version=task.version + 1))
        return Again()

    async def _tear_down(self, task: Task, definition: Definition) -> Outcome:
        """Nothing runs any more: ships the last lines, removes the containers, gives the interface back."""
        names = [self._name(task, position) for position in range(len(task.containers))]
        present = {name: seen for name in names if (seen := await self._engines.containers.observe(name))}
        if alive := [name for name, seen in present.items() if seen.state == "running"]:
            # A start that outlived the process that asked for it: nobody expected it any more, and its log never ends.
            await asyncio.gather(*(self._engines.containers.stop(name, 0.0) for name in alive))
            return Again(KILL_AGAIN_S, "kills a container that started after all")
        for target in awslogs.targets(self._site.installation, task, definition):
            if target.container in present:
                await self._shipper.drain(target)
            self._shipper.leave(target)
        self._prober.leave(task)
        await asyncio.gather(*(self._engines.containers.destroy(name) for name in names))
        if volume_names(task, definition):
            await self._engines.storages.destroy(group_name(self._site.installation, task.key))
        with self._store.tx() as tx:
            if record(tx, task, ended(task, tx.now)):
                release_interface(tx, task.attachment.interface)
        self._credentials.forget(task)
        return Again()

    def _rest(self, task: Task) -> Outcome:
        """A task that has stopped stays on show for a while, then goes."""
        with self._store.tx() as tx:
            left = visible_for(task, tx.now)
            if left > 0:
                return Again(left, "has stopped; stays visible for an hour")
            awslogs.forget(tx, task)
            tx.delete(Task, task.key)
        return Done()


def record(tx: Tx, seen: Task, changed: Task) -> bool:
    """Writes what was seen of a task unless somebody wrote meanwhile; its service hears of what concerns it."""
    if not tx.swap(seen, changed):
        return False
    if changed.service and (seen.status, seen.desired) != (changed.status, changed.desired):
        service = tx.get(Service, changed.service)
        if service is not None:
            if seen.desired != changed.desired and failed(changed):
                tx.put(after_failure(service, changed.deployment, tx.now), wake=False)
            tx.enqueue("ecs.service", changed.service)
    return True


def worded(code: str, error: Refused) -> str:
    """An engine's refusal as a reason in AWS's form, "CannotPullContainerError: …", which it may bear already."""
    text = str(error)
    return text if re.match(r"[A-Za-z]+Error: ", text) else f"{code}: {text}"


def pinned_image(image: str, digest: str) -> str:
    """The image's name with a digest in place of its tag."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{digest}"


def _with(task: Task, position: int, container: TaskContainer) -> Task:
    containers = list(task.containers)
    containers[position] = container
    return replace(task, containers=tuple(containers))
