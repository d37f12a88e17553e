"""Podman as this installation's own: its configuration, its storage, and its API on a socket that starts when asked.

Nothing of the host's Podman is read or touched: configuration files, storage, locks, the runtime's state and temporary
files are all ours, so several installations and the host's own containers live side by side. The API process ends by
itself when idle; containers are conmon's children and do not care.
"""

import asyncio
import json
import logging
import os
import resource
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httptools
import msgspec

from cloudlet.engines.cgroups import Cgroups
from cloudlet.engines.container_record import Records
from cloudlet.engines.process import Process, find, identify, run, spawn
from cloudlet.kernel.clock import Clock, SystemClock
from cloudlet.kernel.errors import Busy, Refused, Unavailable
from cloudlet.kernel.site import Site

log = logging.getLogger(__name__)

IDLE_S = 120  # how long the API process stays when nobody asks anything
PARALLEL = 8  # requests at a time: more only wait for each other's locks on the storage
_START_S = 20.0
_PING_S = 5.0
_LOG_MAX = 1 << 20
_ROOT = "/v4.0.0/libpod"  # understood by Podman 4 and 5
_CAP_SYS_RESOURCE = 24
_NPROC_MAX = 32_768  # Podman 4.3 lowers its own limit to this, so that no child can have more
INSTALLS = "apt-get install podman conmon crun runc"

# What Docker, and so Fargate, gives every container; bit numbers of linux/capability.h.
CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7,
                "SETPCAP": 8, "NET_BIND_SERVICE": 10, "NET_RAW": 13, "SYS_CHROOT": 18, "MKNOD": 27, "AUDIT_WRITE": 29,
                "SETFCAP": 31}

# conmon without its exit command. That command ("podman container cleanup") would cost a process for every exit, and
# would remove the exit status and the control group's counts before we could be sure to have read them.
_CONMON = """#!/bin/sh
n=$#
while [ "$n" -gt 0 ]; do
  case $1 in
    --exit-command|--exit-command-arg) shift; n=$((n - 1)) ;;
    *) set -- "$@" "$1" ;;
  esac
  shift; n=$((n - 1))
done
exec {conmon} "$@"
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            raise Busy(f"Podman answered with {self.body[:200]!r}") from None

    @property
    def complaint(self) -> str:
        """Podman's own words about what went wrong."""
        try:
            return str(msgspec.json.decode(self.body)["message"])
        except (msgspec.DecodeError, KeyError, TypeError):
            return self.body.decode(errors="replace").strip()[:2000]


@dataclass(frozen=True, slots=True)
class Probe:
    """What `cloudlet doctor` says of an engine. `problem` is empty where it works; `remedy` installs what lacks."""

    found: bool
    version: str = ""
    problem: str = ""
    remedy: str = ""


