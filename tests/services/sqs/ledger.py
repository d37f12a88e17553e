"""What queues may answer: a ledger that operations are entered into with their answers, one after the other."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

DEDUPLICATION_MS, PURGE_MS = 300_000, 60_000


class Wrong(AssertionError):
    """An answer that no queue may give."""


class Step(NamedTuple):
    """An operation: on which queue, when (in milliseconds), and what came back (an error under `""`). It happened
    after the disk's event `start`, and its client knew by the event `end`."""

    operation: str
    queue: str
    request: dict[str, Any]
    now: int
    answer: dict[str, Any]
    start: int
    end: int

    @property
    def lasts(self) -> bool:
        """Whether its answer promises that it, and what came before, is on the disk."""
        return "" not in self.answer and (self.operation != "ReceiveMessage" or "Messages" in self.answer)


class Kind(NamedTuple):
    """What a queue was made as; messages go to `dead` that were received `receives_max` times."""

    visibility_s: int = 20
    delay_s: int = 0
    dead: str = ""
    receives_max: int = 0
    by_group: bool = False


@dataclass
class Item:
    """A message. `receives` in this queue, `before` in the one whose dead letter it is."""

    body: str
    group: str
    number: int
    visible: int
    receives: int = 0
    before: int = 0
    handle: str = ""
    may_be_gone: bool = False  # a dead letter, unless it was deleted or purged before anybody met it


@dataclass
class Shelf:
    """A queue's messages by id."""

    kind: Kind
    fifo: bool
    items: dict[str, Item] = field(default_factory=dict)
    sent: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)  # tokens, until when they count
    purged: int = 0

    def doomed(self, now: int) -> dict[str, Item]:
        """Those that no receive may answer any more: they are dead letters, or will be when they are met."""
        return {key: item for key, item in self.items.items()
                if self.kind.dead and item.receives >= self.kind.receives_max and item.visible <= now}

    def eligible(self, now: int, dead: dict[str, Item]) -> list[list[str]]:
        """What a receive may answer: of each list the first ones. `dead` may have come from elsewhere by now."""
        doomed = self.doomed(now)
        mine = {key: item for key, item in {**self.items, **dead}.items() if key not in doomed}
        if not self.fifo:
            return [[key] for key, item in mine.items() if item.visible <= now]
        found = []
        for group in {item.group for item in mine.values()}:
            of_group = sorted((item.number, key) for key, item in mine.items() if item.group == group)
            found.append([])
            for _, key in of_group:
                if mine[key].visible > now:
                    break
                found[-1].append(key)
        return found


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Wrong(otherwise)


