"""The fake world with guests: they write to their disks, power off, and come to harm."""

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.nature import Nature
from tests.simulation.virtual import VirtualClock


class GuestNature(Nature):
    """`wrote`: what is on each disk that a guest wrote to; `last`: what was on any disk when it was looked at last;
    `reboots` of the host; `was_full`: whether its disk ever was; `ended`: machines that ended by themselves."""

    def __init__(self, clock: VirtualClock, seed: int) -> None:
        super().__init__(clock, seed)
        self.wrote: dict[str, str] = {}
        self.reboots, self.was_full = 0, False
        self.ended_alone: set[str] = set()
        self.befell: Callable[[str, str], None] = lambda machine, why: None
        self._words = 0

    def reboot(self) -> None:
        """See `World`."""
        self.reboots += 1
        super().reboot()

    def chatter(self) -> None:
        """Guests that run write to their disks."""
        for name in self.machines.running():
            for disk in self.machines.boxes[name].seen.drives:
                if self.random.random() < 0.5:
                    self._words += 1
                    content = self.disks.disks[disk]
                    content.text += f"{self._words};"
                    self.wrote[disk] = content.text

    def mishap(self) -> str:
        """One machine, or the ground it stands on, comes to harm. What happened."""
        running, interfaces = self.machines.running(), sorted(self.networks.interfaces)
        kind = self.random.choice(("guest", "guest", "lost", "deaf", "frozen", "interface", "full", "space"))
        if kind in ("full", "space"):
            self.disks.full = kind == "full"
            self.was_full |= self.disks.full
            return kind
        if kind == "interface" and interfaces:
            name = self.random.choice(interfaces)
            self.networks.vanish(name)
        elif running and kind != "interface":
            name = self.random.choice(running)
            box = self.machines.boxes[name]
            if kind in ("deaf", "frozen"):
                setattr(box, kind, not getattr(box, kind))
            else:
                self.befell(name, kind)
                self.ended_alone.add(name)
                self.machines.end(name, "guest" if kind == "guest" else "lost")
        else:
            return "nothing"
        return f"{kind} {name}"

    def calm(self) -> None:
        """From now on nothing goes wrong any more."""
        super().calm()
        self.disks.full = False
        for box in self.machines.boxes.values():
            box.deaf = box.mute = box.frozen = False

    def worsen(self, seconds: float) -> None:
        """See `Nature`; no engine refuses a thing for good but in every second seed, or little would run."""
        super().worsen(seconds)
        if self.seed % 2:
            self.faults = replace(self.faults, refused=0.0)
