"""What a record costs in the store, beside SQLite's own cost of committing one row of the same size."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from cloudlet.kernel.clock import SystemClock
from cloudlet.store.db import Store
from cloudlet.store.records import encode, record

TIMES, ROUNDS = 3000, 3


@record("bench.interface", reconciled=True, indexes={"vpc": lambda r: r.vpc, "group": lambda r: r.groups})
class Interface:
    """A record of the usual size, under three values of two indexes."""

    id: str
    vpc: str
    groups: tuple[str, ...]
    tags: dict[str, str]
    number: int = 0


def interface(key: int, number: int = 0) -> Interface:
    """The record of that key."""
    return Interface(f"eni-{key:017x}", f"vpc-{key % 10}", ("sg-1", f"sg-{key % 7}"), {"Name": "x"}, number)


def best(act: Callable[[int], object]) -> float:
    """Microseconds of one run: the mean of the quickest round."""
    rounds = []
    for turn in range(ROUNDS):
        began = time.perf_counter()
        for number in range(TIMES):
            act(turn * TIMES + number)
        rounds.append((time.perf_counter() - began) / TIMES * 1e6)
    return min(rounds)


def main() -> None:
    """Each line is one transaction."""
    with tempfile.TemporaryDirectory() as directory:
        store = Store(str(Path(directory) / "db"), SystemClock())
        bare = apsw.Connection(str(Path(directory) / "bare"))
        for pragma, value in (("journal_mode", "wal"), ("synchronous", "normal"), ("wal_autocheckpoint", 0)):
            bare.pragma(pragma, value)
        bare.execute("create table record (key text primary key, body blob) without rowid").fetchall()

        def put(rec: Interface, wake: bool) -> None:
            with store.tx() as tx:
                tx.put(rec, wake=wake)

        def get(number: int) -> None:
            with store.tx() as tx:
                tx.get(Interface, f"eni-{number % TIMES:017x}")

        def find(number: int) -> None:
            with store.tx() as tx:
                tx.find(Interface, vpc=f"vpc-{number % 10}", limit=10)

        body = encode(interface(1))
        for what, act in (
                ("bare SQLite: one row", lambda n: bare.execute(
                    "insert into record values (?,?)", (f"{n:020}", body)).fetchall()),
                ("a new record", lambda n: put(interface(n), False)),
                ("a changed record", lambda n: put(interface(n % TIMES, n), False)),
                ("a changed record that wakes its loop", lambda n: put(interface(n % TIMES, n), True)),
                ("a record by key", get), ("ten records by an index", find)):
            print(f"{what:40} {best(act):7.1f} µs")
        store.close()
        bare.close()


if __name__ == "__main__":
    main()
