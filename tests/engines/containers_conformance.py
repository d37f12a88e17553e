"""What every implementation of the Images and Containers ports must do, whatever is behind it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest

from cloudlet.engines.ports import (
    Container,
    Containers,
    ContainerSpec,
    GroupSpec,
    Images,
    LogLine,
    Probes,
)
from cloudlet.kernel.errors import Conflict

T = TypeVar("T")

# Images that a ground offers, by what their containers do.
SLEEPER = "sleeper"  # prints "ready" and runs until the stop signal, then exits with 0
STUBBORN = "stubborn"  # ignores the stop signal
SPEAKER = "speaker"  # prints "line 1" … "line 5" and exits with 3


@dataclass(frozen=True)
class Ground:
    """Where the suite runs: the ports, an image's reference by what it does, and a network namespace."""

    containers: Containers
    images: Images
    probes: Probes
    image: Callable[[str], str]
    namespace: str
    prefix: str = "cl-conformance-"

    def spec(self, name: str, program: str) -> ContainerSpec:
        return ContainerSpec(self.prefix + name, GroupSpec(self.prefix + "group", memory_bytes=256 << 20),
                             self.image(program), self.namespace, "host-1")


async def until(look: Callable[[], Awaitable[T | None]], within_s: float = 60) -> T:
    """What `look` sees, once it sees something."""
    async with asyncio.timeout(within_s):
        while not (found := await look()):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    return found


async def in_state(containers: Containers, name: str, state: str) -> Container:
    async def look() -> Container | None:
        found = await containers.observe(name)
        return found if found is not None and found.state == state else None
    return await until(look)


async def a_container_lives_and_is_removed(ground: Ground) -> None:
    spec = ground.spec("life", SLEEPER)
    assert await ground.containers.observe(spec.name) is None
    made = await ground.containers.ensure(spec)
    image = await ground.images.observe(spec.image)
    assert image is not None
    assert (made.name, made.state, made.image_digest) == (spec.name, "running", image.digest)
    assert len(made.id) == 64
    assert made.pid
    assert made.started_at
    assert made.exit_code is made.finished_at is None
    assert await ground.containers.ensure(spec) == made == await ground.containers.observe(spec.name)
    assert spec.name in await ground.containers.owned()
    usage = await ground.containers.usage(spec.name)
    assert usage is not None
    assert usage.memory_limit_bytes == 256 << 20
    for _ in range(2):
        await ground.containers.destroy(spec.name)
        assert await ground.containers.observe(spec.name) is None
        assert spec.name not in await ground.containers.owned()
        assert await ground.containers.usage(spec.name) is None
    assert await ground.containers.read_log(spec.name, 7) == replace(
        await ground.containers.read_log(spec.name, 7), lines=(), next_offset=7, whole=True)


async def an_exit_is_heard_seen_and_final(ground: Ground) -> None:
    spec = ground.spec("exit", SPEAKER)
    async with aclosing(ground.containers.events()) as events:  # type: ignore[type-var]
        heard = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await ground.containers.ensure(spec)
        async with asyncio.timeout(30):
            while True:
                assert await heard == spec.name
                seen = await ground.containers.observe(spec.name)
                if seen is not None and seen.state == "exited":
                    break
                heard = asyncio.ensure_future(anext(events))
    assert (seen.exit_code, seen.out_of_memory, seen.pid) == (3, False, None)
    assert seen.started_at is not None
    assert seen.finished_at is not None
    assert seen.started_at <= seen.finished_at
    assert await ground.containers.ensure(spec) == seen
    lines: list[LogLine] = []
    chunk = await ground.containers.read_log(spec.name, 0, 2)
    while True:
        assert len(chunk.lines) <= 2
        lines += chunk.lines
        if chunk.whole:
            break
        chunk = await ground.containers.read_log(spec.name, chunk.next_offset, 2)
    assert [line.text for line in lines] == [f"line {number}" for number in range(1, 6)]
    assert {line.stream for line in lines} == {"stdout"}
    again = await ground.containers.read_log(spec.name, chunk.next_offset)
    assert (again.lines, again.next_offset) == ((), chunk.next_offset)
    await ground.containers.destroy(spec.name)


async def the_stop_signal_is_obeyed(ground: Ground) -> None:
    spec = ground.spec("polite", SLEEPER)
    await ground.containers.ensure(spec)

    async def ready() -> bool:  # before, a first process that handles no signal yet would not notice it
        return bool((await ground.containers.read_log(spec.name, 0)).lines)
    await until(ready)
    await ground.containers.stop(spec.name, 1000)
    await ground.containers.stop(spec.name, 1000)
    assert (await in_state(ground.containers, spec.name, "exited")).exit_code == 0
    await ground.containers.stop(spec.name, 1000)
    await ground.containers.destroy(spec.name)
    await ground.containers.stop(spec.name, 1000)


