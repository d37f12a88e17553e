"""ECR through boto3, over the wire."""

import base64
import hashlib
import json
import os
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.images import Registry
from tests.running import Cloudlet

DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = b"a layer" * 5000


@pytest.fixture(scope="module")
def ecr(cloudlet: Cloudlet) -> Any:
    return cloudlet.client("ecr")


def registry(cloudlet: Cloudlet, client: Any) -> Registry:
    token = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    assert user == "AWS"
    return Registry(cloudlet.url, password)


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_a_repository_from_beginning_to_end(ecr: Any) -> None:
    made = ecr.create_repository(repositoryName="life", tags=[{"Key": "team", "Value": "blue"}])["repository"]
    assert abs(made["createdAt"] - datetime.now(UTC)) < timedelta(minutes=1)
    assert ecr.describe_repositories(repositoryNames=["life"])["repositories"] == [made]
    ecr.tag_resource(resourceArn=made["repositoryArn"], tags=[{"Key": "cost", "Value": "1"}])
    ecr.untag_resource(resourceArn=made["repositoryArn"], tagKeys=["team"])
    assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == [{"Key": "cost", "Value": "1"}]
    with pytest.raises(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(repositoryName="life")
    assert ecr.delete_repository(repositoryName="life")["repository"] == made
    with pytest.raises(ecr.exceptions.RepositoryNotFoundException) as gone:
        ecr.describe_repositories(repositoryNames=["life"])
    assert gone.value.response["Error"]["Message"] == (
        "The repository with name 'life' does not exist in the registry with id '000000000000'")


def test_images_from_push_to_delete(cloudlet: Cloudlet, ecr: Any) -> None:
    ecr.create_repository(repositoryName="images")
    client = registry(cloudlet, ecr)
    digests = {client.push("images", f"v{number}", [LAYER, b"%d" % number], ["/bin/true"]) for number in range(5)}
    pages = ecr.get_paginator("list_images").paginate(repositoryName="images", PaginationConfig={"PageSize": 2})
    listed = [image_id for page in pages for image_id in page["imageIds"]]
    assert {image_id["imageDigest"] for image_id in listed} == digests
    assert sorted(image_id["imageTag"] for image_id in listed) == [f"v{number}" for number in range(5)]
    pages = ecr.get_paginator("describe_images").paginate(repositoryName="images", PaginationConfig={"PageSize": 2})
    details = [detail for page in pages for detail in page["imageDetails"]]
    assert {detail["imageDigest"] for detail in details} == digests
    assert all(detail["imagePushedAt"].tzinfo and detail["imageSizeInBytes"] > 100 for detail in details)
    (image,) = ecr.batch_get_image(repositoryName="images", imageIds=[{"imageTag": "v3"}])["images"]
    assert json.loads(image["imageManifest"])["schemaVersion"] == 2
    with pytest.raises(ecr.exceptions.ImageNotFoundException):
        ecr.describe_images(repositoryName="images", imageIds=[{"imageTag": "no"}])
    with pytest.raises(ecr.exceptions.RepositoryNotEmptyException):
        ecr.delete_repository(repositoryName="images")
    answer = ecr.batch_delete_image(repositoryName="images", imageIds=[{"imageTag": "v3"}, {"imageTag": "no"}])
    assert [image_id["imageTag"] for image_id in answer["imageIds"]] == ["v3"]
    assert answer["failures"][0]["failureCode"] == "ImageNotFound"
    ecr.delete_repository(repositoryName="images", force=True)


def test_many_repositories_page_by_page(ecr: Any) -> None:
    for number in range(7):
        ecr.create_repository(repositoryName=f"page/{number}")
    pages = ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 3})
    names = [one["repositoryName"] for page in pages for one in page["repositories"]]
    assert [name for name in names if name.startswith("page/")] == [f"page/{number}" for number in range(7)]
    assert ecr.describe_registry()["registryId"] == "000000000000"


