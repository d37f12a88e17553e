"""Runs an operation: its transaction, and what AWS does around every operation of a kind.

DryRun, idempotency tokens, group commit and pages live here, once.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import declare
from cloudlet.kernel.service import Operation
from cloudlet.wire import idempotency
from cloudlet.wire.faults import Faults
from cloudlet.wire.pages import Pager, pager_of

DryRunOperation = declare("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)


class Store(Protocol):
    """What the wire needs of the store."""

    def tx(self, *, shared: bool = False) -> AbstractContextManager[Any]:
        """One transaction: rolls back on any exception, commits at the end of the block, or if it is `shared` with
        others, by `flush` at the latest."""
        ...

    async def flush(self, tx: Any = None) -> None:
        """Returns when `tx`, and everything committed before, would survive a power cut."""
        ...

    def create_tables(self, script: str) -> None:
        """Runs `create … if not exists`."""
        ...


Permit = Callable[[Any], None]  # raises, inside a transaction, unless the caller may


class Invoker:
    """Runs operations over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pagers: dict[tuple[str, str], Pager | None] = {}
        store.create_tables(idempotency.TABLES)

    async def invoke(self, operation: Operation, call: Call, request: dict[str, Any], faults: Faults,
                     permit: Permit) -> Any:
        """The operation's answer, if `permit` allows it in the very transaction in which it runs."""
        waits = operation.mode == "wait"  # a data plane: it owns its transactions
        with self._store.tx(shared=waits or operation.durable) as tx:
            permit(tx)
            if operation.service == "ec2" and request.get("DryRun"):
                raise DryRunOperation()
            output = None if waits else self._run(operation, call, tx, request, faults)
        if waits:
            return await operation.run(call, self._store, request)
        if operation.durable:
            await self._store.flush(tx)
        pager = self._pager(operation) if operation.pages else None
        return pager.page(call, request, output, faults) if pager else output

    def _run(self, operation: Operation, call: Call, tx: Any, request: dict[str, Any], faults: Faults) -> Any:
        """Runs it, or finds the answer that a token's first request was given."""
        key = idempotency.key_of(operation, call, request) if operation.mode == "write" else None
        if key is None:
            return operation.run(call, tx, request)
        parameters = idempotency.digest_of(request)
        found = idempotency.find(tx, key, parameters, call.now, faults)
        if found is not None:
            return found[0]
        output = operation.run(call, tx, request)
        idempotency.keep(tx, key, parameters, output, call.now)
        return output

    def _pager(self, operation: Operation) -> Pager | None:
        key = operation.service, operation.model.name
        if key not in self._pagers:
            self._pagers[key] = pager_of(operation)
        return self._pagers[key]
