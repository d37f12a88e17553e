"""Images on Podman: pulled from Debian's docker-registry with credentials, once; refusals in AWS's words."""

import asyncio
import io
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudlet.engines.images import is_local, qualified
from cloudlet.engines.ports import ImageSpec
from cloudlet.kernel.errors import Busy, Conflict, Refused
from tests.engines.podman_ground import PodmanGround, podman_ground, real
from tests.images import Registry, busybox_layer
from tests.running import free_port

PASSWORD = "secret"
HTPASSWD = "AWS:$2b$05$CloudletTestsSaltSaltOoB5scwjWVZ43GZRt6oEXkJUccmkuzjK\n"  # bcrypt of PASSWORD
CONFIG = """version: 0.1
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
auth:
  htpasswd: {{realm: tests, path: {root}/htpasswd}}
"""


@dataclass
class DockerRegistry:
    """Debian's registry on a loopback port, with the one user AWS."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def push(self, repository: str, tag: str, layers: list[bytes] | None = None) -> str:
        client = Registry(f"http://127.0.0.1:{self.port}", PASSWORD)
        own = file_layer("etc/name", repository.encode())  # so that no two repositories have the same image
        return client.push(repository, tag, [busybox_layer(), own, *(layers or [])], ["/bin/sleep", "1000"])

    def spec(self, name: str, password: str = PASSWORD) -> ImageSpec:
        return ImageSpec(f"localhost:{self.port}/{name}", "AWS", password, plain_http=True)

    def fetched(self, what: str) -> int:
        """How many requests it answered with content from there."""
        return sum(what in line for line in self.log.read_text().splitlines()
                   if "http.request.method=GET" in line and "response completed" in line)


def file_layer(name: str, body: bytes) -> bytes:
    """A layer of one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(body)
        tar.addfile(entry, io.BytesIO(body))
    return out.getvalue()


@contextmanager
def docker_registry(root: Path) -> Iterator[DockerRegistry]:
    port = free_port()
    root.mkdir(exist_ok=True)
    (root / "htpasswd").write_text(HTPASSWD)
    (root / "config.yml").write_text(CONFIG.format(root=root, port=port))
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(root / "config.yml")], stdout=log, stderr=log)
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield DockerRegistry(port, root / "log", process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanGround]:
    with podman_ground(tmp_path_factory.mktemp("podman")) as found:
        yield found


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


def with_registry(test: object) -> object:
    return pytest.mark.engine("docker-registry")(real(test))


@with_registry
def test_pulled_once_and_found_by_digest(ground: PodmanGround, registry: DockerRegistry) -> None:
    digest = registry.push("team/web", "1")

    async def main() -> None:
        plane = ground.start()
        spec = registry.spec(f"team/web@{digest}")
        assert await plane.images.observe(spec.reference) is None
        pulled = await asyncio.gather(*(plane.images.ensure(spec) for _ in range(5)))
        assert {image.digest for image in pulled} == {digest}
        blobs = registry.fetched("/v2/team/web/blobs/")
        assert blobs == 3, "two layers and one configuration, once each"
        assert await plane.images.observe(spec.reference) == pulled[0]
        registry.process.send_signal(19)  # it hangs: nobody may need it now
        try:
            assert await plane.images.ensure(spec) == await ground.start().images.ensure(spec) == pulled[0]
        finally:
            registry.process.send_signal(18)
        made = await plane.containers.ensure(plane.spec("web", image=spec.reference))
        assert (made.state, made.image_digest) == ("running", digest)
        with pytest.raises(Conflict):
            await plane.images.destroy(spec.reference)
        await plane.containers.destroy(made.name)
        assert spec.reference in await plane.images.owned()
        await plane.images.destroy(spec.reference)
        assert await plane.images.observe(spec.reference) is None
        assert spec.reference not in await plane.images.owned()
    ground.run(main())


@with_registry
def test_a_tag_that_moved_is_pulled_again(ground: PodmanGround, registry: DockerRegistry) -> None:
    async def main() -> None:
        plane = ground.start()
        spec = registry.spec("moving:latest")
        first = registry.push("moving", "latest")
        assert (await plane.images.ensure(spec)).digest == first
        second = registry.push("moving", "latest", [file_layer("etc/version", b"2")])
        assert second != first
        assert (await plane.images.ensure(spec)).digest == second
        found = await plane.images.observe(spec.reference)
        assert found is not None
        assert found.digest == second
        for reference in await plane.images.owned():
            if "moving" in reference or "/" not in reference:
                await plane.images.destroy(reference)
        assert set(await plane.images.owned()) == set(ground.reference.values())
    ground.run(main())