def test_the_token_and_who_may_use_it(cloudlet: Cloudlet, ecr: Any) -> None:
    ecr.create_repository(repositoryName="guarded")
    registry(cloudlet, ecr).push("guarded", "v1", [LAYER], ["/bin/true"])
    (data,) = ecr.get_authorization_token()["authorizationData"]
    left = data["expiresAt"] - datetime.now(UTC)
    assert timedelta(hours=11, minutes=59) < left <= timedelta(hours=12, milliseconds=1)  # it is told in milliseconds
    assert data["proxyEndpoint"].startswith("http://")
    iam = cloudlet.client("iam")
    iam.create_user(UserName="puller")
    key = iam.create_access_key(UserName="puller")["AccessKey"]
    theirs = cloudlet.client("ecr", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    with pytest.raises(ClientError) as refused:
        theirs.get_authorization_token()
    assert code_of(refused) == (400, "AccessDeniedException")

    def allow(*actions: str) -> None:
        iam.put_user_policy(UserName="puller", PolicyName="p", PolicyDocument=json.dumps({
            "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}))
    allow("ecr:GetAuthorizationToken", "ecr:BatchGetImage")
    client = registry(cloudlet, theirs)
    assert client.call("GET", "/v2/guarded/manifests/v1").status == 200
    with pytest.raises(urllib.error.HTTPError) as denied:
        client.push("guarded", "v2", [LAYER], ["/bin/true"])
    assert denied.value.code == 403
    denied.value.close()
    allow("ecr:GetAuthorizationToken")  # and the token that was good a moment ago is not any more
    with pytest.raises(urllib.error.HTTPError) as denied:
        client.call("GET", "/v2/guarded/manifests/v1")
    assert denied.value.code == 403
    assert b"is not authorized to perform: ecr:BatchGetImage" in denied.value.read()
    denied.value.close()
    stranger = cloudlet.client("ecr", key="111111111111")
    with pytest.raises(urllib.error.HTTPError) as unknown:
        registry(cloudlet, stranger).call("GET", "/v2/guarded/manifests/v1")
    assert unknown.value.code == 404
    unknown.value.close()
    with pytest.raises(ClientError) as refused:
        stranger.describe_images(registryId="000000000000", repositoryName="guarded")
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"


def test_what_is_not_there_yet_says_so(ecr: Any) -> None:
    ecr.create_repository(repositoryName="scanned", imageScanningConfiguration={"scanOnPush": True})
    with pytest.raises(ClientError) as later:
        ecr.get_signing_configuration()
    assert later.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_an_image_by_the_api_alone_and_a_url_that_downloads(ecr: Any) -> None:
    ecr.create_repository(repositoryName="parts")
    layer = os.urandom(6 << 20)
    blobs = {"layers": layer, "config": b"{}"}
    manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": DOCKER_IMAGE}
    for member, data in blobs.items():
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        started = ecr.initiate_layer_upload(repositoryName="parts")
        for first in range(0, len(data), 5 << 20):
            part = data[first:first + (5 << 20)]
            ecr.upload_layer_part(repositoryName="parts", uploadId=started["uploadId"], partFirstByte=first,
                                  partLastByte=first + len(part) - 1, layerPartBlob=part)
        ecr.complete_layer_upload(repositoryName="parts", uploadId=started["uploadId"], layerDigests=[digest])
        found = {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}
        manifest[member] = [found] if member == "layers" else found
    put = ecr.put_image(repositoryName="parts", imageManifest=json.dumps(manifest), imageTag="v1")["image"]
    with pytest.raises(ecr.exceptions.ImageAlreadyExistsException):
        ecr.put_image(repositoryName="parts", imageManifest=json.dumps(manifest), imageTag="v1")
    started = ecr.initiate_layer_upload(repositoryName="parts")
    with pytest.raises(ecr.exceptions.InvalidLayerPartException) as wrong:
        ecr.upload_layer_part(repositoryName="parts", uploadId=started["uploadId"], partFirstByte=7, partLastByte=7,
                              layerPartBlob=b"x")
    assert wrong.value.response["uploadId"] == started["uploadId"]
    (shown,) = ecr.describe_images(repositoryName="parts")["imageDetails"]
    assert shown["imageDigest"] == put["imageId"]["imageDigest"]
    url = ecr.get_download_url_for_layer(repositoryName="parts", layerDigest=manifest["layers"][0]["digest"])
    with urllib.request.urlopen(url["downloadUrl"]) as download:
        assert download.read() == layer


def test_a_policy_opens_a_repository_to_another_account(cloudlet: Cloudlet, ecr: Any) -> None:
    ecr.create_repository(repositoryName="shared")
    registry(cloudlet, ecr).push("shared", "v1", [LAYER], ["/bin/true"])
    stranger = cloudlet.client("ecr", key="222222222222")
    wanted = {"registryId": "000000000000", "repositoryName": "shared"}
    with pytest.raises(ClientError) as refused:
        stranger.batch_get_image(**wanted, imageIds=[{"imageTag": "v1"}])
    assert code_of(refused) == (400, "AccessDeniedException")
    ecr.set_repository_policy(repositoryName="shared", policyText=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "222222222222"},
                                                "Action": ["ecr:BatchGetImage"]}]}))
    assert len(stranger.batch_get_image(**wanted, imageIds=[{"imageTag": "v1"}])["images"]) == 1
    with pytest.raises(ClientError):
        stranger.describe_images(**wanted)
    ecr.delete_repository_policy(repositoryName="shared")
    with pytest.raises(ClientError):
        stranger.batch_get_image(**wanted, imageIds=[{"imageTag": "v1"}])


