"""A real Docker daemon, as a customer's: logged in by the real aws CLI, it pushes and pulls."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Cloudlet
from tests.tools.archive import write_archive

pytestmark = [pytest.mark.root, pytest.mark.engine("dockerd"), pytest.mark.engine("docker")]

START_S_MAX = 60.0
DAEMON = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
          "--storage-driver=vfs")


class Docker:
    """One daemon with all it has in one directory."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory, self.socket = directory, f"unix://{directory}/docker.sock"
        self.environment = {**environment, "DOCKER_HOST": self.socket, "DOCKER_CONFIG": str(directory / "client"),
                            "DOCKER_BUILDKIT": "0", "DOCKER_CLI_HINTS": "false"}
        with open(directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["dockerd", "--data-root", str(directory / "data"), "--exec-root", str(directory / "exec"),
                 "--pidfile", str(directory / "pid"), "--host", self.socket, *DAEMON],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S_MAX
        while self.run("version", check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.skip("dockerd does not start here: " + (directory / "log").read_text()[-500:])
            time.sleep(0.1)

    def run(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["docker", *arguments], env=self.environment, input=stdin, capture_output=True,
                              text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def build(self, tag: str, *files: tuple[str, str]) -> str:
        """An image with one layer for each file; its id."""
        with tempfile.TemporaryDirectory(dir=self.directory) as context:
            for name, text in files:
                Path(context, name).write_text(text)
            lines = ["FROM scratch", *(f"COPY {name} /{name}" for name, _ in files)]
            Path(context, "Dockerfile").write_text("\n".join(lines))
            self.run("build", "-q", "-t", tag, context)
        return self.id(tag)

    def id(self, reference: str) -> str:
        return self.run("image", "inspect", "--format", "{{.Id}}", reference).stdout.strip()

    def digest(self, reference: str) -> str:
        digests = json.loads(self.run("image", "inspect", "--format", "{{json .RepoDigests}}", reference).stdout)
        name = reference.rpartition(":")[0]
        (found,) = [digest.rpartition("@")[2] for digest in digests if digest.startswith(name + "@")]
        return str(found)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def docker(cloudlet: Cloudlet) -> Iterator[Docker]:
    directory = Path(tempfile.mkdtemp(prefix="docker-"))  # short: a socket's path has at most 107 bytes
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    daemon = Docker(directory, environment)
    try:
        yield daemon
    finally:
        daemon.stop()
        subprocess.run(["umount", "-l", str(directory / "data")], capture_output=True, check=False)  # if it was one
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def registry(cloudlet: Cloudlet, docker: Docker) -> str:
    """The registry's host, after the login that AWS's documentation shows."""
    repository = json.loads(cloudlet.aws("ecr", "create-repository", "--repository-name", "app").stdout)["repository"]
    host: str = repository["repositoryUri"].partition("/")[0]
    password = cloudlet.aws("ecr", "get-login-password").stdout.strip()
    login = docker.run("login", "--username", "AWS", "--password-stdin", host, stdin=password)
    assert "Login Succeeded" in login.stdout
    return host


def test_push_and_pull(cloudlet: Cloudlet, docker: Docker, registry: str) -> None:
    reference = f"{registry}/app:v1"
    image = docker.build(reference, ("one", "first layer"), ("two", "second layer" * 1000))
    assert "digest: sha256:" in docker.run("push", reference).stdout
    digest = docker.digest(reference)
    (detail,) = json.loads(cloudlet.aws("ecr", "describe-images", "--repository-name", "app").stdout)["imageDetails"]
    assert (detail["imageDigest"], detail["imageTags"]) == (digest, ["v1"])
    for pulled in (f"{registry}/app@{digest}", reference):
        docker.run("rmi", "-f", image)
        docker.run("pull", pulled)
        assert docker.id(pulled) == image
    assert docker.run("push", reference).stdout.count("Layer already exists") == 2


def test_layers_are_mounted_from_another_repository(cloudlet: Cloudlet, docker: Docker, registry: str) -> None:
    cloudlet.aws("ecr", "create-repository", "--repository-name", "team/second")
    docker.build(f"{registry}/app:shared", ("shared", "a layer that both have"))
    docker.run("push", f"{registry}/app:shared")
    docker.run("tag", f"{registry}/app:shared", f"{registry}/team/second:v1")
    assert "Mounted from app" in docker.run("push", f"{registry}/team/second:v1").stdout


def test_an_imported_archive(docker: Docker, registry: str) -> None:
    archive = write_archive(docker.directory / "root.tar", ("bin/hello", b"#!" * 100_000))
    docker.run("import", str(archive), f"{registry}/app:imported")
    docker.run("push", f"{registry}/app:imported")
    image = docker.id(f"{registry}/app:imported")
    docker.run("rmi", f"{registry}/app:imported")
    docker.run("pull", f"{registry}/app:imported")
    assert docker.id(f"{registry}/app:imported") == image


def test_a_list_of_images(docker: Docker, registry: str) -> None:
    image = docker.build(f"{registry}/app:amd64", ("amd64", "for one"))
    docker.build(f"{registry}/app:arm64", ("arm64", "for the other"))
    for architecture in ("amd64", "arm64"):
        docker.run("push", f"{registry}/app:{architecture}")
    whole, parts = f"{registry}/app:multi", [f"{registry}/app:{name}" for name in ("amd64", "arm64")]
    docker.run("manifest", "create", "--insecure", whole, *parts)
    docker.run("manifest", "annotate", whole, parts[1], "--arch", "arm64")
    digest = docker.run("manifest", "push", "--insecure", whole).stdout.strip()
    listed = json.loads(docker.run("manifest", "inspect", "--insecure", whole).stdout)
    assert {entry["platform"]["architecture"] for entry in listed["manifests"]} == {"amd64", "arm64"}
    docker.run("rmi", "-f", image)
    docker.run("pull", whole)
    assert docker.id(whole) == image
    assert docker.digest(whole) == digest


def test_what_is_refused_reads_as_on_aws(cloudlet: Cloudlet, docker: Docker, registry: str) -> None:
    docker.build(f"{registry}/nosuch:v1", ("x", "x"))
    assert docker.refused("push", f"{registry}/nosuch:v1").strip() == (
        "name unknown: The repository with name 'nosuch' does not exist in the registry with id '000000000000'")
    assert "not found" in docker.refused("pull", f"{registry}/app:nosuch")
    cloudlet.aws("ecr", "create-repository", "--repository-name", "fixed", "--image-tag-mutability", "IMMUTABLE")
    for text, push in (("first", docker.run), ("second", docker.refused)):
        docker.build(f"{registry}/fixed:v1", ("x", text))
        answer = push("push", f"{registry}/fixed:v1")
    assert isinstance(answer, str)
    assert answer.strip() == ("tag invalid: The image tag 'v1' already exists in the 'fixed' repository and cannot be "
                              "overwritten because the repository is immutable.")
    assert "401 Unauthorized" in docker.refused("login", "--username", "AWS", "--password", "wrong", registry)


def test_without_a_login_nothing_is_pulled(cloudlet: Cloudlet, docker: Docker, registry: str) -> None:
    docker.build(f"{registry}/app:private", ("x", "private"))
    docker.run("push", f"{registry}/app:private")
    docker.run("logout", registry)
    try:
        assert "no basic auth credentials" in docker.refused("pull", f"{registry}/app:private")
        assert "no basic auth credentials" in docker.refused("push", f"{registry}/app:private")
    finally:
        password = cloudlet.aws("ecr", "get-login-password").stdout.strip()
        docker.run("login", "--username", "AWS", "--password-stdin", registry, stdin=password)
