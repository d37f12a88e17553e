"""Metric filters as they are kept, under their group's key."""

from typing import Any

from cloudlet.store.db import Tx
from cloudlet.store.records import record


@record("logs.metric_filter", indexes={"group": lambda r: r.group})
class MetricFilter:
    """A metric filter. `group` is its group's key, and its own key begins with it."""

    key: str
    group: str
    log_group: str
    name: str
    pattern: str
    transformation: dict[str, Any]
    created: float


def key_of(group: str, name: str) -> str:
    """The key of the filter of that name, of the group with that key."""
    return f"{group}:{name}"  # neither name may contain a colon


def filter_count(tx: Tx, group: str) -> int:
    """How many metric filters a group has."""
    return tx.count(MetricFilter, group=group)


def delete_filters(tx: Tx, group: str) -> None:
    """Deletes a group's metric filters with it."""
    for each in tx.find(MetricFilter, group=group):
        tx.delete(MetricFilter, each.key)
