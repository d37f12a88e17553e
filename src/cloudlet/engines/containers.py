"""Containers on Podman, which conmon keeps while the control plane is away."""

import asyncio
import re
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from cloudlet.engines import consumption, container_log, initial_content, process
from cloudlet.engines.announcements import Announcements
from cloudlet.engines.container_record import Record
from cloudlet.engines.images import ImageList, Stored
from cloudlet.engines.podman import Answer, Podman
from cloudlet.engines.ports import Container, ContainerSpec, LogChunk, Usage
from cloudlet.engines.process import Process
from cloudlet.kernel.errors import Busy, Conflict, EngineError, Refused
from cloudlet.kernel.site import Site

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,200}")
_GONE_S = 15.0  # how long SIGKILL may take (a process may sit in uninterruptible input or output)
# Podman's answers that say nothing about the container: they may go away by themselves.
_PASSING = ("resource temporarily unavailable", "database is locked", "timed out", "deadline exceeded",
            "too many open files", "cannot allocate memory", "device or resource busy", "interrupted system call",
            "context canceled", " in use")  # in use: the name, by a request of a predecessor that came through


class PodmanContainers:
    """Containers of one installation. One control plane at a time may use it."""

    def __init__(self, podman: Podman, site: Site) -> None:
        self._podman = podman
        self._site = site
        self._images = ImageList(podman.storage)
        self._records = podman.records
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ensuring: set[asyncio.Task[Container]] = set()
        self._making: Counter[str] = Counter()  # groups in which a container is on its way
        self._kills: dict[str, asyncio.TimerHandle] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._forgotten: dict[str, int] = {}  # how much of the log was given back to the disk
        self._announcements = Announcements()

    # ── Making ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def ensure(self, spec: ContainerSpec) -> Container:
        """Created and started once; see the port.

        Raises Refused ("CannotCreateContainerError: …", "CannotStartContainerError: …") with the runtime's words and
        Conflict where the image or the network namespace is not there; of these nothing is left. After Busy, Podman
        may be at work still: the container is "created" until it is ensured or destroyed. A caller that is cancelled
        does not wait any more, and what was begun is finished.
        """
        if not _NAME.fullmatch(spec.name) or not _NAME.fullmatch(spec.group.name):
            raise Refused(f"{spec.name} in {spec.group.name} is no name for a container")
        ensuring = asyncio.create_task(self._ensure(spec))
        self._ensuring.add(ensuring)
        ensuring.add_done_callback(self._ensured)
        return await asyncio.shield(ensuring)

    def _ensured(self, task: asyncio.Task[Container]) -> None:
        self._ensuring.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone

    async def _ensure(self, spec: ContainerSpec) -> Container:
        async with self._lock(spec.name):
            record = self._records.find(spec.name)
            if record is None or not record.id:
                self._making[spec.group.name] += 1
                try:
                    record = await self._recover(record) if record is not None else None
                    record = record or await self._make(spec)
                finally:
                    self._making[spec.group.name] -= 1
                self._announcements.tell(spec.name)
            elif record.restarting or (record.starts < spec.starts
                                       and self._records.observe(record).state == "exited"):
                record = await self._restart(record, spec.starts)
                self._announcements.tell(spec.name)
            self._watch(record)
            return self._records.observe(record)

    async def _make(self, spec: ContainerSpec) -> Record:
        image = self._images.find(spec.image)
        if image is None:
            raise Conflict(f"the image {spec.image} is not here")
        if not Path(spec.namespace).exists():
            raise Conflict(f"the network namespace {spec.namespace} is not here")
        group = f"{self._podman.cgroup}/{spec.group.name}"
        record = Record(spec.name, group, image_digest=image.digest,
                        stop_signal=_signal(spec.stop_signal or self._images.stop_signal(image) or "SIGTERM"))
        body = self._body(spec, image, record)
        try:
            try:
                self._records.save(record)
                for file, text in (("hosts", _hosts(spec)), ("resolv.conf", _resolv_conf(spec))):
                    self._records.path(spec.name, file).write_text(text)
                    self._records.path(spec.name, file).chmod(0o644)  # whatever our umask is: any user in it reads them
            except OSError as failed:
                raise Refused(f"CannotCreateContainerError: {failed.strerror or failed}") from None
            self._podman.cgroups.ensure(group, spec.group)
            created = await self._podman.ask("POST", "/containers/create", body)
            _check(created, "CannotCreateContainerError")
            for mount in spec.mounts:
                if mount.fill:
                    async with self._lock(mount.source):  # containers that share a volume may start at the same time
                        if initial_content.wanting(mount):
                            await initial_content.fill(self._podman, spec.name, mount)
            _check(await self._podman.ask("POST", f"/containers/{spec.name}/start"), "CannotStartContainerError")
            return self._started(record, created.json["Id"])
        except (Refused, Conflict):  # said with certainty: nothing of it is under way any more
            await self._remove(record, making=1)
            raise

    async def _restart(self, record: Record, starts: int) -> Record:
        """Starts one that has ended once more. If that was begun before and cut off, what started since is adopted."""
        try:
            if record.restarting:
                await self._podman.disown()
            else:
                record = self._records.save(replace(record, starts=starts, restarting=True))
            if _process(self._userdata(record.id) / "pidfile")[1] <= record.started_at:
                _check(await self._podman.ask("POST", f"/containers/{record.name}/start"), "CannotStartContainerError")
            return self._started(record, record.id)
        except OSError as failed:
            raise Refused(f"CannotStartContainerError: {failed.strerror or failed}") from None
        except Refused:
            self._records.save(replace(record, restarting=False))
            raise

    def _userdata(self, container: str) -> Path:
        """Where conmon leaves its files of a container."""
        return self._podman.runtime / "runroot" / "overlay-containers" / container / "userdata"

    def _started(self, record: Record, container: str) -> Record:
        """Writes down that it runs, from the files that conmon left when it started it."""
        run = self._userdata(container)
        init, made = _process(run / "pidfile")
        conmon, _ = _process(run / "conmon.pid")
        found = replace(record, cgroup=f"{record.group}/libpod-{container}", id=container, init=init, conmon=conmon,
                        started_at=made or self._podman.clock.now(), restarting=False)
        try:
            if record.restarting:
                self._records.reopen(found)
            return self._records.save(found)
        except OSError as failed:
            raise Refused(f"CannotStartContainerError: {failed.strerror or failed}") from None

    async def _recover(self, record: Record) -> Record | None:
        """What became of a container whose making was cut off: adopted if it was started, else removed."""
        await self._podman.disown()
        found = await self._podman.ask("GET", f"/containers/{record.name}/json")
        if found.status == 200 and record.group and not found.json["State"]["StartedAt"].startswith("0001-"):
            return self._started(record, found.json["Id"])
        if found.status not in (200, 404):
            raise Busy(f"{record.name} cannot be inspected: {found.complaint}")
        await self._remove(record, making=1)
        return None

    def _body(self, spec: ContainerSpec, image: Stored, record: Record) -> dict[str, Any]:
        """What Podman's API takes (SpecGenerator)."""
        own = {"/etc/hosts": "hosts", "/etc/resolv.conf": "resolv.conf"}
        mounts = [{"type": "bind", "source": str(self._records.path(spec.name, file)), "destination": target,
                   "options": ["rbind", "rprivate"]} for target, file in own.items()]
        mounts += [{"type": "bind", "source": mount.source, "destination": mount.target,
                    "options": ["rbind", "rprivate", "ro" if mount.read_only else "rw"]} for mount in spec.mounts]
        memory = {"limit": spec.memory_bytes, "reservation": spec.memory_reservation_bytes}
        body: dict[str, Any] = {
            "name": spec.name, "image": image.id, "hostname": spec.hostname,
            "netns": {"nsmode": "path", "value": spec.namespace},
            "cgroup_parent": record.group, "cgroups_mode": "no-conmon",
            "resource_limits": {"memory": _known(memory), "cpu": _known({"shares": spec.cpu_shares})},
            "r_limits": self._ulimits(spec), "mounts": mounts, "use_image_hosts": True,
            "use_image_resolve_conf": True, "systemd": "false",
            "env": dict(spec.environment), "labels": {
                **dict(spec.labels), "cloudlet.installation": self._site.installation.id, "cloudlet.name": spec.name},
            "log_configuration": {"driver": "k8s-file", "path": str(self._records.path(spec.name, "log"))}
            if spec.keep_log else {"driver": "none"},
            "terminal": spec.tty, "stdin": spec.stdin, "init": spec.init, "privileged": spec.privileged,
            "read_only_filesystem": spec.read_only, "stop_signal": record.stop_signal,
            "stop_timeout": spec.stop_timeout_s, "sysctl": dict(spec.sysctls),
            "cap_add": list(spec.add_capabilities), "cap_drop": list(spec.drop_capabilities)}
        return body | _known({
            "entrypoint": list(spec.entry_point) if spec.entry_point else None,
            "command": list(spec.command) if spec.command else None,
            "work_dir": spec.working_directory, "user": spec.user})

    def _ulimits(self, spec: ContainerSpec) -> list[dict[str, object]]:
        limits = self._podman.default_ulimits()
        for name, soft, hard in spec.ulimits:
            number = getattr(resource, f"RLIMIT_{name.upper()}", None)
            if number is None:
                raise Refused(f"CannotCreateContainerError: {name} is no resource limit of this machine")
            ours = resource.getrlimit(number)[1]
            if ours != resource.RLIM_INFINITY and hard > ours and not self._podman.may_raise_limits():
                raise Refused(f"CannotCreateContainerError: the ulimit {name}={hard} is above {ours}, the most that "
                              "this machine lets Cloudlet give (it lacks CAP_SYS_RESOURCE)")
            limits[name] = (soft, hard)
        return [{"type": name, "soft": soft, "hard": hard} for name, (soft, hard) in limits.items()]

    # ── Looking ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def observe(self, name: str) -> Container | None:
        """What is there, from files and /proc alone."""
        record = self._records.find(name)
        return None if record is None else self._records.observe(record)

    async def owned(self) -> tuple[str, ...]:
        """The names of all containers of this installation."""
        return tuple(self._records.names())

    async def read_log(self, name: str, offset: int, limit: int = 10_000) -> LogChunk:
        """See the port, and `container_log.read` for how long and unfinished lines are treated."""
        if name in self._watches and self._records.log_size(name) == offset:
            return LogChunk((), offset)  # it runs and has said nothing since: no need to look at /proc
        if offset - self._forgotten.get(name, 0) > 2 * container_log.KEPT:
            self._forgotten[name] = offset - container_log.KEPT
            container_log.forget(self._records.path(name, "log"), self._forgotten[name])
        record = self._records.find(name)
        ended = record is None or (bool(record.id) and self._records.observe(record).state == "exited")
        return container_log.read(self._records.path(name, "log"), offset, limit, ended=ended,
                                  now=self._podman.clock.now())

    async def usage(self, name: str) -> Usage | None:
        """What a running container uses now, from its control group."""
        record = self._records.find(name)
        pid = self._records.running(record) if record is not None and record.id else None
        return consumption.usage(self._podman.cgroups, record.cgroup, pid) if record is not None and pid else None

    async def events(self) -> AsyncIterator[str]:
        """The name of each container that starts or exits; first of those that exited before anybody listened."""
        with self._announcements.listening() as queue:
            for name in self._records.names():
                record = self._records.find(name)
                if record is not None and record.id:
                    self._watch(record)
                    if name not in self._watches:
                        queue.put_nowait(name)
            while True:
                yield await queue.get()

    def _watch(self, record: Record) -> None:
        """Waits in the background for its end, once."""
        if record.name in self._watches or self._records.observe(record).state != "running":
            return
        watch = self._watches[record.name] = asyncio.create_task(self._await_end(record))
        watch.add_done_callback(lambda _: self._watches.pop(record.name, None))

    async def _await_end(self, record: Record) -> None:
        await self._end(record)
        self._records.observe(record)
        self._announcements.tell(record.name)

    async def _end(self, record: Record) -> None:
        """Returns when it has ended, and conmon has written how."""
        if self._records.attended(record):
            await process.gone(Process(*record.conmon))
        if self._records.running(record) is not None:  # somebody killed conmon
            await process.gone(Process(*record.init))

    # ── Ending ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self, name: str, grace_s: float) -> None:
        """Sends the stop signal, once however often this is called, and sets the time of SIGKILL to `grace_s` from now;
        0 kills at once. That clock is ours alone: after a restart the caller says again what is left of the grace."""
        record = self._records.find(name)
        if record is None or self._records.running(record) is None:
            return
        if grace_s <= 0:
            self._kill(record)
            return
        signalled = self._records.path(name, "signalled")
        if not signalled.exists():
            process.send(Process(*record.init), record.stop_signal)
            try:
                signalled.touch()
            except OSError:
                pass  # a full disk: at worst a restart sends the signal again
        self._cancel_kill(name)
        self._kills[name] = asyncio.get_running_loop().call_later(grace_s, self._kill, record)

    def _kill(self, record: Record) -> None:
        self._cancel_kill(record.name)
        if self._records.running(record) is not None:
            process.send(Process(*record.init), signal.SIGKILL)

    def _cancel_kill(self, name: str) -> None:
        if (timer := self._kills.pop(name, None)) is not None:
            timer.cancel()

    async def destroy(self, name: str) -> None:
        """Removes a container, running or not, its log, and its group when that is empty."""
        async with self._lock(name):
            record = self._records.find(name)
            if record is not None and (not record.id or record.restarting):
                await self._podman.disown()
            if record is not None:
                await self._remove(record, making=0)

    async def _remove(self, record: Record, making: int) -> None:
        """Removes all of it; `making`: how many of those being made in its group are this one."""
        record = self._records.find(record.name) or record
        self._kill(record)
        try:
            async with asyncio.timeout(_GONE_S):
                await self._end(record)
        except TimeoutError:
            raise Busy(f"{record.name} does not end though it was killed") from None
        self._records.close(record)
        answer = await self._podman.ask("DELETE", f"/containers/{record.name}?force=true&v=true&timeout=0")
        problem = answer.complaint if answer.status >= 400 and answer.status != 404 else _removal_error(answer)
        if problem:
            raise Busy(f"{record.name} could not be removed: {problem}")
        if record.cgroup:
            self._podman.cgroups.remove(record.cgroup)
        self._records.forget(record.name)
        self._forgotten.pop(record.name, None)
        if record.group and self._making[record.group.rpartition("/")[2]] <= making:
            self._podman.cgroups.remove(record.group, whole=False)

    async def destroy_all(self) -> None:
        """Removes every container, for `cloudlet down`."""
        async def remove(name: str) -> None:
            try:
                await self.destroy(name)
            except EngineError:
                await self.destroy(name)
        await asyncio.gather(*(remove(name) for name in await self.owned()))

    async def close(self) -> None:
        """Stops watching; containers go on."""
        for name in list(self._kills):
            self._cancel_kill(name)
        for watch in list(self._watches.values()):
            watch.cancel()

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _check(answer: Answer, code: str) -> None:
    """Raises what an answer says went wrong, in the words that ECS would show."""
    if answer.status < 400 or answer.status == 304:
        return
    said = answer.complaint
    if any(sign in said.lower() for sign in _PASSING):
        raise Busy(said)
    raise Refused(f"{code}: {said}")


