"""nftables documents: rendered whole, compared, and applied in one transaction (nft(8))."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cloudlet.engines import process
from cloudlet.kernel.errors import Busy, Conflict, EngineError, Refused, Unavailable

TABLE = "ip cloudlet"
TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Set:
    """A named set, or a map where `value_type` is given. Elements are keys with their values ("" in a set)."""

    key_type: str
    elements: Mapping[str, str]
    value_type: str = ""

    @property
    def head(self) -> str:
        """Its declaration without the elements."""
        return f"type {self.key_type}" + (f" : {self.value_type}" if self.value_type else "")


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; `hook` is empty for those that are jumped to."""

    rules: tuple[str, ...]
    hook: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """All that is in our table of one namespace."""

    sets: Mapping[str, Set]
    chains: Mapping[str, Chain]


def whole(document: Document) -> str:
    """The commands that put the document in place of whatever the table held."""
    lines = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    for name, each in document.sets.items():
        kind = "map" if each.value_type else "set"
        content = f"elements = {{ {', '.join(_pairs(each.elements))} }}" if each.elements else ""
        lines += [f"{kind} {name} {{", each.head, content, "}"]
    for name, chain in document.chains.items():
        lines += [f"chain {name} {{", chain.hook, *chain.rules, "}"]
    return "\n".join([*lines, "}", ""])


def difference(old: Document, new: Document) -> str | None:
    """The commands that turn one document into the other; "" where nothing differs, None where only `whole` will do.

    In one transaction: new objects, then emptied chains and elements that go, elements and rules that come, and last
    the objects that nothing refers to any more.
    """
    kept_sets, kept_chains = old.sets.keys() & new.sets.keys(), old.chains.keys() & new.chains.keys()
    if (any(old.sets[name].head != new.sets[name].head for name in kept_sets)
            or any(old.chains[name].hook != new.chains[name].hook for name in kept_chains)
            or any(new.chains[name].hook for name in new.chains.keys() ^ old.chains.keys() if name in new.chains)):
        return None
    added_sets = [name for name in new.sets if name not in old.sets]
    added_chains = [name for name in new.chains if name not in old.chains]
    changed = [name for name in new.chains if name in old.chains and new.chains[name] != old.chains[name]]
    gone_chains = [name for name in old.chains if name not in new.chains]
    gone_sets = [name for name in old.sets if name not in new.sets]
    lines = [f"add {'map' if new.sets[name].value_type else 'set'} {TABLE} {name} {{ {new.sets[name].head}; }}"
             for name in added_sets]
    lines += [f"add chain {TABLE} {name}" for name in added_chains]
    lines += [f"flush chain {TABLE} {name}" for name in (*changed, *gone_chains)]
    arriving: list[str] = []
    for name, each in new.sets.items():
        before = old.sets[name].elements if name in old.sets else {}
        lines += _elements("delete", name, {k: v for k, v in before.items() if each.elements.get(k) != v})
        arriving += _elements("add", name, {k: v for k, v in each.elements.items() if before.get(k) != v})
    lines += arriving
    lines += [f"add rule {TABLE} {name} {rule}"
              for name in (*added_chains, *changed) for rule in new.chains[name].rules]
    lines += [f"delete {'map' if old.sets[name].value_type else 'set'} {TABLE} {name}" for name in gone_sets]
    lines += [f"delete chain {TABLE} {name}" for name in gone_chains]
    return "".join(f"{line}\n" for line in lines)


def _elements(verb: str, name: str, elements: Mapping[str, str]) -> list[str]:
    return [f"{verb} element {TABLE} {name} {{ {', '.join(_pairs(elements))} }}"] if elements else []


def _pairs(elements: Mapping[str, str]) -> Iterator[str]:
    return (f"{key} : {value}" if value else key for key, value in elements.items())


async def apply(namespace: str, commands: str) -> None:
    """Runs commands as one transaction in the namespace of that path: all of them take effect, or none."""
    await _nft(namespace, "-f", "-", stdin=commands.encode())


async def has_table(namespace: str) -> bool:
    """Whether our table is there."""
    return f"table {TABLE}" in (await _nft(namespace, "list", "tables")).decode().splitlines()


async def _nft(namespace: str, *arguments: str, stdin: bytes | None = None) -> bytes:
    result = await process.run(["nsenter", f"--net={namespace}", process.find("nft"), *arguments],
                               timeout_s=TIMEOUT_S, stdin=stdin)
    if result.status != 0:
        raise _error(result.complaint)
    return result.stdout


def _error(complaint: str) -> EngineError:
    """What nft said, as one of the four things an engine may say."""
    kinds: tuple[tuple[str, type[EngineError]], ...] = (
        ("Operation not permitted", Unavailable), ("Operation not supported", Unavailable),
        ("Protocol not supported", Unavailable), ("Device or resource busy", Busy),
        ("Resource temporarily unavailable", Busy), ("Cannot allocate memory", Busy), ("Interrupted", Busy),
        ("No such file or directory", Conflict), ("File exists", Conflict))
    kind = next((kind for words, kind in kinds if words in complaint), Refused)
    return kind(f"nft: {complaint[:500]}")
