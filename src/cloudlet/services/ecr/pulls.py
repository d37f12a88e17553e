"""Pulling: blobs (whole or in ranges), manifests (by tag or digest, as the client accepts them), and lists of tags."""

from urllib.parse import urlencode

from cloudlet.kernel.http import Response
from cloudlet.services.ecr import ranges
from cloudlet.services.ecr.contents import find_image, touch_layer
from cloudlet.services.ecr.exchange import Exchange, RegistryError, json_response
from cloudlet.services.ecr.pull_through import PullThrough
from cloudlet.services.ecr.pull_times import record_pulls
from cloudlet.services.ecr.records import Image, Layer, Manifest, Tag
from cloudlet.services.ecr.service import is_digest, is_tag
from cloudlet.store.blobs import BlobMissing, Blobs
from cloudlet.store.db import Store, Tx

TAGS_PAGE_MAX = 1000
_BLOB = "application/octet-stream"


class Pulls:
    """The answers that change nothing but the time of the last pull."""

    def __init__(self, store: Store, blobs: Blobs, through: PullThrough) -> None:
        self._store, self._blobs, self._through = store, blobs, through

    async def blob(self, exchange: Exchange, digest: str) -> Response:
        """GET and HEAD of a blob that was pushed to this repository or mounted in it."""
        if not is_digest(digest):
            raise RegistryError(400, "DIGEST_INVALID", f"'{digest}' is not a sha256 digest")
        head = exchange.request.method == "HEAD"
        with self._store.tx() as tx:
            repository = exchange.repository(
                tx, "ecr:BatchCheckLayerAvailability" if head else "ecr:GetDownloadUrlForLayer")
            layer = tx.get(Layer, f"{repository.key}@{digest}")
            size = self._blobs.size(digest)
            if layer is None or size is None:
                raise RegistryError(404, "BLOB_UNKNOWN", f"The layer with digest '{digest}' does not exist in the "
                                                         f"repository with name '{repository.name}'")
            if head:
                touch_layer(tx, layer)
        headers = {"content-type": _BLOB, "docker-content-digest": digest, "etag": f'"{digest}"',
                   "accept-ranges": "bytes", "cache-control": "max-age=31536000"}
        if digest in (exchange.header("if-none-match") or ""):
            return Response(304, headers)
        if head:
            return Response(200, {**headers, "content-length": str(size)})
        changed = exchange.header("if-range") not in (None, headers["etag"])
        try:
            return self._content(digest, size, None if changed else exchange.header("range"), headers)
        except BlobMissing:
            raise RegistryError(404, "BLOB_UNKNOWN", f"The layer with digest '{digest}' does not exist") from None

    def _content(self, digest: str, size: int, wanted: str | None, headers: dict[str, str]) -> Response:
        parts = ranges.wanted(wanted, size)
        if parts is None:
            return Response(200, {**headers, "content-length": str(size)}, self._blobs.open(digest))
        if not parts:
            raise RegistryError(416, "SIZE_INVALID", f"the blob has {size} bytes",
                                {"content-range": f"bytes */{size}"})
        if len(parts) == 1:
            start, end = parts[0]
            return Response(206, {**headers, "content-length": str(end - start),
                                  "content-range": ranges.content_range(parts[0], size)},
                            self._blobs.open(digest, start, end - start))
        several = ranges.Multipart(parts, size, _BLOB, self._store.clock.token(32))
        contents = [self._blobs.open(digest, start, end - start) for start, end in parts]
        return Response(206, {**headers, "content-type": several.content_type, "content-length": str(several.length)},
                        several.body(contents))

    async def manifest(self, exchange: Exchange, reference: str) -> Response:
        """GET and HEAD of a manifest by tag or digest, brought from another registry where a rule says so."""
        found = None
        with self._store.tx() as tx:
            rule = self._through.rule_for(tx, exchange, reference)
            if rule is None:
                found = _found(tx, exchange, reference)
        if rule is not None:
            await self._through.bring(exchange, rule, reference)
        if found is None:
            with self._store.tx() as tx:
                found = _found(tx, exchange, reference)
        image, manifest = found
        if exchange.request.method == "GET":
            record_pulls(self._store, [image], exchange.call.now)
        body = manifest.text.encode()
        return Response(200, {"content-type": image.media_type, "content-length": str(len(body)),
                              "docker-content-digest": image.digest, "etag": f'"{image.digest}"'}, body)

    async def tags(self, exchange: Exchange, _: str) -> Response:
        """The tags in lexical order, `n` of them after `last`, with a link to the rest."""
        count, last = exchange.parameter("n"), exchange.parameter("last") or ""
        if count is not None and not (count.isascii() and count.isdigit() and len(count) < 10):
            raise RegistryError(400, "PAGINATION_NUMBER_INVALID", f"'{count[:40]}' is not a number of tags")
        limit = TAGS_PAGE_MAX if count is None else min(int(count), TAGS_PAGE_MAX)
        with self._store.tx() as tx:
            repository = exchange.repository(tx, "ecr:ListImages")
            found = tx.find(Tag, f"{repository.key}:", after=f"{repository.key}:{last}", limit=limit + 1)
        names = [tag.name for tag in found[:limit]]
        headers = {}
        if len(found) > limit and names:
            query = urlencode({"last": names[-1], "n": limit})
            headers["link"] = f'</v2/{repository.name}/tags/list?{query}>; rel="next"'
        return json_response({"name": repository.name, "tags": names}, **headers)


def _found(tx: Tx, exchange: Exchange, reference: str) -> tuple[Image, Manifest]:
    """The image that a tag or a digest names, as the client accepts it. Raises RegistryError."""
    repository = exchange.repository(tx, "ecr:BatchGetImage")
    known = is_digest(reference) or is_tag(reference)
    image = find_image(tx, repository.key, reference) if known else None
    manifest = tx.get(Manifest, image.key) if image else None
    if image is None or manifest is None:
        raise RegistryError(404, "MANIFEST_UNKNOWN", "Requested image not found")
    if not _accepts(exchange.header("accept"), image):
        raise RegistryError(404, "MANIFEST_UNKNOWN",
                            f"The image is {image.media_type}, which the request does not accept")
    return image, manifest


def _accepts(accept: str | None, image: Image) -> bool:
    """Whether the client takes this manifest as it is; one that says nothing takes anything."""
    if not accept:
        return True
    types = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return bool(types & {image.media_type, "*/*", "application/*"})


