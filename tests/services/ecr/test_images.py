"""The operations on images: identifiers, filters, failures in AWS's words."""

from typing import Any

import pytest

from cloudlet.services.ecr.manifests import DOCKER_IMAGE, OCI_IMAGE, OCI_INDEX
from cloudlet.services.ecr.service import ImageNotFoundException, InvalidParameter
from cloudlet.store.blobs import digest_of
from tests.services.desk import ACCOUNT
from tests.services.ecr.counter import Counter

NONE = digest_of(b"none")


def tagged_twice(counter: Counter) -> str:
    digest = counter.push("v1")
    counter.put_manifest("v2", counter.ask("GET", "/v2/app/manifests/v1").body, DOCKER_IMAGE)
    return digest


def test_describe_images(counter: Counter) -> None:
    digest = tagged_twice(counter)
    untagged = counter.push("v3", media_type=OCI_IMAGE)
    counter.push("v3")
    details = {detail["imageDigest"]: detail for detail in counter.images()}
    assert details[digest]["imageTags"] == ["v1", "v2"]
    assert details[digest] | {"imageTags": [], "lastRecordedPullTime": 0} == {
        "registryId": ACCOUNT, "repositoryName": "app", "imageDigest": digest, "imageTags": [],
        "imageSizeInBytes": 1040, "imagePushedAt": counter.desk.clock.time, "imageManifestMediaType": DOCKER_IMAGE,
        "artifactMediaType": "application/vnd.docker.container.image.v1+json", "imageStatus": "ACTIVE",
        "lastRecordedPullTime": 0}
    assert "imageTags" not in details[untagged]
    assert details[untagged]["artifactMediaType"] == "application/vnd.oci.image.config.v1+json"


@pytest.mark.parametrize(("wanted", "tags"), [
    ({}, [None, "v1"]), ({"tagStatus": "ANY"}, [None, "v1"]), ({"tagStatus": "TAGGED"}, ["v1"]),
    ({"tagStatus": "UNTAGGED"}, [None]), ({"imageStatus": "ACTIVE"}, [None, "v1"]), ({"imageStatus": "ARCHIVED"}, [])])
def test_filters(counter: Counter, wanted: dict[str, str], tags: list[str | None]) -> None:
    counter.push("v1")
    counter.push("v1")
    listed = counter("ListImages", repositoryName="app", filter=wanted)["imageIds"]
    assert sorted(str(image_id.get("imageTag")) for image_id in listed) == [str(tag) for tag in tags]
    details = counter("DescribeImages", repositoryName="app", filter=wanted)["imageDetails"]
    assert sorted(str(detail.get("imageTags", [None])[0]) for detail in details) == [str(tag) for tag in tags]


def test_list_images_names_every_tag(counter: Counter) -> None:
    digest = tagged_twice(counter)
    assert counter("ListImages", repositoryName="app")["imageIds"] == [
        {"imageDigest": digest, "imageTag": "v1"}, {"imageDigest": digest, "imageTag": "v2"}]


def test_describe_those_named(counter: Counter) -> None:
    digest = tagged_twice(counter)
    found = counter("DescribeImages", repositoryName="app", imageIds=[{"imageTag": "v1"}, {"imageDigest": digest}])
    assert [detail["imageDigest"] for detail in found["imageDetails"]] == [digest]
    for image_id, shown in (({"imageTag": "no"}, "imageDigest:'null', imageTag:'no'"),
                            ({"imageDigest": NONE}, f"imageDigest:'{NONE}', imageTag:'null'"),
                            ({"imageDigest": NONE, "imageTag": "v1"}, f"imageDigest:'{NONE}', imageTag:'v1'")):
        with pytest.raises(ImageNotFoundException) as refused:
            counter("DescribeImages", repositoryName="app", imageIds=[image_id])
        assert refused.value.message == (f"The image with imageId {{{shown}}} does not exist within the repository "
                                         f"with name 'app' in the registry with id '{ACCOUNT}'")
    with pytest.raises(InvalidParameter):
        counter("DescribeImages", repositoryName="app", imageIds=[{}])
    with pytest.raises(InvalidParameter):
        counter("DescribeImages", repositoryName="app", imageIds=[{"imageTag": "v1"}], maxResults=5)


