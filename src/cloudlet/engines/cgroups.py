"""Control groups of both versions: limits that several containers share, and what the kernel counted for each."""

import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from cloudlet.engines.ports import GroupSpec
from cloudlet.kernel.errors import EngineError, Refused, Unavailable

MOUNT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000
_CONTROLLERS = ("cpu", "cpuacct", "memory", "cpuset", "blkio", "pids")
_ORDER = ("cpuset", "cpu", "io", "memory", "pids")


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The host's hierarchies. On version 2, `unified` is the only one; on version 1 there is one for each controller,
    and on a hybrid host an empty version 2 hierarchy as well. Paths of groups begin with "/"."""

    controllers: dict[str, Path]
    hierarchies: tuple[Path, ...]
    unified: bool
    hybrid: bool

    @classmethod
    def find(cls, mounts: str | None = None) -> "Cgroups":
        """What this host has mounted, from the text of /proc/self/mounts."""
        controllers: dict[str, Path] = {}
        hierarchies: list[Path] = []
        second: Path | None = None
        for line in (Path("/proc/self/mounts").read_text() if mounts is None else mounts).splitlines():
            _, where, kind, options, *_ = line.split(" ")
            path = Path(where)
            if kind == "cgroup2":
                second = path
            elif kind == "cgroup":
                names = [option for option in options.split(",") if option in _CONTROLLERS]
                controllers.update(dict.fromkeys(names, path))
                hierarchies.append(path)
        if hierarchies:
            return cls(controllers, (*hierarchies, second) if second else tuple(hierarchies), False, second is not None)
        return cls({}, (second or MOUNT,), True, False)

    # ── Groups ───────────────────────────────────────────────────────────────────────────────────────────────────

    def ensure(self, path: str, spec: GroupSpec) -> None:
        """The group with its limits: processor time as a quota, memory without any swap beyond it.

        Raises Refused where the kernel does not take a limit, Unavailable where we may not make groups at all.
        """
        try:
            if self.unified:
                self._ensure_v2(path, spec)
            else:
                self._ensure_v1(path, spec)
        except PermissionError as denied:
            raise Unavailable(f"control groups cannot be made here: {denied}") from None
        except OSError as failed:
            raise Refused(f"limits of {spec.name} cannot be set: {failed}") from None

    def _ensure_v2(self, path: str, spec: GroupSpec) -> None:
        root = self.hierarchies[0]
        here = root
        for part in ("", *path.strip("/").split("/")):
            here = here / part
            here.mkdir(exist_ok=True)
            self._delegate(here)
        here = root / path.strip("/")
        if spec.cpus is not None:
            _write(here / "cpu.max", f"{_quota(spec.cpus)} {_PERIOD_US}")
        if spec.memory_bytes is not None:
            _write(here / "memory.max", str(spec.memory_bytes))
            if (here / "memory.swap.max").exists():
                _write(here / "memory.swap.max", "0")

    def _delegate(self, here: Path) -> None:
        """Lets children of a group have limits."""
        have = set((here / "cgroup.controllers").read_text().split())
        given = set((here / "cgroup.subtree_control").read_text().split())
        wanted = [name for name in _ORDER if name in have - given]
        if not wanted:
            return
        control = " ".join(f"+{name}" for name in wanted)
        try:
            _write(here / "cgroup.subtree_control", control)
        except OSError as failed:
            if here != self.hierarchies[0] or failed.errno != errno.EBUSY:
                raise
            # In a container, the group seen as the root is none, and may not hold processes beside groups with limits.
            self._evacuate(here)
            _write(here / "cgroup.subtree_control", control)

    def _evacuate(self, root: Path) -> None:
        """Moves the processes of a container's own group into a group below it, as Docker-in-Docker does."""
        (root / "init").mkdir(exist_ok=True)
        for pid in _read(root / "cgroup.procs").split():
            try:
                _write(root / "init" / "cgroup.procs", pid)
            except OSError:
                continue  # it has ended

    def _ensure_v1(self, path: str, spec: GroupSpec) -> None:
        for hierarchy in {self.controllers.get("cpu"), self.controllers.get("memory")} - {None}:
            assert hierarchy is not None
            first = hierarchy / path.strip("/").split("/")[0]
            if not first.exists():
                first.mkdir(exist_ok=True)
                if (first / "memory.use_hierarchy").exists():  # kernels before 5.11: a limit binds descendants only so
                    _write(first / "memory.use_hierarchy", "1")
            (hierarchy / path.strip("/")).mkdir(parents=True, exist_ok=True)
        if spec.cpus is not None:
            here = self._v1("cpu", path)
            _write(here / "cpu.cfs_period_us", str(_PERIOD_US))
            _write(here / "cpu.cfs_quota_us", str(_quota(spec.cpus)))
        if spec.memory_bytes is not None:
            here = self._v1("memory", path)
            _write(here / "memory.limit_in_bytes", str(spec.memory_bytes))
            if (here / "memory.memsw.limit_in_bytes").exists():
                _write(here / "memory.memsw.limit_in_bytes", str(spec.memory_bytes))

    def _v1(self, controller: str, path: str) -> Path:
        if controller not in self.controllers:
            raise Unavailable(f"this kernel has no control group controller for {controller}")
        return self.controllers[controller] / path.strip("/")

    def join(self, path: str, pid: int) -> None:
        """Moves a process into a group without limits, out of whatever group we run in ourselves."""
        for hierarchy in self.hierarchies:
            here = hierarchy / path.strip("/")
            try:
                if self.unified:
                    here.parent.mkdir(parents=True, exist_ok=True)
                    self._delegate(hierarchy)
                    self._delegate(here.parent)
                elif hierarchy == self.controllers.get("cpuset"):
                    continue  # a new cpuset is empty and takes no process
                here.mkdir(parents=True, exist_ok=True)
                _write(here / "cgroup.procs", str(pid))
            except (OSError, EngineError):
                continue  # nothing depends on it but tidiness: the process lives where we live

    def remove(self, path: str, *, whole: bool = True) -> bool:
        """Removes an empty group from every hierarchy, and first (`whole`) its children; whether nothing is left."""
        gone = True
        for hierarchy in self.hierarchies:
            here = hierarchy / path.strip("/")
            if not here.is_dir():
                continue
            for directory in [found for found, _, _ in os.walk(here, topdown=False)] if whole else [str(here)]:
                try:
                    os.rmdir(directory)
                except FileNotFoundError:
                    pass
                except OSError:
                    gone = False
        return gone

    def kill(self, path: str) -> bool:
        """SIGKILL to every process in a group and below it; whether there was any."""
        found = False
        for hierarchy in self.hierarchies:
            for procs in (hierarchy / path.strip("/")).rglob("cgroup.procs"):
                for pid in _read(procs).split():
                    found = True
                    try:
                        os.kill(int(pid), signal.SIGKILL)
                    except OSError:
                        pass
        return found

    # ── Counts ───────────────────────────────────────────────────────────────────────────────────────────────────

    def out_of_memory(self, path: str) -> bool:
        """Whether the kernel killed a process of this very group for memory, its own limit or a parent's."""
        if self.unified:
            text = _read(self.hierarchies[0] / path.strip("/") / "memory.events")
        else:
            text = _read(self.controllers.get("memory", MOUNT) / path.strip("/") / "memory.oom_control")
        return int(_fields(text).get("oom_kill", "0")) > 0


def _quota(cpus: float) -> int:
    return max(1000, round(cpus * _PERIOD_US))  # the kernel takes no quota below a millisecond


def _fields(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, value: str) -> None:
    with open(path, "w") as control:
        control.write(value)
