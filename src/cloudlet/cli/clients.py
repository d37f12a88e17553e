"""`cloudlet env`, `cloudlet aws` and `cloudlet demo`: other people's programs, pointed at Cloudlet."""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from cloudlet.cli import Complaint
from cloudlet.cli.endpoint import find
from cloudlet.config import Config
from cloudlet.guests.shelf import Shelf


def variables(url: str) -> dict[str, str]:
    """What AWS tools need in their environment; a key or region that is already set there stays."""
    wanted = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
              "AWS_DEFAULT_REGION": "us-east-1"}
    return {name: os.environ.get(name, value) if name != "AWS_ENDPOINT_URL" else value
            for name, value in wanted.items()}


def env(config: Config, _arguments: argparse.Namespace) -> int:
    """Prints shell lines to evaluate."""
    there = find(config)
    for name, value in variables(there.url if there else config.endpoint).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def aws_program() -> str:
    """The aws CLI: the one beside our Python, else the one on the PATH. Raises Complaint where there is none."""
    beside = Path(sys.executable).with_name("aws")
    found = str(beside) if beside.exists() else shutil.which("aws")
    if found is None:
        raise Complaint("the aws CLI is missing: pip install 'cloudlet[cli]'")
    return found


def aws(config: Config, arguments: argparse.Namespace) -> int:
    """Runs the real aws CLI. `--endpoint-url` is passed, for `aws sqs` and `aws rds` of CLI v1 obey nothing else."""
    there = find(config)
    if there is None:
        raise Complaint("Cloudlet is not running: cloudlet up -d")
    program = aws_program()
    os.execve(program, [program, "--endpoint-url", there.url, *arguments.arguments],
              {**os.environ, **variables(there.url)})


def demo(config: Config, _arguments: argparse.Namespace) -> int:
    """The walk-through, on the Cloudlet that runs, or on one that is started for it and taken down after."""
    from cloudlet.demo import walk

    program, there = aws_program(), find(config)
    if there is not None:
        print(f"Using the Cloudlet that runs at {there.url}")
        return walk(there.url, program, str(config.data_dir))
    ours = [sys.executable, "-m", "cloudlet"]
    place = ["--data-dir", str(config.data_dir)]
    if os.geteuid() == 0 and not Shelf(config.data_dir).images():
        # Before the network is there: a mirror of Debian may have an address in the range that becomes ours.
        print("Making a machine image from Debian's packages first; this is done once and takes about a minute")
        subprocess.run([*ours, "images", "build", "debian-12", *place], check=False)  # the chapter says what is wrong
    started = subprocess.run([*ours, "up", "-d", *place, "--port", str(config.port), "--host", config.host,
                              "--public-cidr", config.public_cidr], check=False)
    if started.returncode != 0:
        return started.returncode
    try:
        return walk(config.endpoint, program, str(config.data_dir))
    finally:
        subprocess.run([*ours, "down", *place], check=False)
