"""`cloudlet status` and `cloudlet logs`: what is, and what was said."""

import argparse
import time
from collections import deque

from rich.console import Console

from cloudlet.cli import Complaint, endpoint
from cloudlet.config import Config


def status(config: Config, _arguments: argparse.Namespace) -> int:
    """What runs, what waits, what was given up and why. Exit status 1 where nothing runs."""
    answer = endpoint.told(config, "/_cloudlet/status")
    if answer is None:
        return 1
    there, told = answer
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]Cloudlet {told['version']}[/] at {there.url}, pid {there.pid}, data in {config.data_dir}")
    _engines(console, told["engines"])
    _machines(console, told["machines"])
    _counts(console, told["records"])
    now = time.time()
    _rows("waits", [(work["kind"], work["key"], "looked at next " + ("now" if work["due"] <= now else
                     f"in {work['due'] - now:.0f} s"), f"{work['attempts']} failures" if work["attempts"] else "",
                     work["why"]) for work in told["waiting"]])
    _rows("failed", [(work["kind"], work["key"], f"{now - work['at']:.0f} s ago", work["reason"])
                     for work in told["broken"]])
    if not told["waiting"] and not told["broken"]:
        console.print("nothing waits, nothing failed")
    return 0


def _engines(console: Console, engines: dict[str, str]) -> None:
    for name, state in engines.items():
        console.print(f"  {name}: " + ("[green]ok[/]" if state == "ok" else f"[red]{state}[/]"))


def _machines(console: Console, machines: list[dict[str, int]]) -> None:
    """What instances take of the host's memory, and what of that is QEMU's own."""
    if machines:
        own = sorted(each["overhead_bytes"] >> 20 for each in machines)
        whole = sum(each["overhead_bytes"] + each["guest_resident_bytes"] for each in machines) >> 20
        takers = "1 machine takes" if len(machines) == 1 else f"{len(machines)} machines take"
        share = f"{own[0]} MiB" if len(machines) == 1 else f"{own[0]} to {own[-1]} MiB each"
        console.print(f"  {takers} {whole:,} MiB of memory; of that QEMU has {share} for itself")


def _rows(title: str, rows: list[tuple[str, ...]]) -> None:
    """Plain lines, one an object, however narrow the window: they are read with grep as often as by eye."""
    for row in rows:
        print(f"{title}: " + "; ".join(cell for cell in row if cell))


def _counts(console: Console, records: dict[str, int]) -> None:
    if records:
        console.print("  " + ", ".join(f"{count} {kind}" for kind, count in records.items()))


def logs(config: Config, arguments: argparse.Namespace) -> int:
    """The last lines of the background control plane's log; with -f, those to come."""
    try:
        with open(config.log, errors="replace") as file:
            for line in deque(file, maxlen=max(0, arguments.lines)):
                print(line, end="")
            while arguments.follow:
                line = file.readline()
                if line:
                    print(line, end="", flush=True)
                else:
                    time.sleep(0.2)
    except FileNotFoundError:
        raise Complaint(f"there is no log at {config.log}: Cloudlet has not run in the background yet") from None
    return 0
