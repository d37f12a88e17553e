"""Pushing: uploads of blobs (whole, in chunks, resumed, mounted) and manifests; and taking images away again."""

import re

from cloudlet.kernel.http import Response
from cloudlet.services.ecr import contents, manifests
from cloudlet.services.ecr.account_settings import mounts
from cloudlet.services.ecr.exchange import Exchange, RegistryError, empty
from cloudlet.services.ecr.records import Image, Layer, Repository, Tag, Upload
from cloudlet.services.ecr.service import RepositoryNotFound, is_digest, is_repository_name, is_tag
from cloudlet.services.ecr.templates import make_repository, matching
from cloudlet.store import blobs as files
from cloudlet.store.blobs import Blobs, DigestMismatch
from cloudlet.store.db import Store, Tx

MOUNT_SOURCES_MAX = 20  # repositories asked for a blob that a client does not say where to mount from

_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/(?:\d+|\*))?")


class Pushes:
    """The answers that add to a repository or take from it. What is answered with 201 survives a power cut."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store, self._blobs = store, blobs

    async def start(self, exchange: Exchange, _: str) -> Response:
        """POST: mounts a blob of another repository, takes one whole, or begins an upload."""
        digest, mount = exchange.parameter("digest"), exchange.parameter("mount")
        if digest is not None:
            _require_digest(digest)
        with self._store.tx() as tx:
            repository = _begun(tx, exchange)
            mounted = mount is not None and self._mount(tx, exchange, mount, repository.key)
            if not mounted:
                name = contents.begin_upload(tx, repository.key)
        if mounted and mount is not None:
            await self._store.flush()
            return _created(exchange, mount)
        upload = await self._blobs.begin(name)
        if digest is None:
            return _accepted(exchange, upload)
        await self._write(exchange, upload)
        return await self._publish(exchange, upload, digest)

    def _mount(self, tx: Tx, exchange: Exchange, digest: str, into: str) -> bool:
        """Whether the blob is in the repository now. What cannot be mounted is uploaded, so this refuses nothing."""
        size = self._blobs.size(digest)
        if not is_digest(digest) or size is None or not mounts(tx, exchange.account, exchange.region):
            return False
        if not any(_may_mount(tx, exchange, source, digest) for source in _sources(tx, exchange, digest)):
            return False
        contents.put_layer(tx, into, digest, size)
        return True

    async def status(self, exchange: Exchange, name: str) -> Response:
        """GET of an upload: how far it got."""
        upload = self._find(exchange, name)
        return empty(204, location=_location(exchange, name), range=_progress(upload), docker_upload_uuid=name)

    async def append(self, exchange: Exchange, name: str) -> Response:
        """PATCH: the next bytes, as a stream or as the chunk that Content-Range says."""
        upload = self._find(exchange, name)
        _require_next(exchange, upload)
        await self._write(exchange, upload)
        return _accepted(exchange, upload)

    async def finish(self, exchange: Exchange, name: str) -> Response:
        """PUT: the last bytes, if any, and the digest of all."""
        upload = self._find(exchange, name, "ecr:CompleteLayerUpload")
        digest = exchange.parameter("digest")
        _require_digest(digest or "")
        if exchange.request.body.length != 0:
            _require_next(exchange, upload)
            await self._write(exchange, upload)
        return await self._publish(exchange, upload, digest or "")

    async def cancel(self, exchange: Exchange, name: str) -> Response:
        """DELETE of an upload."""
        await self._discard(self._find(exchange, name))
        return empty(204)

    async def manifest(self, exchange: Exchange, reference: str) -> Response:
        """PUT of a manifest under a tag or its digest."""
        if not is_digest(reference) and not is_tag(reference):
            raise RegistryError(400, "DIGEST_INVALID" if ":" in reference else "TAG_INVALID",
                                f"'{reference[:200]}' is not a tag or a sha256 digest")
        with self._store.tx() as tx:
            exchange.repository(tx, "ecr:PutImage")
        body = await exchange.request.body.read(manifests.MANIFEST_BYTES_MAX)
        document = manifests.parse(body, exchange.header("content-type") or "")
        if is_digest(reference) and reference != document.digest:
            raise RegistryError(400, "DIGEST_INVALID", f"the manifest's digest is {document.digest}, not {reference}")
        with self._store.tx() as tx:
            repository = exchange.repository(tx, "ecr:PutImage")
            contents.put_image(tx, self._blobs, repository, document, None if is_digest(reference) else reference)
        await self._store.flush()
        subject = {"oci_subject": document.subject} if document.subject else {}
        return empty(201, location=f"/v2/{exchange.name}/manifests/{document.digest}",
                     docker_content_digest=document.digest, **subject)

    async def delete_manifest(self, exchange: Exchange, reference: str) -> Response:
        """DELETE by digest: the image and its tags. By tag: the tag, and the image stays."""
        with self._store.tx() as tx:
            repository = exchange.repository(tx, "ecr:BatchDeleteImage")
            known = is_digest(reference) or is_tag(reference)
            image = contents.find_image(tx, repository.key, reference) if known else None
            if image is None:
                raise RegistryError(404, "MANIFEST_UNKNOWN", "Requested image not found")
            if is_tag(reference):
                tx.delete(Tag, f"{repository.key}:{reference}")
                return empty(202)
            holding = contents.list_holding(tx, image)
            if holding is not None:
                raise RegistryError(403, "DENIED",
                                    f"Requested image referenced by manifest list: [{holding.digest}]")
            contents.delete_image(tx, image)
        return empty(202)

    async def delete_blob(self, exchange: Exchange, digest: str) -> Response:
        """DELETE of a blob that no image of the repository uses."""
        _require_digest(digest)
        with self._store.tx() as tx:
            repository = exchange.repository(tx, "ecr:BatchDeleteImage")
            layer = tx.get(Layer, f"{repository.key}@{digest}")
            if layer is None:
                raise RegistryError(404, "BLOB_UNKNOWN", f"The layer with digest '{digest}' does not exist in the "
                                                         f"repository with name '{repository.name}'")
            if tx.find(Image, blob=layer.key, limit=1):
                raise RegistryError(405, "UNSUPPORTED", "The layer is used by an image.", {"allow": "GET, HEAD"})
            contents.delete_layer(tx, layer)
        return empty(202)

    # ── Uploads ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _find(self, exchange: Exchange, name: str, action: str = "ecr:UploadLayerPart") -> files.Upload:
        with self._store.tx() as tx:
            repository = exchange.repository(tx, action)
            record = tx.get(Upload, name)
            upload = self._blobs.upload(name) if record and record.repository == repository.key else None
        if upload is None:
            raise RegistryError(404, "BLOB_UPLOAD_UNKNOWN", "The upload does not exist in this repository")
        return upload

    async def _write(self, exchange: Exchange, upload: files.Upload) -> None:
        """Appends the request's body. An upload for which there is no space leaves nothing behind."""
        before, expected = upload.offset, exchange.request.body.length
        try:
            after = await upload.write(exchange.request.body)
        except OSError:
            await self._discard(upload)
            raise
        if expected is not None and after - before != expected:
            raise RegistryError(400, "SIZE_INVALID", f"{expected} bytes were announced, {after - before} came")
        with self._store.tx() as tx:
            record = tx.get(Upload, upload.name)
            if record is not None:
                tx.put(Upload(record.key, record.repository, tx.now))

    async def _publish(self, exchange: Exchange, upload: files.Upload, digest: str) -> Response:
        with self._blobs.hold(digest):
            try:
                await upload.publish(digest)
            except DigestMismatch as mismatch:
                await self._discard(upload)
                raise RegistryError(400, "DIGEST_INVALID",
                                    f"the upload's digest is {mismatch.actual}, not {digest}") from None
            except OSError:
                await self._discard(upload)
                raise
            with self._store.tx() as tx:
                repository = exchange.repository(tx)  # it may have been deleted meanwhile
                contents.put_layer(tx, repository.key, digest, upload.offset)
                tx.delete(Upload, upload.name)
        await self._store.flush()
        return _created(exchange, digest)

    async def _discard(self, upload: files.Upload) -> None:
        await upload.discard()
        with self._store.tx() as tx:
            tx.delete(Upload, upload.name)


