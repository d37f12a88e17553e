"""What of an installation is to be seen on the host: for tests that say nothing may be left, or lost."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path


def _lines(*command: str) -> set[str]:
    return set(subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines())


def _processes() -> dict[int, str]:
    found = {}
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(status.parts[2])] = status.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
    return found


@dataclass(frozen=True)
class Host:
    """Everything an engine could leave behind."""

    namespaces: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    mounts: frozenset[str]
    tables: frozenset[str]
    processes: frozenset[str]
    cgroups: frozenset[str]
    runtime: frozenset[str]


def look(mark: str) -> Host:
    """The host now. Processes, cgroups and files in /run are those that bear `mark` (the installation's id)."""
    routes = json.loads(subprocess.run(["ip", "-j", "route", "show", "table", "all"], capture_output=True, text=True,
                                       check=False).stdout or "[]")
    return Host(
        namespaces=frozenset(line.split()[0] for line in _lines("ip", "netns", "list") if mark in line),
        links=frozenset(line.split(":")[1].split("@")[0].strip() for line in _lines("ip", "-o", "link")
                        if mark in line),
        routes=frozenset(f"{route.get('type', '')} {route['dst']} {route.get('dev', '')}" for route in routes
                         if route.get("table") not in ("local",) and ":" not in route["dst"]),
        mounts=frozenset(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()
                         if mark in line),
        tables=frozenset(_lines("nft", "list", "tables")),
        processes=frozenset(text for text in _processes().values() if mark in text),
        cgroups=frozenset(str(path) for path in Path("/sys/fs/cgroup").rglob(f"*{mark}*")),
        runtime=frozenset(str(path) for path in Path("/run").glob(f"*{mark}*")),
    )
