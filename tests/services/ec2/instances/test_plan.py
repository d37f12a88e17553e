"""The plan of an instance: a table of cases, and what holds whatever happens in whatever order."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.engines.ports import Machine
from cloudlet.services.ec2.instances.plan import (
    BY_GUEST,
    BY_USER,
    LOST,
    STOP_GRACE_S,
    TERMINATED_KEPT_S,
    Parts,
    decide,
    ending,
    note,
    noted_boot,
    started,
)
from cloudlet.services.ec2.instances.records import Instance, Reservation

NOW = 1_000.0
WANTED = (frozenset({"disk"}), frozenset({"card"}))
READY, MISSING = Parts(WANTED), Parts(WANTED, missing=True)
NEW = Instance("a/r/i-1", "i-1", "a", "r", "t3.micro", "ami-1", "vpc-1", "subnet-1", "r-a", "/dev/xvda", 1.0, 1.0, 0,
               Reservation("r-1"), machine="vm")
ON = replace(NEW, on=True, on_since=10.0)
UP = replace(ON, booted_at=20.0)
RUNS = Machine("vm", "running", False, ("disk",), ("card",), 7, 10.0)


def off(ended: Any) -> Machine:
    return Machine("vm", "off", False, ended=ended, started_at=10.0)


CASES: list[tuple[str, Instance, Machine | None, Parts, str]] = [
    ("new, parts are missing", NEW, None, MISSING, "await-parts"),
    ("new, all is there", NEW, None, READY, "power-on"),
    ("a part never will be", NEW, None, Parts(WANTED, missing=True, problem="no space"), "fail"),
    ("a part of one that runs is broken", UP, RUNS, Parts(WANTED, problem="no space"), "watch"),
    ("it boots", ON, RUNS, READY, "look"),
    ("it is up", UP, RUNS, READY, "watch"),
    ("a drive is to come", UP, RUNS, Parts((WANTED[0] | {"more"}, WANTED[1])), "furnish"),
    ("a wire was lost", UP, replace(RUNS, unwired=("card",)), READY, "furnish"),
    ("a card is to go", UP, replace(RUNS, nics=("card", "more")), READY, "furnish"),
    ("a start that was cut off", NEW, off("lost"), READY, "clear"),
    ("the host restarted", UP, off("reboot"), READY, "clear"),
    ("somebody took everything down", UP, off("host"), READY, "clear"),
    ("nothing is left of it", UP, None, READY, "power-on"),
    ("powered off inside", UP, off("guest"), READY, "clear"),
    ("its process is gone", UP, off("lost"), READY, "clear"),
    ("told to stop", ending(UP, "stopped", NOW, BY_USER), RUNS, READY, "press"),
    ("told to stop long ago", ending(UP, "stopped", NOW - STOP_GRACE_S, BY_USER), RUNS, READY, "cut"),
    ("told to stop at once", ending(UP, "stopped", NOW, BY_USER, force=True), RUNS, READY, "cut"),
    ("it has stopped", ending(UP, "stopped", NOW, BY_USER), off("host"), READY, "clear"),
    ("nothing is left of what was to stop", ending(UP, "stopped", NOW, BY_USER), None, READY, "settle"),
    ("told to terminate", ending(UP, "terminated", NOW, BY_USER), RUNS, READY, "press"),
    ("its machine is gone for good", ending(UP, "terminated", NOW, BY_USER), None, READY, "release"),
    ("terminated", replace(ending(UP, "terminated", NOW, BY_USER), ended_at=NOW), None, READY, "rest"),
    ("terminated, and powered on late", replace(ending(UP, "terminated", 1.0, BY_USER), ended_at=2.0), RUNS, READY,
     "cut"),
    ("told to reboot", replace(UP, rebooting_at=NOW), RUNS, READY, "press"),
    ("told to reboot long ago", replace(UP, rebooting_at=NOW - STOP_GRACE_S), RUNS, READY, "cut"),
    ("half of a reboot", replace(UP, rebooting_at=NOW), off("host"), READY, "clear"),
    ("the other half of it", replace(UP, rebooting_at=NOW), None, READY, "power-on"),
]


@pytest.mark.parametrize(("instance", "machine", "parts", "verb"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])
def test_the_next_move(instance: Instance, machine: Machine | None, parts: Parts, verb: str) -> None:
    noted = note(instance, machine, NOW)
    assert decide(noted, machine, parts, NOW).verb == verb
    assert note(noted, machine, NOW) == noted, "what was seen once is seen"


@pytest.mark.parametrize(("instance", "machine", "state"), [
    (NEW, None, "pending"), (NEW, RUNS, "running"), (UP, RUNS, "running"), (UP, None, "pending"),
    (UP, off("guest"), "stopping"), (UP, off("lost"), "stopping"), (UP, off("reboot"), "running"),
    (replace(UP, shutdown_behavior="terminate"), off("guest"), "shutting-down"),
    (replace(UP, shutdown_behavior="terminate"), off("lost"), "stopping"),
    (replace(UP, rebooting_at=NOW), RUNS, "running"), (replace(UP, rebooting_at=NOW), off("guest"), "running"),
    (replace(UP, rebooting_at=NOW), None, "running"),
    (ending(UP, "stopped", NOW, BY_USER), RUNS, "stopping"), (ending(UP, "stopped", NOW, BY_USER), None, "stopped"),
    (ending(NEW, "terminated", NOW, BY_USER), None, "shutting-down")])
def test_states_come_from_what_was_seen(instance: Instance, machine: Machine | None, state: str) -> None:
    assert note(instance, machine, NOW).state == state


def test_reasons() -> None:
    assert note(UP, off("guest"), NOW).reason == BY_GUEST
    assert note(UP, off("lost"), NOW).reason == LOST
    asked = ending(UP, "stopped", NOW, BY_USER, "User initiated")
    assert note(asked, off("guest"), NOW).reason == BY_USER, "the first reason stays"
    assert ending(asked, "terminated", NOW + 5, BY_USER, "again").transition == "again"
    done = ending(UP, "terminated", NOW, BY_USER, "first")
    assert ending(done, "stopped", NOW, LOST) == done, "there is no way back"
    again = started(asked, NOW)
    assert (again.reason, again.transition, again.desired, again.starts) == (None, "", "running", 2)


def test_a_terminated_instance_rests_for_an_hour() -> None:
    rests = replace(ending(UP, "terminated", NOW, BY_USER), ended_at=NOW)
    assert decide(rests, None, READY, NOW + 600).after == TERMINATED_KEPT_S - 600
    assert decide(rests, None, READY, NOW + 7200).after == 0


@pytest.mark.parametrize(("console", "up"), [
    (b"", False), (b"Linux version 6.1.0\n", False), (b"Last login: yesterday", False),
    (b"debian login: ", True), (b"debian login:", True), (b"Cloud-init v. 22.4.2 running 'init'\n", False),
    (b"Cloud-init v. 22.4.2 finished at Wed, 25 Nov\n", True)])
def test_what_a_console_says_of_a_boot(console: bytes, up: bool) -> None:
    assert (noted_boot(ON, console, NOW).booted_at is not None) == up
    assert noted_boot(NEW, console, NOW) == NEW, "what is off has not booted"


# ── Whatever happens ─────────────────────────────────────────────────────────────────────────────────────────────────

MACHINES = st.sampled_from([None, RUNS, replace(RUNS, started_at=11.0), replace(RUNS, started_at=None), off("guest"),
                            off("host"), off("lost"), off("reboot")])
HAPPENINGS = st.lists(st.tuples(st.sampled_from(["look", "stop", "force", "start", "terminate", "reboot", "release"]),
                                MACHINES, st.integers(0, 100)), max_size=30)


def happen(instance: Instance, what: str, machine: Machine | None, now: float) -> Instance:
    """What the operations do, where they may."""
    match what:
        case "stop" | "force" if instance.state in ("running", "stopping"):
            return ending(instance, "stopped", now, BY_USER, force=what == "force")
        case "start" if instance.state == "stopped":
            return started(instance, now)
        case "terminate":
            return ending(instance, "terminated", now, BY_USER)
        case "reboot" if instance.on and instance.desired == "running" and instance.rebooting_at is None:
            return replace(instance, rebooting_at=now)
        case "release" if decide(instance, machine, READY, now).verb == "release":
            return replace(instance, ended_at=now)
    return instance


@settings(max_examples=300)
@given(HAPPENINGS, st.sampled_from(["stop", "terminate"]))
def test_whatever_happens(happenings: list[tuple[str, Machine | None, int]], behavior: Any) -> None:
    instance, now = replace(NEW, shutdown_behavior=behavior), 1.0
    for what, machine, later in happenings:
        now += later
        before = instance
        instance = note(happen(instance, what, machine, now), machine, now)
        assert note(instance, machine, now) == instance
        move = decide(instance, machine, READY, now)
        if before.desired == "terminated":
            assert instance.desired == "terminated", "there is no way back"
        if before.state == "terminated":
            assert instance.state == "terminated"
        if machine is not None and machine.state == "running" and instance.desired != "running":
            assert move.verb in ("press", "cut"), "nothing runs that should not"
        if move.verb == "power-on":
            assert instance.desired == "running"
            assert machine is None, "nothing is powered on twice"
        if move.verb in ("release", "settle"):
            assert machine is None, "nothing is given away that a machine has"
        if instance.state == "running" and machine is not None and machine.state == "running":
            assert move.verb in ("look", "watch", "furnish", "press", "cut")
        if instance.desired == "running" and instance.stopping_at is not None:
            raise AssertionError("what should run was told to stop")
        if move.verb == "press":
            assert 0 < move.grace_s <= STOP_GRACE_S
