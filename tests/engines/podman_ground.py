"""A real Podman for tests: an installation of its own, images of busybox, a network namespace; all gone afterwards."""

import asyncio
import io
import json
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cloudlet.engines.containers import PodmanContainers
from cloudlet.engines.images import PodmanImages
from cloudlet.engines.podman import Podman
from cloudlet.engines.ports import Container, ContainerSpec, GroupSpec
from cloudlet.engines.storages import PodmanStorages
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from tests.engines import containers_conformance as conformance
from tests.world import look

T = TypeVar("T")
_LINKS = ("sh", "sleep", "cat", "echo", "id", "env", "hostname", "dd", "yes", "head", "printf")


def real(test: T) -> T:
    """Marks a test that needs a real Podman."""
    for mark in (pytest.mark.root, *map(pytest.mark.engine, ("podman", "conmon", "busybox"))):
        test = mark(test)
    return test


def root_file_system() -> bytes:
    """A tar with busybox under some names, and two users."""
    out = io.BytesIO()
    busybox = shutil.which("busybox")
    assert busybox, "needs busybox-static"
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "tmp", "etc", "srv"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, body in (("bin/busybox", Path(busybox).read_bytes()),
                           ("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n")):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(body), 0o755
            tar.addfile(entry, io.BytesIO(body))
        for name in _LINKS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return out.getvalue()


IMAGES = {
    conformance.SLEEPER: "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done",
    conformance.STUBBORN: "trap '' TERM; while :; do sleep 1000; done",
    conformance.SPEAKER: "for i in 1 2 3 4 5; do echo line $i; done; exit 3",
}


@dataclass
class PodmanGround:
    """One installation. `start` gives adapters as a control plane that just started would have them."""

    site: Site
    namespace: str
    reference: dict[str, str] = field(default_factory=dict)

    def start(self) -> "Plane":
        podman = Podman(self.site)
        return Plane(self, podman, PodmanImages(podman), PodmanContainers(podman, self.site), PodmanStorages(podman))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def import_image(self, name: str, command: list[str], *changes: str, tar: bytes | None = None) -> str:
        """An image made from busybox; its reference."""
        options = [part for change in (f"CMD {json.dumps(command)}", *changes) for part in ("--change", change)]
        reference = f"localhost/{name}:1"
        subprocess.run(["podman", "import", "-q", *options, "-", reference], check=True, capture_output=True,
                       input=tar or root_file_system(), env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                                                             **Podman(self.site).environment})
        return reference


@dataclass
class Plane:
    """A control plane's adapters."""

    ground: PodmanGround
    podman: Podman
    images: PodmanImages
    containers: PodmanContainers
    storages: PodmanStorages

    def name(self, short: str) -> str:
        return self.ground.site.installation.name("task", short)

    def spec(self, short: str, script: str = "", *, group: GroupSpec | None = None, program: str = "sleeper",
             **more: Any) -> ContainerSpec:
        """A container of the sleeper image, or one that runs a shell script."""
        if script:
            more["command"] = ("sh", "-c", script)
        more.setdefault("image", self.ground.reference[program])
        return ContainerSpec(self.name(short), group or GroupSpec(self.name("group " + short)),
                             namespace=self.ground.namespace, hostname="host-1", **more)

    async def ended(self, name: str) -> Container:
        """It, when it has ended by itself."""
        return await conformance.in_state(self.containers, name, "exited")

    async def output(self, name: str) -> list[str]:
        """All lines of a container that ends by itself."""
        await self.ended(name)
        return [line.text for line in (await self.containers.read_log(name, 0)).lines]

    async def spoken(self, name: str) -> list[str]:
        """Its lines so far, once there are any."""
        async def look() -> list[str]:
            return [line.text for line in (await self.containers.read_log(name, 0)).lines]
        return await conformance.until(look)


@contextmanager
def podman_ground(directory: Path, **settings: Any) -> Iterator[PodmanGround]:
    """An installation, and the proof that nothing of it is left."""
    mark = secrets.token_hex(3)
    namespace = f"cltest-{mark}"
    site = Site(Installation(mark), directory / f"data-{mark}", **settings)
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    ground = PodmanGround(site, f"/run/netns/{namespace}")
    try:
        ground.run(_ready(ground))
        for name, script in IMAGES.items():
            ground.reference[name] = ground.import_image(name, ["sh", "-c", script])
        yield ground
    finally:
        ground.run(_down(ground))
        subprocess.run(["ip", "netns", "delete", namespace], check=True)
    left = look(mark)
    assert not left.mounts | left.processes | left.cgroups | left.runtime | left.namespaces, left
    assert not list((site.data_dir / "containers" / "state").glob("*"))
    shutil.rmtree(site.data_dir)


async def _ready(ground: PodmanGround) -> None:
    probe = await ground.start().podman.probe()
    assert not probe.problem, probe


async def _down(ground: PodmanGround) -> None:
    plane = ground.start()
    await plane.containers.destroy_all()
    await plane.podman.destroy()
