"""The witness of overlapping requests: it believes what may be, and nothing else."""

from dataclasses import replace

import pytest

from tests.services.sqs.ledger import Wrong
from tests.services.sqs.overlap import Dealt, Got, Sent, Witness

ONE = Sent("q.fifo", 1, "g", "t1", "one", 0, 1, "id1", "101")
TWO = Sent("q.fifo", 1, "g", "t2", "two", 1, 2, "id2", "102")
GOT_ONE = Got("q.fifo", "g", "id1", "one", "101", 1, 0, 3, 4)
GOT_TWO = Got("q.fifo", "g", "id2", "two", "102", 1, 0, 6, 7)
GONE_ONE, GONE_TWO = Dealt(GOT_ONE, True, 5, 5.5), Dealt(GOT_TWO, True, 8, 9)
WHOLE = (ONE, TWO, GOT_ONE, GONE_ONE, GOT_TWO, GONE_TWO)
AGAIN = replace(GOT_ONE, receives=2, start=20, end=21)  # after its timeout


def told(*seen: Sent | Got | Dealt) -> None:
    witness = Witness(hidden_s=10)
    for each in seen:
        witness.see(each)
    witness.check()


@pytest.mark.parametrize("seen", [
    pytest.param(WHOLE, id="all goes well"),
    pytest.param((*WHOLE, replace(ONE, start=9, end=10)), id="a duplicate is told what was sent"),
    pytest.param((ONE, replace(TWO, end=None, id="", number=""), GOT_ONE, GONE_ONE), id="half a send is none"),
    pytest.param((ONE, replace(TWO, end=None, id="", number=""), *WHOLE[2:]), id="half a send is one"),
    pytest.param((ONE, TWO, GOT_ONE, replace(GOT_TWO, place=1, start=3, end=4)), id="two at once, in order"),
    pytest.param((ONE, GOT_ONE, AGAIN), id="a timeout ends"),
    pytest.param((ONE, GOT_ONE, replace(GONE_ONE, end=None), AGAIN), id="half a deletion is none"),
    pytest.param((ONE, GOT_ONE, Dealt(GOT_ONE, False, 5, 6), replace(AGAIN, start=5.5, end=6)), id="given back"),
])
def test_what_may_be(seen: tuple[Sent | Got | Dealt, ...]) -> None:
    told(*seen)


@pytest.mark.parametrize(("seen", "found"), [
    ((ONE, TWO, GOT_ONE), "two is lost"), ((GOT_ONE,), "nobody sent that"),
    ((ONE, replace(ONE, id="id2"), GOT_ONE, replace(GOT_ONE, id="id2")), "twice"),
    ((ONE, GOT_ONE, replace(GOT_ONE, id="id2")), "twice"),
    ((replace(ONE, number="103"), TWO, GOT_ONE, GONE_ONE, GOT_TWO), "two comes before"),
    ((ONE, GOT_ONE, replace(AGAIN, start=5, end=6)), "to two at once"),
    ((ONE, GOT_ONE, replace(AGAIN, receives=1)), "counted wrongly"),
    ((ONE, GOT_ONE, GONE_ONE, AGAIN), "given again"),
    ((ONE, TWO, GOT_ONE, GOT_TWO), "two is out of turn"),
    ((ONE, TWO, replace(GOT_ONE, place=1), replace(GOT_TWO, start=3, end=4)), "two is out of turn"),
])
def test_what_may_not_be(seen: tuple[Sent | Got | Dealt, ...], found: str) -> None:
    with pytest.raises(Wrong, match=found):
        told(*seen)
