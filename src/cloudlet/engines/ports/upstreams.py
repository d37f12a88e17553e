"""The port to image registries elsewhere."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Upstream:
    """A registry to fetch images from: `url` is scheme://host[:port]; credentials where it wants some."""

    url: str
    username: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class UpstreamManifest:
    """A manifest, byte for byte, and the media type it was sent as."""

    media_type: str
    body: bytes


class Upstreams(Protocol):
    """Image registries elsewhere. What they send is not to be trusted: digests are the asker's to verify.

    Every verb raises Busy where the registry does not answer (or wants to be asked later), Refused where it may not be
    asked, refuses us, or says nothing of use.
    """

    async def check(self, upstream: Upstream) -> None:
        """The registry answers, and takes the credentials."""
        ...

    async def manifest(self, upstream: Upstream, repository: str, reference: str) -> UpstreamManifest | None:
        """The manifest of a tag or a digest; None where there is none."""
        ...

    def blob(self, upstream: Upstream, repository: str, digest: str) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob as they come. Refused where there is none."""
        ...
