"""Images as task definitions name them."""

import pytest

from cloudlet.services import ecr
from cloudlet.services.ecr import ImageNotFound, ResolvedImage
from cloudlet.store.blobs import digest_of
from tests.services.desk import ACCOUNT
from tests.services.ecr.counter import Counter

AMAZON = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"


def resolve(counter: Counter, image: str, region: str = "us-east-1") -> ResolvedImage | None:
    with counter.desk.store.tx() as tx:
        return ecr.resolve_image(tx, ACCOUNT, region, image, counter.desk.site)


@pytest.mark.parametrize("host", [AMAZON, f"{ACCOUNT}.dkr.ecr.us-east-1.localhost:4566", "localhost:4566",
                                  "127.0.0.1:4566", "[::1]:4566"])
def test_our_images_are_pinned_and_can_be_pulled(counter: Counter, host: str) -> None:
    digest = counter.push("latest")
    for image in (f"{host}/app", f"{host}/app:latest", f"{host}/app@{digest}", f"{host}/app:gone@{digest}"):
        found = resolve(counter, image)
        assert found is not None
        assert (found.reference, found.digest) == (f"localhost:4566/app@{digest}", digest)
        assert (found.username, found.plain_http) == ("AWS", True)
        manifest = counter.ask("GET", f"/v2/app/manifests/{digest}", password=found.password)
        assert manifest.status == 200


def test_a_list_stays_a_list(counter: Counter) -> None:
    whole = counter.push_list("all", counter.push("v1"))
    found = resolve(counter, f"{AMAZON}/app:all")
    assert found is not None
    assert found.digest == whole


def test_its_password_pulls_from_that_repository_and_does_nothing_else(counter: Counter) -> None:
    counter("CreateRepository", repositoryName="other")
    counter.push("v1", "other")
    layer = counter.push_blob(b"layer")
    counter.push("v1")
    found = resolve(counter, f"{AMAZON}/app:v1")
    assert found is not None
    for method, path, status in (
            ("GET", "/v2/", 200), ("GET", "/v2/app/manifests/v1", 200), ("HEAD", f"/v2/app/blobs/{layer}", 200),
            ("GET", f"/v2/app/blobs/{layer}", 200), ("GET", "/v2/other/manifests/v1", 403),
            ("GET", "/v2/app/tags/list", 403), ("POST", "/v2/app/blobs/uploads/", 403),
            ("PUT", "/v2/app/manifests/v2", 403), ("DELETE", "/v2/app/manifests/v1", 403)):
        assert counter.ask(method, path, password=found.password).status == status, (method, path)
    counter.desk.clock.time += 3600
    assert counter.ask("GET", "/v2/", password=found.password).status == 401


def test_the_region_of_the_host_counts(counter: Counter) -> None:
    digest = counter.push("v1")
    found = resolve(counter, f"{AMAZON}/app:v1", region="eu-west-1")
    assert found is not None
    assert counter.ask("GET", f"/v2/app/manifests/{digest}", password=found.password).status == 200
    with pytest.raises(ImageNotFound, match="name unknown"):
        resolve(counter, "localhost:4566/app:v1", region="eu-west-1")


@pytest.mark.parametrize("image", ["nginx", "nginx:1", "library/nginx", "docker.io/library/nginx", "localhost/app",
                                   "localhost:5000/app", "public.ecr.aws/app", "", "app@sha256:x"])
def test_images_from_elsewhere_are_not_ours(counter: Counter, image: str) -> None:
    assert resolve(counter, image) is None


@pytest.mark.parametrize(("image", "reason"), [
    (f"{AMAZON}/app:nosuch", f"failed to resolve ref {AMAZON}/app:nosuch: {AMAZON}/app:nosuch: not found"),
    (f"{AMAZON}/app@{digest_of(b'x')}", "not found"),
    (f"{AMAZON}/nosuch", f"name unknown: The repository with name 'nosuch' does not exist in the registry with id "
                         f"'{ACCOUNT}'"),
    (f"{AMAZON}/", "invalid reference format"), (f"{AMAZON}/../app", "invalid reference format"),
    (f"{AMAZON}/app:", "invalid reference format"), (f"{AMAZON}/app:a b", "invalid reference format"),
    (f"{AMAZON}/app@sha256:short", "invalid reference format"), (f"{AMAZON}/APP", "invalid reference format"),
    ("999999999999.dkr.ecr.us-east-1.amazonaws.com/app", "there is no execution role")])
def test_what_is_not_there_is_said_in_ecs_words(counter: Counter, image: str, reason: str) -> None:
    counter.push("latest")
    with pytest.raises(ImageNotFound) as refused:
        resolve(counter, image)
    assert reason in str(refused.value)