class Podman:
    """One installation's Podman. `data` (in the data directory) outlives a reboot, `runtime` (in /run) does not."""

    def __init__(self, site: Site, runtime_dir: Path | None = None, clock: Clock | None = None,
                 cgroups: Cgroups | None = None) -> None:
        self.site = site
        self.clock: Clock = clock or SystemClock()
        self.cgroups = cgroups or Cgroups.find()
        self.cgroup = f"/cloudlet-{site.installation.id}"
        self.data = site.data_dir / "containers"
        self.storage = self.data / "storage"
        self.runtime = (runtime_dir or Path(f"/run/cloudlet-{site.installation.id}")) / "containers"
        self.exits = self.runtime / "tmp" / "exits"
        self.records = Records(self.data / "state", self.exits, self.cgroups)
        self._socket = self.runtime / "podman.sock"
        self._pidfile = self.runtime / "podman.json"
        self._slots = asyncio.Semaphore(PARALLEL)
        self._starting = asyncio.Lock()
        self._started = False  # whether the API's process, if there is one, is ours

    # ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None,
                  timeout_s: float = 120, queued: bool = True) -> Answer:
        """One request to the API, whose process is started if need be. Raises Busy when the time is up or it broke off.

        `queued`: it takes one of the few places for work on the storage (pulls do not: they wait for a network).
        """
        message = _message(method, path, body, headers or {})
        try:
            async with asyncio.timeout(timeout_s):
                if not queued:
                    return await self._exchange(message)
                async with self._slots:
                    return await self._exchange(message)
        except TimeoutError:
            await self._end_if_hung()
            raise Busy(f"Podman did not answer within {timeout_s:g} s") from None
        except (OSError, EOFError, httptools.HttpParserError) as broken:
            raise Busy(f"Podman broke off: {broken}") from None

    async def _exchange(self, message: bytes) -> Answer:
        reader, writer = await self._connect()
        try:
            writer.write(message)
            await writer.drain()
            answer = _Collector()
            parser = httptools.HttpResponseParser(answer)
            while not answer.complete:
                data = await reader.read(1 << 16)
                if not data:
                    raise EOFError("the answer ended early")
                parser.feed_data(data)
            return Answer(parser.get_status_code(), bytes(answer.body))
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(str(self._socket))
        except (FileNotFoundError, ConnectionError):
            pass
        async with self._starting:
            try:
                return await asyncio.open_unix_connection(str(self._socket))
            except (FileNotFoundError, ConnectionError):
                await self._start()
            return await asyncio.open_unix_connection(str(self._socket))

    # ── The API's process ────────────────────────────────────────────────────────────────────────────────────────

    async def _start(self) -> None:
        await self.stop()
        self._started = True
        runtime = self._runtime()
        self._configure(runtime)
        said = self.runtime / "podman.log"
        if said.exists() and said.stat().st_size > _LOG_MAX:
            said.unlink()
        process = spawn(["podman", "--remote=false", "--runtime-flag", f"root={self.runtime / 'oci'}",
                         "system", "service", f"--time={IDLE_S}", f"unix://{self._socket}"],
                        log=str(said), environment=self.environment,
                        directory=str(self.runtime))  # conmon leaves a file named "oom" where it stands
        self._pidfile.write_text(json.dumps([process.pid, process.started]))
        self.cgroups.join(f"{self.cgroup}/podman", process.pid)  # conmon inherits it: no container dies with our group
        deadline = self.clock.now() + _START_S
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(str(self._socket))
                writer.close()
                return
            except (FileNotFoundError, ConnectionError):
                pass
            if identify(process.pid) != process:
                raise Busy(f"Podman ended at once: {_tail(said)}")
            if self.clock.now() > deadline:
                raise Busy(f"Podman did not start within {_START_S:g} s: {_tail(said)}")
            await self.clock.sleep(0.005)

    async def _end_if_hung(self) -> None:
        try:
            async with asyncio.timeout(_PING_S):
                await self._exchange(_message("GET", "/_ping", None, {}))
        except TimeoutError:
            log.warning("Podman's API does not answer: its process is replaced")
            async with self._starting:
                await self.stop()
        except (OSError, EOFError, httptools.HttpParserError):
            pass  # it is gone by itself

    async def disown(self) -> None:
        """Ends an API process that a predecessor of ours started: it may still be doing what that one asked for."""
        async with self._starting:
            if not self._started:
                await self.stop()
                self._started = True

    async def stop(self) -> None:
        """Ends the API's process, if it runs. Containers go on."""
        try:
            process = Process(*json.loads(self._pidfile.read_text()))
        except (OSError, ValueError, TypeError):
            process = None
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process is None or identify(process.pid) != process:
                break
            os.kill(process.pid, number)
            for _ in range(200):
                if identify(process.pid) != process:
                    break
                await self.clock.sleep(0.01)
        self._socket.unlink(missing_ok=True)
        self._pidfile.unlink(missing_ok=True)

    def runtime_command(self) -> list[str]:
        """The low-level runtime, as Podman calls it for our containers. Raises Unavailable."""
        return [self._runtime(), "--root", str(self.runtime / "oci")]

    @property
    def environment(self) -> dict[str, str]:
        """What makes a `podman` command use our configuration; with its own HOME it finds nobody's credentials."""
        return {"CONTAINERS_CONF": str(self.runtime / "containers.conf"),
                "CONTAINERS_STORAGE_CONF": str(self.runtime / "storage.conf"),
                "CONTAINERS_REGISTRIES_CONF": str(self.runtime / "registries.conf"),
                "REGISTRY_AUTH_FILE": str(self.runtime / "no-credentials.json"),
                "HOME": str(self.runtime / "home"), "TMPDIR": str(self.data / "tmp"), "XDG_RUNTIME_DIR": "",
                "DBUS_SESSION_BUS_ADDRESS": ""}

    def _runtime(self) -> str:
        """crun where it works. It refuses to run where cgroups are hybrid, and on version 2 it raises its own limit of
        locked memory, which takes CAP_SYS_RESOURCE; there it must be runc."""
        if os.geteuid() != 0:
            raise Unavailable("containers need root")
        find("podman")
        find("conmon")
        only_runc = self.cgroups.hybrid or (self.cgroups.unified and not self.may_raise_limits())
        for name in ("runc",) if only_runc else ("crun", "runc"):
            if _has(name):
                return find(name)
        raise Unavailable(f"{'runc' if only_runc else 'crun'} is not installed ({INSTALLS})")

    def _configure(self, runtime: str) -> None:
        """Writes all of our configuration."""
        try:
            for directory in (self.data, self.storage, self.data / "tmp", self.runtime,
                              self.runtime / "home/.config/containers", self.exits):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            conmon = self.data / "conmon"
            conmon.write_text(_CONMON.replace("{conmon}", find("conmon")))
            conmon.chmod(0o700)
            name = Path(runtime).name
            bounded = _bounding_set()
            (self.runtime / "containers.conf").write_text(_toml({
                "containers": {"default_ulimits": [], "log_driver": "k8s-file", "pids_limit": 16_384,
                               "base_hosts_file": "none", "env": [], "http_proxy": False, "volumes": [],
                               "default_capabilities": [name for name, bit in CAPABILITIES.items()
                                                        if bounded >> bit & 1],
                               "default_sysctls": ["net.ipv4.ping_group_range=0 0"]},
                "engine": {"cgroup_manager": "cgroupfs", "lock_type": "file", "events_logger": "none", "hooks_dir": [],
                           "runtime": name, "conmon_path": [str(conmon)], "image_copy_tmp_dir": "storage",
                           "tmp_dir": str(self.runtime / "tmp"), "static_dir": str(self.storage / "libpod"),
                           "volume_path": str(self.storage / "volumes")},
                "engine.runtimes": {name: [runtime]},
                "network": {"network_config_dir": str(self.runtime / "networks")}}))
            overlay = {"skip_mount_home": "true", "mountopt": "nodev"}
            if _is_overlay(self.storage):  # inside a container: the kernel stacks no overlay on another
                overlay["mount_program"] = find("fuse-overlayfs")
            (self.runtime / "storage.conf").write_text(_toml({
                "storage": {"driver": "overlay", "graphroot": str(self.storage),
                            "runroot": str(self.runtime / "runroot")},
                "storage.options.overlay": overlay}))
            (self.runtime / "registries.conf").write_text("unqualified-search-registries = []\n")
            (self.runtime / "no-credentials.json").write_text("{}")
            policy = self.runtime / "home/.config/containers/policy.json"
            policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        except OSError as failed:
            raise Refused(f"Podman's directories cannot be written: {failed}") from None

    # ── Limits, health, the end ──────────────────────────────────────────────────────────────────────────────────

    def default_ulimits(self) -> dict[str, tuple[int, int]]:
        """Fargate's default of open files, as far as this process may go; processes where Podman's default fails."""
        if self.may_raise_limits():
            return {"nofile": (65_535, 65_535)}
        files, tasks = (resource.getrlimit(what)[1] for what in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
        files = 65_535 if files == resource.RLIM_INFINITY else min(files, 65_535)
        tasks = _NPROC_MAX if tasks == resource.RLIM_INFINITY else min(tasks, _NPROC_MAX)
        return {"nofile": (files, files), "nproc": (tasks, tasks)}

    def may_raise_limits(self) -> bool:
        """Whether resource limits above our own can be given (CAP_SYS_RESOURCE)."""
        return bool(_capabilities("CapEff") >> _CAP_SYS_RESOURCE & 1)

    async def probe(self) -> Probe:
        """Whether Podman is here and answers, for `cloudlet doctor`. Starts its API, and nothing else."""
        try:
            said = await run(["podman", "--version"], timeout_s=10)
            runtime = self._runtime()
        except (Busy, Refused) as missing:
            return Probe(_has("podman"), problem=str(missing), remedy=INSTALLS)
        version = said.stdout.decode(errors="replace").strip().removeprefix("podman version ")
        version = f"{version} with {Path(runtime).name}"
        try:
            answer = await self.ask("GET", "/info", timeout_s=30)
        except (Busy, Refused) as failed:
            return Probe(True, version, str(failed))
        return Probe(True, version, "" if answer.status == 200 else answer.complaint)

    async def destroy(self) -> None:
        """Leaves no process, mount, control group or file outside the data directory, whatever state it is in. What is
        inside it stays: images, and containers that nobody removed."""
        await self.stop()
        for _ in range(200):
            if not self.cgroups.kill(self.cgroup):
                break
            await self.clock.sleep(0.01)
        ours = (f"{self.data}/", f"{self.runtime}/")
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            where = line.split(" ")[1].encode().decode("unicode_escape")
            if where.startswith(ours):
                await run(["umount", "-l", where], timeout_s=20)
        for _ in range(100):
            if self.cgroups.remove(self.cgroup):
                break
            await self.clock.sleep(0.01)
        shutil.rmtree(self.runtime, ignore_errors=True)
        try:
            self.runtime.parent.rmdir()  # only if nobody else has anything in it
        except OSError:
            pass


class _Collector:
    """What httptools tells of a response."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self.body += body

    def on_message_complete(self) -> None:
        """The end."""
        self.complete = True


def _message(method: str, path: str, body: object, headers: Mapping[str, str]) -> bytes:
    content = b"" if body is None else msgspec.json.encode(body)
    head = [f"{method} {_ROOT}{path} HTTP/1.1", "Host: podman", "Connection: close",
            f"Content-Length: {len(content)}", "Content-Type: application/json",
            *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


def _has(program: str) -> bool:
    try:
        return bool(find(program))
    except Unavailable:
        return False


def _capabilities(kind: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1], 16)
    return 0


def _bounding_set() -> int:
    return _capabilities("CapBnd")


def _is_overlay(path: Path) -> bool:
    """Whether a directory lies on an overlay file system."""
    kinds = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split(" ")
        kinds[Path(where.encode().decode("unicode_escape"))] = kind
    whole = path.resolve()
    return next((kinds[above] for above in (whole, *whole.parents) if above in kinds), "") == "overlay"


def _toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """TOML of strings, numbers, booleans and lists of strings, which JSON writes the same way."""
    return "".join(f"[{table}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
                   for table, values in tables.items())


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-1000:].decode(errors="replace").strip()
    except OSError:
        return ""
