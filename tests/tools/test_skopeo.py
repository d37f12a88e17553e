"""skopeo: copies between registry and directory, inspects, lists and deletes."""

import base64
import json
import subprocess
from pathlib import Path

import pytest

from tests.images import Registry
from tests.running import Cloudlet

pytestmark = pytest.mark.engine("skopeo")


def skopeo(command: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["skopeo", command, *arguments], capture_output=True, text=True, timeout=120, check=False,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"})
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def credentials(cloudlet: Cloudlet) -> str:
    token = cloudlet.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(token).decode()


@pytest.fixture(scope="module")
def login(cloudlet: Cloudlet) -> str:
    """Credentials, and two repositories, one with an image."""
    login = credentials(cloudlet)
    for name in ("first", "second"):
        cloudlet.client("ecr").create_repository(repositoryName=name)
    registry = Registry(cloudlet.url, login.partition(":")[2])
    registry.push("first", "v1", [b"one layer" * 10_000, b"another"], ["/bin/true"])
    return login


def test_copy_inspect_and_delete(cloudlet: Cloudlet, login: str, tmp_path: Path) -> None:
    host = f"docker://localhost:{cloudlet.port}"
    skopeo("copy", "--src-tls-verify=false", "--src-creds", login, f"{host}/first:v1", f"oci:{tmp_path}/layout:v1")
    skopeo("copy", "--dest-tls-verify=false", "--dest-creds", login, f"oci:{tmp_path}/layout:v1", f"{host}/second:a")
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--src-creds", login, "--dest-creds", login,
           "--format", "v2s2", f"{host}/first:v1", f"{host}/second:b")
    options = ("--tls-verify=false", "--creds", login)
    first, second = (json.loads(skopeo("inspect", *options, f"{host}/{name}").stdout)
                     for name in ("first:v1", "second:a"))
    assert first["Digest"] == second["Digest"]
    assert first["Layers"] == second["Layers"]
    assert json.loads(skopeo("list-tags", *options, f"{host}/second").stdout)["Tags"] == ["a", "b"]
    skopeo("delete", *options, f"{host}/second:a")
    assert json.loads(skopeo("list-tags", *options, f"{host}/second").stdout)["Tags"] == ["b"]
    assert "Requested image not found" in skopeo("inspect", *options, f"{host}/second:a", check=False).stderr


def test_no_credentials_and_wrong_ones(cloudlet: Cloudlet, login: str) -> None:
    host = f"docker://localhost:{cloudlet.port}"
    for options in ((), ("--creds", "AWS:wrong"), ("--creds", login + "x")):
        refused = skopeo("inspect", "--tls-verify=false", *options, f"{host}/first:v1", check=False)
        assert refused.returncode != 0
        assert "unauthorized" in refused.stderr
