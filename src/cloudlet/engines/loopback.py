"""Which names stand for this machine: the only places that the control plane itself asks for anything."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from cloudlet.kernel.errors import Refused

HOSTS = Path("/etc/hosts")


class NotHere(Exception):
    """The name stands for nothing on this machine."""


def address_of(host: str) -> str:
    """The loopback address that a name stands for by /etc/hosts. No name server is asked: not even a question leaves
    the machine. Raises NotHere."""
    addresses = [host]
    if host == "localhost" or host.endswith(".localhost"):
        addresses = ["127.0.0.1"]
    elif not is_loopback(host):
        lines = (line.partition("#")[0].lower().split() for line in HOSTS.read_text().splitlines())
        addresses = [line[0] for line in lines if host in line[1:]]
    if not addresses or not all(map(is_loopback, addresses)):
        raise NotHere(host)
    return addresses[0]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an http or https URL leads: `target` is what a request's first line names, `address` a loopback one,
    unless who found it knows others."""

    url: SplitResult
    host: str
    port: int
    target: str
    address: str

    @property
    def tls_name(self) -> str | None:
        """The name that a certificate must bear, where the URL wants one."""
        return self.host if self.url.scheme == "https" else None

    @property
    def head(self) -> tuple[str, str]:
        """The headers that every request to it has; its connection is for that one request."""
        return f"Host: {self.url.netloc.rpartition('@')[2]}", "Connection: close"


def place_of(url: str, one: str, several: str, find: Callable[[str], str] = address_of) -> Place:
    """Where a URL of this machine leads. Raises Refused for what is no URL of `one` ("a registry"), and where it leads
    elsewhere; `several` names what is not asked there; `find` says what address a name stands for."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise Refused(f"{url} is no URL") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme not in ("http", "https") or not host or not target.isprintable() or " " in target:
        raise Refused(f"{url} is no URL of {one}")
    try:
        return Place(parts, host, port, target, find(host))
    except NotHere:
        raise Refused(f"{host} is not on this machine: {several} elsewhere are not asked") from None


def is_loopback(text: str) -> bool:
    """Whether it is a loopback address."""
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False
