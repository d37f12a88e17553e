"""The fake world with a memory: what really ran, said and ended, to be compared with what the control plane tells."""

from collections import defaultdict
from collections.abc import Callable
from typing import Literal, TypeVar

from cloudlet.engines.fake import Body, Faults, Program, World
from cloudlet.engines.ports import Container, ContainerSpec
from cloudlet.kernel.errors import Refused
from tests.simulation.virtual import VirtualClock

T = TypeVar("T")

PROGRAMS = {  # image -> what its containers do
    "web:1": Program(("hello", "serving")),
    "job:1": Program(("working",), exits_after_s=7, exit_code=3),
    "stubborn:1": Program(("I stay",), stop_code=None),
    "crashing:1": Program(("oh",), exits_after_s=0.5, exit_code=1),
    "sidecar:1": Program(("done",), exits_after_s=2, exit_code=0),
    "job-ok:1": Program(("prepared",), exits_after_s=1, exit_code=0),
    "slow:1": Program(("warming up",), healthy_after_s=12),
    "flaky:1": Program(("again",), exits_after_s=75, exit_code=4),
}
MISSING_IMAGE = "missing:1"


Whose = tuple[str, str]  # a task's ARN and the name of one of its containers, as their labels say


class Nature(World):
    """`names`: under which names each container of a task was ever started (the labels tell, so that this does not
    rest on how names are made); `said`: each line under each name, in order; `ended`: exit codes; `forgotten`:
    what vanished without the control plane's doing (or came too late to be its doing): of that no more is known than
    was asked in time; `refused`: (verb, name) of what the engines said they never will do."""

    def __init__(self, clock: VirtualClock, seed: int) -> None:
        super().__init__(clock, seed)
        self.names: dict[Whose, list[str]] = defaultdict(list)
        self.said: dict[str, list[str]] = defaultdict(list)
        self.ended: dict[str, list[int]] = defaultdict(list)
        self.forgotten: set[str] = set()
        self.refused: set[tuple[str, str]] = set()
        self.slow_pull_s = 0.0
        self.has_image: Callable[[str], bool] = lambda reference: True
        self._write, self._exit, self._start = (self.containers.write, self.containers.exit,
                                                self.containers._start)
        self.containers.write = self._writes  # type: ignore[method-assign]
        self.containers.exit = self._exits  # type: ignore[method-assign]
        self.containers._start = self._starts  # type: ignore[method-assign]
        self._ensure, self.containers.ensure = self.containers.ensure, self._ensures  # type: ignore[method-assign]
        self.containers.programs = PROGRAMS
        self.images.refusals[MISSING_IMAGE] = "manifest unknown"

    def whose(self, spec: ContainerSpec) -> Whose:
        """Whose container that is."""
        labels = dict(spec.labels)
        return labels["com.amazonaws.ecs.task-arn"], labels["com.amazonaws.ecs.container-name"]

    async def verb(self, what: str, name: str, effect: Callable[[], T], *, makes: bool = False) -> T:
        """See `World`; what was refused is remembered, and a registry may be slow, or not have the image any more."""
        if what == "pull":
            await self.clock.sleep(self.random.uniform(0, self.slow_pull_s))
            if not self.severed and name not in self.images.images and not self.has_image(name):
                self.refused.add((what, name))
                raise Refused(f"reading manifest of {name}: manifest unknown")
        try:
            return await super().verb(what, name, effect, makes=makes)
        except Refused:
            self.refused.add((what, name))
            raise

    def is_forgotten(self, whose: Whose) -> bool:
        """Whether it vanished, or came late."""
        return not self.forgotten.isdisjoint(self.names.get(whose, ()))

    async def _ensures(self, spec: ContainerSpec) -> Container:
        try:
            return await self._ensure(spec)
        except Refused:
            self.refused.add(("start", self.whose(spec)[0]))
            raise

    def _starts(self, spec: ContainerSpec, before: Body | None = None) -> Body:
        known = self.names[self.whose(spec)]
        if spec.name not in known:
            known.append(spec.name)
        return self._start(spec, before)

    def _writes(self, name: str, text: str, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        text = f"{len(self.said[name])} {text}"
        self.said[name].append(text)
        self._write(name, text, stream)

    def _exits(self, name: str, code: int = 0, *, out_of_memory: bool = False) -> None:
        self._writes(name, f"exits with {code}", "stderr")
        self.ended[name].append(code)
        self._exit(name, code, out_of_memory=out_of_memory)

    def _late(self, what: str, name: str, effect: object) -> None:
        self.forgotten.add(name)
        super()._late(what, name, effect)  # type: ignore[arg-type]

    def reboot(self) -> None:
        """See `World`."""
        before = set(self.containers.bodies)
        super().reboot()
        self.forgotten |= before - set(self.containers.bodies)

    def chatter(self) -> None:
        """Some containers say something."""
        for name in self.containers.running():
            for _ in range(self.random.choice((0, 0, 1, 3))):
                self.containers.write(name, "a line of text")

    def mishap(self) -> str:
        """One container or interface comes to harm. What happened."""
        running, interfaces = self.containers.running(), sorted(self.networks.interfaces)
        kind = self.random.choice(("exit", "exit", "memory", "vanish", "interface", "sick"))
        if kind == "interface" and interfaces:
            name = self.random.choice(interfaces)
            self.networks.vanish(name)
        elif running and kind != "interface":
            name = self.random.choice(running)
            if kind == "sick":
                self.containers.sick[name] = self.random.choice((1, None))
            elif kind == "vanish":
                self.forgotten.add(name)
                self.containers.vanish(name)
            else:
                self.containers.exit(name, 137, out_of_memory=kind == "memory")
        else:
            return "nothing"
        return f"{kind} {name}"

    def worsen(self, seconds: float) -> None:
        """How bad this seed's engines are, until `calm`."""
        draw = self.random.choice
        self.faults = Faults(lag_s=seconds, busy=draw((0, 0.05, 0.2)), lost=draw((0, 0.05, 0.2)),
                             late=draw((0, 0.5)), deaf=draw((0, 0.3, 1)), refused=draw((0, 0, 0.1)))
        self.slow_pull_s = draw((0.0, 0.0, 40.0))

    def calm(self) -> None:
        """From now on nothing goes wrong any more."""
        self.faults, self.slow_pull_s = Faults(lag_s=0.1), 0.0
        self.containers.sick.clear()
