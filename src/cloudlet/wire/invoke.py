"""Runs an operation: its transaction, and what AWS does around every operation of a kind."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import declare
from cloudlet.kernel.service import Operation
from cloudlet.wire.faults import Faults

DryRunOperation = declare("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)


class Store(Protocol):
    """What the wire needs of the store."""

    def tx(self) -> AbstractContextManager[Any]:
        """One transaction: commits at the end of the block, rolls back on any exception."""
        ...

    async def flush(self) -> None:
        """Returns when everything committed before would survive a power cut."""
        ...

    def create_tables(self, script: str) -> None:
        """Runs `create … if not exists`."""
        ...


async def invoke(operation: Operation, call: Call, request: dict[str, Any], store: Store, faults: Faults) -> Any:
    """The operation's answer."""
    if operation.service == "ec2" and request.get("DryRun"):
        raise DryRunOperation()
    if operation.mode == "wait":
        return await operation.run(call, store, request)
    with store.tx() as tx:
        output = operation.run(call, tx, request)
    if operation.durable:
        await store.flush()
    return output
