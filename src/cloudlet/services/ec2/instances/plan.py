"""What an instance does next: pure functions from its record and what was seen to the record and the one next move.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from cloudlet.engines.ports import Machine
from cloudlet.services.ec2.instances.records import Health, Instance, StateReason

STOP_GRACE_S = 60.0  # AWS waits minutes; a guest that is emulated needs some ten seconds
PRESS_AGAIN_S = 10.0  # a guest that is still booting may not have heard the power button
CUT_AGAIN_S = 5.0
BOOT_LOOK_S = 2.0  # between two looks at a console on which the boot has not finished yet
BOOT_LOOKS_END_S = 1800.0  # from then on, a look a minute is enough: the sweep's
SILENT_BOOT_S = 120.0  # a guest that was heard on its network and says nothing on its console has booted by then
START_AGAIN_S = 1.0
DAY_S, RECOVERIES_PER_DAY = 86_400.0, 3
TERMINATED_KEPT_S = 3600.0  # "terminated instances remain visible … approximately one hour"

_UP = re.compile(rb"^(?!Last )[\w.-]+ login:|^.{0,40}Cloud-init v\.[^\n]* finished at ", re.MULTILINE)

Verb = Literal["fail", "await-parts", "power-on", "furnish", "look", "watch", "press", "cut", "clear", "settle",
               "release", "rest"]

BY_USER = StateReason("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown")
BY_GUEST = StateReason("Client.InstanceInitiatedShutdown",
                       "Client.InstanceInitiatedShutdown: Instance initiated shutdown")
LOST = StateReason("Server.InternalError", "Server.InternalError: The instance's virtual machine ended unexpectedly")


@dataclass(frozen=True, slots=True)
class Parts:
    """What an instance needs to be powered on, and has. `wanted`: the engine names of the drives and cards that it is
    to have now; `missing`: some that it starts with are not there yet; `problem`: one never will be."""

    wanted: tuple[frozenset[str], frozenset[str]]
    missing: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """The next move; for a wait, how many seconds at most; for a press of the power button, the grace that is left."""

    verb: Verb
    after: float | None = None
    grace_s: float = 0.0


# ── What the record says ─────────────────────────────────────────────────────────────────────────────────────────────


def by_user(now: float) -> str:
    """AWS's StateTransitionReason of what a customer asked for."""
    return f"User initiated ({datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} GMT)"


def started(instance: Instance, now: float) -> Instance:
    """The instance as it is from the moment that it is to be started again."""
    return replace(instance, desired="running", launched=now, starts=instance.starts + 1, stopping_at=None, force=False,
                   rebooting_at=None, on_since=None, booted_at=None, heard_at=None, health=Health(), reason=None,
                   transition="")


def ending(instance: Instance, desired: Literal["stopped", "terminated"], now: float, reason: StateReason,
           transition: str = "", *, force: bool = False) -> Instance:
    """The instance as it is from the moment that it is to end. One that is ending already may only be asked for more:
    to be gone for good, or at once."""
    if instance.desired == "terminated":
        return instance
    same = instance.desired == desired
    return replace(instance, desired=desired, force=force or (same and instance.force), rebooting_at=None,
                   stopping_at=instance.stopping_at if same and instance.stopping_at is not None else now,
                   reason=instance.reason if same else reason, transition=instance.transition if same else transition)


def note(instance: Instance, machine: Machine | None, now: float) -> Instance:
    """The record with what was seen of its machine written into it."""
    if machine is None:
        return _note_none(instance)
    if machine.state == "running":
        if instance.on and instance.on_since is not None and machine.started_at in (None, instance.on_since):
            return instance
        return replace(instance, on=True, on_since=machine.started_at or now, booted_at=None, health=Health())
    if instance.desired != "running" or instance.rebooting_at is not None:
        return instance
    if machine.ended == "guest":
        desired: Literal["stopped", "terminated"] = (
            "terminated" if instance.shutdown_behavior == "terminate" else "stopped")
        return replace(ending(instance, desired, now, BY_GUEST), on=True)
    if machine.ended == "lost" and instance.on:
        return _recovering(instance, now) or ending(instance, "stopped", now, LOST)
    return instance