@with_registry
def test_what_the_registry_says_is_told(ground: PodmanGround, registry: DockerRegistry) -> None:
    digest = registry.push("private", "1")

    async def refused(spec: ImageSpec, said: str) -> None:
        with pytest.raises(Refused, match=said):
            await ground.start().images.ensure(spec)

    async def main() -> None:
        nothing = "sha256:" + "0" * 64
        await refused(registry.spec("private:none"), "^CannotPullContainerError: .*private:none: not found$")
        await refused(registry.spec(f"private@{nothing}"), "^CannotPullContainerError: .*not found$")
        await refused(registry.spec("nowhere:1"), "^CannotPullContainerError: .*nowhere:1: not found$")
        await refused(registry.spec(f"private@{digest}", "wrong"), "^CannotPullContainerError: .*pull access denied")
        await refused(ImageSpec(f"localhost:{registry.port}/private@{digest}", plain_http=True), "pull access denied")
        await refused(registry.spec("In Valid:1"), "CannotPullContainerError")
        assert set(await ground.start().images.owned()) == set(ground.reference.values())
    ground.run(main())


@real
def test_a_registry_that_is_away_is_waited_for(ground: PodmanGround) -> None:
    async def main() -> None:
        with pytest.raises(Busy):
            await ground.start().images.ensure(ImageSpec(f"localhost:{free_port()}/a:1", plain_http=True))
    ground.run(main())


@real
def test_registries_outside_need_egress(ground: PodmanGround) -> None:
    async def main() -> None:
        for reference in ("nginx", "docker.io/library/nginx:1", "public.ecr.aws/nginx/nginx@sha256:" + "1" * 64):
            with pytest.raises(Refused, match="egress is off"):
                await ground.start().images.ensure(ImageSpec(reference))
    ground.run(main())


@with_registry
def test_credentials_are_seen_nowhere(ground: PodmanGround, registry: DockerRegistry) -> None:
    secret = "Zq9-secret-Zq9"

    async def main() -> None:
        plane = ground.start()
        pull = asyncio.create_task(plane.images.ensure(registry.spec("private:1", secret)))
        seen = []
        while not pull.done():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(path.read_bytes())
                except OSError:
                    continue
            await asyncio.sleep(0)
        assert not any(secret.encode() in line for line in seen)
        with pytest.raises(Refused):
            await pull
        for directory in (plane.podman.runtime, plane.podman.data):
            for path, _, names in os.walk(directory):
                for name in names:
                    file = Path(path, name)
                    if file.is_file() and not file.is_symlink() and "diff" not in file.parts:
                        assert secret.encode() not in file.read_bytes(), file
    ground.run(main())


@with_registry
@pytest.mark.skipif(not shutil.which("mount"), reason="needs mount")
def test_a_full_disk_refuses_and_frees_what_it_took(tmp_path: Path, registry: DockerRegistry) -> None:
    digest = registry.push("large", "1", [file_layer("large", os.urandom(30 << 20))])
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    try:
        with podman_ground(disk) as ground:
            async def main() -> None:
                images = ground.start().images
                before = shutil.disk_usage(disk).free
                for _ in range(2):
                    with pytest.raises(Refused, match=r"^CannotPullContainerError: .*no space left on device"):
                        await images.ensure(registry.spec(f"large@{digest}"))
                    assert set(await images.owned()) == set(ground.reference.values())
                    assert before - shutil.disk_usage(disk).free < 3 << 20  # the small layer may wait for the next try
            ground.run(main())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(("reference", "full"), [
    ("nginx", "docker.io/library/nginx:latest"),
    ("me/app:2", "docker.io/me/app:2"),
    ("localhost:4566/a", "localhost:4566/a:latest"),
    ("localhost/a:1", "localhost/a:1"),
    ("quay.io/a/b/c:1", "quay.io/a/b/c:1"),
    ("localhost:4566/a:1@sha256:12", "localhost:4566/a@sha256:12"),
    ("a@sha256:12", "docker.io/library/a@sha256:12"),
])
def test_references_are_read_as_docker_reads_them(reference: str, full: str) -> None:
    assert qualified(reference) == full


def test_what_is_on_this_machine() -> None:
    here = ("localhost/a", "localhost:1/a", "127.0.0.1:4566/a", "000000000000.dkr.ecr.us-east-1.localhost:4566/a",
            "[::1]:4566/a")
    assert all(map(is_local, here))
    assert not any(map(is_local, ("nginx", "10.0.0.1:5000/a", "localhost.example.com/a", "example.com/localhost/a")))
