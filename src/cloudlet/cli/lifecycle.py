"""`cloudlet up` and `cloudlet down`."""

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
import time

import uvloop
from rich.console import Console

from cloudlet import app
from cloudlet.cli import Complaint
from cloudlet.cli.endpoint import find, is_healthy
from cloudlet.config import Config
from cloudlet.store.db import NewerFormat
from cloudlet.store.directory import Unusable, running

START_S_MAX, STOP_S_MAX = 30.0, 30.0
WITHOUT_ROOT = "Without root, ECS tasks and VPC networks are left out; what needs neither works."


def up(config: Config, arguments: argparse.Namespace) -> int:
    """Starts the control plane: in the foreground, or with -d in the background (returns when it is healthy)."""
    there = find(config)
    if there is not None:
        print(f"Cloudlet is already running at {there.url} (pid {there.pid}, data in {config.data_dir})")
        return 0
    if os.geteuid() != 0:
        print(WITHOUT_ROOT)
    return _detached(config) if arguments.detach else _foreground(config)


def _foreground(config: Config) -> int:
    try:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        uvloop.run(app.serve(config, lambda url: print(f"Cloudlet is ready at {url} (data in {config.data_dir})",
                                                       flush=True)))
    except (Unusable, NewerFormat, OSError) as error:
        raise Complaint(str(error)) from None
    return 0


def _detached(config: Config) -> int:
    command = [sys.executable, "-m", "cloudlet", "up", "--data-dir", str(config.data_dir), "--host", config.host,
               "--port", str(config.port), "--public-cidr", config.public_cidr,
               "--object-ownership", config.object_ownership]
    if config.smtp:
        command += ["--smtp", config.smtp, "--mail-from", config.mail_from]
    if config.keep_queue_names:
        command.append("--keep-queue-names")
    if config.allow_development_key:
        command.append("--allow-development-key")
    try:
        config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        config.log.touch(mode=0o600)
    except OSError as error:
        raise Complaint(f"cannot write to the data directory {config.data_dir}: {error.strerror}") from None
    with open(config.log, "ab") as log:
        start = log.tell()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    with Console().status("starting Cloudlet"):
        deadline = time.monotonic() + START_S_MAX
        while child.poll() is None and not is_healthy(config.endpoint, child.pid):
            if time.monotonic() > deadline:
                raise Complaint(f"not healthy after {START_S_MAX:g} s; `cloudlet logs` tells more")
            time.sleep(0.02)
    if child.returncode is not None:
        with open(config.log, "rb") as said:
            said.seek(start)
            text = said.read().decode(errors="replace").strip().removeprefix("cloudlet: ")
        raise Complaint(text or f"it ended at once with status {child.returncode}")
    print(f"Cloudlet is ready at {config.endpoint} (pid {child.pid}, data in {config.data_dir})")
    return 0


def down(config: Config, _arguments: argparse.Namespace) -> int:
    """Stops the control plane, then every engine object of the installation. Records and data stay."""
    console = Console()
    pid = running(config.data_dir)
    if pid is None and not (config.data_dir / "installation").exists():
        print(f"nothing runs: there is no installation in {config.data_dir}")
        return 0
    with console.status("stopping the control plane"):
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_S_MAX
            while running(config.data_dir) == pid:
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.02)
    with console.status("stopping what it ran"):
        try:
            left = asyncio.run(app.tear_down(config))
        except (Unusable, NewerFormat) as error:
            raise Complaint(str(error)) from None
    for problem in left:
        print(f"cloudlet: {problem}", file=sys.stderr)
    print("Cloudlet is down" if not left else "Cloudlet is down, except for the above")
    return 1 if left else 0