FAILURES: list[tuple[dict[str, str], str, str]] = [
    ({"imageTag": "no"}, "ImageNotFound", "Requested image not found"),
    ({"imageDigest": NONE}, "ImageNotFound", "Requested image not found"),
    ({"imageDigest": "sha512:00"}, "ImageNotFound", "Requested image not found"),
    ({}, "MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"),
    ({"imageDigest": "../x"}, "InvalidImageDigest", "Invalid request parameters: image digest should satisfy the "
     "regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"),
    ({"imageTag": "../x"}, "InvalidImageTag", "Invalid request parameters: image tag should satisfy the regex "
     "'[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'"),
    ({"imageTag": "v1", "imageDigest": NONE}, "ImageTagDoesNotMatchDigest",
     "Requested image tag does not match the requested image digest")]


@pytest.mark.parametrize("operation", ["BatchGetImage", "BatchDeleteImage"])
@pytest.mark.parametrize(("image_id", "code", "reason"), FAILURES)
def test_failures_of_a_batch(counter: Counter, operation: str, image_id: dict[str, str], code: str,
                             reason: str) -> None:
    digest = counter.push("v1")
    answer = counter(operation, repositoryName="app", imageIds=[image_id, {"imageDigest": digest}])
    assert answer["failures"] == [{"imageId": image_id, "failureCode": code, "failureReason": reason}]
    (served,) = answer.get("images") or answer["imageIds"]
    assert (served.get("imageId") or served)["imageDigest"] == digest


def test_batch_get_image_counts_as_a_pull(counter: Counter) -> None:
    first, other = counter.push("v1"), counter.push("v2")
    counter("BatchGetImage", repositoryName="app", imageIds=[{"imageTag": "v1"}, {"imageTag": "none"}])
    pulled = {image["imageDigest"]: image.get("lastRecordedPullTime") for image in counter.images()}
    assert pulled == {first: counter.desk.clock.time, other: None}


def test_batch_get_image(counter: Counter) -> None:
    digest = counter.push("v1")
    body = counter.ask("GET", "/v2/app/manifests/v1").body.decode()
    image: dict[str, Any] = {"registryId": ACCOUNT, "repositoryName": "app", "imageManifest": body,
                             "imageManifestMediaType": DOCKER_IMAGE}
    answer = counter("BatchGetImage", repositoryName="app", imageIds=[{"imageTag": "v1"}, {"imageDigest": digest}],
                     acceptedMediaTypes=[DOCKER_IMAGE])
    assert answer == {"images": [{**image, "imageId": {"imageDigest": digest, "imageTag": "v1"}},
                                 {**image, "imageId": {"imageDigest": digest}}], "failures": []}
    (failure,) = counter("BatchGetImage", repositoryName="app", imageIds=[{"imageTag": "v1"}],
                         acceptedMediaTypes=[OCI_INDEX])["failures"]
    assert failure["failureCode"] == "ImageNotFound"


def test_deleting_by_tag_takes_the_image_with_its_last(counter: Counter) -> None:
    digest = tagged_twice(counter)
    for tag, left in (("v1", ["v2"]), ("v2", None)):
        answer = counter("BatchDeleteImage", repositoryName="app", imageIds=[{"imageTag": tag}])
        assert answer == {"imageIds": [{"imageDigest": digest, "imageTag": tag}], "failures": []}
        assert [detail["imageTags"] for detail in counter.images()] == ([left] if left else [])


def test_deleting_by_digest_takes_all_tags(counter: Counter) -> None:
    digest = tagged_twice(counter)
    answer = counter("BatchDeleteImage", repositoryName="app", imageIds=[{"imageDigest": digest}])
    assert answer["imageIds"] == [{"imageDigest": digest, "imageTag": "v1"}, {"imageDigest": digest, "imageTag": "v2"}]
    assert counter.images() == []
    assert counter.ask("GET", "/v2/app/manifests/v1").status == 404


def test_an_image_of_a_list_stays(counter: Counter) -> None:
    digest = counter.push("v1")
    whole = counter.push_list("all", digest)
    for image_id in ({"imageDigest": digest}, {"imageTag": "v1"}):
        (failure,) = counter("BatchDeleteImage", repositoryName="app", imageIds=[image_id])["failures"]
        assert failure["failureCode"] == "ImageReferencedByManifestList"
        assert failure["failureReason"] == f"Requested image referenced by manifest list: [{whole}]"
    answer = counter("BatchDeleteImage", repositoryName="app", imageIds=[{"imageDigest": whole},
                                                                         {"imageDigest": digest}])
    assert (len(answer["imageIds"]), answer["failures"]) == (2, [])
