"""Whether a bucket's policy is public: what the public access block goes by.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import msgspec

from cloudlet.kernel.policy import listed, principals
from cloudlet.kernel.policy_conditions import texts

# Keys whose fixed values make a statement for everybody one for somebody.
_KEYS = frozenset({
    "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner", "aws:sourceaccount", "aws:userid",
    "aws:principalorgid", "aws:principalaccount", "aws:principalarn", "aws:sourceorgid",
    "s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:dataaccesspointarn", "s3:dataaccesspointaccount"})
_OPERATORS = frozenset({"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"})


@lru_cache(maxsize=1024)
def is_public(document: str) -> bool:
    """Whether a document allows something to anybody whom no fixed value names."""
    return any(_opens(statement) for statement in listed(msgspec.json.decode(document)["Statement"]))


def _opens(statement: Mapping[str, Any]) -> bool:
    if statement["Effect"] != "Allow":
        return False
    named = "NotPrincipal" not in statement and not any(
        "*" in name for _, name in principals(statement.get("Principal")))
    return not named and not any(
        _restricts(operator, key.lower(), texts(values))
        for operator, keys in (statement.get("Condition") or {}).items() for key, values in keys.items())


def _restricts(operator: str, key: str, values: tuple[str, ...]) -> bool:
    operator = operator.removeprefix("ForAnyValue:")
    if key == "aws:sourceip":
        return operator == "IpAddress" and all(map(_is_narrow, values))
    if operator not in _OPERATORS or key not in _KEYS:
        return False
    return all(_is_fixed(key, value) for value in values)


def _is_fixed(key: str, value: str) -> bool:
    if key == "s3:dataaccesspointarn":  # the access point's name may be open as long as the account is not
        value = ":".join(value.split(":")[:5])
    if key == "aws:userid":
        return "${" not in value and not value.startswith("*") and value.partition(":")[0].isalnum()
    return not any(mark in value for mark in ("*", "?", "${"))


def _is_narrow(text: str) -> bool:
    """Whether a range of addresses is no larger than a /8, or a /32 of IPv6, or private."""
    try:
        network: IPv4Network | IPv6Network = ip_network(text, strict=False)
    except ValueError:
        return False
    return network.prefixlen >= (8 if network.version == 4 else 32) or network.is_private