def _recovering(instance: Instance, now: float) -> Instance | None:
    """The instance as it is from the moment that it starts again by itself, with all that it is and has but what was in
    its memory; None where it does not, or did so too often ("up to three recovery attempts per day").

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-recover.html
    """
    recent = tuple(at for at in instance.recoveries if at > now - DAY_S)
    if not instance.auto_recovery or len(recent) >= RECOVERIES_PER_DAY:
        return None
    return replace(_note_none(instance), recoveries=(*recent, now))


def _note_none(instance: Instance) -> Instance:
    """There is no machine. Between the two halves of a reboot it goes on as one that runs; `on_since` says so."""
    if instance.rebooting_at is not None:
        return replace(instance, rebooting_at=None, booted_at=None, heard_at=None, on_since=None,
                       health=Health())
    if instance.desired == "running" and instance.on_since is None:
        return instance
    return replace(instance, on=False, booted_at=None, heard_at=None, on_since=None, health=Health())


def noted_boot(instance: Instance, console: bytes, now: float) -> Instance:
    """The record with what its console, or what was heard of it on its network, say about its boot."""
    if instance.booted_at is not None or not instance.on:
        return instance
    since = instance.on_since if instance.on_since is not None else now
    heard = instance.heard_at is not None and instance.heard_at >= since and now - since >= SILENT_BOOT_S
    return replace(instance, booted_at=now) if heard or _is_up(console) else instance


def _is_up(console: bytes) -> bool:
    """Whether a guest's console shows that it has booted: cloud-init's last word, or a login prompt."""
    return _UP.search(console) is not None


# ── What is to be done ───────────────────────────────────────────────────────────────────────────────────────────────


def decide(instance: Instance, machine: Machine | None, parts: Parts, now: float) -> Move:
    """The next move of an instance whose record says what was seen."""
    if instance.desired == "running" and instance.rebooting_at is None:
        return _up(instance, machine, parts, now)
    if machine is not None:
        return _down(instance, machine, now)
    if instance.desired == "terminated":
        return Move("release") if instance.ended_at is None else _rest(instance, now)
    return Move("settle")


def _up(instance: Instance, machine: Machine | None, parts: Parts, now: float) -> Move:
    if machine is not None and machine.state == "off":
        return Move("clear")
    if machine is None:
        if parts.problem:
            return Move("fail")
        return Move("await-parts") if parts.missing else Move("power-on")
    if (frozenset(machine.drives), frozenset(machine.nics)) != parts.wanted or machine.unwired:
        return Move("furnish")
    if instance.booted_at is None:
        long = now - (instance.on_since or now) > BOOT_LOOKS_END_S
        return Move("look", None if long else BOOT_LOOK_S)
    return Move("watch")


def _down(instance: Instance, machine: Machine, now: float) -> Move:
    if machine.state == "off":
        return Move("clear")
    left = _grace_left(instance, now)
    return Move("press", min(left, PRESS_AGAIN_S), left) if left > 0 else Move("cut", CUT_AGAIN_S)


def _grace_left(instance: Instance, now: float) -> float:
    """How long one that is to go off may take to do so by itself."""
    since = instance.rebooting_at if instance.rebooting_at is not None else instance.stopping_at
    return 0.0 if instance.force else (since or now) + STOP_GRACE_S - now


def is_overdue(instance: Instance, now: float) -> bool:
    """Whether it was to be off by now, so that its power may be cut even where its machine does not answer."""
    goes = instance.desired != "running" or instance.rebooting_at is not None
    return goes and instance.ended_at is None and _grace_left(instance, now) <= 0


def _rest(instance: Instance, now: float) -> Move:
    return Move("rest", max(0.0, (instance.ended_at or now) + TERMINATED_KEPT_S - now))