def _removal_error(answer: Answer) -> str:
    """A removal answers 200 with a list of those that it could not remove."""
    if answer.status != 200:
        return ""
    return "; ".join(str(report["Err"]) for report in answer.json or () if report.get("Err"))


def _process(pidfile: Path) -> tuple[tuple[int, int], float]:
    """The process of a pid file, with start time 0 where it is gone, and when the file was written."""
    try:
        pid, written = int(pidfile.read_text()), pidfile.stat().st_mtime
    except (OSError, ValueError):
        return (0, 0), 0.0
    found = process.identify(pid)
    return (pid, found.started if found else 0), written


def _signal(name: str) -> int:
    """A signal by name or number: "SIGTERM", "TERM", "15", "SIGRTMIN+3"."""
    text = name.upper().removeprefix("SIG")
    base, plus, offset = text.partition("+")
    try:
        number = int(text) if text.isdigit() else signal.Signals[f"SIG{base}"] + (int(offset) if plus else 0)
        return int(signal.Signals(number)) if number < signal.SIGRTMIN else min(number, signal.SIGRTMAX)
    except (KeyError, ValueError):
        raise Refused(f"CannotCreateContainerError: invalid stop signal: {name}") from None


def _hosts(spec: ContainerSpec) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    return "".join(f"{line}\n" for line in (*lines, *(f"{address} {name}" for name, address in spec.hosts)))


def _resolv_conf(spec: ContainerSpec) -> str:
    lines = [f"nameserver {address}" for address in spec.resolvers]
    return "".join(f"{line}\n" for line in ([f"search {' '.join(spec.search)}"] if spec.search else []) + lines)
