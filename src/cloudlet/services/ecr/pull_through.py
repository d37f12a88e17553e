"""Images of other registries, brought here when somebody pulls them and a rule says where they are.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache-working.html: an image comes with all that it
refers to, before the pull is answered; a tag is looked up again a day later.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from cloudlet.engines.ports import Upstream, Upstreams
from cloudlet.kernel.errors import AwsError, Busy, EngineError, Refused
from cloudlet.services.ecr import contents, manifests
from cloudlet.services.ecr.exchange import Exchange, RegistryError
from cloudlet.services.ecr.manifests import Document, InvalidManifest, Part
from cloudlet.services.ecr.pull_through_rules import PullThroughRule, find_rule, upstream_of
from cloudlet.services.ecr.records import Repository, Tag, Upload, repository_key
from cloudlet.services.ecr.service import is_digest, is_tag
from cloudlet.services.ecr.templates import make_repository
from cloudlet.store.blobs import Blobs, DigestMismatch, digest_of
from cloudlet.store.db import Store, Tx

CHECKED_S = 24 * 3600.0
DOCUMENTS_MAX, DEPTH_MAX = 500, 8  # of one image, with the lists and images in it
IMPORTS_MAX = 16  # at a time


class PullThrough:
    """Sees to it that an image is here before it is pulled."""

    def __init__(self, store: Store, blobs: Blobs, upstreams: Upstreams | None) -> None:
        self._store, self._blobs, self._upstreams = store, blobs, upstreams
        self._under_way: dict[str, asyncio.Task[None]] = {}  # one import for everybody who waits for it

    def rule_for(self, tx: Tx, exchange: Exchange, reference: str) -> PullThroughRule | None:
        """The rule by which the image of a tag or digest is to be brought here first: it is not here, or its tag was
        not looked up for a day, and the caller may import it."""
        if self._upstreams is None or not (is_digest(reference) or is_tag(reference)):
            return None
        if not wants_upstream(tx, repository_key(exchange.account, exchange.region, exchange.name), reference):
            return None
        rule = find_rule(tx, exchange.account, exchange.region, exchange.name)
        return rule if rule is not None and _may_import(tx, exchange) else None

    async def bring(self, exchange: Exchange, rule: PullThroughRule, reference: str) -> None:
        """Imports the image. While its registry does not answer, what is here is good enough.

        Raises RegistryError where nothing is.
        """
        if self._upstreams is None:
            return
        try:
            await asyncio.shield(self._import(self._upstreams, rule, exchange.name, reference))
        except (EngineError, AwsError, InvalidManifest, RegistryError) as error:
            with self._store.tx() as tx:
                here = contents.find_image(tx, _key(rule, exchange.name), reference) is not None
            if not here:
                raise _told(error) from error

    def _import(self, upstreams: Upstreams, rule: PullThroughRule, name: str, reference: str) -> "asyncio.Task[None]":
        key = f"{rule.account}/{rule.region}/{name} {reference}"
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= IMPORTS_MAX:
                raise Busy("too many images are being imported")
            task = asyncio.ensure_future(self._run(upstreams, rule, name, reference))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    def _ended(self, key: str, task: "asyncio.Task[None]") -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more

    async def _run(self, upstreams: Upstreams, rule: PullThroughRule, name: str, reference: str) -> None:
        with self._store.tx() as tx:
            upstream = upstream_of(tx, rule)
        source = _Source(upstreams, upstream, rule.repository(name))
        documents = await source.documents(reference)
        key = _key(rule, name)
        with self._store.tx() as tx:
            if tx.get(Repository, key) is None:
                make_repository(tx, rule.account, rule.region, name, "PULL_THROUGH_CACHE")
        for part in dict.fromkeys(part for document in documents for part in document.parts):
            await self._fetch(source, rule, name, part)
        with self._store.tx() as tx:
            repository = contents.require_repository(tx, rule.account, rule.region, name)
            for document in documents[:-1]:
                contents.put_image(tx, self._blobs, repository, document, None)
            tag = None if is_digest(reference) else reference
            image = contents.put_image(tx, self._blobs, repository, documents[-1], tag)
            if tag is not None:
                tx.put(Tag(f"{key}:{tag}", image.key, checked_at=tx.now))
        await self._store.flush()

    async def _fetch(self, source: "_Source", rule: PullThroughRule, name: str, part: Part) -> None:
        """The blob is in the repository: it was, or another repository here has the same, or it comes now."""
        with self._blobs.hold(part.digest):
            upload = ""
            if self._blobs.size(part.digest) != part.size:
                with self._store.tx() as tx:
                    key = contents.require_repository(tx, rule.account, rule.region, name).key
                    upload = tx.token(32)
                    tx.put(Upload(upload, key, tx.now))
                await self._receive(source, upload, part)
            with self._store.tx() as tx:
                tx.delete(Upload, upload)
                repository = contents.require_repository(tx, rule.account, rule.region, name)
                contents.put_layer(tx, repository.key, part.digest, part.size)

    async def _receive(self, source: "_Source", name: str, part: Part) -> None:
        upload = await self._blobs.begin(name)
        try:
            async with aclosing(source.blob(part)) as chunks:
                await upload.write(chunks)
            await upload.publish(part.digest)
        except BaseException as error:
            await upload.discard()
            with self._store.tx() as tx:
                tx.delete(Upload, name)
            if isinstance(error, DigestMismatch):
                raise Refused(f"{source.name} sent other bytes than those of {part.digest}") from None
            raise


def wants_upstream(tx: Tx, repository: str, reference: str) -> bool:
    """Whether the upstream registry is to be asked for a tag or a digest: it is not in the repository of that key, or
    it came from there a day ago."""
    if is_digest(reference):
        return contents.find_image(tx, repository, reference) is None
    tag = tx.get(Tag, f"{repository}:{reference}")
    return tag is None or (tag.checked_at is not None and tx.now - tag.checked_at >= CHECKED_S)


class _Source:
    """One repository of another registry."""

    def __init__(self, upstreams: Upstreams, upstream: Upstream, repository: str) -> None:
        self._upstreams, self._upstream, self._repository = upstreams, upstream, repository
        self.name = f"{upstream.url}/{repository}"

    async def documents(self, reference: str) -> list[Document]:
        """The manifests of an image, what a list refers to before the list. Raises InvalidManifest."""
        found: dict[str, Document] = {}
        await self._add(found, reference, 0)
        return list(found.values())

    async def _add(self, found: dict[str, Document], reference: str, depth: int) -> None:
        if reference in found:
            return
        if len(found) >= DOCUMENTS_MAX or depth > DEPTH_MAX:
            raise InvalidManifest(f"the image refers to more than {DOCUMENTS_MAX} manifests, or too deep")
        sent = await self._upstreams.manifest(self._upstream, self._repository, reference)
        if sent is None:
            raise RegistryError(404, "MANIFEST_UNKNOWN", "Requested image not found")
        if is_digest(reference) and digest_of(sent.body) != reference:
            raise Refused(f"{self.name} sent another manifest than {reference}")
        document = manifests.parse(sent.body, sent.media_type)
        for child in document.children:
            await self._add(found, child, depth + 1)
        found[document.digest] = document

    async def blob(self, part: Part) -> AsyncGenerator[bytes, None]:
        """Its bytes, and no more of them than the manifest says. Raises Refused."""
        size = 0
        async with aclosing(self._upstreams.blob(self._upstream, self._repository, part.digest)) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                if size > part.size:
                    raise Refused(f"{self.name} sent more than the {part.size} bytes of {part.digest}")
                yield chunk


def _key(rule: PullThroughRule, name: str) -> str:
    return repository_key(rule.account, rule.region, name)


def _may_import(tx: Tx, exchange: Exchange) -> bool:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache-iam.html"""
    there = tx.get(Repository, repository_key(exchange.account, exchange.region, exchange.name)) is not None
    return all(exchange.may(tx, action) for action in (
        "ecr:BatchGetImage", "ecr:BatchImportUpstreamImage", *(() if there else ("ecr:CreateRepository",))))


def _told(error: Exception) -> RegistryError:
    """What whoever pulls is told of an import that failed."""
    match error:
        case RegistryError():
            return error
        case AwsError():
            return RegistryError.of(error)
        case InvalidManifest():
            return RegistryError(404, "MANIFEST_UNKNOWN", f"the upstream registry's image cannot be kept here: {error}")
        case Refused():
            return RegistryError(403, "DENIED", f"the upstream registry: {error}")
        case _:
            return RegistryError(503, "UNAVAILABLE", f"the upstream registry: {error}")
