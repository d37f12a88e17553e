"""Pulled through from a second registry on this machine: Debian's docker-registry, anonymous and with a password."""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import Registry, digest, login
from tests.running import Cloudlet, free_port

pytestmark = pytest.mark.engine("docker-registry")

# The bcrypt hash of "secret", as `htpasswd -B` writes it.
ENTRY = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextlib.contextmanager
def docker_registry(directory: Path, password_file: str = "") -> Iterator[str]:
    """Its host and port."""
    host = f"localhost:{free_port()}"
    auth = {"auth": {"htpasswd": {"realm": "here", "path": password_file}}} if password_file else {}
    settings = directory / f"{host}.yml"
    settings.write_text(json.dumps({
        "version": "0.1", "log": {"level": "error"}, "http": {"addr": host},
        "storage": {"filesystem": {"rootdirectory": str(directory / host)}}, **auth}))
    process = subprocess.Popen(["docker-registry", "serve", str(settings)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                _direct.open(f"http://{host}/v2/", timeout=2)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield host
    finally:
        process.terminate()
        process.wait(timeout=20)


class Anonymous(Registry):
    """The client of tests/images.py, without a password or with another user's."""

    def __init__(self, host: str, authorization: str = "") -> None:
        super().__init__(f"http://{host}", "")
        self._authorization = authorization


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="registry-"))
    yield made
    shutil.rmtree(made)


def test_an_open_registry(cloudlet: Cloudlet, directory: Path) -> None:
    ecr = cloudlet.client("ecr")
    with docker_registry(directory) as host:
        pushed = Anonymous(host).push("team/app", "v1", [b"a layer " * 100_000], ["/bin/true"])
        ecr.create_pull_through_cache_rule(ecrRepositoryPrefix="mirror", upstreamRegistryUrl=host)
        assert ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix="mirror")["isValid"]
        registry = login(cloudlet)
        manifest = registry.call("GET", "/v2/mirror/team/app/manifests/v1").read()
        assert digest(manifest) == pushed
        with pytest.raises(urllib.error.HTTPError, match="404"):
            registry.call("GET", "/v2/mirror/team/app/manifests/v2")
    for part in json.loads(manifest)["layers"]:  # the other registry is gone
        assert digest(registry.call("GET", f"/v2/mirror/team/app/blobs/{part['digest']}").read()) == part["digest"]
    invalid = ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix="mirror")
    assert not invalid["isValid"]
    assert "cannot be reached" in invalid["failure"]


def test_a_registry_with_a_password(cloudlet: Cloudlet, directory: Path) -> None:
    ecr, secrets = cloudlet.client("ecr"), cloudlet.client("secretsmanager")
    passwords = directory / "htpasswd"
    passwords.write_text(ENTRY + "\n")
    with docker_registry(directory, str(passwords)) as host:
        Anonymous(host, "Basic " + base64.b64encode(b"ann:secret").decode()).push("app", "v1", [b"x"], ["/bin/true"])
        arn = secrets.create_secret(Name="ecr-pullthroughcache/here", SecretString=json.dumps(
            {"username": "ann", "accessToken": "secret"}))["ARN"]
        ecr.create_pull_through_cache_rule(ecrRepositoryPrefix="closed", upstreamRegistryUrl=host, credentialArn=arn)
        assert ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix="closed")["isValid"]
        assert login(cloudlet).call("HEAD", "/v2/closed/app/manifests/v1").status == 200
        secrets.put_secret_value(SecretId=arn, SecretString=json.dumps({"username": "ann", "accessToken": "no"}))
        invalid = ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix="closed")
        assert (invalid["isValid"], "does not accept the credentials" in invalid["failure"]) == (False, True)


def test_another_cloudlet(cloudlet: Cloudlet) -> None:
    """This one is its own upstream: the registry of another account, asked with a token of it."""
    theirs = {"key": "111122223333"}
    cloudlet.client("ecr", **theirs).create_repository(repositoryName="base")
    pushed = login(cloudlet, **theirs).push("base", "v1", [b"layer"], ["/bin/true"])
    token = cloudlet.client("ecr", **theirs).get_authorization_token()["authorizationData"][0]["authorizationToken"]
    arn = cloudlet.client("secretsmanager").create_secret(Name="ecr-pullthroughcache/theirs", SecretString=json.dumps(
        {"username": "AWS", "accessToken": base64.b64decode(token).decode().partition(":")[2]}))["ARN"]
    cloudlet.client("ecr").create_pull_through_cache_rule(
        ecrRepositoryPrefix="theirs", upstreamRegistryUrl=f"localhost:{cloudlet.port}", credentialArn=arn)
    got = login(cloudlet).call("GET", "/v2/theirs/base/manifests/v1")
    assert got.headers["Docker-Content-Digest"] == pushed
