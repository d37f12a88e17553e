"""Whether what clients saw at the same time could have happened one after the other: Wing and Gong's search with Lowe's
memory of what was tried (https://www.cs.ox.ac.uk/people/gavin.lowe/LinearizabiltyTesting/paper.pdf)."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

UNANSWERED = math.inf  # the end of what a client was never told the outcome of


class Did(NamedTuple):
    """What a client did, what it was told, and between which moments. Where it was told nothing, it may happen at any
    time from its start on, or never."""

    act: Any
    answer: Any
    start: float
    end: float


# What an act is told in a state, and the state after it.
Model = Callable[[Hashable, Any], tuple[Any, Hashable]]


def is_linearizable(history: Sequence[Did], initial: Hashable, model: Model) -> bool:
    """Whether there is an order of the acts, each within its time, in which the model tells what was told."""
    acts = sorted(history, key=lambda did: did.start)
    must = sum(1 << number for number, did in enumerate(acts) if did.end != UNANSWERED)
    tried: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Hashable]] = [(0, initial)]
    while stack:
        done, state = stack.pop()
        if done & must == must:
            return True
        if (done, state) in tried:
            continue
        tried.add((done, state))
        first_end = math.inf
        for number, did in enumerate(acts):
            if did.start > first_end:
                break  # it began after another had ended that is not done yet
            if not done >> number & 1:
                first_end = min(first_end, did.end)
        for number, did in enumerate(acts):
            if did.start > first_end:
                break
            if not done >> number & 1:
                answer, after = model(state, did.act)
                if did.end == UNANSWERED or answer == did.answer:
                    stack.append((done | 1 << number, after))
    return False
