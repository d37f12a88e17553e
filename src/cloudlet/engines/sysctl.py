"""Kernel settings of our own namespaces (written by a thread that is inside one; never in the host's)."""

from pathlib import Path

_ROOT = Path("/proc/sys/net")


def write(settings: dict[str, str]) -> None:
    """Sets values by their path below /proc/sys/net; those of IPv6 where the kernel has it."""
    has_ipv6 = (_ROOT / "ipv6").exists()
    for name, value in settings.items():
        if has_ipv6 or not name.startswith("ipv6/"):
            (_ROOT / name).write_text(value)


def make_router(*, strict: bool) -> None:
    """The namespace forwards IPv4 only. `strict`: a source address must be routed to where the packet came from.
    Devices that are made later inherit this."""
    settings = {
        "ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1",
        "ipv4/ip_forward": "1",
    }
    for scope in ("all", "default"):  # what counts is, per setting, the greater of the two, or both, or either
        settings |= {f"ipv4/conf/{scope}/rp_filter": "1" if strict else "0",
                     f"ipv4/conf/{scope}/send_redirects": "0", f"ipv4/conf/{scope}/accept_redirects": "0",
                     f"ipv4/conf/{scope}/accept_source_route": "0", f"ipv4/conf/{scope}/arp_ignore": "0",
                     f"ipv4/conf/{scope}/arp_filter": "0", f"ipv4/conf/{scope}/log_martians": "0"}
    settings["ipv4/conf/default/proxy_arp"] = "0" if strict else "1"
    write(settings)


def answer_at_once(link: str) -> None:
    """Proxy ARP without its delay of up to 0.8 s, which the first packet of a machine to each neighbour would wait for.
    A namespace has no default for it, so it is set for each device."""
    write({f"ipv4/neigh/{link}/proxy_delay": "0"})


def make_workload() -> None:
    """A task's or a machine's own namespace: IPv4 only, ping and ports below 1024 without privilege, as in Docker."""
    write({"ipv6/conf/default/disable_ipv6": "1", "ipv4/ip_forward": "0", "ipv4/conf/default/rp_filter": "0",
           "ipv4/conf/all/rp_filter": "0", "ipv4/ping_group_range": "0 2147483647",
           "ipv4/ip_unprivileged_port_start": "0"})
