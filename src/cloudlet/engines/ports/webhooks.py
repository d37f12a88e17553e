"""The port to web servers that want to be told of something."""

from collections.abc import Mapping
from typing import Protocol


class Webhooks(Protocol):
    """Web servers elsewhere, as their customers' URLs name them."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer to one POST; nothing else of it is read, and redirects are not followed.

        Raises Busy where nobody answers in 15 seconds, Refused where it may not be asked.
        """
        ...
