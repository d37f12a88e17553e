"""DHCP for a VPC's machines: one dnsmasq, detached, that knows each by its hardware address and answers nobody else.

Which hardware address may send from which device is the fabric's to say (`security`), so no machine gets another's
lease.
Addresses never change hands while an interface lives; nothing is written down, and whoever renews is told the same.
https://docs.aws.amazon.com/vpc/latest/userguide/DHCPOptionSetConcepts.html
"""

import os
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

from cloudlet.engines.dnsmasq import Dnsmasq
from cloudlet.engines.edge import MTU
from cloudlet.engines.links import Links
from cloudlet.engines.ports import InterfaceSpec, Lease

LEASE_S = 3600  # as on AWS


class Leases:
    """Those of one VPC, whose files are in `directory`; `links` names the devices of its interfaces."""

    def __init__(self, directory: Path, network: str, links: Links) -> None:
        self._hosts, self._links = directory / "leases", links
        self._dnsmasq = Dnsmasq(network, directory / "dhcp.pid")

    def are_served(self, specs: Sequence[InterfaceSpec]) -> bool:
        """Whether exactly these interfaces' machines are answered. If not, all is ready for `start`."""
        if not specs:
            self._dnsmasq.stop()
            self._hosts.unlink(missing_ok=True)
            return True
        text = "".join(sorted(self._line(spec, lease) for spec, lease in _leased(specs)))
        known = self._hosts.read_text() if self._hosts.exists() else ""
        if known != text:
            draft = self._hosts.with_name(".leases")
            draft.write_text(text)
            draft.chmod(0o644)
            os.replace(draft, self._hosts)
        if not self._dnsmasq.is_as_wanted(self._command(specs)):
            return False
        if known != text:
            self._dnsmasq.reload()
        return True

    def _line(self, spec: InterfaceSpec, lease: Lease) -> str:
        """A machine, known by its hardware address on its own device only: the tag is the one that dnsmasq gives to
        what comes in there. A message may name another's, to refuse or release what is not its own."""
        return (f"{spec.mac.lower()},tag:{self._links.port(spec.name)},{spec.address},"
                f"{lease.name.partition('.')[0]}\n")

    async def start(self, specs: Sequence[InterfaceSpec]) -> None:
        """Starts it for these. Raises Busy where it does not start."""
        await self._dnsmasq.start(self._command(specs))

    def _command(self, specs: Sequence[InterfaceSpec]) -> list[str]:
        leases = [lease for _, lease in _leased(specs)]
        subnets = sorted({IPv4Network(lease.subnet) for lease in leases})
        return self._dnsmasq.command(
            "--port=0", f"--interface={self._links.ports}", f"--dhcp-hostsfile={self._hosts}", "--leasefile-ro",
            *(f"--dhcp-range={subnet.network_address},static,{subnet.netmask},{LEASE_S}" for subnet in subnets),
            f"--dhcp-option=option:dns-server,{leases[0].resolver}",
            f"--dhcp-option=option:domain-name,{leases[0].name.partition('.')[2]}",  # a VPC's are all in its region
            f"--dhcp-option=option:mtu,{MTU}",
            "--dhcp-authoritative",  # it remembers nothing, and whoever asks for what is its own gets it
            "--dhcp-ignore-clid",  # the interface is who it is, whatever runs behind it
            "--dhcp-broadcast",  # else it would replace the fixed neighbour of the device by one that goes stale
            "--no-ping")

    def stop(self) -> None:
        """Ends it."""
        self._dnsmasq.stop()


def _leased(specs: Sequence[InterfaceSpec]) -> list[tuple[InterfaceSpec, Lease]]:
    return [(spec, spec.lease) for spec in specs if spec.lease is not None]