class Ledger:
    """All queues."""

    def __init__(self, kinds: dict[str, Kind]) -> None:
        self.shelves = {name: Shelf(kind, name.endswith(".fifo")) for name, kind in kinds.items()}
        self._count = 0
        self._known: set[str] = set()

    def enter(self, step: Step) -> None:
        """Raises Wrong unless the queue may have answered so."""
        getattr(self, f"_{step.operation.lower()}")(self.shelves[step.queue], step, step.request)

    def left(self) -> list[str]:
        """The bodies of all that was never deleted."""
        return [item.body for shelf in self.shelves.values() for item in shelf.items.values()
                if not item.may_be_gone]

    def _sendmessage(self, shelf: Shelf, step: Step, request: dict[str, Any]) -> None:
        require("" not in step.answer, "a send is refused")
        key, group = step.answer["MessageId"], request.get("MessageGroupId", "")
        if shelf.fifo:
            token = (group if shelf.kind.by_group else "", request["MessageDeduplicationId"])
            until, known = shelf.sent.get(token, (0, ""))
            if until > step.now:
                require(key == known, f"{request['MessageBody']} was taken twice")
                return
            shelf.sent[token] = step.now + DEDUPLICATION_MS, key
        require(key not in self._known, "a message id is given twice, or a message was dropped as a duplicate of none")
        self._known.add(key)
        self._count += 1
        shelf.items[key] = Item(request["MessageBody"], group, self._count, step.now + shelf.kind.delay_s * 1000)

    def _receivemessage(self, shelf: Shelf, step: Step, request: dict[str, Any]) -> None:
        now, got = step.now, {message["MessageId"]: message for message in step.answer.get("Messages", [])}
        sources = [other for other in self.shelves.values() if other.kind.dead == step.queue]
        dead = {key: item for other in sources for key, item in other.doomed(now).items()}
        lists = [[key for key in one if key in got or key in shelf.items]  # nobody may have met a dead letter yet
                 for one in shelf.eligible(now, dead)]
        for key, message in got.items():
            require(any(key in one for one in lists),
                    f"{message['Body']} is answered by {step.queue}: deleted, held, out of turn, or not its own")
        for one in lists:
            answered = [key for key in one if key in got]
            require(one[:len(answered)] == answered if shelf.fifo else True, "a group is out of order")
            if len(got) < request["MaxNumberOfMessages"]:
                mine = [key for key in one if key in shelf.items]
                if shelf.fifo and shelf.doomed(now):
                    del mine[1:]  # what took the place of dead letters may come with the next receive
                require(set(mine) <= got.keys(), f"{len(mine)} messages of {step.queue} are kept back or lost")
        require(len(got) == len(step.answer.get("Messages", [])), "a message is answered twice at once")
        for key, message in got.items():
            if key not in shelf.items:
                (source,) = (other for other in sources if key in other.items)
                item = shelf.items[key] = source.items.pop(key)
                item.before, item.receives = item.before + item.receives, 0
                item.may_be_gone = False
            item = shelf.items[key]
            item.receives, item.visible = item.receives + 1, now + shelf.kind.visibility_s * 1000
            item.handle = message["ReceiptHandle"]
            count = int(message["Attributes"]["ApproximateReceiveCount"])
            require(count == item.before + item.receives, f"receive {item.before + item.receives} is counted {count}")
            require(message["Body"] == item.body, "a body is another's")

    def _deletemessage(self, shelf: Shelf, step: Step, request: dict[str, Any]) -> None:
        key = request["Id"]
        item = shelf.items.get(key)
        if item is not None and key in shelf.doomed(step.now):  # it may be among the dead letters already
            item.may_be_gone |= item.handle == request["ReceiptHandle"]
            return
        is_sure = item is not None and item.handle == request["ReceiptHandle"]
        if shelf.fifo and item is not None and (not is_sure or item.visible <= step.now):
            require("" in step.answer, "an old handle deletes")
            return
        require("" not in step.answer, "a deletion is refused")
        if is_sure:
            del shelf.items[key]

    def _changemessagevisibility(self, shelf: Shelf, step: Step, request: dict[str, Any]) -> None:
        item = shelf.items.get(request["Id"])
        if request["Id"] in shelf.doomed(step.now):  # it may be among the dead letters already
            return
        may = item is not None and (
            not shelf.fifo or (item.handle == request["ReceiptHandle"] and item.visible > step.now))
        require(may == ("" not in step.answer), "a handle is good for too long or too short")
        if item is not None and may and item.visible > step.now:
            item.visible = step.now + request["VisibilityTimeout"] * 1000

    def _purgequeue(self, shelf: Shelf, step: Step, request: dict[str, Any]) -> None:
        may = step.now >= shelf.purged + PURGE_MS
        require(may == ("" not in step.answer), "purges are too often, or refused")
        if may:
            shelf.purged = step.now
            shelf.sent.clear()
            shelf.items = shelf.doomed(step.now)
            for other in self.shelves.values():  # what nobody has met may be among the dead letters already, or not
                if other is shelf or other.kind.dead == step.queue:
                    for item in other.doomed(step.now).values():
                        item.may_be_gone = True
