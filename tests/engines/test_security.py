"""A fabric as an nftables document."""

import pytest

from cloudlet.engines.nft import Document, whole
from cloudlet.engines.ports import Address, Fabric, Member, Rule
from cloudlet.engines.security import NOBODY, Place, document
from cloudlet.kernel.errors import Refused

RANGE = "203.0.113.0/24"


def place(last: int, *groups: str, public: str | None = None, internet: tuple[str, ...] = (),
          more: tuple[Address, ...] = ()) -> Place:
    return Place(Member(f"eni-{last}", (Address(f"10.0.0.{last}", public), *more), groups, internet),
                 f"e{last}", f"0a:00:00:00:00:{last:02x}")


def rendered(*places: Place, **groups: tuple[Rule, ...]) -> Document:
    return document(Fabric("vpc", 1, tuple(p.member for p in places),
                           {name.replace("_", "-"): rules for name, rules in groups.items()}), places, RANGE)


def ingress(protocol: str, first: int | None, last: int | None, peer: str = "0.0.0.0/0") -> tuple[str, ...]:
    rule = Rule("ingress", protocol, first, last, peer)
    return rendered(place(1, "sg-1"), sg_1=(rule,)).chains["in-sg-1"].rules


def test_rules_as_statements() -> None:
    assert ingress("-1", None, None) == ("accept",)
    assert ingress("-1", 0, 65535, "10.0.0.7/8") == ("ip saddr 10.0.0.0/8 accept",)
    assert ingress("tcp", 80, 80, "sg-1") == ("ip saddr @members-sg-1 tcp dport 80 accept",)
    assert ingress("6", 80, 90) == ("tcp dport 80-90 accept",)
    assert ingress("udp", None, None) == ingress("udp", 0, 65535) == ("meta l4proto 17 accept",)
    assert ingress("icmp", 3, 4) == ("icmp type 3 icmp code 4 accept",)
    assert ingress("icmp", 8, -1) == ("icmp type 8 accept",)
    assert ingress("1", -1, -1) == ingress("icmp", None, None) == ("meta l4proto 1 accept",)
    assert ingress("50", None, None) == ("meta l4proto 50 accept",)
    for nobody in (("icmpv6", -1, -1, "0.0.0.0/0"), ("-1", None, None, "::/0"), ("-1", None, None, "sg-9")):
        assert ingress(*nobody) == ()


@pytest.mark.parametrize("bad", [("256", "0.0.0.0/0"), ("nonsense", "0.0.0.0/0"), ("tcp", "10.0.0.0/33"),
                                 ("tcp", "1.2.3"), ("tcp", "; flush ruleset")])
def test_what_cannot_be_expressed_is_refused(bad: tuple[str, str]) -> None:
    with pytest.raises(Refused):
        ingress(bad[0], 1, 1, bad[1])


@pytest.mark.parametrize("bad", [
    place(1, "sg 1"), place(1, "sg-1; drop"), place(1, ""), place(1, "sg-1", public="x"),
    place(1, "sg-1", public="203.0.113.7", internet=("nowhere",)),
    Place(Member("eni", (Address("10.0.0.256"),), ("sg-1",)), "e1", "0a:00:00:00:00:01")])
def test_bad_members_are_refused(bad: Place) -> None:
    with pytest.raises(Refused):
        rendered(bad)


def test_what_leaves_is_judged_by_the_receiver_too() -> None:
    made = rendered(place(1, "sg-1"), sg_1=(Rule("egress", "tcp", 443, 443, "0.0.0.0/0"),))
    assert made.chains["out-sg-1"].rules == ("tcp dport 443 goto deliver",)
    assert made.chains["in-sg-1"].rules == ()


def test_groups_are_shared_and_combinations_too() -> None:
    made = rendered(place(1, "sg-2", "sg-1"), place(2, "sg-1", "sg-2"), place(3, "sg-1"))
    assert made.sets["egress"].elements["e1"] == made.sets["egress"].elements["e2"]
    assert made.sets["egress"].elements["e1"] != made.sets["egress"].elements["e3"]
    combination = made.sets["ingress"].elements["e1"].removeprefix("goto ")
    assert made.chains[combination].rules == ("jump in-sg-1", "jump in-sg-2", "drop")
    assert set(made.sets["members-sg-1"].elements) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


def test_ways_out() -> None:
    made = rendered(
        place(1, "sg-1", public="203.0.113.1", internet=("0.0.0.0/0", "10.0.0.0/8")), place(2, "sg-1"),
        place(3, "sg-1", public="203.0.113.3", internet=("192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32")),
        place(4, "sg-1", public="203.0.113.4"))
    ways = made.sets["departures"].elements
    assert (ways["e1"], ways["e2"], ways["e4"]) == ("continue", "drop", "drop")
    assert made.chains[ways["e3"].removeprefix("jump ")].rules == ("ip daddr { 192.0.2.0/24 } return", "drop")
    assert made.sets["public-of"].elements == {"10.0.0.1": "203.0.113.1", "10.0.0.3": "203.0.113.3",
                                               "10.0.0.4": "203.0.113.4"}


def test_an_empty_fabric_lets_nothing_pass() -> None:
    made = document(NOBODY, (), RANGE)
    assert "policy drop" in made.chains["forward-all"].hook
    assert made.sets["sources"].elements == {}
    assert whole(made).startswith("table ip cloudlet\ndelete table ip cloudlet\n")


def test_groups_and_sources_know_every_address() -> None:
    more = (Address("10.0.0.8", "203.0.113.8"), Address("10.0.0.9"))
    made = rendered(place(1, "sg-1", public="203.0.113.7", more=more), place(2, "sg-2"), sg_1=(),
                    sg_2=(Rule("ingress", "-1", None, None, "sg-1"),))
    assert set(made.sets["members-sg-1"].elements) == {"10.0.0.1", "10.0.0.8", "10.0.0.9"}
    assert {source for source in made.sets["sources"].elements if source.startswith("e1 ")} == {
        f"e1 . 0a:00:00:00:00:01 . {address}" for address in ("10.0.0.1", "10.0.0.8", "10.0.0.9")}
    assert made.sets["private-of"].elements == {"203.0.113.7": "10.0.0.1", "203.0.113.8": "10.0.0.8"}
    with pytest.raises(Refused):
        rendered(place(1, "sg-1", more=(Address("10.0.0.256"),)))