def test_a_role_that_lost_its_permission_a_second_ago_gets_nothing(cloudlet: Cloudlet, ecr: Any) -> None:
    iam, sts = cloudlet.client("iam"), cloudlet.client("sts")
    ecr.create_repository(repositoryName="held")
    registry(cloudlet, ecr).push("held", "v1", [LAYER], ["/bin/true"])
    role = iam.create_role(RoleName="pusher", AssumeRolePolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                                                "Principal": {"AWS": "000000000000"}}]}))["Role"]
    iam.put_role_policy(RoleName="pusher", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]}))
    key = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
    theirs = cloudlet.client("ecr", key=key["AccessKeyId"], secret=key["SecretAccessKey"], token=key["SessionToken"])
    upload = theirs.initiate_layer_upload(repositoryName="held")["uploadId"]
    client = registry(cloudlet, theirs)
    assert client.call("GET", "/v2/held/manifests/v1").status == 200
    digest = "sha256:" + "0" * 64
    part = {"uploadId": upload, "partFirstByte": 0, "partLastByte": 0, "layerPartBlob": b"x"}
    manifest = theirs.batch_get_image(repositoryName="held", imageIds=[{"imageTag": "v1"}])["images"][0]
    attempts: dict[str, dict[str, Any]] = {
        "describe_images": {}, "list_images": {}, "batch_get_image": {"imageIds": [{"imageTag": "v1"}]},
        "put_image": {"imageManifest": manifest["imageManifest"], "imageTag": "v2"}, "initiate_layer_upload": {},
        "upload_layer_part": part, "complete_layer_upload": {"uploadId": upload, "layerDigests": [digest]},
        "batch_delete_image": {"imageIds": [{"imageTag": "v1"}]}, "delete_repository": {"force": True},
        "get_lifecycle_policy": {}, "set_repository_policy": {"policyText": "{}"},
        "get_download_url_for_layer": {"layerDigest": digest}}
    iam.delete_role_policy(RoleName="pusher", PolicyName="p")
    for operation, request in attempts.items():
        with pytest.raises(ClientError) as refused:
            getattr(theirs, operation)(repositoryName="held", **request)
        assert code_of(refused) == (400, "AccessDeniedException"), operation
    for who in (theirs, cloudlet.client("ecr", key="333333333333")):
        with pytest.raises(urllib.error.HTTPError) as denied:
            client.call("GET", "/v2/held/manifests/v1")
        assert denied.value.code == 403
        denied.value.close()
        with pytest.raises(ClientError):
            who.describe_images(registryId="000000000000", repositoryName="held")
    forged = cloudlet.client("ecr", key=key["AccessKeyId"], secret=key["SecretAccessKey"], token="forged")
    with pytest.raises(ClientError) as unknown:
        forged.describe_repositories()
    assert code_of(unknown) == (400, "UnrecognizedClientException")
    assert len(ecr.describe_images(repositoryName="held")["imageDetails"]) == 1


def test_a_push_that_was_acknowledged_survives_kill_9(cloudlet: Cloudlet, ecr: Any) -> None:
    ecr.create_repository(repositoryName="durable")
    client = registry(cloudlet, ecr)
    digest = client.push("durable", "v1", [LAYER], ["/bin/true"])
    started = client.call("POST", "/v2/durable/blobs/uploads/", b"")
    client.call("PATCH", started.headers["Location"], LAYER)
    cloudlet.kill()
    cloudlet.start()
    got = client.call("GET", "/v2/durable/manifests/v1")
    assert got.headers["Docker-Content-Digest"] == digest
    for layer in json.loads(got.read())["layers"]:
        assert len(client.call("GET", f"/v2/durable/blobs/{layer['digest']}").read()) == layer["size"]
    resumed = client.call("GET", started.headers["Location"])
    assert resumed.headers["Range"] == f"0-{len(LAYER) - 1}"
