"""SNS: topics, who is subscribed to them, and messages that reach every one of them; the front door for publishers."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from cloudlet.control.controller import Controller
from cloudlet.kernel.site import Site
from cloudlet.services.sns import (
    archive,
    permissions,
    publishing,
    replays,
    status_logs,
    subscription_attributes,
    subscriptions,
    tags,
    texts,
    topic_attributes,
    topics,
)
from cloudlet.services.sns.deliveries import Deliveries
from cloudlet.services.sns.mailbox import newest as newest_mail
from cloudlet.services.sns.pages import page
from cloudlet.services.sns.pending import FORGOTTEN, Forgetting
from cloudlet.services.sns.records import Topic, find_by_arn
from cloudlet.services.sns.service import sns
from cloudlet.store.db import Store, Tx

__all__ = ["TABLES", "Topic", "controller", "find_by_arn", "newest_mail", "page", "permissions", "publishing",
           "send", "sns",
           "subscription_attributes", "subscriptions", "tags", "texts", "topic_attributes", "topics"]

TABLES = resources.files("cloudlet.services.sns").joinpath("tables.sql").read_text()


def controller(store: Store, engines: Any, site: Site) -> Controller:
    """What delivers messages to subscribers and logs how that went, and removes what nobody waits for."""
    return Controller({FORGOTTEN: Forgetting(store).remove, status_logs.KIND: status_logs.StatusLogs(store).write,
                       subscriptions.EXPIRY: subscriptions.Expiry(store).reconcile,
                       topics.DELETED: topics.Ending(store).reconcile, archive.KIND: archive.Expiry(store).reconcile,
                       replays.KIND: replays.Replays(store).reconcile},
                      workers={"sns.deliveries": Deliveries(store, engines.webhooks, engines.mail).run})


def send(tx: Tx, topic: Topic, entry: Mapping[str, Any], endpoint: str, request_id: str) -> str:
    """Publishes a message within the publisher's transaction; its MessageId. `entry` has the members of a Publish
    request, `endpoint` is where subscribers reach us. Raises AWS's errors, and then nobody got anything."""
    return publishing.put(tx, topic, entry, endpoint, request_id)["MessageId"]
