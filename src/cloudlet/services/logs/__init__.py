"""CloudWatch Logs: groups, streams and events; the front door for what writes logs."""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from cloudlet.control.controller import Controller
from cloudlet.kernel.site import Site
from cloudlet.services.logs import (
    events,
    fields,
    groups,
    metric_filters,
    queries,
    query_definitions,
    resource_policies,
    storage,
    streams,
    subscription_filters,
    tags,
    tails,
)
from cloudlet.services.logs.merging import Deletion, Merging
from cloudlet.services.logs.query_loop import Queries
from cloudlet.services.logs.retention import KIND, Retention
from cloudlet.services.logs.service import ResourceNotFound, logs
from cloudlet.store.db import Store, Tx

__all__ = ["TABLES", "ResourceNotFound", "append", "controller", "ensure_stream", "events", "fields", "groups", "logs",
           "metric_filters", "queries", "query_definitions", "resource_policies", "storage", "stream_exists",
           "streams", "subscription_filters", "tags", "tails"]

TABLES = resources.files("cloudlet.services.logs").joinpath("tables.sql").read_text()


def controller(store: Store, engines: Any, site: Site) -> Controller:
    """The loops of Logs: retention policies, chunks of streams, what deleted groups held, and Insights queries."""
    return Controller({KIND: Retention(store).reconcile, storage.MERGE: Merging(store).reconcile,
                       storage.DELETE: Deletion(store).reconcile, queries.KIND: Queries(store).reconcile})


def ensure_stream(tx: Tx, account: str, region: str, group: str, stream: str, *, create_group: bool) -> None:
    """The stream is there afterwards, and with `create_group` its group too.

    Raises ResourceNotFound where the group is not there and must not be made, InvalidParameter for an impossible name.
    """
    found = tx.get(groups.Group, groups.group_key(account, region, group))
    if found is None and create_group:
        found = groups.create_group(tx, account, region, group)
    if found is None:
        raise ResourceNotFound("The specified log group does not exist.")
    if storage.find_stream(tx, found.id, stream) is None:
        streams.create_stream(tx, found, stream)


def stream_exists(tx: Tx, account: str, region: str, group: str, stream: str) -> bool:
    """Whether there is such a stream."""
    found = tx.get(groups.Group, groups.group_key(account, region, group))
    return found is not None and storage.find_stream(tx, found.id, stream) is not None


def append(tx: Tx, account: str, region: str, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
    """Adds events of (timestamp_ms, message), in any order and any number. Raises ResourceNotFound."""
    found = groups.find_group(tx, account, region, group)
    storage.append(tx, found.id, streams.find_stream(tx, found, stream), sorted(events, key=lambda event: event[0]))
