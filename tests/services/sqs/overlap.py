"""What queues may answer to clients whose requests overlap: a witness who knows only when each began and ended."""

import threading
from collections import defaultdict
from dataclasses import dataclass, field

from tests.services.sqs.ledger import require


@dataclass(frozen=True)
class Sent:
    """A message that somebody tried to put in. `end` is None where nothing was answered, else `id` is. `token`: for
    deduplication; `number`: the sequence number."""

    queue: str
    sender: int
    group: str
    token: str
    body: str
    start: float
    end: float | None = None
    id: str = ""
    number: str = ""


@dataclass(frozen=True)
class Got:
    """A message that somebody was given, as the `place`th of an answer."""

    queue: str
    group: str
    id: str
    body: str
    number: str
    receives: int
    place: int
    start: float
    end: float


@dataclass(frozen=True)
class Dealt:
    """What somebody did with what it was given: `deletes` it, or gave it back. `end` is None where nothing was
    answered; what was refused is none."""

    got: Got
    deletes: bool
    start: float
    end: float | None


@dataclass
class Witness:
    """Everything that was seen. `hidden_s` is the visibility timeout of all queues, `dead` has the dead-letter queue of
    each that has one."""

    hidden_s: float
    dead: dict[str, str] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)
    dealt: list[Dealt] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def see(self, what: Sent | Got | Dealt) -> None:
        """Notes it."""
        with self.lock:
            {Sent: self.sent, Got: self.got, Dealt: self.dealt}[type(what)].append(what)  # type: ignore[attr-defined]

    def check(self) -> None:
        """Raises Wrong unless queues may have answered so, and everything that was put in was given to somebody."""
        gots, deals = defaultdict[str, list[Got]](list), defaultdict[str, list[Dealt]](list)
        for got in sorted(self.got, key=lambda got: got.start):
            gots[got.id].append(got)
        for deal in self.dealt:
            deals[deal.got.id].append(deal)
        self._check_content(gots)
        self._check_duplicates()
        self._check_senders()
        for key, same in gots.items():
            self._check_holds(same, deals[key])
        self._check_order(deals)

    def _check_content(self, gots: dict[str, list[Got]]) -> None:
        tried = {(each.queue, each.group, each.body) for each in self.sent}
        sources = {target: source for source, target in self.dead.items()}
        for got in self.got:
            one = sources.get(got.queue, got.queue), got.group, got.body
            require(one in tried, f"{got.body:.40}: nobody sent that")
        for each in self.sent:
            require(each.end is None or each.id in gots, f"{each.body:.40} is lost")

    def _check_duplicates(self) -> None:
        """A token names one message, and what is sent with it is one."""
        ids, bodies = defaultdict[tuple[str, str], set[str]](set), {}
        for each in self.sent:
            if each.token:
                bodies[each.body] = each.queue, each.token
                ids[each.queue, each.token] |= {each.id} - {""}
        for got in self.got:
            if got.body in bodies:
                ids[bodies[got.body]].add(got.id)
        for (queue, token), found in ids.items():
            require(len(found) <= 1, f"{token} is in {queue} twice")

    def _check_senders(self) -> None:
        """What one sender puts into a group one after the other is there in that order."""
        newest = defaultdict[tuple[str, int, str], str](str)
        known = set[str]()
        for each in self.sent:
            if each.number and each.id not in known:
                known.add(each.id)
                one = each.queue, each.sender, each.group
                require(newest[one] < each.number, f"{each.body:.40} comes before what was sent earlier")
                newest[one] = each.number

    def _check_holds(self, same: list[Got], deals: list[Dealt]) -> None:
        """Receives of one message: what somebody has is nobody else's, what was deleted is nobody's."""
        for number, got in enumerate(same):
            later = [each for each in same[number + 1:] if each.start > got.end]
            mine = [deal for deal in deals if deal.got == got]
            mine_until = min([got.start + self.hidden_s - 0.002, *(deal.start for deal in mine)])  # SQS counts in ms
            for each in later:
                require(each.end > mine_until, f"{each.body:.40} is given to two at once")
                require(each.receives > got.receives, f"receives of {each.body} are counted wrongly")
            for deal in mine:
                if deal.deletes and deal.end is not None and (got.number or deal.end < got.start + self.hidden_s):
                    for each in same:
                        require(each.start < deal.end, f"{each.body:.40} was deleted, and is given again")

    def _check_order(self, deals: dict[str, list[Dealt]]) -> None:
        """Whoever is given a message of a FIFO group has all before it, or they were dealt with."""
        groups = defaultdict[tuple[str, str], dict[str, str]](dict)
        for got in self.got:
            if got.number:
                groups[got.queue, got.group][got.id] = got.number
        answers = {(got.queue, got.start, got.end, got.id): got.place for got in self.got}
        for got in self.got:
            for key, number in groups[got.queue, got.group].items() if got.number else ():
                if number < got.number:
                    place = answers.get((got.queue, got.start, got.end, key))
                    require((place is not None and place < got.place) or any(
                        deal.deletes and deal.start < got.end for deal in deals[key]), f"{got.body:.40} is out of turn")
