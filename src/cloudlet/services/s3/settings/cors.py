"""Cross-origin resource sharing: a bucket's rules, and which of them a browser's request meets.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.service import InvalidRequest, MalformedXml, NoSuchCorsConfiguration, bucket_arns, s3
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import CORS
from cloudlet.store.db import Tx

RULES_MAX = 100
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]*")
METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


@s3.write(resources=bucket_arns, action="s3:PutBucketCORS", durable=True)
def put_bucket_cors(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Gives a bucket its rules, in the place of those it had."""
    bucket, rules = require_bucket(tx, call, request), request["CORSConfiguration"].get("CORSRules") or []
    if not 0 < len(rules) <= RULES_MAX:
        raise MalformedXml()
    for rule in rules:
        _check(rule)
    kept.put(tx, bucket, CORS, {"CORSRules": rules})


@s3.read(resources=bucket_arns, action="s3:GetBucketCORS")
def get_bucket_cors(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """A bucket's rules."""
    return kept.require(tx, require_bucket(tx, call, request), CORS, NoSuchCorsConfiguration)


@s3.write(resources=bucket_arns, action="s3:PutBucketCORS", durable=True)
def delete_bucket_cors(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Takes a bucket's rules away, where it has some."""
    kept.delete(tx, require_bucket(tx, call, request), CORS)


def _check(rule: Mapping[str, Any]) -> None:
    if not rule.get("AllowedMethods") or not rule.get("AllowedOrigins"):
        raise MalformedXml()
    for method in rule["AllowedMethods"]:
        if method not in METHODS:
            raise InvalidRequest(f"Found unsupported HTTP method in CORS config. Unsupported method is {method}")
    for origin in rule["AllowedOrigins"]:
        if origin.count("*") > 1:
            raise InvalidRequest(f'AllowedOrigin "{origin}" can not have more than one wildcard.')
    for header in rule.get("AllowedHeaders") or ():
        if header.count("*") > 1:
            raise InvalidRequest(f'AllowedHeader "{header}" can not have more than one wildcard.')
        if not _NAME.fullmatch(header):
            raise InvalidRequest(f'AllowedHeader "{header}" contains invalid character.')
    for header in rule.get("ExposeHeaders") or ():
        if "*" in header:
            raise InvalidRequest(f'ExposeHeader "{header}" contains wildcard. We currently do not support wildcard for'
                                 " ExposeHeader.")
        if not _NAME.fullmatch(header):
            raise InvalidRequest(f'ExposeHeader "{header}" contains invalid character.')
    if len(rule.get("ID", "")) > 255:
        raise InvalidRequest("The rule ID must be at most 255 characters long")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a browser asks for: `headers` are those of a preflight, in lower case."""

    origin: str
    method: str
    headers: tuple[str, ...] = ()


def answer(rules: Sequence[Mapping[str, Any]], asked: Asked, *, preflight: bool = False) -> dict[str, str] | None:
    """The headers for a browser by the first rule that fits; None where none does."""
    for rule in rules:
        origin = next((each for each in rule["AllowedOrigins"] if _matches(each, asked.origin)), None)
        if origin is None or asked.method not in rule["AllowedMethods"]:
            continue
        if not all(any(_matches(each.lower(), header) for each in rule.get("AllowedHeaders") or ())
                   for header in asked.headers):
            continue
        return _headers(rule, origin, asked, preflight)
    return None


def _headers(rule: Mapping[str, Any], origin: str, asked: Asked, preflight: bool) -> dict[str, str]:
    everybody = origin == "*"
    found = {"access-control-allow-origin": "*" if everybody else asked.origin,
             "access-control-allow-methods": ", ".join(rule["AllowedMethods"]), "vary": VARY}
    if preflight and asked.headers:
        found["access-control-allow-headers"] = ", ".join(asked.headers)
    if rule.get("ExposeHeaders"):
        found["access-control-expose-headers"] = ", ".join(rule["ExposeHeaders"])
    if rule.get("MaxAgeSeconds") is not None:
        found["access-control-max-age"] = str(rule["MaxAgeSeconds"])
    if not everybody:
        found["access-control-allow-credentials"] = "true"
    return found


def _matches(pattern: str, text: str) -> bool:
    begins, wild, ends = pattern.partition("*")
    if not wild:
        return pattern == text
    return len(text) >= len(begins) + len(ends) and text.startswith(begins) and text.endswith(ends)
