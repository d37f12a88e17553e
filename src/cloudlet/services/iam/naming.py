"""What IAM lets a name, a path and a tag be, and its words for those that are not."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from cloudlet.services.iam.service import InvalidInput, LimitExceeded, ValidationError

TAGS_MAX = 50
_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH = re.compile(r"/|/[\x21-\x7e]+/")
_TAG_SIGNS = frozenset("_.:/=+-@")


def check_name(member: str, name: str) -> str:
    """A name that may be given. `member` is the parameter's name as AWS's message has it, e.g. "roleName"."""
    if not _NAME.fullmatch(name):
        raise ValidationError(f"The specified value for {member} is invalid. It must contain only alphanumeric"
                              " characters and/or the following: +=,.@_-")
    return name


def check_path(path: str, member: str = "path") -> str:
    """A path that may be given: "/" or "/…/"."""
    if not _PATH.fullmatch(path) or "//" in path:
        raise ValidationError(f"The specified value for {member} is invalid. It must begin and end with / and contain"
                              " only alphanumeric characters and/or / characters.")
    return path


def merged_tags(have: Mapping[str, str], given: Iterable[Mapping[str, Any]], quota: str) -> dict[str, str]:
    """Tags after adding those of a request. `quota` is the limit's name in AWS's message, e.g. "TagsPerRole"."""
    given = list(given)
    if len({tag["Key"].lower() for tag in given}) < len(given):
        raise InvalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    tags = dict(have)
    for tag in given:
        _check_tag("key", tag["Key"])
        _check_tag("value", tag["Value"])
        if tag["Key"].lower().startswith("aws:"):
            raise InvalidInput("Tag keys beginning with 'aws:' are reserved for system use.")
        for same in [key for key in tags if key.lower() == tag["Key"].lower()]:
            del tags[same]
        tags[tag["Key"]] = tag["Value"]
    if len(tags) > TAGS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for {quota}: {TAGS_MAX}")
    return tags


def remaining_tags(have: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    """Tags after removing those keys; keys are not distinguished by case."""
    gone = {key.lower() for key in keys}
    return {key: value for key, value in have.items() if key.lower() not in gone}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _check_tag(part: str, text: str) -> None:
    if any(unicodedata.category(sign)[0] not in "LZN" and sign not in _TAG_SIGNS for sign in text):
        raise ValidationError(f"1 validation error detected: Value '{text}' at 'tags.1.member.{part}' failed to satisfy"
                              r" constraint: Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]"
                              + ("+" if part == "key" else "*"))
