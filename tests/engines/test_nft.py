"""nftables documents: what is said to turn one into another, and that the kernel agrees."""

import asyncio
import os
from dataclasses import replace
from itertools import pairwise

import pytest

from cloudlet.engines import netns, nft
from cloudlet.engines.nft import Chain, Document, Set
from cloudlet.kernel.errors import Conflict, Refused, Unavailable
from tests.engines.fabric_ground import real

PLAIN = Document({"doors": Set("inet_service", {"80": "", "81": ""}),
                  "judge": Set("ifname", {"a": "goto x", "b": "drop"}, "verdict")},
                 {"x": Chain(("tcp dport @doors accept", "drop")),
                  "hooked": Chain(("iifname vmap @judge",), "type filter hook forward priority filter; policy drop;")})


def test_nothing_is_said_where_nothing_differs() -> None:
    assert nft.difference(PLAIN, PLAIN) == ""


def test_an_element_that_changes_goes_before_it_comes() -> None:
    changed = replace(PLAIN, sets={**PLAIN.sets, "judge": Set("ifname", {"a": "drop", "c": "drop"}, "verdict")})
    assert nft.difference(PLAIN, changed) == (
        "delete element ip cloudlet judge { a : goto x, b : drop }\n"
        "add element ip cloudlet judge { a : drop, c : drop }\n")


def test_what_is_referred_to_comes_first_and_goes_last() -> None:
    grown = Document({**PLAIN.sets, "more": Set("ipv4_addr", {"10.0.0.1": ""})},
                     {**PLAIN.chains, "y": Chain(("ip saddr @more accept",)), "x": Chain(("goto y",))})
    assert (nft.difference(PLAIN, grown) or "").splitlines() == [
        "add set ip cloudlet more { type ipv4_addr; }", "add chain ip cloudlet y", "flush chain ip cloudlet x",
        "add element ip cloudlet more { 10.0.0.1 }", "add rule ip cloudlet y ip saddr @more accept",
        "add rule ip cloudlet x goto y"]
    assert (nft.difference(grown, PLAIN) or "").splitlines() == [
        "flush chain ip cloudlet x", "flush chain ip cloudlet y",
        "add rule ip cloudlet x tcp dport @doors accept", "add rule ip cloudlet x drop",
        "delete set ip cloudlet more", "delete chain ip cloudlet y"]


def test_some_changes_need_the_whole_document() -> None:
    retyped = replace(PLAIN, sets={**PLAIN.sets, "doors": Set("ipv4_addr", {})})
    rehooked = replace(PLAIN, chains={**PLAIN.chains, "hooked": Chain((), "type filter hook input priority filter;")})
    unhooked = Document(PLAIN.sets, {"x": PLAIN.chains["x"]})
    assert [nft.difference(PLAIN, other) for other in (retyped, rehooked)] == [None, None]
    assert nft.difference(unhooked, PLAIN) is None


@real
def test_the_kernel_ends_with_the_same_by_either_way() -> None:
    name = f"cltest-nft-{os.getpid()}"
    path = netns.create(name)
    documents = _sample()
    async def listed() -> bytes:
        return await nft._nft(path, "list", "table", *nft.TABLE.split())
    async def main() -> None:
        await nft.apply(path, nft.whole(documents[0]))
        assert await nft.has_table(path)
        for old, new in pairwise(documents):
            changes = nft.difference(old, new)
            assert changes is not None
            if changes:
                await nft.apply(path, changes)
            step_by_step = await listed()
            await nft.apply(path, nft.whole(new))
            assert sorted(step_by_step.split()) == sorted((await listed()).split())
    try:
        asyncio.run(main())
    finally:
        netns.remove(name)


def _sample() -> list[Document]:
    """Documents that grow, shrink, and change under what refers to them."""
    def make(members: dict[str, tuple[int, ...]], bearers: dict[int, str]) -> Document:
        chains = {f"c-{name}": Chain((*(f"ip saddr @{each} accept" for each in sorted(members)), "drop"))
                  for name in sorted({*bearers.values()})}
        return Document(
            {**{name: Set("ipv4_addr", {f"10.0.0.{n}": "" for n in found}) for name, found in members.items()},
             "judge": Set("ifname", {f'"e{n}"': f"goto c-{name}" for n, name in bearers.items()}, "verdict")},
            {**chains, "every": Chain(("iifname vmap @judge",),
                                    "type filter hook forward priority filter; policy drop;")})
    return [make({}, {}), make({"s1": (1, 2)}, {1: "s1"}), make({"s1": (2, 3), "s2": ()}, {1: "s2", 2: "s1"}),
            make({"s2": (1,)}, {2: "s2", 3: "s2"}), make({"s3": (4, 5)}, {1: "s1"}), make({}, {})]


@real
def test_what_nft_says_becomes_what_an_engine_may_say() -> None:
    name = f"cltest-nft-{os.getpid()}"
    path = netns.create(name)
    try:
        with pytest.raises(Refused):
            asyncio.run(nft.apply(path, "no such command\n"))
        with pytest.raises(Conflict):
            asyncio.run(nft.apply(path, "flush chain ip cloudlet nothing\n"))
        assert not asyncio.run(nft.has_table(path))
    finally:
        netns.remove(name)
    with pytest.raises(Conflict):
        asyncio.run(nft.has_table(path))
    assert isinstance(nft._error("Error: Operation not permitted"), Unavailable)
