"""SNS: topics, who is subscribed to them, and messages that reach every one of them."""

from importlib import resources
from typing import Any

from cloudlet.control.controller import Controller
from cloudlet.kernel.site import Site
from cloudlet.services.sns import (
    permissions,
    publishing,
    subscription_attributes,
    subscriptions,
    tags,
    topic_attributes,
    topics,
)
from cloudlet.services.sns.deliveries import Deliveries
from cloudlet.services.sns.mailbox import newest as newest_mail
from cloudlet.services.sns.pages import page
from cloudlet.services.sns.service import sns
from cloudlet.store.db import Store

__all__ = ["TABLES", "controller", "newest_mail", "page", "permissions", "publishing", "sns",
           "subscription_attributes", "subscriptions", "tags", "topic_attributes", "topics"]

TABLES = resources.files("cloudlet.services.sns").joinpath("tables.sql").read_text()


def controller(store: Store, engines: Any, site: Site) -> Controller:
    """What posts messages to subscribers."""
    return Controller({}, workers={"sns.deliveries": Deliveries(store, engines.webhooks).run})
