"""Delivery policies: how often and how quickly a delivery is tried again, for HTTP as its subscribers want it.

https://docs.aws.amazon.com/sns/latest/dg/creating-delivery-policy.html
"""

import json
import re
from typing import Any

from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.services.sns.service import invalid, json_map

_DEFAULT = {"minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0,
            "numNoDelayRetries": 0, "numMinDelayRetries": 0, "backoffFunction": "linear"}
# 50 more attempts in more than six hours.
# https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html#delivery-policies-for-protocols
_MAIL: dict[str, Any] = {"minDelayTarget": 10, "maxDelayTarget": 600, "numRetries": 50, "numMaxDelayRetries": 38,
         "numNoDelayRetries": 0, "numMinDelayRetries": 2, "backoffFunction": "exponential"}
_NUMBERS = {"minDelayTarget": (1, 3600), "maxDelayTarget": (1, 3600), "numRetries": (0, 100),
            "numMaxDelayRetries": (0, 100), "numNoDelayRetries": (0, 100), "numMinDelayRetries": (0, 100)}
TOTAL_S_MAX = 3600  # https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
CONTENT_TYPE = "text/plain; charset=UTF-8"
_TYPES = re.compile(r"(text/(css|csv|html|plain|xml)|application/(atom\+xml|json|octet-stream|soap\+xml"
                    r"|x-www-form-urlencoded|xhtml\+xml|xml))(; ?charset=(UTF-8|utf-8|ISO-8859-1|iso-8859-1))?")
_FUNCTIONS = ("linear", "arithmetic", "geometric", "exponential")


def checked(text: str, where: str, *, of_topic: bool) -> str:
    """A policy of a topic or a subscription as it is kept. Raises InvalidParameter."""
    content = json_map(text, f"{where}DeliveryPolicy")
    http = content.get("http", {}) if of_topic else content
    names = ({"defaultHealthyRetryPolicy", "defaultThrottlePolicy", "disableSubscriptionOverrides",
              "defaultRequestPolicy"} if of_topic else {"healthyRetryPolicy", "throttlePolicy", "requestPolicy",
                                                        "sicklyRetryPolicy", "guaranteed"})
    if not isinstance(http, dict) or http.keys() - names or (of_topic and content.keys() - {"http"}):
        raise invalid(f"{where}DeliveryPolicy: unknown field")
    retries = http.get("defaultHealthyRetryPolicy" if of_topic else "healthyRetryPolicy")
    if retries is not None:
        _check_retries(retries, where)
    throttle = http.get("defaultThrottlePolicy" if of_topic else "throttlePolicy")
    if throttle is not None:
        rate = throttle.get("maxReceivesPerSecond") if isinstance(throttle, dict) else 0
        if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int) or rate < 1):
            raise invalid(f"{where}DeliveryPolicy: throttlePolicy.maxReceivesPerSecond must be greater than or equal"
                          " to 1")
    request = http.get("defaultRequestPolicy" if of_topic else "requestPolicy")
    if request is not None and not (isinstance(request, dict) and request.keys() <= {"headerContentType"} and
                                    _TYPES.fullmatch(str(request.get("headerContentType", CONTENT_TYPE)))):
        raise invalid(f"{where}DeliveryPolicy: requestPolicy.headerContentType is not one of those that are supported")
    return text


def _check_retries(retries: Any, where: str) -> None:
    if not isinstance(retries, dict):
        raise invalid(f"{where}DeliveryPolicy: healthyRetryPolicy must be an object")
    for name, value in retries.items():
        low, high = _NUMBERS.get(name, (0, 0))
        if name == "backoffFunction":
            if value not in _FUNCTIONS:
                raise invalid(f"{where}DeliveryPolicy: backoffFunction must be one of {', '.join(_FUNCTIONS)}")
        elif name not in _NUMBERS or isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise invalid(f"{where}DeliveryPolicy: healthyRetryPolicy.{name} must be between {low} and {high}")
    whole = {**_DEFAULT, **retries}
    if whole["maxDelayTarget"] < whole["minDelayTarget"]:
        raise invalid(f"{where}DeliveryPolicy: healthyRetryPolicy.maxDelayTarget must be greater than or equal to"
                      " minDelayTarget")
    if sum(whole[name] for name in ("numNoDelayRetries", "numMinDelayRetries", "numMaxDelayRetries")) > (
            whole["numRetries"]):
        raise invalid(f"{where}DeliveryPolicy: healthyRetryPolicy.numRetries must be greater than or equal to the"
                      " retries of its phases")
    if sum(_delays_s(whole)) > TOTAL_S_MAX:
        raise invalid(f"{where}DeliveryPolicy: healthyRetryPolicy: the total retry time must not exceed {TOTAL_S_MAX}"
                      " seconds")


