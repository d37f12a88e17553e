"""What a container has used, as the kernel counts it in its control group and its network namespace."""

import os
from pathlib import Path
from typing import Any

from cloudlet.engines.cgroups import Cgroups
from cloudlet.engines.ports import DiskUse, Traffic, Usage
from cloudlet.kernel.errors import Busy

_MEMORY_MAX = 1 << 62  # v1 says "no limit" with a number near 2^63
_TICKS = os.sysconf("SC_CLK_TCK")
_DETAILS_MAX = 100


def usage(cgroups: Cgroups, path: str, pid: int = 0) -> Usage | None:
    """What a group used; None where it is gone. With the `pid` of a process in it, the network's counters as well."""
    parts = path.strip("/").split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    try:
        if cgroups.unified:
            found, limits = _second(cgroups.hierarchies[0], above)
        else:
            found, limits = _first(cgroups, above)
    except (FileNotFoundError, ProcessLookupError):
        return None
    except (OSError, ValueError, KeyError) as failed:
        raise Busy(f"counts of {path} cannot be read: {failed}") from None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    numbers = [int(limit) for limit in limits if limit.strip().isdigit()]
    limit_bytes = min([total, *(n for n in numbers if n < _MEMORY_MAX)])
    return Usage(memory_limit_bytes=limit_bytes, host_cpu_seconds=_host_cpu_seconds(), cpus=os.cpu_count() or 1,
                 traffic=_traffic(_read(Path(f"/proc/{pid}/net/dev"))) if pid else (), **found)


def _second(root: Path, above: list[str]) -> tuple[dict[str, Any], list[str]]:
    here = root / above[-1]
    cpu, memory = fields((here / "cpu.stat").read_text()), _details(_read(here / "memory.stat"))
    current = int((here / "memory.current").read_text())
    disks = []
    for line in _read(here / "io.stat").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        counts = dict(pair.split("=") for pair in pairs)
        disks.append(DiskUse(int(major), int(minor), int(counts.get("rbytes", 0)), int(counts.get("wbytes", 0)),
                             int(counts.get("rios", 0)), int(counts.get("wios", 0))))
    return {
        "cpu_seconds": int(cpu["usage_usec"]) / 1e6, "user_seconds": int(cpu.get("user_usec", 0)) / 1e6,
        "kernel_seconds": int(cpu.get("system_usec", 0)) / 1e6,
        "memory_bytes": max(current - memory.get("inactive_file", 0), 0), "memory_total_bytes": current,
        "memory_peak_bytes": _number(here / "memory.peak"), "memory_details": tuple(memory.items()),
        "processes": _number(here / "pids.current"), "disks": tuple(disks),
        "throttled": (int(cpu.get("nr_periods", 0)), int(cpu.get("nr_throttled", 0)),
                      int(cpu.get("throttled_usec", 0)) / 1e6),
    }, [_read(root / group / "memory.max") for group in above]


def _first(cgroups: Cgroups, above: list[str]) -> tuple[dict[str, Any], list[str]]:
    def of(controller: str, group: str = above[-1]) -> Path:
        return cgroups.controllers.get(controller, Path("/nowhere")) / group
    here = of("memory")
    memory = _details(_read(here / "memory.stat"))
    current = int((here / "memory.usage_in_bytes").read_text())
    ticks, cpu = fields(_read(of("cpuacct") / "cpuacct.stat")), fields(_read(of("cpu") / "cpu.stat"))
    return {
        "cpu_seconds": int((of("cpuacct") / "cpuacct.usage").read_text()) / 1e9,
        "user_seconds": int(ticks.get("user", 0)) / _TICKS, "kernel_seconds": int(ticks.get("system", 0)) / _TICKS,
        "memory_bytes": max(current - memory.get("total_inactive_file", 0), 0), "memory_total_bytes": current,
        "memory_peak_bytes": _number(here / "memory.max_usage_in_bytes"), "memory_details": tuple(memory.items()),
        "processes": _number(of("pids") / "pids.current"), "disks": _first_disks(of("blkio")),
        "throttled": (int(cpu.get("nr_periods", 0)), int(cpu.get("nr_throttled", 0)),
                      int(cpu.get("throttled_time", 0)) / 1e9),
    }, [_read(of("memory", group) / "memory.limit_in_bytes") for group in above]


def _first_disks(here: Path) -> tuple[DiskUse, ...]:
    counts: dict[tuple[int, int], dict[str, int]] = {}
    for file, kind in (("blkio.throttle.io_service_bytes_recursive", "bytes"),
                       ("blkio.throttle.io_serviced_recursive", "operations")):
        for line in _read(here / file).splitlines():
            device, *rest = line.split()
            major, colon, minor = device.partition(":")
            if colon and len(rest) == 2:
                counts.setdefault((int(major), int(minor)), {})[f"{rest[0]} {kind}"] = int(rest[1])
    return tuple(DiskUse(major, minor, seen.get("Read bytes", 0), seen.get("Write bytes", 0),
                         seen.get("Read operations", 0), seen.get("Write operations", 0))
                 for (major, minor), seen in counts.items())


def _traffic(text: str) -> tuple[Traffic, ...]:
    """From /proc/PID/net/dev: eight counters of what came in, then eight of what went out."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        counts = [int(count) for count in rest.split()]
        if name.strip() != "lo" and len(counts) >= 12:
            found.append(Traffic(name.strip(), *counts[:4], *counts[8:12]))
    return tuple(found)


def _host_cpu_seconds() -> float:
    """What all processors of the machine together have been through."""
    first = _read(Path("/proc/stat")).partition("\n")[0].split()
    return sum(int(ticks) for ticks in first[1:9]) / _TICKS


def _details(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in list(fields(text).items())[:_DETAILS_MAX] if value.strip().isdigit()}


def fields(text: str) -> dict[str, str]:
    """Lines of a name and a value."""
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def _number(path: Path) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
