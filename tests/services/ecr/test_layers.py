"""Layers and images by the API alone: parts, their sizes, digests, and URLs that download."""

import os
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ecr.layers import DOWNLOAD_S, PART_BYTES, PART_BYTES_MIN
from cloudlet.services.ecr.manifests import DOCKER_IMAGE, OCI_INDEX
from cloudlet.services.ecr.records import Upload
from cloudlet.services.ecr.service import (
    EmptyUpload,
    ImageAlreadyExists,
    ImageDigestDoesNotMatch,
    ImageTagAlreadyExists,
    InvalidLayer,
    InvalidLayerPart,
    InvalidParameter,
    LayerAlreadyExists,
    LayerInaccessible,
    LayerPartTooSmall,
    LayersNotFound,
    ReferencedImagesNotFound,
    RepositoryNotFound,
    UploadNotFound,
)
from cloudlet.store.blobs import digest_of
from tests.services.desk import ACCOUNT, root
from tests.services.ecr.counter import Counter, image, index

LARGE = os.urandom(PART_BYTES_MIN)
APP: dict[str, Any] = {"repositoryName": "app"}


def begin(counter: Counter) -> dict[str, Any]:
    answer = counter.wait("InitiateLayerUpload", **APP)
    assert answer["partSize"] == PART_BYTES
    return {**APP, "uploadId": answer["uploadId"]}


def part(counter: Counter, upload: dict[str, Any], data: bytes, first: int = 0, **changed: Any) -> Any:
    return counter.wait("UploadLayerPart", **{**upload, "partFirstByte": first, "partLastByte": first + len(data) - 1,
                                              "layerPartBlob": data, **changed})


def upload_layer(counter: Counter, data: bytes) -> str:
    upload, digest = begin(counter), digest_of(data)
    part(counter, upload, data)
    answer = counter.wait("CompleteLayerUpload", **upload, layerDigests=[digest])
    assert answer == {"registryId": ACCOUNT, **upload, "layerDigest": digest}
    return digest


def put(counter: Counter, manifest: bytes, **request: Any) -> Any:
    return counter.wait("PutImage", **APP, imageManifest=manifest.decode(), **request)


def test_an_image_is_made_of_parts_and_pulled_by_both_doors(counter: Counter) -> None:
    layer, config = LARGE + b"the end", b"{}"
    upload, digest = begin(counter), digest_of(layer)
    first = part(counter, upload, LARGE)
    assert first == {"registryId": ACCOUNT, **upload, "lastByteReceived": len(LARGE) - 1}
    counter.restart()
    assert part(counter, upload, b"the end", len(LARGE))["lastByteReceived"] == len(layer) - 1
    assert counter.wait("CompleteLayerUpload", **upload, layerDigests=[digest])["layerDigest"] == digest
    upload_layer(counter, config)
    manifest = image(DOCKER_IMAGE, config, layer)
    made = put(counter, manifest, imageTag="v1", imageDigest=digest_of(manifest))["image"]
    assert made == {"registryId": ACCOUNT, **APP, "imageId": {"imageDigest": digest_of(manifest), "imageTag": "v1"},
                    "imageManifest": manifest.decode(), "imageManifestMediaType": DOCKER_IMAGE}
    assert counter("BatchGetImage", **APP, imageIds=[{"imageTag": "v1"}])["images"] == [made]
    assert counter.ask("GET", "/v2/app/manifests/v1").body == manifest
    assert counter.ask("GET", f"/v2/app/blobs/{digest}").body == layer
    counter.restart()
    assert counter.ask("GET", f"/v2/app/blobs/{digest}").body == layer


def test_which_layers_are_there(counter: Counter) -> None:
    digest, other = counter.push_blob(b"layer"), digest_of(b"other")
    answer = counter("BatchCheckLayerAvailability", **APP, layerDigests=[digest, other, "", "sha256:?"])
    assert answer["layers"] == [
        {"layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": 5},
        {"layerDigest": other, "layerAvailability": "UNAVAILABLE"}]
    assert [(one["layerDigest"], one["failureCode"]) for one in answer["failures"]] == [
        ("", "MissingLayerDigest"), ("sha256:?", "InvalidLayerDigest")]
    counter("CreateRepository", repositoryName="other")
    elsewhere = counter("BatchCheckLayerAvailability", repositoryName="other", layerDigests=[digest])
    assert elsewhere["layers"][0]["layerAvailability"] == "UNAVAILABLE"


@pytest.mark.parametrize("changed", [
    {"partFirstByte": 1}, {"partLastByte": 3}, {"partLastByte": 5}, {"layerPartBlob": b"", "partLastByte": 0}])
def test_a_part_that_does_not_follow_is_refused(counter: Counter, changed: dict[str, Any]) -> None:
    upload = begin(counter)
    with pytest.raises(InvalidLayerPart):
        part(counter, upload, b"12345", **changed)
    part(counter, upload, b"12345")
    with pytest.raises(InvalidLayerPart) as refused:
        part(counter, upload, b"12345")  # once more
    assert refused.value.members == {"registryId": ACCOUNT, **upload, "lastValidByteReceived": 4}
    done = counter.wait("CompleteLayerUpload", **upload, layerDigests=[digest_of(b"12345")])
    assert done["layerDigest"] == digest_of(b"12345")


