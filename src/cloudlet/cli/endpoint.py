"""The running control plane of a data directory, as the commands find it."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from cloudlet.cli import Complaint
from cloudlet.config import Config
from cloudlet.store.directory import running

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where it listens, and its process."""

    url: str
    pid: int


def find(config: Config) -> Endpoint | None:
    """The one that runs on this data directory, or None."""
    pid = running(config.data_dir)
    if pid is None:
        return None
    try:
        return Endpoint((config.data_dir / "endpoint").read_text().strip(), pid)
    except OSError:
        return Endpoint(config.endpoint, pid)


def ask(url: str, path: str, timeout_s: float = 5.0) -> dict[str, Any] | None:
    """A JSON answer, or None where nobody (or somebody else) answers."""
    try:
        with _direct.open(url + path, timeout=timeout_s) as answer:
            body = json.load(answer)
    except (OSError, ValueError, urllib.error.URLError):
        return None
    return body if isinstance(body, dict) else None


def told(config: Config, path: str) -> tuple[Endpoint, dict[str, Any]] | None:
    """What the one that runs says on one of its pages; None, which is said, where none runs. Raises Complaint where it
    does not answer."""
    there = find(config)
    if there is None:
        print(f"Cloudlet is not running (data in {config.data_dir})")
        return None
    answer = ask(there.url, path)
    if answer is None:
        raise Complaint(f"the process {there.pid} does not answer at {there.url}; `cloudlet logs` may tell why")
    return there, answer


def is_healthy(url: str, pid: int) -> bool:
    """Whether the process of that pid answers there."""
    health = ask(url, "/_cloudlet/health", 1.0)
    return health is not None and health.get("pid") == pid
