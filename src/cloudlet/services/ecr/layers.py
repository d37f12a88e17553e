"""The operations by which layers are asked for, uploaded in parts and downloaded: `/v2/` for who speaks AWS only.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html
"""

import errno
import re
from typing import Any

from cloudlet.kernel.call import Call, Principal
from cloudlet.services.ecr import contents
from cloudlet.services.ecr.contents import require_repository
from cloudlet.services.ecr.hosts import registry_host
from cloudlet.services.ecr.records import Image, Layer, Repository, Upload
from cloudlet.services.ecr.service import (
    EmptyUpload,
    InvalidLayer,
    InvalidLayerPart,
    LayerAlreadyExists,
    LayerInaccessible,
    LayerPartTooSmall,
    LayersNotFound,
    UploadNotFound,
    ecr,
    is_digest,
    refused,
    registry_of,
    repository_arns,
)
from cloudlet.services.ecr.tokens import Grant, issue
from cloudlet.store import blobs as files
from cloudlet.store.blobs import DigestMismatch, UploadBusy
from cloudlet.store.db import OutOfSpace, Store, Tx

PART_BYTES, PART_BYTES_MIN = 20 << 20, 5 << 20
DOWNLOAD_S = 3600.0  # how long a download's URL is good
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ANY_DIGEST = re.compile(r"[a-zA-Z0-9_+.-]+:[a-fA-F0-9]+")