async def grace_ends_with_a_kill(ground: Ground) -> None:
    spec = ground.spec("stubborn", STUBBORN)
    await ground.containers.ensure(spec)
    await ground.containers.stop(spec.name, 1)
    again = await ground.containers.observe(spec.name)
    assert again is not None
    assert again.state == "running"
    killed = await in_state(ground.containers, spec.name, "exited")
    assert (killed.exit_code, killed.out_of_memory) == (137, False)
    await ground.containers.destroy(spec.name)
    await ground.containers.ensure(spec)
    await ground.containers.stop(spec.name, 1000)
    await ground.containers.stop(spec.name, 0)
    assert (await in_state(ground.containers, spec.name, "exited")).exit_code == 137
    await ground.containers.destroy(spec.name)


async def one_that_ended_is_started_again_as_often_as_asked(ground: Ground) -> None:
    spec = ground.spec("again", SPEAKER)
    await ground.containers.ensure(spec)
    first = await in_state(ground.containers, spec.name, "exited")
    for starts in (2, 3):
        made = await ground.containers.ensure(replace(spec, starts=starts))
        assert (made.id, made.starts) == (first.id, starts)
        ended = await in_state(ground.containers, spec.name, "exited")
        assert (ended.exit_code, ended.starts) == (3, starts)
        assert ended.started_at is not None
        assert first.finished_at is not None
        assert ended.started_at >= first.finished_at
        assert await ground.containers.ensure(replace(spec, starts=starts)) == ended
        first = ended
    lines = (await ground.containers.read_log(spec.name, 0)).lines
    assert [line.text for line in lines] == [f"line {number}" for number in range(1, 6)] * 3
    await ground.containers.destroy(spec.name)
    spec = ground.spec("polite again", SLEEPER)
    spec = replace(spec, name=spec.name.replace(" ", "-"))
    await ground.containers.ensure(spec)
    for starts in (1, 2):
        assert (await ground.containers.ensure(replace(spec, starts=starts))).starts == starts

        async def ready(starts: int = starts) -> bool:
            return len((await ground.containers.read_log(spec.name, 0)).lines) == starts
        await until(ready)
        await ground.containers.stop(spec.name, 1000)  # is sent anew to a new start
        assert (await in_state(ground.containers, spec.name, "exited")).exit_code == 0
    await ground.containers.destroy(spec.name)


async def a_probe_needs_a_container_that_runs(ground: Ground) -> None:
    spec = ground.spec("probed", SLEEPER)
    with pytest.raises(Conflict):
        await ground.probes.probe(spec.name, ("sh", "-c", "exit 0"), 10)
    await ground.containers.ensure(spec)
    assert await ground.probes.probe(spec.name, ("sh", "-c", "exit 0"), 10) == 0
    await ground.containers.stop(spec.name, 0)
    await in_state(ground.containers, spec.name, "exited")
    with pytest.raises(Conflict):
        await ground.probes.probe(spec.name, ("sh", "-c", "exit 0"), 10)
    await ground.containers.destroy(spec.name)


async def many_ask_for_the_same(ground: Ground) -> None:
    spec = ground.spec("same", SLEEPER)
    made = await asyncio.gather(*(ground.containers.ensure(spec) for _ in range(5)))
    assert len({container.id for container in made}) == 1
    await asyncio.gather(*(ground.containers.destroy(spec.name) for _ in range(3)))
    assert await ground.containers.observe(spec.name) is None


async def what_is_missing_is_a_conflict(ground: Ground) -> None:
    spec = ground.spec("missing", SLEEPER)
    for wrong in (replace(spec, image="localhost/nothing:1"), replace(spec, namespace="/run/netns/nothing")):
        with pytest.raises(Conflict):
            await ground.containers.ensure(wrong)
        assert await ground.containers.observe(spec.name) is None
        assert await ground.containers.owned() == ()


async def an_image_stays_while_it_is_used(ground: Ground) -> None:
    spec = ground.spec("user", SPEAKER)
    await ground.containers.ensure(spec)
    with pytest.raises(Conflict):
        await ground.images.destroy(spec.image)
    await ground.containers.destroy(spec.name)
    assert spec.image in await ground.images.owned()
    await ground.images.destroy(spec.image)
    await ground.images.destroy(spec.image)
    assert await ground.images.observe(spec.image) is None
    assert spec.image not in await ground.images.owned()


Check = Callable[[Ground], Awaitable[None]]
CHECKS: tuple[Check, ...] = (
    a_container_lives_and_is_removed, an_exit_is_heard_seen_and_final, the_stop_signal_is_obeyed,
    grace_ends_with_a_kill, one_that_ended_is_started_again_as_often_as_asked, a_probe_needs_a_container_that_runs,
    many_ask_for_the_same, what_is_missing_is_a_conflict,
    an_image_stays_while_it_is_used,  # last: it takes the speaker away
)
