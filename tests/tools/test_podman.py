"""Podman as a customer's client: login, push, pull, lists; in a storage of its own."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Cloudlet
from tests.tools.archive import write_archive

pytestmark = [pytest.mark.root, pytest.mark.engine("podman")]


class Podman:
    """The program with an isolated storage."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        place = self.directory
        done = subprocess.run(
            ["podman", "--root", f"{place}/root", "--runroot", f"{place}/run", "--tmpdir", f"{place}/tmp",
             "--storage-driver", "vfs", *arguments],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(place), "REGISTRY_AUTH_FILE": f"{place}/auth"},
            input=stdin, capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def id(self, reference: str) -> str:
        return self.run("image", "inspect", "--format", "{{.Id}}", reference).stdout.strip()


@pytest.fixture(scope="module")
def podman(cloudlet: Cloudlet) -> Iterator[Podman]:
    directory = Path(tempfile.mkdtemp(prefix="podman-"))
    made = Podman(directory)
    try:
        yield made
    finally:
        made.run("rmi", "--all", "--force", check=False)
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def registry(cloudlet: Cloudlet, podman: Podman) -> str:
    uri: str = cloudlet.client("ecr").create_repository(repositoryName="app")["repository"]["repositoryUri"]
    host = uri.partition("/")[0]
    password = cloudlet.aws("ecr", "get-login-password").stdout.strip()
    podman.run("login", "--tls-verify=false", "-u", "AWS", "--password-stdin", host, stdin=password)
    return host


def image(podman: Podman, reference: str, text: str) -> str:
    archive = write_archive(podman.directory / "root.tar", ("etc/text", text.encode()))
    podman.run("import", str(archive), reference)
    return podman.id(reference)


@pytest.mark.parametrize("kind", ["oci", "v2s2"])
def test_push_and_pull(cloudlet: Cloudlet, podman: Podman, registry: str, kind: str) -> None:
    reference = f"{registry}/app:{kind}"
    image(podman, reference, f"as {kind} would have it")
    digest_file = podman.directory / "digest"
    podman.run("push", "--tls-verify=false", "--format", kind, "--digestfile", str(digest_file), reference)
    (detail,) = cloudlet.client("ecr").describe_images(
        repositoryName="app", imageIds=[{"imageTag": kind}])["imageDetails"]
    assert detail["imageDigest"] == digest_file.read_text()
    assert ("oci" in detail["imageManifestMediaType"]) == (kind == "oci")
    podman.run("rmi", reference)
    podman.run("pull", "--tls-verify=false", f"{registry}/app@{detail['imageDigest']}")
    podman.run("pull", "--tls-verify=false", reference)
    assert podman.run("image", "inspect", "--format", "{{.Digest}}", reference).stdout.strip() == detail["imageDigest"]


def test_a_list_of_images(cloudlet: Cloudlet, podman: Podman, registry: str) -> None:
    for name in ("amd64", "arm64"):
        image(podman, f"{registry}/app:{name}", name)
    podman.run("manifest", "create", "many")
    for name in ("amd64", "arm64"):
        podman.run("manifest", "add", "--arch", name, "many", f"containers-storage:{registry}/app:{name}")
    podman.run("manifest", "push", "--all", "--tls-verify=false", "many", f"docker://{registry}/app:many")
    (got,) = cloudlet.client("ecr").batch_get_image(repositoryName="app", imageIds=[{"imageTag": "many"}])["images"]
    children = json.loads(got["imageManifest"])["manifests"]
    assert {child["platform"]["architecture"] for child in children} == {"amd64", "arm64"}
    podman.run("pull", "--tls-verify=false", f"{registry}/app:many")


def test_what_is_refused(podman: Podman, registry: str) -> None:
    image(podman, f"{registry}/nosuch:v1", "x")
    refused = podman.run("push", "--tls-verify=false", f"{registry}/nosuch:v1", check=False)
    assert refused.returncode != 0
    assert "The repository with name 'nosuch' does not exist in the registry with id" in refused.stderr
    refused = podman.run("login", "--tls-verify=false", "-u", "AWS", "--password-stdin", registry, stdin="no",
                         check=False)
    assert "invalid username/password" in refused.stderr
