"""What every test may ask for: markers that say what a test needs, and a real Cloudlet of its own."""

import os
import shutil
import signal
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

import apsw
import hypothesis
import pytest

from cloudlet.store.db import Store
from cloudlet.store.records import decode
from cloudlet.store.session import Session
from tests.running import Cloudlet, free_port, free_public_cidr

HANGS_S = 300  # many times what a quick test takes
SBIN = ":/usr/sbin:/sbin:/usr/local/sbin"

# How long an example takes, and how long it takes to make some, says more of the machine than of the program.
hypothesis.settings.register_profile("cloudlet", deadline=None,
                                     suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("cloudlet")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test that waits for what never comes fails, and shows where it stands, instead of holding up the others."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(HANGS_S * 10 if item.get_closest_marker("slow") else HANGS_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise SystemExit("the test does not end")  # what event loops let through; to pytest it is a failure


@pytest.fixture(autouse=True)
def records_in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever changes a record that the store gave it, instead of putting a changed copy, changes what all others get:
    so whatever a store still has in memory, when it is closed or the test is over, is what it has on the disk."""
    sessions: weakref.WeakSet[Session] = weakref.WeakSet()
    begin, close = Session.__init__, Store.close

    def begun(session: Session, db: apsw.Connection) -> None:
        begin(session, db)
        sessions.add(session)

    def closed(store: Store) -> None:
        _check_records(store._session)
        close(store)
    monkeypatch.setattr(Session, "__init__", begun)
    monkeypatch.setattr(Store, "close", closed)
    yield
    for session in sessions:
        with suppress(apsw.ConnectionClosedError):
            _check_records(session)


def _check_records(session: Session) -> None:
    for (cls, key), known in session.known.items():
        version, body = session.db.execute("select version, body from record where kind=? and key=?",
                                           (cls.KIND, key)).fetchone()  # type: ignore[attr-defined]
        assert decode(cls, body, version) == known, f"somebody changed {cls.__name__} {key} in memory"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what this machine cannot run; pytest prints each reason at the end."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
    for marker in item.iter_markers("engine"):
        program = marker.args[0]
        if shutil.which(program, path=os.environ["PATH"] + SBIN) is None:
            pytest.skip(f"needs the program {program}")


@pytest.fixture(scope="module")
def cloudlet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloudlet]:
    """A running Cloudlet for one module's tests: a data directory, port and public range of its own; all gone after."""
    with running_cloudlet(tmp_path_factory.mktemp("cloudlet")) as instance:
        yield instance


def running_cloudlet(directory: Path) -> Cloudlet:
    """One more, for tests that kill or reconfigure it."""
    return Cloudlet(directory / "data", free_port(), free_public_cidr())
