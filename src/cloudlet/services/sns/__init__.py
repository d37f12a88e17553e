"""SNS: topics, who is subscribed to them, and messages that reach every one of them."""

from importlib import resources

from cloudlet.services.sns import (
    permissions,
    publishing,
    subscription_attributes,
    subscriptions,
    tags,
    topic_attributes,
    topics,
)
from cloudlet.services.sns.pages import certificate
from cloudlet.services.sns.service import sns

__all__ = ["TABLES", "certificate", "permissions", "publishing", "sns", "subscription_attributes", "subscriptions",
           "tags", "topic_attributes", "topics"]

TABLES = resources.files("cloudlet.services.sns").joinpath("tables.sql").read_text()