def test_only_the_last_part_may_be_small(counter: Counter) -> None:
    upload = begin(counter)
    part(counter, upload, b"small")
    part(counter, upload, LARGE, 5)
    with pytest.raises(LayerPartTooSmall):
        counter.wait("CompleteLayerUpload", **upload, layerDigests=[digest_of(b"small" + LARGE)])


def test_uploads_that_cannot_be_completed(counter: Counter) -> None:
    upload, digest = begin(counter), digest_of(b"12345")
    with pytest.raises(EmptyUpload):
        counter.wait("CompleteLayerUpload", **upload, layerDigests=[digest])
    for digests in ([digest, digest_of(b"6")], ["sha512:" + "0" * 128]):
        with pytest.raises(InvalidParameter):
            counter.wait("CompleteLayerUpload", **upload, layerDigests=digests)
    part(counter, upload, b"12345")
    counter("CreateRepository", repositoryName="other")
    with pytest.raises(UploadNotFound):
        part(counter, {**upload, "repositoryName": "other"}, b"6", 5)
    with pytest.raises(InvalidLayer):
        counter.wait("CompleteLayerUpload", **upload, layerDigests=[digest_of(b"6")])
    with pytest.raises(UploadNotFound):
        counter.wait("CompleteLayerUpload", **upload, layerDigests=[digest])
    with counter.desk.store.tx() as tx:
        assert tx.find(Upload) == []
    upload_layer(counter, b"12345")
    with pytest.raises(LayerAlreadyExists):
        upload_layer(counter, b"12345")
    for operation in ("InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload"):
        with pytest.raises(RepositoryNotFound):
            counter.wait(operation, repositoryName="gone", uploadId="x", layerDigests=[digest], partFirstByte=0,
                         partLastByte=0, layerPartBlob=b"x")


def refusal(counter: Counter, manifest: bytes, **request: Any) -> type[AwsError]:
    with pytest.raises(AwsError) as refused:
        put(counter, manifest, **request)
    return refused.type


def test_images_that_are_not_put(counter: Counter) -> None:
    layer, config = b"layer", b"{}"
    manifest = image(DOCKER_IMAGE, config, layer)
    assert refusal(counter, manifest) is LayersNotFound
    for blob in (layer, config):
        counter.push_blob(blob)
    assert refusal(counter, b"{") is InvalidParameter
    assert refusal(counter, manifest, imageManifestMediaType=OCI_INDEX) is InvalidParameter
    assert refusal(counter, manifest, imageTag="-") is InvalidParameter
    assert refusal(counter, manifest, imageDigest=digest_of(b"x")) is ImageDigestDoesNotMatch
    assert refusal(counter, index(digest_of(b"x"))) is ReferencedImagesNotFound
    assert counter.images() == []
    put(counter, manifest)
    assert refusal(counter, manifest) is ImageAlreadyExists
    put(counter, manifest, imageTag="v1")
    assert refusal(counter, manifest, imageTag="v1") is ImageAlreadyExists
    put(counter, manifest, imageTag="v2")
    counter("PutImageTagMutability", **APP, imageTagMutability="IMMUTABLE")
    assert refusal(counter, image(DOCKER_IMAGE, config), imageTag="v1") is ImageTagAlreadyExists
    assert [one["imageTags"] for one in counter.images()] == [["v1", "v2"]]
    with pytest.raises(RepositoryNotFound):
        counter.wait("PutImage", repositoryName="gone", imageManifest=manifest.decode())


def test_a_url_downloads_one_layer_for_an_hour(counter: Counter) -> None:
    layer = counter.push_blob(b"not in an image")
    with pytest.raises(LayerInaccessible):
        counter("GetDownloadUrlForLayer", **APP, layerDigest=layer)
    with pytest.raises(LayersNotFound):
        counter("GetDownloadUrlForLayer", **APP, layerDigest=digest_of(b"gone"))
    digest = counter.push("v1", layer=b"in an image")
    answer = counter("GetDownloadUrlForLayer", **APP, layerDigest=digest_of(b"in an image"))
    url = answer["downloadUrl"]
    assert answer["layerDigest"] == digest_of(b"in an image")
    host = url.split("/")[2]
    got = counter.ask("GET", url, password="", host=host)
    assert (got.status, got.body) == (200, b"in an image")
    assert counter.ask("GET", url, password="", host=host, range="bytes=3-4").body == b"an"
    query = url.partition("?")[2]
    for method, path in (("GET", f"/v2/app/blobs/{layer}"), ("GET", "/v2/app/manifests/v1"),
                         ("GET", f"/v2/app/manifests/{digest}"), ("DELETE", f"/v2/app/manifests/{digest}"),
                         ("POST", "/v2/app/blobs/uploads/"), ("GET", "/v2/app/tags/list")):
        assert counter.ask(method, f"{path}?{query}", password="", host=host).status in (403, 405), (method, path)
    assert counter.ask("GET", url[:-1] + ("0" if url[-1] != "0" else "1"), password="", host=host).status == 401
    login = f"/v2/app/blobs/{digest_of(b'in an image')}?layer-token={counter.login(root())}"
    assert counter.ask("GET", login, password="", host=host).status == 401
    counter.desk.clock.time += DOWNLOAD_S
    assert counter.ask("GET", url, password="", host=host).status == 401
