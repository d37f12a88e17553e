"""Image registries elsewhere, without a world: what a test puts into them."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from cloudlet.engines.ports import Upstream, UpstreamManifest
from cloudlet.kernel.errors import Busy, Refused

T = TypeVar("T")


class Verb(Protocol):
    """How a verb of the fake world runs (`fake.World.verb`)."""

    async def __call__(self, what: str, name: str, effect: Callable[[], T], *, makes: bool = False) -> T:
        """Lag, perhaps a fault, the effect."""
        ...


@dataclass(slots=True)
class FakeRegistry:
    """One registry: manifests by (repository, tag or digest), blobs by (repository, digest); `login` if it wants one.

    `asked` lists what it was asked for.
    """

    manifests: dict[tuple[str, str], UpstreamManifest] = field(default_factory=dict)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    asked: list[str] = field(default_factory=list)


class FakeUpstreams:
    """See `ports.Upstreams`. `registries` by URL; one that is not there cannot be reached."""

    def __init__(self, verb: Any) -> None:
        self._verb: Verb = verb
        self.registries: dict[str, FakeRegistry] = {}

    async def check(self, upstream: Upstream) -> None:
        """See `ports.Upstreams`."""
        await self._verb("check", upstream.url, lambda: self._registry(upstream, "check"))

    async def manifest(self, upstream: Upstream, repository: str, reference: str) -> UpstreamManifest | None:
        """See `ports.Upstreams`."""
        name = f"{repository}:{reference}"
        return await self._verb("manifest", f"{upstream.url} {name}",
                                lambda: self._registry(upstream, name).manifests.get((repository, reference)))

    async def blob(self, upstream: Upstream, repository: str, digest: str) -> AsyncGenerator[bytes, None]:
        """See `ports.Upstreams`."""
        name = f"{repository}@{digest}"
        data = await self._verb("blob", f"{upstream.url} {name}",
                                lambda: self._registry(upstream, name).blobs.get((repository, digest)))
        if data is None:
            raise Refused(f"{upstream.url} does not have the blob {digest} of {repository}")
        for at in range(0, len(data), 1000):
            yield data[at:at + 1000]

    def _registry(self, upstream: Upstream, asked: str) -> FakeRegistry:
        registry = self.registries.get(upstream.url)
        if registry is None:
            raise Busy(f"{upstream.url} cannot be reached")
        registry.asked.append(asked)
        if registry.login is not None and registry.login != (upstream.username, upstream.password):
            raise Refused(f"{upstream.url} does not accept the credentials")
        return registry
