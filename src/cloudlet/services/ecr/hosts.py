"""Under which host a registry is reached, and which registry a host means."""

import ipaddress
import re
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

_REGISTRY_HOST = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z]{2}[a-z0-9-]{1,30})\.([a-z0-9.-]+?)(:\d{1,5})?")
_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}


def registry_at(host: str) -> tuple[str, str] | None:
    """The (account, region) that `<account>.dkr.ecr.<region>.…` names; None for any other host."""
    match = _REGISTRY_HOST.fullmatch(host.lower())
    return (match[1], match[2]) if match else None


def registry_host(endpoint: str, account: str, region: str) -> str:
    """host[:port] of a registry for a client that addressed us as `endpoint` (scheme://host[:port]).

    On loopback `<account>.dkr.ecr.<region>.localhost` where this machine resolves it, else `localhost`; elsewhere the
    host that the client used, because no name below it can be counted on.
    """
    parts = urlsplit(endpoint)
    name, port = parts.hostname or "localhost", f":{parts.port}" if parts.port else ""
    own = _REGISTRY_HOST.fullmatch(name)
    if own:
        return f"{account}.dkr.ecr.{region}.{own[3]}{port}"
    if name in _LOOPBACK_NAMES or name.endswith(".localhost"):
        return f"{account}.dkr.ecr.{region}.localhost{port}" if resolves_below_localhost() else f"localhost{port}"
    return f"[{name}]{port}" if ":" in name else f"{name}{port}"


def is_loopback(name: str) -> bool:
    """Whether a host's name, without a port, is this machine by its form alone."""
    try:
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@cache
def resolves_below_localhost(configuration: Path = Path("/etc/nsswitch.conf")) -> bool:
    """Whether names below `localhost` are this machine. Found out once, and without asking any DNS server.

    The C library's own answer comes from nss-myhostname or systemd-resolved, if they are asked before DNS is.
    """
    try:
        lines = configuration.read_text().splitlines()
    except OSError:
        return False
    sources = next((line.split(":", 1)[1].split() for line in lines if line.strip().startswith("hosts:")), [])
    before_dns = sources[:sources.index("dns")] if "dns" in sources else sources
    if not {"myhostname", "resolve"} & set(before_dns):
        return False
    try:
        found = socket.getaddrinfo("000000000000.dkr.ecr.us-east-1.localhost", None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address[4][0]).is_loopback for address in found)
