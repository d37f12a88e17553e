"""SQLite's transactions under ours: begun when something is asked of it, and shared by those that wait for the disk."""

from collections.abc import Sequence
from typing import Any

import apsw

from cloudlet.kernel.errors import AwsError


class OutOfSpace(AwsError):
    """The disk is full. Nothing of the transaction was written, nothing written before is lost, and when there is
    space again everything goes on."""

    code, status = "ServiceUnavailable", 503
    default_message = "The disk that holds Cloudlet's data is full."


class Lost(AwsError):
    """What was written could not be committed, and was taken back."""

    code, status = "InternalError", 500
    default_message = "We encountered an internal error. Please try again."


class Group:
    """What SQLite commits at once: one transaction, or several that share its commit. `later` are rows by the statement
    that writes them, of writes that were put off, and `about` what they are about, as far as they say so; `error`: it
    was lost by this."""

    __slots__ = ("about", "error", "later")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.later: dict[str, list[Sequence[Any]]] = {}
        self.about: set[object] = set()

    def check(self) -> None:
        """Raises what is told of a group that was lost: OutOfSpace (a full disk) or Lost."""
        if self.error is not None:
            raise (OutOfSpace() if isinstance(self.error, apsw.FullError) else Lost()) from self.error


class Session:
    """One connection. `cursor` is for statements that are done when they return: to make one costs more than to use it
    (a microsecond, as much as to find a row). `open` is the group that waits for its commit; `known` are records as
    they are stored, by class and key, since nobody else writes; `given` and `bounds` belong to `Tx.rising`."""

    def __init__(self, db: apsw.Connection) -> None:
        self.db, self.cursor = db, db.cursor()
        self.open: Group | None = None
        self.known: dict[tuple[type, str], Any] = {}
        self.given: dict[str, int] = {}
        self.bounds: dict[str, int] = {}
        self._begun = False

    def begin(self) -> None:
        """Before anything is asked."""
        if not self._begun:
            self.cursor.execute("begin")
            self._begun = True

    def write_out(self, group: Group) -> None:
        """Writes what was put off. Where that fails the group is lost."""
        if not group.later:
            return
        later, group.later = group.later, {}
        try:
            self.run(later)
        except BaseException as error:
            self.lose(group, error)
            raise

    def run(self, later: dict[str, list[Sequence[Any]]]) -> None:
        """The same for rows that are in no group yet."""
        self.begin()
        for sql, rows in later.items():
            self.cursor.executemany(sql, rows)

    def save(self, group: Group) -> None:
        """Before the first write of a transaction: what it may have to go back to, where others are in the group."""
        self.write_out(group)
        self.begin()
        if group is self.open:
            self.cursor.execute("savepoint joined")

    def join(self, group: Group, wrote: bool) -> None:
        """A transaction is done, and leaves its commit to `commit`."""
        if wrote and group is self.open:
            self.cursor.execute("release joined")
        self.open = group

    def end(self) -> None:
        """Ends what was begun: a group's commit, or of a transaction that was alone and only read, its look."""
        if self._begun:
            self.cursor.execute("commit")
            self._begun = False

    def take_back(self, group: Group, wrote: bool, error: BaseException) -> None:
        """Undoes one transaction, and with it those whose commit it shares only where SQLite has done so already."""
        if group.error is not None:
            return
        if self._begun and not self.db.in_transaction:
            self.lose(group, error)
        elif group is not self.open:
            if wrote:
                self.lose(group, error)
            else:
                self.end()
        elif wrote:
            self.cursor.execute("rollback to joined")
            self.cursor.execute("release joined")
            self._forget()

    def commit(self, group: Group) -> None:
        """Commits a group. Raises what kept it from that, and then it is lost."""
        try:
            self.write_out(group)
            self.end()
        except BaseException as error:
            self.lose(group, error)
            if isinstance(error, apsw.FullError):
                raise OutOfSpace from error
            raise
        finally:
            self.open = None

    def lose(self, group: Group, error: BaseException) -> None:
        """All that a group has written is taken back."""
        if group.error is None:
            group.error = error
        if group is self.open:
            self.open = None
        if self.db.in_transaction:  # SQLite may have rolled back already
            self.cursor.execute("rollback")
        self._begun = False
        self._forget()

    def _forget(self) -> None:
        self.known.clear()
        self.bounds.clear()
