"""Tokens of the Describe operations: how many were shown already."""

import re
from typing import Any

from cloudlet.kernel.service import Input
from cloudlet.services.logs.service import InvalidParameter

_TOKEN = re.compile(r"p(\d{1,9})")


def start_of(request: Input) -> int:
    """Where a request wants to go on. Raises InvalidParameter for a token that was not given here."""
    token = request.get("nextToken")
    if token is None:
        return 0
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise InvalidParameter("The specified nextToken is invalid.")
    return int(found[1])


def page_of(member: str, shown: list[Any], following: int, *, more: bool) -> dict[str, Any]:
    """An answer, with a token where more follows."""
    return {member: shown, "nextToken": f"p{following}"} if more else {member: shown}
