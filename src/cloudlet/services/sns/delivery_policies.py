"""Delivery policies: how often and how quickly a delivery over HTTP is tried again.

https://docs.aws.amazon.com/sns/latest/dg/creating-delivery-policy.html
"""

import json
from typing import Any

from cloudlet.services.sns.service import invalid

_DEFAULT = {"minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0,
            "numNoDelayRetries": 0, "numMinDelayRetries": 0, "backoffFunction": "linear"}
_NUMBERS = {"minDelayTarget": (1, 3600), "maxDelayTarget": (1, 3600), "numRetries": (0, 100),
            "numMaxDelayRetries": (0, 100), "numNoDelayRetries": (0, 100), "numMinDelayRetries": (0, 100)}
_FUNCTIONS = ("linear", "arithmetic", "geometric", "exponential")


def checked(text: str, where: str, *, of_topic: bool) -> str:
    """A policy of a topic or a subscription as it is kept. Raises InvalidParameter."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise invalid(f"{where}DeliveryPolicy: failed to parse JSON.")
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


def effective(text: str | None) -> str:
    """A topic's policy with AWS's defaults in it."""
    http = json.loads(text).get("http", {}) if text else {}
    return json.dumps({"http": {
        "defaultHealthyRetryPolicy": {**_DEFAULT, **http.get("defaultHealthyRetryPolicy", {})},
        "disableSubscriptionOverrides": http.get("disableSubscriptionOverrides", False),
        **({"defaultThrottlePolicy": http["defaultThrottlePolicy"]} if "defaultThrottlePolicy" in http else {}),
        "defaultRequestPolicy": {"headerContentType": "text/plain; charset=UTF-8",
                                 **http.get("defaultRequestPolicy", {})}}}, separators=(",", ":"))
