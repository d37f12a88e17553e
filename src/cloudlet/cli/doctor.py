"""`cloudlet doctor`: each engine found or not, its version, whether it works here, and what installs it."""

import argparse
import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cloudlet.cli import Complaint
from cloudlet.cli.clients import aws_program
from cloudlet.config import Config
from cloudlet.engines import process
from cloudlet.engines.disks import QcowDisks
from cloudlet.engines.machines import QemuMachines
from cloudlet.engines.networks import FabricNetworks
from cloudlet.engines.podman import Podman
from cloudlet.kernel.errors import EngineError
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.store.directory import installation_of, running


@dataclass(frozen=True, slots=True)
class Finding:
    """`problem` is empty where it works; `remedy` is the command that helps."""

    name: str
    purpose: str
    version: str
    problem: str = ""
    remedy: str = ""


def doctor(config: Config, _arguments: argparse.Namespace) -> int:
    """Prints a line an engine; 1 where one of them does not work."""
    findings = asyncio.run(examine(config))
    console = Console(highlight=False, soft_wrap=True)
    for found in findings:
        mark = "[green]works[/]  " if not found.problem else "[red]missing[/]"
        console.print(f"{mark}  [bold]{found.name}[/] ({found.purpose}): {found.version}")
        if found.problem:
            console.print(f"         {found.problem}")
        if found.problem and found.remedy:
            console.print(f"         {found.remedy}")
    return 1 if any(found.problem for found in findings) else 0


async def examine(config: Config) -> list[Finding]:
    """Tries each engine for real; leaves nothing behind."""
    if os.geteuid() != 0:
        return [Finding("root", "containers and networks", "", "Cloudlet does not run as root, so ECS tasks and VPCs "
                        "are left out; the APIs without them work", "sudo cloudlet up"), *_programs()]
    with tempfile.TemporaryDirectory(prefix="cloudlet-doctor-") as directory:
        known = installation_of(config.data_dir)
        data = config.data_dir if known else Path(directory)
        site = Site(known or Installation("d0c70d"), data, config.port, config.public_cidr)
        podman = Podman(site)
        lives = podman.runtime.exists()  # containers may run there, also while the control plane is away
        probe = await podman.probe()
        if not lives:
            await podman.destroy()
        elif running(config.data_dir) is None:
            await podman.stop()
        fabric = await FabricNetworks(site).probe()
        machines = QemuMachines(site, QcowDisks(site))
        emulator = await _version("qemu-system-x86_64", "--version")
        qemu = Finding("QEMU", "EC2 instances", f"{emulator} ({machines.speed})" if emulator else "",
                       machines.probe() or "", "apt-get install qemu-system-x86 qemu-utils")
    return [Finding("Podman", "containers", probe.version, probe.problem, probe.remedy),
            Finding("nft", "networks and security groups", await _version("nft", "--version"), fabric or "",
                    "apt-get install nftables iproute2"),
            qemu,
            Finding("dnsmasq", "DNS and DHCP inside a VPC", *await _found("dnsmasq", "--version", "dnsmasq-base")),
            *_programs()]


async def _version(program: str, *arguments: str) -> str:
    try:
        said = await process.run([program, *arguments], timeout_s=10)
    except EngineError:
        return ""
    return (said.stdout.decode(errors="replace").splitlines() or [""])[0].strip()


async def _found(program: str, option: str, package: str) -> tuple[str, str, str]:
    version = await _version(program, option)
    return version, "" if version else f"{program} is not installed", f"apt-get install {package}"


def _programs() -> list[Finding]:
    try:
        found = Finding("aws CLI", "cloudlet aws, the demo", aws_program())
    except Complaint as missing:
        found = Finding("aws CLI", "cloudlet aws, the demo", "", str(missing))
    return [found]
