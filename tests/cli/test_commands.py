"""The commands, typed as a person would, and what goes wrong around them."""

import os
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cloudlet.kernel.clock import SystemClock
from cloudlet.store.db import Store
from cloudlet.store.schema import FORMAT
from tests.running import Cloudlet, free_port, free_public_cidr


def cloudlet_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cloudlet", *arguments], capture_output=True, text=True, timeout=60,
                          check=False, env={**os.environ, **environment})


def test_up_in_the_background_and_down(tmp_path: Path) -> None:
    place = ["--data-dir", str(tmp_path / "data")]
    up = ["up", "-d", *place, "--port", str(free_port())]
    first = cloudlet_command(*up)
    assert first.returncode == 0, first.stderr
    assert "is ready at http://localhost:" in first.stdout
    try:
        again = cloudlet_command(*up)
        assert again.returncode == 0
        assert "already running" in again.stdout
        status = cloudlet_command("status", *place)
        assert status.returncode == 0
        assert "nothing waits, nothing failed" in status.stdout
        log = cloudlet_command("logs", *place)
        assert "is ready" in log.stdout
    finally:
        down = cloudlet_command("down", *place)
    assert down.returncode == 0
    assert "Cloudlet is down" in down.stdout
    assert cloudlet_command("status", *place).returncode == 1
    assert cloudlet_command("down", *place).returncode == 0


def test_nothing_to_stop(tmp_path: Path) -> None:
    done = cloudlet_command("down", "--data-dir", str(tmp_path / "never"))
    assert done.returncode == 0
    assert "nothing runs" in done.stdout


@pytest.mark.parametrize("detached", [[], ["-d"]])
def test_a_taken_port(tmp_path: Path, detached: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = cloudlet_command("up", *detached, "--data-dir", str(tmp_path / "data"), "--port", port)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize("detached", [[], ["-d"]])
def test_an_unusable_data_directory(tmp_path: Path, detached: list[str]) -> None:
    (tmp_path / "file").write_text("")
    done = cloudlet_command("up", *detached, "--data-dir", str(tmp_path / "file" / "data"), "--port", str(free_port()))
    assert done.returncode == 1
    assert "cannot write to the data directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("detached", [[], ["-d"]])
def test_a_data_directory_of_a_newer_version_is_refused_and_kept(tmp_path: Path, detached: list[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    Store(str(data / "cloudlet.db"), SystemClock()).close()
    file = sqlite3.connect(data / "cloudlet.db")
    file.execute(f"pragma user_version={FORMAT + 1}")
    file.close()
    before = (data / "cloudlet.db").read_bytes()
    done = cloudlet_command("up", *detached, "--data-dir", str(data), "--port", str(free_port()))
    assert done.returncode == 1
    assert "format" in done.stderr
    assert "Traceback" not in done.stderr
    assert (data / "cloudlet.db").read_bytes() == before


def test_a_second_one_on_the_same_directory_is_refused(cloudlet: Cloudlet) -> None:
    done = cloudlet_command("up", "--data-dir", str(cloudlet.data_dir), "--port", str(free_port()))
    assert done.returncode == 0
    assert f"already running at {cloudlet.url}" in done.stdout
    assert cloudlet.is_healthy()


def test_two_installations_side_by_side(cloudlet: Cloudlet, tmp_path: Path) -> None:
    with Cloudlet(tmp_path / "other", free_port(), free_public_cidr()) as other:
        cloudlet.client("ecr").create_repository(repositoryName="mine")
        assert other.client("ecr").describe_repositories()["repositories"] == []
    assert [r["repositoryName"] for r in cloudlet.client("ecr").describe_repositories()["repositories"]] == ["mine"]


@pytest.mark.parametrize(("flag", "value", "complaint"), [
    ("--port", "0", "from 1 to 65535"), ("--port", "x", "from 1 to 65535"),
    ("--public-cidr", "10.0.0.0/33", "must be an IPv4 range"),
    ("--public-cidr", "10.0.0.0/8", "between a /16 and a /28"),
    ("--object-ownership", "Nobody", "must be one of BucketOwnerEnforced, "),
    ("--host", "example.org", "must be an IP address")])
def test_a_setting_that_cannot_be(flag: str, value: str, complaint: str) -> None:
    done = cloudlet_command("up", flag, value)
    assert done.returncode == 1
    assert complaint in done.stderr


def test_the_development_key_is_for_loopback_unless_allowed() -> None:
    done = cloudlet_command("up", "--host", "0.0.0.0", "--port", str(free_port()))
    assert done.returncode == 1
    assert "--allow-development-key" in done.stderr


def test_env_points_tools_at_it(cloudlet: Cloudlet) -> None:
    said = cloudlet.command("env").stdout
    assert f"export AWS_ENDPOINT_URL={cloudlet.url}" in said
    aws = Path(sys.executable).with_name("aws")
    script = f'{said}\n"{aws}" sts get-caller-identity --query Account'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False,
                          env={"PATH": os.environ["PATH"], "HOME": str(cloudlet.data_dir), "NO_PROXY": "*"})
    assert done.stdout.strip() == '"000000000000"', done.stderr


def test_the_real_cli_with_everything_set(cloudlet: Cloudlet) -> None:
    done = cloudlet_command("aws", "sts", "get-caller-identity", CLOUDLET_DATA_DIR=str(cloudlet.data_dir), NO_PROXY="*")
    assert '"Account": "000000000000"' in done.stdout, done.stderr


@pytest.mark.root
def test_doctor_tries_each_engine(tmp_path: Path) -> None:
    done = cloudlet_command("doctor", "--data-dir", str(tmp_path / "never"))
    assert "nft" in done.stdout
    assert done.returncode == (1 if "missing" in done.stdout else 0)
    assert not (tmp_path / "never").exists()


def test_reset_is_for_this_machine_and_no_other_page(cloudlet: Cloudlet) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    cloudlet.client("ecr").create_repository(repositoryName="ours")
    foreign = urllib.request.Request(f"{cloudlet.url}/_cloudlet/reset", method="POST",
                                     headers={"Origin": "https://example.org"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        direct.open(foreign)
    with pytest.raises(urllib.error.HTTPError, match="405"):
        direct.open(f"{cloudlet.url}/_cloudlet/reset")
    assert cloudlet.client("ecr").describe_repositories()["repositories"]
    direct.open(urllib.request.Request(f"{cloudlet.url}/_cloudlet/reset", method="POST")).close()
    assert cloudlet.client("ecr").describe_repositories()["repositories"] == []
    assert cloudlet.client("ec2").describe_vpcs()["Vpcs"], "the default VPC comes back"
