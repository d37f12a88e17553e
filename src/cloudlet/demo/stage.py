"""How a step is shown: what it is about, the command as it ran, its result, its time."""

import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape

T = TypeVar("T")
COMMAND_S_MAX, WAIT_S_MAX, SHOWN_LINES_MAX = 60.0, 45.0, 4


class Failed(Exception):
    """A step did not do what it says."""


class Stage:
    """Runs commands before the reader's eyes, with Cloudlet in their environment and a directory for their files."""

    def __init__(self, url: str, aws: str, data_dir: str) -> None:
        self.url, self._aws, self.data_dir = url, aws, data_dir
        self.console = Console(highlight=False, soft_wrap=True)
        self._directory = tempfile.TemporaryDirectory(prefix="cloudlet-demo-")
        self.directory = Path(self._directory.name)
        self._undo: list[tuple[str, Callable[[], object]]] = []
        self.environment = {**os.environ, "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test",
                            "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": "",
                            "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                            "NO_PROXY": "*"}
        self.environment.pop("AWS_SESSION_TOKEN", None)
        self.environment.pop("AWS_PROFILE", None)

    def chapter(self, title: str) -> None:
        """Opens a chapter."""
        self.console.print(f"\n[bold]{escape(title)}[/]")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """One step: its sentence before, its time after."""
        self.console.print(f"\n[cyan]▸ {escape(text)}[/]")
        started = time.monotonic()
        yield
        self.console.print(f"  [green]✓[/] [dim]{time.monotonic() - started:.1f} s[/]")

    def say(self, text: str) -> None:
        """A result, in words."""
        self.console.print(f"  {escape(text)}")

    def later(self, what: str, undo: Callable[[], object]) -> None:
        """Something to clean up at the end, whatever happens."""
        self._undo.append((what, undo))

    def forget(self, what: str) -> None:
        """It has been cleaned up as a step."""
        self._undo = [(name, undo) for name, undo in self._undo if name != what]

    def run(self, *command: str, shown: bool = True, check: bool = True, stdin: str | None = None,
            print_output: bool = False) -> str:
        """Runs a command as shown and returns its standard output; Failed with its words where it fails."""
        if shown:
            self.show(shlex.join(command))
        actual = [self._aws, *command[1:]] if command[0] == "aws" else list(command)
        if actual[1:2] in (["sqs"], ["rds"]):  # the CLI obeys no variable for these two
            actual[1:1] = ["--endpoint-url", self.url]
        try:
            done = subprocess.run(actual, env=self.environment, cwd=self.directory, input=stdin, text=True,
                                  capture_output=True, timeout=COMMAND_S_MAX, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Failed(f"{shlex.join(command)}: {error}") from None
        if check and done.returncode != 0:
            raise Failed(f"{shlex.join(command)}: {(done.stderr or done.stdout).strip()}")
        output = done.stdout if check else done.stdout + done.stderr
        if print_output:
            for line in output.strip().splitlines()[:SHOWN_LINES_MAX]:
                self.say(line)
        return output

    def show(self, command: str) -> None:
        """A command line as a person would type it."""
        self.console.print(f"  [dim]$[/] [bold]{escape(command)}[/]")

    def aws(self, *arguments: str, shown: bool = True) -> Any:
        """`aws ARGUMENTS --output json`, decoded; None where it answers nothing."""
        text = self.run("aws", *arguments, shown=shown)
        return json.loads(text) if text.strip() else None

    def until(self, what: str, look: Callable[[], T | None], *, seconds_max: float = WAIT_S_MAX) -> T:
        """Looks again until there is an answer; Failed where there is none in time."""
        deadline = time.monotonic() + seconds_max
        with self.console.status(f"waiting until {what}"):
            while True:
                found = look()
                if found is not None:
                    return found
                if time.monotonic() > deadline:
                    raise Failed(f"waited {seconds_max:g} s in vain until {what}")
                time.sleep(0.05)

    def check(self, holds: bool, claim: str) -> None:
        """Failed unless the claim holds."""
        if not holds:
            raise Failed(f"this should hold: {claim}")

    def clean_up(self) -> None:
        """Undoes, newest first, what is left to undo."""
        for what, undo in reversed(self._undo):
            try:
                undo()
            except Failed as failed:
                self.console.print(f"  [yellow]could not clean up {escape(what)}:[/] {escape(str(failed))}")
        self._undo.clear()
        self._directory.cleanup()