def _of(topic: Topic, subscription: Subscription, name: str) -> dict[str, Any]:
    """The part of that name that counts: the subscription's, unless the topic forbids it, else the topic's."""
    http = json.loads(topic.attributes.get("DeliveryPolicy", "{}")).get("http", {})
    own = json.loads(subscription.attributes.get("DeliveryPolicy", "{}"))
    if own.get(name) and not http.get("disableSubscriptionOverrides"):
        return dict(own[name])
    return dict(http.get(f"default{name[0].upper()}{name[1:]}") or {})


def content_type(topic: Topic, subscription: Subscription) -> str:
    """What posts say that they are."""
    found: str = _of(topic, subscription, "requestPolicy").get("headerContentType", CONTENT_TYPE)
    return found


def pause_s(topic: Topic, subscription: Subscription) -> float:
    """How long to wait after each post, so that not too many come in a second."""
    rate = _of(topic, subscription, "throttlePolicy").get("maxReceivesPerSecond")
    return 1 / float(rate) if rate else 0.0


def delays_s(topic: Topic, subscription: Subscription) -> list[float]:
    """How long to wait before each further attempt."""
    if subscription.protocol.startswith("email"):
        return _delays_s(_MAIL)
    return _delays_s({**_DEFAULT, **_of(topic, subscription, "healthyRetryPolicy")})


def _delays_s(policy: dict[str, Any]) -> list[float]:
    """At once, then at the shortest interval, then at growing ones, then at the longest."""
    low, high = float(policy["minDelayTarget"]), float(policy["maxDelayTarget"])
    before, after = (0.0,) * policy["numNoDelayRetries"] + (low,) * policy["numMinDelayRetries"], (
        (high,) * policy["numMaxDelayRetries"])
    between = max(0, policy["numRetries"] - len(before) - len(after))
    return [*before, *(_between(policy["backoffFunction"], low, high, step / max(1, between - 1))
                       for step in range(between)), *after]


def _between(function: str, low: float, high: float, part: float) -> float:
    """A delay `part` (0 to 1) of the way from the shortest to the longest; all functions agree at the ends."""
    match function:
        case "exponential" | "geometric":
            return float(low * (high / low) ** part)
        case "arithmetic":
            return low + (high - low) * part * (part + 1) / 2
        case _:
            return low + (high - low) * part


def effective_of(topic: Topic, subscription: Subscription) -> str:
    """What counts for a subscription of a web server."""
    throttle, request = (_of(topic, subscription, name) for name in ("throttlePolicy", "requestPolicy"))
    return json.dumps({
        "healthyRetryPolicy": {**_DEFAULT, **_of(topic, subscription, "healthyRetryPolicy")},
        "sicklyRetryPolicy": None, "throttlePolicy": throttle or None,
        "requestPolicy": {"headerContentType": CONTENT_TYPE, **request}, "guaranteed": False}, separators=(",", ":"))


def effective(text: str | None) -> str:
    """A topic's policy with AWS's defaults in it."""
    http = json.loads(text).get("http", {}) if text else {}
    return json.dumps({"http": {
        "defaultHealthyRetryPolicy": {**_DEFAULT, **http.get("defaultHealthyRetryPolicy", {})},
        "disableSubscriptionOverrides": http.get("disableSubscriptionOverrides", False),
        **({"defaultThrottlePolicy": http["defaultThrottlePolicy"]} if "defaultThrottlePolicy" in http else {}),
        "defaultRequestPolicy": {"headerContentType": CONTENT_TYPE, **http.get("defaultRequestPolicy", {})}}},
                      separators=(",", ":"))
