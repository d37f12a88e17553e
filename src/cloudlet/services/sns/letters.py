"""How a message reads as mail.

https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html
"""

import json

from cloudlet.engines.ports import Letter
from cloudlet.services.sns.pending import Delivery
from cloudlet.services.sns.records import Subscription, Topic

FROM = "AWS Notifications"
_SUBJECTS = {"Notification": "AWS Notification Message",
             "SubscriptionConfirmation": "AWS Notification - Subscription Confirmation",
             "UnsubscribeConfirmation": "AWS Notification - Unsubscribe Confirmation"}


def letter_of(topic: Topic, subscription: Subscription, delivery: Delivery) -> Letter:
    """The mail in which a subscriber gets the message whose envelope waits for it."""
    content = json.loads(delivery.body)
    is_message = delivery.kind == "Notification"
    return Letter(
        f"{delivery.message_id}.{delivery.id}", (topic.attributes.get("DisplayName") if is_message else "") or FROM,
        subscription.endpoint, content.get("Subject") or _SUBJECTS[delivery.kind],
        delivery.body if subscription.protocol == "email-json" else _text(delivery.kind, content))


def _text(kind: str, content: dict[str, str]) -> str:
    match kind:
        case "Notification":
            return (f"{content['Message']}\n\n--\nIf you wish to stop receiving notifications from this topic, please"
                    f" click or visit the link below to unsubscribe:\n{content['UnsubscribeURL']}\n")
        case "SubscriptionConfirmation":
            return (f"You have chosen to subscribe to the topic:\n{content['TopicArn']}\n\nTo confirm this"
                    " subscription, click or visit the link below (If this was in error no action is necessary):\n"
                    f"{content['SubscribeURL']}\n")
        case _:
            return (f"Your subscription to the topic below has been deleted:\n{content['TopicArn']}\n\nIf this was in"
                    f" error or you wish to resubscribe, click or visit the link below:\n{content['SubscribeURL']}\n")