@ecr.write(resources=repository_arns)
def batch_check_layer_availability(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Which layers the repository has. Those stay for a while, since the client will not upload them."""
    repository = _repository(call, tx, request)
    layers, failures = [], []
    for digest in request["layerDigests"]:
        if not _ANY_DIGEST.fullmatch(digest):
            missing = not digest
            failures.append({"layerDigest": digest,
                             "failureCode": "MissingLayerDigest" if missing else "InvalidLayerDigest",
                             "failureReason": "Invalid request parameters: layer digest "
                             + ("cannot be null" if missing else
                                "should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")})
            continue
        layer = tx.get(Layer, f"{repository.key}@{digest}")
        if layer is None:
            layers.append({"layerDigest": digest, "layerAvailability": "UNAVAILABLE"})
        else:
            contents.touch_layer(tx, layer)
            layers.append({"layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": layer.size})
    return {"layers": layers, "failures": failures}


@ecr.write(resources=repository_arns)
def get_download_url_for_layer(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A URL that downloads one layer, of this registry, for an hour and for whoever has it."""
    repository, digest = _repository(call, tx, request), request["layerDigest"]
    layer = tx.get(Layer, f"{repository.key}@{digest}")
    if layer is None:
        raise LayersNotFound(f"The layer with digest '{digest}' does not exist in the repository with name "
                             f"'{repository.name}' in the registry with id '{repository.account}'")
    if not tx.find(Image, blob=layer.key, limit=1):
        raise LayerInaccessible(f"Layer '{digest}' is not available: it is not associated with an image")
    owner = Principal("service", repository.account, "ecr.amazonaws.com", "ecr.amazonaws.com")
    token = issue(tx, Grant(owner, repository.region, tx.now + DOWNLOAD_S, repository.key, layer=digest))
    scheme, host = call.endpoint.partition("://")[0], registry_host(call.endpoint, repository.account, call.region)
    return {"layerDigest": digest,
            "downloadUrl": f"{scheme}://{host}/v2/{repository.name}/blobs/{digest}?layer-token={token}"}


@ecr.wait(resources=repository_arns)
async def initiate_layer_upload(call: Call, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """Begins an upload."""
    with store.tx() as tx:
        name = contents.begin_upload(tx, _repository(call, tx, request).key)
    await store.blobs["ecr"].begin(name)
    return {"uploadId": name, "partSize": PART_BYTES}


@ecr.wait(resources=repository_arns)
async def upload_layer_part(call: Call, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """The next bytes of an upload, which must begin where the last part ended."""
    part, first, last = request["layerPartBlob"], request["partFirstByte"], request["partLastByte"]
    with store.tx() as tx:
        repository, upload, _ = _find(call, tx, store, request)
    if first != upload.offset or last - first + 1 != len(part) or not part:
        raise _invalid_part(repository, upload, f"Part with bytes {first} to {last} and a length of {len(part)} is not "
                                                f"the one that begins at byte {upload.offset}")
    try:
        await upload.write(_once(part))
    except UploadBusy:
        raise _invalid_part(repository, upload, "Another part is being uploaded") from None
    except OSError as error:
        await _discard(store, upload)
        raise _disk(error) from error
    with store.tx() as tx:
        record = tx.get(Upload, upload.name)
        if record is not None:  # a part below the minimum must be the last: AWS says so when the upload is completed
            tx.put(Upload(record.key, record.repository, tx.now, len(part) < PART_BYTES_MIN, record.ends_short
                          or record.too_small))
    return {**_named(repository), "uploadId": upload.name, "lastByteReceived": upload.offset - 1}


@ecr.wait(resources=repository_arns)
async def complete_layer_upload(call: Call, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """Makes an upload a layer of the repository, if it has the digest. It survives a power cut when this answers."""
    digest, *others = request["layerDigests"]
    if others or not is_digest(digest):
        raise refused("layerDigests", "there must be one sha256 digest")
    with store.tx() as tx:
        repository, upload, record = _find(call, tx, store, request)
        if tx.get(Layer, f"{repository.key}@{digest}") is not None:
            raise LayerAlreadyExists(f"Layer with digest '{digest}' already exists in the repository with name "
                                     f"'{repository.name}' in the registry with id '{repository.account}'")
    if not upload.offset:
        raise EmptyUpload(f"Layer upload with id '{upload.name}' does not contain any layer parts")
    if record.too_small:
        raise LayerPartTooSmall(f"Layer parts must be at least {PART_BYTES_MIN >> 20} MiB in size, but for the last")
    with store.blobs["ecr"].hold(digest):
        try:
            await upload.publish(digest)
        except UploadBusy:
            raise _invalid_part(repository, upload, "A part is still being uploaded") from None
        except DigestMismatch as mismatch:
            await _discard(store, upload)
            raise InvalidLayer(f"Layer digest '{digest}' does not match the digest '{mismatch.actual}' of what was "
                               "uploaded") from None
        except OSError as error:
            await _discard(store, upload)
            raise _disk(error) from error
        with store.tx() as tx:
            _repository(call, tx, request)  # it may have been deleted meanwhile
            contents.put_layer(tx, repository.key, digest, upload.offset)
            tx.delete(Upload, upload.name)
    await store.flush()
    return {**_named(repository), "uploadId": upload.name, "layerDigest": digest}


def _repository(call: Call, tx: Tx, request: dict[str, Any]) -> Repository:
    return require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])


def _named(repository: Repository) -> dict[str, Any]:
    return {"registryId": repository.account, "repositoryName": repository.name}


def _find(call: Call, tx: Tx, store: Store, request: dict[str, Any]) -> tuple[Repository, files.Upload, Upload]:
    repository, name = _repository(call, tx, request), request["uploadId"]
    record = tx.get(Upload, name)
    upload = store.blobs["ecr"].upload(name) if record is not None and record.repository == repository.key else None
    if upload is None or record is None:
        raise UploadNotFound(f"Layer upload with id '{name}' does not exist in the repository with name "
                             f"'{repository.name}' in the registry with id '{repository.account}'")
    return repository, upload, record


def _invalid_part(repository: Repository, upload: files.Upload, message: str) -> Exception:
    return InvalidLayerPart(message, **_named(repository), uploadId=upload.name,
                            lastValidByteReceived=max(0, upload.offset - 1))


async def _once(data: bytes) -> Any:
    yield data


async def _discard(store: Store, upload: files.Upload) -> None:
    await upload.discard()
    with store.tx() as tx:
        tx.delete(Upload, upload.name)


def _disk(error: OSError) -> Exception:
    return OutOfSpace() if error.errno in FULL else error
