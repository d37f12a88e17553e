"""Power cuts at any moment of a store's life: what was flushed is there, and all transactions are whole."""

import asyncio
import random
from pathlib import Path

import pytest

from cloudlet.kernel.clock import SystemClock
from cloudlet.store.db import Store
from tests.powercut import LOSSES, Recorder, Told, after_power_cut
from tests.store.test_faults import Thing


def live(directory: Path) -> tuple[Recorder, int]:
    """Writes pairs of records, flushes some, moves the log; what was told and the number of the first such event."""
    directory.mkdir()
    recorder = Recorder(directory)
    with recorder.recording():
        store = Store(str(directory / "db"), SystemClock())
        first = recorder.tell(-1)
        for number in range(12):
            with store.tx(shared=number % 4 < 3) as tx:  # some of those that are flushed share a commit, some do not
                tx.put(Thing(f"{number:03} a", "red", "x" * 3000))
                tx.put(Thing(f"{number:03} b", "red", "x" * 3000))
            if number % 3 == 1:
                asyncio.run(store.flush(tx))
                recorder.tell(number)
            if number % 5 == 4:
                store.checkpoint()
        store.close()
    return recorder, first


def check(recorder: Recorder, first: int, tmp_path: Path) -> None:
    drawn = random.Random(1)
    for turn in range(40):
        at = drawn.randint(first + 1, len(recorder.events))
        told = max(event.what for event in recorder.events[:at] if isinstance(event, Told))
        after_power_cut(recorder.events, at, drawn.choice(LOSSES), turn, tmp_path / f"disk{turn}")
        store = Store(str(tmp_path / f"disk{turn}" / "db"), SystemClock())
        with store.tx() as tx:
            found = [thing.id for thing in tx.find(Thing)]
            assert tx.execute("pragma integrity_check").fetchall() == [("ok",)]
        store.close()
        whole = [f"{number:03} {half}" for number in range(len(found) // 2) for half in "ab"]
        assert found == whole
        assert len(found) // 2 > told, "what was flushed is lost"


def test_what_was_flushed_survives(tmp_path: Path) -> None:
    check(*live(tmp_path / "data"), tmp_path)


def test_what_was_not_flushed_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "_sync", lambda store, told: told(None))
    recorder, first = live(tmp_path / "data")
    with pytest.raises(AssertionError, match="what was flushed is lost"):
        check(recorder, first, tmp_path)
