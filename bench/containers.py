"""Starting a container by the adapter, beside a bare `podman run -d` of the same image in the same namespace.

Both use the same storage and runtime; the two take turns, so that noise falls on both. `python -m bench containers`.
"""

import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from cloudlet.engines.ports import GroupSpec
from tests.engines.podman_ground import Plane, PodmanGround, podman_ground

ROUNDS, MANY, SWEEPS = 20, 50, 3


def bare(ground: PodmanGround, podman: Plane, name: str) -> subprocess.Popen[bytes]:
    limits = [part for kind, (soft, hard) in podman.podman.default_ulimits().items()
              for part in ("--ulimit", f"{kind}={soft}:{hard}")]
    return subprocess.Popen(["podman", "--runtime-flag", f"root={podman.podman.runtime / 'oci'}", "run", "-d", "--name",
                             name, "--network", f"ns:{ground.namespace}", "--cgroup-parent",
                             f"{podman.podman.cgroup}/{name}", *limits, ground.reference["stubborn"]],
                            stdout=subprocess.DEVNULL, env={**os.environ, **podman.podman.environment})


async def clean(plane: Plane) -> None:
    await plane.containers.destroy_all()
    for entry in (await plane.podman.ask("GET", "/containers/json?all=true")).json:
        answer = await plane.podman.ask("DELETE", f"/containers/{entry['Id']}?force=true&timeout=0")
        assert answer.status == 200, answer


async def one_by_one(ground: PodmanGround) -> dict[str, float]:
    plane = ground.start()
    seconds: dict[str, list[float]] = {"bare": [], "ensure": []}
    for number in range(ROUNDS):
        began = time.perf_counter()
        status = bare(ground, plane, f"bare-{number}").wait()
        seconds["bare"].append(time.perf_counter() - began)
        assert status == 0
        spec = plane.spec(f"ours {number}", group=GroupSpec(f"g{number}", 1.0, 256 << 20), program="stubborn")
        began = time.perf_counter()
        await plane.containers.ensure(spec)
        seconds["ensure"].append(time.perf_counter() - began)
    await clean(plane)
    return {what: statistics.median(times) for what, times in seconds.items()}


async def all_at_once(ground: PodmanGround) -> dict[str, float]:
    plane = ground.start()
    rates: dict[str, list[float]] = {"bare": [], "ensure": []}
    for _ in range(SWEEPS):
        began = time.perf_counter()
        assert not any(process.wait() for process in [bare(ground, plane, f"bare-{n}") for n in range(MANY)])
        rates["bare"].append(MANY / (time.perf_counter() - began))
        await clean(plane)
        specs = [plane.spec(f"ours {n}", group=GroupSpec(f"g{n}", 1.0, 256 << 20), program="stubborn")
                 for n in range(MANY)]
        began = time.perf_counter()
        await asyncio.gather(*map(plane.containers.ensure, specs))
        rates["ensure"].append(MANY / (time.perf_counter() - began))
        await clean(plane)
    return {what: statistics.median(found) for what, found in rates.items()}


def main() -> None:
    """Prints medians and their ratios."""
    with tempfile.TemporaryDirectory() as directory, podman_ground(Path(directory)) as ground:
        single = ground.run(one_by_one(ground))
        many = ground.run(all_at_once(ground))
    print(json.dumps({
        "one: bare s": round(single["bare"], 3), "one: ensure s": round(single["ensure"], 3),
        "one: ratio (at most 1.3)": round(single["ensure"] / single["bare"], 2),
        f"{MANY}: bare per s": round(many["bare"], 1), f"{MANY}: ensure per s": round(many["ensure"], 1),
        f"{MANY}: ratio (at least 0.7)": round(many["ensure"] / many["bare"], 2)}, indent=1))


if __name__ == "__main__":
    main()
