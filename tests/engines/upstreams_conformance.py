"""What every implementation of the Upstreams port must do, whatever is behind it."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from cloudlet.engines.ports import Upstream, UpstreamManifest, Upstreams
from cloudlet.kernel.errors import Busy, Refused

BLOB = os.urandom(700_000)
MANIFEST = UpstreamManifest("application/vnd.oci.image.manifest.v1+json", b'{"schemaVersion":2}')


@dataclass(frozen=True)
class Ground:
    """Where the suite runs. Each registry has, in `team/app`, MANIFEST as `v1` and BLOB as `sha256:blob`; `closed`
    wants a login; nobody listens at `nowhere`."""

    upstreams: Upstreams
    open: Upstream
    closed: Upstream
    nowhere: Upstream


async def what_is_there_comes(ground: Ground) -> None:
    for upstream in (ground.open, ground.closed):
        await ground.upstreams.check(upstream)
        assert await ground.upstreams.manifest(upstream, "team/app", "v1") == MANIFEST
        chunks = [chunk async for chunk in ground.upstreams.blob(upstream, "team/app", "sha256:blob")]
        assert len(chunks) > 1
        assert b"".join(chunks) == BLOB


async def what_is_not_there_is_told(ground: Ground) -> None:
    for repository, reference in (("team/app", "v2"), ("team/other", "v1")):
        assert await ground.upstreams.manifest(ground.closed, repository, reference) is None
    with pytest.raises(Refused, match="does not have the blob"):
        await _whole(ground, ground.closed, "sha256:other")


async def a_wrong_login_is_refused(ground: Ground) -> None:
    for upstream in (Upstream(ground.closed.url), Upstream(ground.closed.url, ground.closed.username, "wrong")):
        for ask in (lambda wrong: ground.upstreams.check(wrong),
                    lambda wrong: ground.upstreams.manifest(wrong, "team/app", "v1"),
                    lambda wrong: _whole(ground, wrong)):
            with pytest.raises(Refused, match="credentials"):
                await ask(upstream)


async def a_registry_that_is_away_is_busy(ground: Ground) -> None:
    with pytest.raises(Busy):
        await ground.upstreams.check(ground.nowhere)
    with pytest.raises(Busy):
        await _whole(ground, ground.nowhere)


async def _whole(ground: Ground, upstream: Upstream, digest: str = "sha256:blob") -> bytes:
    return b"".join([chunk async for chunk in ground.upstreams.blob(upstream, "team/app", digest)])


SUITE: tuple[Callable[[Ground], Awaitable[None]], ...] = (
    what_is_there_comes, what_is_not_there_is_told, a_wrong_login_is_refused, a_registry_that_is_away_is_busy)
