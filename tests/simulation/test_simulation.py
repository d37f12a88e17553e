"""Seeds, and the bugs that they must catch."""

import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.scenario import Report, play

EXPECTED = ("RunTask", "StopTask", "CreateService", "UpdateService", "DeleteService", "killed", "stopped", "rebooted",
            "power cut", "died in a transaction", "mishap", "AuthorizeSecurityGroupIngress",
            "RevokeSecurityGroupIngress", "disk", "clock set back", "reset", "DeleteRole", "UpdateAssumeRolePolicy",
            "BatchDeleteImage", "UpdateTaskProtection",
            "an hour without a customer", "rolled back", "failed", "full", "stuck",
            "UserInitiated", "ServiceSchedulerInitiated", "EssentialContainerExited", "InfrastructureHealth",
            "TaskFailedToStart")


def play_all(seeds: range) -> list[Report]:
    """Plays seeds in as many processes as there are cores."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(play, seeds, chunksize=5))


def judge(reports: list[Report]) -> None:
    complaints = [f"seed {r.seed}: {r.complaint[:300]}" for r in reports if r.complaint]
    assert not complaints, "replay one with `python -m tests.simulation SEED -v`:\n" + "\n".join(complaints[:10])
    did = sum((report.did for report in reports), Counter[str]())
    assert not [what for what in EXPECTED if not did[what]], "the seeds no longer do everything"


def test_every_promise_is_kept_whatever_dies() -> None:
    judge(play_all(range(90)))


@pytest.mark.slow
def test_every_promise_is_kept_for_many_seeds() -> None:
    judge(play_all(range(90, 2500)))


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str) -> None:
    plant, seeds = BUGS[bug]
    for seed in seeds:
        with plant():
            if play(seed).complaint:
                return
    pytest.fail(f"no seed of {seeds} caught it")


def test_a_seed_tells_the_same_story_twice() -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        play(7, story.append)
    assert len(stories[0]) > 100
    assert stories[0] == stories[1]
