"""Seeds, and the bugs that they must catch."""

import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.machine_bugs import MACHINE_BUGS
from tests.simulation.scenario import CASTS, Report, play

EXPECTED = ("RunTask", "StopTask", "CreateService", "UpdateService", "DeleteService", "killed", "stopped", "rebooted",
            "power cut", "died in a transaction", "mishap", "AuthorizeSecurityGroupIngress",
            "RevokeSecurityGroupIngress", "disk", "clock set back", "reset", "DeleteRole", "UpdateAssumeRolePolicy",
            "BatchDeleteImage", "UpdateTaskProtection",
            "an hour without a customer", "rolled back", "failed", "full", "stuck",
            "UserInitiated", "ServiceSchedulerInitiated", "EssentialContainerExited", "InfrastructureHealth",
            "TaskFailedToStart")

EXPECTED_OF_INSTANCES = (
    "RunInstances", "StartInstances", "StopInstances", "RebootInstances", "TerminateInstances", "CreateVolume",
    "DeleteVolume", "AttachVolume", "DetachVolume", "CreateSnapshot", "CreateSnapshots", "DeleteSnapshot",
    "AttachNetworkInterface", "DetachNetworkInterface", "killed", "stopped", "rebooted", "power cut",
    "died in a transaction", "mishap", "disk", "clock set back", "reset", "an hour without a customer", "pending",
    "running", "stopping", "shutting-down", "terminated", "completed")


def play_all(seeds: range, cast: str = "tasks") -> list[Report]:
    """Plays seeds in as many processes as there are cores."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(partial(play, cast=cast), seeds, chunksize=5))


def judge(reports: list[Report], expected: tuple[str, ...] = EXPECTED) -> None:
    complaints = [f"seed {r.seed}: {r.complaint[:300]}" for r in reports if r.complaint]
    assert not complaints, "replay one with `python -m tests.simulation SEED -v`:\n" + "\n".join(complaints[:10])
    did = sum((report.did for report in reports), Counter[str]())
    assert not [what for what in expected if not did[what]], "the seeds no longer do everything"


def test_every_promise_is_kept_whatever_dies() -> None:
    judge(play_all(range(90)))


@pytest.mark.slow
def test_every_promise_is_kept_for_many_seeds() -> None:
    judge(play_all(range(90, 2500)))


def test_every_promise_about_instances_is_kept_whatever_dies() -> None:
    judge(play_all(range(40), "instances"), EXPECTED_OF_INSTANCES)


@pytest.mark.slow
def test_every_promise_about_instances_is_kept_for_many_seeds() -> None:
    judge(play_all(range(40, 2500), "instances"), EXPECTED_OF_INSTANCES)


@pytest.mark.parametrize(("cast", "bug"), [*(("tasks", bug) for bug in BUGS),
                                           *(("instances", bug) for bug in MACHINE_BUGS)])
def test_a_planted_bug_is_caught(cast: str, bug: str) -> None:
    plant, seeds = (BUGS if cast == "tasks" else MACHINE_BUGS)[bug]
    for seed in seeds:
        with plant():
            if play(seed, cast=cast).complaint:
                return
    pytest.fail(f"no seed of {seeds} caught it")


@pytest.mark.parametrize("cast", CASTS)
def test_a_seed_tells_the_same_story_twice(cast: str) -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        play(7, story.append, cast)
    assert len(stories[0]) > 100
    assert stories[0] == stories[1]
