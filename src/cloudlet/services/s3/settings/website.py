"""A bucket as a website: its index, its error document, and where requests are sent on to.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteHosting.html
"""

from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.service import (
    InvalidArgument,
    InvalidRequest,
    MalformedXml,
    NoSuchWebsiteConfiguration,
    bucket_arns,
    s3,
)
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import WEBSITE
from cloudlet.store.db import Tx

RULES_MAX = 50
REDIRECTS = frozenset({*range(301, 306), 307, 308})
ERRORS = frozenset({*range(400, 418), *range(500, 506)})  # those that RFC 2616 and S3 know


@s3.write(resources=bucket_arns, durable=True)
def put_bucket_website(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Makes a bucket a website, or another one."""
    bucket, said = require_bucket(tx, call, request), request["WebsiteConfiguration"]
    rules, onwards = said.get("RoutingRules") or [], said.get("RedirectAllRequestsTo")
    if onwards is not None:
        if any(said.get(member) for member in ("IndexDocument", "ErrorDocument", "RoutingRules")):
            raise InvalidArgument("RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
                                  ArgumentName="RedirectAllRequestsTo", ArgumentValue="not null")
    elif said.get("IndexDocument") is None:
        raise InvalidArgument("A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
                              ArgumentName="IndexDocument", ArgumentValue="null")
    else:
        suffix = said["IndexDocument"]["Suffix"]
        if not suffix or "/" in suffix:
            raise InvalidArgument("The IndexDocument Suffix is not well formed", ArgumentName="IndexDocument",
                                  ArgumentValue=suffix)
    for sent in (onwards or {}, *(rule.get("Redirect") or {} for rule in rules)):
        if not _is_host(sent.get("HostName", "h")):
            raise InvalidRequest(f"The provided host name is not valid: {sent['HostName'][:253]}")
    if len(rules) > RULES_MAX:
        raise InvalidRequest(f"{len(rules)} routing rules provided, the number of routing rules in a website"
                             f" configuration is limited to {RULES_MAX}.")
    for rule in rules:
        _check(rule)
    kept.put(tx, bucket, WEBSITE, said)


@s3.read(resources=bucket_arns)
def get_bucket_website(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """What was put."""
    return kept.require(tx, require_bucket(tx, call, request), WEBSITE, NoSuchWebsiteConfiguration)


@s3.write(resources=bucket_arns, durable=True)
def delete_bucket_website(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """The bucket is no website any more."""
    kept.delete(tx, require_bucket(tx, call, request), WEBSITE)


def _is_host(text: str) -> bool:
    """Whether it can stand in a header."""
    return text.isascii() and text.isprintable() and " " not in text and text != ""


def _check(rule: Mapping[str, Any]) -> None:
    redirect, condition = rule.get("Redirect") or {}, rule.get("Condition")
    if not redirect:
        raise MalformedXml()
    if condition == {}:
        raise InvalidRequest("Condition cannot be empty. To redirect all requests without a condition, the condition"
                             " element shouldn't be present.")
    if "ReplaceKeyWith" in redirect and "ReplaceKeyPrefixWith" in redirect:
        raise InvalidRequest("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    code = _number(redirect.get("HttpRedirectCode", "301"))
    if code not in REDIRECTS:
        raise InvalidRequest(f"The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300.")
    error = _number((condition or {}).get("HttpErrorCodeReturnedEquals", "404"))
    if error not in ERRORS:
        raise InvalidRequest(f"The provided HTTP error code ({error}) is not valid. Valid codes are 4XX or 5XX.")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise MalformedXml()
    return int(text)
