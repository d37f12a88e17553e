"""A desk at which queues are used, held-open requests included."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cloudlet.kernel.call import Principal
from cloudlet.kernel.errors import AwsError
from cloudlet.services.sqs import TABLES, sqs
from tests.services.desk import ACCOUNT, Desk


class Clerk(Desk):
    """Runs SQS's operations by name; `sqs("q", "SendMessage", MessageBody="x")` fills in the queue's URL."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.store.create_tables(TABLES)

    def url(self, name: str) -> str:
        return f"http://localhost:4566/{ACCOUNT}/{name}"

    def queue(self, name: str, **attributes: str) -> str:
        url: str = self(sqs, "CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def fifo(self, name: str, **attributes: str) -> str:
        return self.queue(name, FifoQueue="true", **attributes)

    async def ask(self, name: str, operation: str, principal: Principal | None = None, **request: Any) -> Any:
        """Runs an operation on a queue, whichever its mode."""
        declared, asked = sqs.operations[operation], {"QueueUrl": self.url(name), **request}
        if declared.mode == "wait":
            return await declared.run(self.call(principal), self.store, asked)
        with self.store.tx(shared=declared.durable) as tx:
            answer = declared.run(self.call(principal), tx, asked)
        if declared.durable:
            await self.store.flush(tx)
        return answer

    def at(self, name: str, operation: str, **request: Any) -> Any:
        """The same from outside an event loop."""
        return asyncio.run(self.ask(name, operation, **request))

    def send(self, name: str, body: str, **request: Any) -> Any:
        return self.at(name, "SendMessage", MessageBody=body, **request)

    def receive(self, name: str, count: int = 10, **request: Any) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.at(name, "ReceiveMessage", MaxNumberOfMessages=count,
                                               **request).get("Messages", [])
        return answer

    def bodies(self, name: str, count: int = 10, **request: Any) -> list[str]:
        return [message["Body"] for message in self.receive(name, count, **request)]

    def counts(self, name: str) -> tuple[int, int, int]:
        """Those to be received, in flight and delayed."""
        names = ("", "NotVisible", "Delayed")
        found = self.at(name, "GetQueueAttributes", AttributeNames=["All"])["Attributes"]
        first, second, third = (int(found[f"ApproximateNumberOfMessages{each}"]) for each in names)
        return first, second, third

    def refused(self, name: str, operation: str, **request: Any) -> str:
        """The code with which it is refused."""
        with pytest.raises(AwsError) as caught:
            self.at(name, operation, **request)
        return caught.value.code