def _sources(tx: Tx, exchange: Exchange, digest: str) -> list[str]:
    """The names of the repositories from which a blob may be mounted: the one that the client says, or any that has it.
    """
    said = exchange.parameter("from")
    if said is not None:
        return [said] if is_repository_name(said) else []
    having = tx.find(Layer, f"{exchange.account}/{exchange.region}/", digest=digest, limit=MOUNT_SOURCES_MAX)
    return [layer.repository.split("/", 2)[2] for layer in having]


def _begun(tx: Tx, exchange: Exchange) -> Repository:
    """The repository to which a push begins; a creation template may make it now."""
    try:
        return exchange.repository(tx, "ecr:InitiateLayerUpload")
    except RepositoryNotFound:
        where = exchange.account, exchange.region, exchange.name, "CREATE_ON_PUSH"
        if matching(tx, *where) is None:
            raise
        exchange.permit(tx, "ecr:CreateRepository")
        return make_repository(tx, *where)


def _may_mount(tx: Tx, exchange: Exchange, source: str, digest: str) -> bool:
    try:
        repository = exchange.repository(tx, "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer",
                                         name=source)
    except (RegistryError, RepositoryNotFound):
        return False
    return tx.get(Layer, f"{repository.key}@{digest}") is not None


def _require_digest(digest: str) -> None:
    if not is_digest(digest):
        raise RegistryError(400, "DIGEST_INVALID", f"'{digest[:200]}' is not a sha256 digest")


def _require_next(exchange: Exchange, upload: files.Upload) -> None:
    """A chunk must begin where the last one ended, and be as long as it says."""
    header = exchange.header("content-range")
    if header is None:
        return
    match, length = _CONTENT_RANGE.fullmatch(header.strip()), exchange.request.body.length
    fits = match is not None and int(match[1]) == upload.offset and int(match[2]) >= int(match[1]) - 1
    if match is None or not fits or (length is not None and int(match[2]) - int(match[1]) + 1 != length):
        raise RegistryError(416, "BLOB_UPLOAD_INVALID", f"the next byte of this upload is {upload.offset}",
                            {"location": _location(exchange, upload.name), "range": _progress(upload),
                             "docker-upload-uuid": upload.name})


def _location(exchange: Exchange, name: str) -> str:
    """Relative to the host, so that it holds behind any proxy."""
    return f"/v2/{exchange.name}/blobs/uploads/{name}"


def _progress(upload: files.Upload) -> str:
    """The bytes that are here, first to last; "0-0" for none, as every registry says it."""
    return f"0-{max(0, upload.offset - 1)}"


def _accepted(exchange: Exchange, upload: files.Upload) -> Response:
    return empty(202, location=_location(exchange, upload.name), range=_progress(upload),
                 docker_upload_uuid=upload.name)


def _created(exchange: Exchange, digest: str) -> Response:
    return empty(201, location=f"/v2/{exchange.name}/blobs/{digest}", docker_content_digest=digest)
