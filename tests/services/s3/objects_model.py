"""A few objects as clients see them: what acts on them are told, as a model has it and as an S3 is asked."""

import hashlib
import random
from collections.abc import Hashable
from typing import Any

KEYS = ("a", "b", "c/d")
ABSENT = "absent"
REFUSED = "refused"


def body(tag: str) -> bytes:
    """The bytes of a value, small or large by its name."""
    return tag.encode() + b"." * (70_000 if hashlib.md5(tag.encode()).digest()[0] % 3 == 0 else 100)


def etag(tag: str) -> str:
    return hashlib.md5(body(tag)).hexdigest()


def drawn_act(drawn: random.Random, tag: str, seen: list[str]) -> tuple[Any, ...]:
    """Something to do; `tag` is the value that is put, `seen` those that were put before."""
    key = drawn.choice(KEYS)
    match drawn.choice(("put", "put", "absent", "match", "delete", "delete several", "get", "get", "get", "list")):
        case "put":
            return "put", key, tag
        case "absent":
            return "put where nothing is", key, tag
        case "match":
            return "put over", key, tag, drawn.choice(seen) if seen else "nothing"
        case "delete":
            return "delete", key
        case "delete several":
            return "delete several", *drawn.sample(KEYS, 2)
        case "list":
            return ("list",)
        case _:
            return "get", key


def model(state: Hashable, act: Any) -> tuple[Any, Hashable]:
    """What is told in a state (the pairs of keys and values), and the state after it."""
    assert isinstance(state, frozenset)
    objects = dict(state)
    told: Any = None
    match act:
        case ("put", key, tag):
            objects[key] = tag
        case ("put where nothing is", key, tag):
            if key in objects:
                told = REFUSED
            else:
                objects[key] = tag
        case ("put over", key, tag, old):
            if objects.get(key) == old:
                objects[key] = tag
            else:
                told = REFUSED if key in objects else ABSENT
        case ("delete" | "delete several", *keys):
            for key in keys:
                objects.pop(key, None)
        case ("get", key):
            told = objects.get(key, ABSENT)
        case ("list",):
            told = tuple(sorted((key, etag(tag)) for key, tag in objects.items()))
    return told, frozenset(objects.items())
