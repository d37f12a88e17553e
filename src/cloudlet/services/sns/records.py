"""What SNS keeps as records: topics and who is subscribed to them."""

import re
from dataclasses import field

from cloudlet.kernel.call import Call
from cloudlet.services.sns.service import NotFound, arn_of_key, invalid, key_of_arn
from cloudlet.store.db import Tx
from cloudlet.store.records import record

_PASSWORD = re.compile(r"^(https?://[^/?#@:]*):[^/?#@]*@")
BYTES = 256 * 1024  # of a message, where its topic says nothing


@record("sns.topic")
class Topic:
    """A topic; its key is `ACCOUNT/REGION/NAME`. `attributes` are those that were set. `gone` counts the subscriptions
    that were deleted; `archived_since`: from when on it keeps an archive, if it does."""

    key: str
    created: float
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    gone: int = 0
    archived_since: float = 0.0

    @property
    def name(self) -> str:
        """Its name."""
        return self.key.rpartition("/")[2]

    @property
    def account(self) -> str:
        """Whose it is."""
        return self.key.partition("/")[0]

    @property
    def scope(self) -> str:
        """`ACCOUNT/REGION`."""
        return self.key.rpartition("/")[0]

    @property
    def arn(self) -> str:
        """`arn:aws:sns:REGION:ACCOUNT:NAME`."""
        return arn_of_key(self.key)

    @property
    def fifo(self) -> bool:
        """Whether it keeps order."""
        return self.name.endswith(".fifo")

    @property
    def bytes_max(self) -> int:
        """How large a message may be."""
        return int(self.attributes.get("MaximumMessageSize", BYTES))


def _confirmed(subscription: "Subscription") -> str | None:
    return None if subscription.token else subscription.topic


def _pending(subscription: "Subscription") -> str | None:
    return subscription.topic if subscription.token and not subscription.ended else None


def _filtered(subscription: "Subscription") -> str | None:
    return subscription.topic if "FilterPolicy" in subscription.attributes else None


def endpoint_key(topic: str, protocol: str, endpoint: str) -> str:
    """Under what a topic's subscription of an endpoint is found."""
    return f"{topic}\n{protocol}\n{endpoint}"


@record("sns.subscription", indexes={
    "confirmed": _confirmed, "pending": _pending, "filtered": _filtered,
    "token": lambda subscription: subscription.token or subscription.confirmed_by or None,
    "of": lambda subscription: f"{subscription.owner}/{subscription.key.split('/')[1]}",
    "endpoint": lambda subscription: endpoint_key(subscription.topic, subscription.protocol, subscription.endpoint)})
class Subscription:
    """Who is subscribed to a topic; its key is the topic's, `/` and a name of its own. `principal` is the ARN of who
    asked for it; `token`: what confirms it, "" once it is confirmed, by `confirmed_by`; `secure`: who unsubscribes must
    be known; `asked`: when its endpoint was sent the token; `ended`: when another than its owner ended it (0.0: it
    goes on), which the token undoes; `replay`: how far its replay is; `held`: it gets messages by
    replays only."""

    key: str
    owner: str
    principal: str
    protocol: str
    endpoint: str
    token: str = ""
    secure: bool = True
    attributes: dict[str, str] = field(default_factory=dict)
    confirmed_by: str = ""
    asked: float = 0.0
    ended: float = 0.0
    replay: str = ""
    held: bool = False

    @property
    def topic(self) -> str:
        """The key of its topic."""
        return self.key.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its own name."""
        return self.key.rpartition("/")[2]

    @property
    def arn(self) -> str:
        """Its topic's ARN, `:` and its own name."""
        return arn_of_key(self.key)

    @property
    def shown_endpoint(self) -> str:
        """The endpoint without the password that its URL may have."""
        return _PASSWORD.sub(r"\1:****@", self.endpoint, count=1)

    @property
    def raw(self) -> bool:
        """Whether messages come without an envelope."""
        return self.attributes.get("RawMessageDelivery") == "true"


def require(call: Call, tx: Tx, arn: str, parameter: str = "TopicArn") -> Topic:
    """The topic of an ARN. Raises InvalidParameter, NotFound."""
    found = tx.get(Topic, key_of_arn(call, arn, parameter))
    if found is None:
        raise NotFound("Topic does not exist")
    return found


def find_by_arn(tx: Tx, arn: str) -> Topic | None:
    """The topic of an ARN of any region, or None."""
    parts = arn.split(":")
    return tx.get(Topic, f"{parts[4]}/{parts[3]}/{parts[5]}") if len(parts) == 6 and all(parts[3:]) else None


def find_subscription(call: Call, tx: Tx, arn: str) -> Subscription | None:
    """The subscription of an ARN, or None. Raises InvalidParameter for what is no such ARN."""
    parts = arn.split(":")
    if not arn:
        raise invalid("SubscriptionArn Reason: no value for required parameter")
    if len(parts) < 6:
        raise invalid(f"SubscriptionArn Reason: An ARN must have at least 6 elements, not {len(parts)}")
    if len(parts) != 7 or parts[:4] != ["arn", "aws", "sns", call.region] or "/" in arn:
        raise invalid("SubscriptionId")
    return tx.get(Subscription, f"{parts[4]}/{parts[3]}/{parts[5]}/{parts[6]}")
