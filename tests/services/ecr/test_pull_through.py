"""Images of other registries, pulled through this one."""

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from cloudlet.engines.fake.upstreams import FakeRegistry
from cloudlet.engines.ports import UpstreamManifest
from cloudlet.kernel.errors import AwsError
from cloudlet.services import ecr, secretsmanager
from cloudlet.services.ecr.contents import UNUSED_LAYER_S
from cloudlet.services.ecr.manifests import OCI_IMAGE, OCI_INDEX
from cloudlet.services.ecr.records import Image, Layer, Upload
from cloudlet.store.blobs import digest_of
from tests.services.desk import ACCOUNT, root
from tests.services.ecr.counter import Counter, allow, image, index, user_with

URL = "http://localhost:5000"
HUB = "https://registry-1.docker.io"
SECRET = "ecr-pullthroughcache/hub"


class There:
    """A registry that is asked, with the repository team/app."""

    def __init__(self, counter: Counter, url: str = URL, login: tuple[str, str] | None = None) -> None:
        self.registry = counter.upstreams.registries[url] = FakeRegistry(login=login)

    def push(self, *tags: str, layer: bytes | None = None, repository: str = "team/app") -> str:
        config, data = os.urandom(30), os.urandom(3000) if layer is None else layer
        for blob in (config, data):
            self.registry.blobs[repository, digest_of(blob)] = blob
        return self.put(image(OCI_IMAGE, config, data), OCI_IMAGE, *tags, repository=repository)

    def put(self, body: bytes, media_type: str, *tags: str, repository: str = "team/app") -> str:
        for reference in (*tags, digest_of(body)):
            self.registry.manifests[repository, reference] = UpstreamManifest(media_type, body)
        return digest_of(body)


@pytest.fixture
def there(counter: Counter) -> Iterator[There]:
    """A registry, and a rule that says cache/… is in it."""
    counter("CreatePullThroughCacheRule", ecrRepositoryPrefix="cache", upstreamRegistryUrl="localhost:5000")
    yield There(counter)
    with counter.desk.store.tx() as tx:
        assert tx.find(Upload) == []
    assert asyncio.run(counter.blobs.uploads()) == []


def make_secret(counter: Counter, name: str = SECRET, value: str | None = None) -> str:
    return str(counter.desk(secretsmanager.secretsmanager, "CreateSecret", Name=name, ClientRequestToken="1" * 32,
                            SecretString=value or json.dumps({"username": "ann", "accessToken": "t0ken"}))["ARN"])


def refused(counter: Counter, operation: str, **request: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as error:
        counter(operation, **request)
    return error.value.code, error.value.message


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_image_comes_whole_when_it_is_pulled(counter: Counter, there: There, method: str) -> None:
    data = os.urandom(5000)
    digest = there.push("v1", layer=data)
    answer = counter.ask(method, "/v2/cache/team/app/manifests/v1")
    assert (answer.status, answer.headers["docker-content-digest"]) == (200, digest)
    there.registry.blobs.clear()
    there.registry.manifests.clear()
    for reference in ("v1", digest):
        assert digest_of(counter.ask("GET", f"/v2/cache/team/app/manifests/{reference}").body) == digest
    assert counter.ask("GET", f"/v2/cache/team/app/blobs/{digest_of(data)}").body == data
    (repository,) = counter("DescribeRepositories", repositoryNames=["cache/team/app"])["repositories"]
    assert repository["imageTagMutability"] == "MUTABLE"
    (detail,) = counter.images("cache/team/app")
    assert (detail["imageTags"], detail["imageDigest"]) == (["v1"], digest)


def test_a_list_comes_with_all_of_its_images(counter: Counter, there: There) -> None:
    inner = there.put(index(there.push(), there.push()), OCI_INDEX)
    whole = there.put(index(inner, there.push()), OCI_INDEX, "all")
    assert counter.ask("GET", "/v2/cache/team/app/manifests/all").headers["docker-content-digest"] == whole
    assert len(counter.images("cache/team/app")) == 5
    one = there.push()
    assert counter.ask("GET", f"/v2/cache/team/app/manifests/{one}").status == 200


def test_a_tag_is_looked_up_again_after_a_day(counter: Counter, there: There) -> None:
    def pull() -> str:
        return counter.ask("GET", "/v2/cache/team/app/manifests/v1").headers["docker-content-digest"]
    first = there.push("v1")
    assert pull() == first
    second = there.push("v1")
    counter.desk.clock.time += 24 * 3600 - 1
    counter.password = counter.login()
    assert pull() == first
    counter.desk.clock.time += 1
    assert pull() == second
    asked = len(there.registry.asked)
    assert pull() == second
    assert counter.ask("GET", f"/v2/cache/team/app/manifests/{first}").status == 200
    assert len(there.registry.asked) == asked


def test_a_registry_that_is_away_keeps_nobody_from_what_is_here(counter: Counter, there: There) -> None:
    digest = there.push("v1")
    counter.ask("GET", "/v2/cache/team/app/manifests/v1")
    counter.desk.clock.time += 24 * 3600
    counter.password = counter.login()
    counter.upstreams.registries.clear()
    answer = counter.ask("GET", "/v2/cache/team/app/manifests/v1")
    assert (answer.status, answer.headers["docker-content-digest"]) == (200, digest)
    away = counter.ask("GET", "/v2/cache/team/app/manifests/v2")
    assert away.error == (503, "UNAVAILABLE", "the upstream registry: http://localhost:5000 cannot be reached")


def test_what_is_not_there_either(counter: Counter, there: There) -> None:
    for path in ("/v2/cache/team/app/manifests/v9", f"/v2/cache/team/app/manifests/{digest_of(b'x')}",
                 "/v2/cache/team/other/manifests/v1"):
        assert counter.ask("GET", path).error == (404, "MANIFEST_UNKNOWN", "Requested image not found")
    assert len(counter("DescribeRepositories")["repositories"]) == 1  # none is made for what does not exist
    assert counter.ask("GET", "/v2/cached/team/app/manifests/v1").error[:2] == (404, "NAME_UNKNOWN")
    assert counter.ask("GET", "/v2/cache/manifests/v1").error[:2] == (404, "NAME_UNKNOWN")


def test_a_tag_that_was_pushed_here_is_not_replaced(counter: Counter, there: There) -> None:
    there.push("v1")
    counter.ask("GET", "/v2/cache/team/app/manifests/v1")
    mine = counter.push("v1", "cache/team/app")
    counter.desk.clock.time += 48 * 3600
    counter.password = counter.login()
    assert counter.ask("GET", "/v2/cache/team/app/manifests/v1").headers["docker-content-digest"] == mine


def test_what_a_registry_sends_is_verified(counter: Counter, there: There) -> None:
    layer = b"what it should be"
    there.push("blob", layer=layer)
    there.registry.blobs["team/app", digest_of(layer)] = b"what it shouldn't"
    there.push("long", layer=b"short")
    there.registry.blobs["team/app", digest_of(b"short")] = b"short and more"
    manifest = there.push()
    there.registry.manifests["team/app", manifest] = UpstreamManifest(OCI_IMAGE, b"{}")
    there.put(b"{}", OCI_IMAGE, "nonsense")
    there.push("lost", layer=b"lost")
    del there.registry.blobs["team/app", digest_of(b"lost")]
    for reference, status, code, text in (
            ("blob", 403, "DENIED", "other bytes"), ("long", 403, "DENIED", "more than the 5 bytes"),
            (manifest, 403, "DENIED", "another manifest"), ("nonsense", 404, "MANIFEST_UNKNOWN", "cannot be kept"),
            ("lost", 403, "DENIED", "does not have the blob")):
        error = counter.ask("GET", f"/v2/cache/team/app/manifests/{reference}").error
        assert error[:2] == (status, code), error
        assert text in error[2]
    with counter.desk.store.tx() as tx:
        assert {layer.digest for layer in tx.find(Layer)} & {digest_of(b"short"), digest_of(layer)} == set()
    assert counter.images("cache/team/app") == []


def test_an_image_that_refers_too_deep(counter: Counter, there: There) -> None:
    digest = there.push()
    for _ in range(12):
        digest = there.put(index(digest), OCI_INDEX, "deep")
    error = counter.ask("GET", "/v2/cache/team/app/manifests/deep").error
    assert error[:2] == (404, "MANIFEST_UNKNOWN")
    assert "too deep" in error[2]


def test_many_who_pull_at_once_import_once(counter: Counter, there: There) -> None:
    digest = there.push("v1")

    async def scenario() -> None:
        answers = await asyncio.gather(*(counter.send("GET", "/v2/cache/team/app/manifests/v1") for _ in range(8)))
        assert {answer.headers["docker-content-digest"] for answer in answers} == {digest}
    asyncio.run(scenario())
    assert there.registry.asked.count("team/app:v1") == 1


def test_an_import_goes_on_when_the_client_leaves(counter: Counter, there: There) -> None:
    there.push("v1")

    def imported() -> bool:
        with counter.desk.store.tx() as tx:
            return bool(tx.find(Image))

    async def scenario() -> None:
        pull = asyncio.ensure_future(counter.send("GET", "/v2/cache/team/app/manifests/v1"))
        while not there.registry.asked:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        pull.cancel()
        while not imported():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    asyncio.run(scenario())
    there.registry.manifests.clear()
    assert counter.ask("GET", "/v2/cache/team/app/manifests/v1").status == 200


def test_blobs_that_are_here_already_are_not_fetched(counter: Counter, there: There) -> None:
    data = os.urandom(4000)
    counter.push("v1", layer=data)
    there.push("v1", layer=data)
    assert counter.ask("GET", "/v2/cache/team/app/manifests/v1").status == 200
    assert f"team/app@{digest_of(data)}" not in there.registry.asked
    counter("DeleteRepository", repositoryName="app", force=True)
    counter.desk.clock.time += 2 * UNUSED_LAYER_S
    asyncio.run(counter.collector.blob(digest_of(data)))
    assert counter.ask("GET", f"/v2/cache/team/app/blobs/{digest_of(data)}").body == data


def test_a_repository_that_is_deleted_during_an_import_stays_deleted(counter: Counter, there: There) -> None:
    there.push("v1")

    async def scenario() -> None:
        pull = asyncio.ensure_future(counter.send("GET", "/v2/cache/team/app/manifests/v1"))
        while not any("@" in asked for asked in there.registry.asked):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        counter("DeleteRepository", repositoryName="cache/team/app", force=True)
        assert (await pull).error[:2] == (404, "NAME_UNKNOWN")
    asyncio.run(scenario())
    with counter.desk.store.tx() as tx:
        assert tx.find(Layer) == []


def test_the_caller_must_be_allowed_to_import(counter: Counter, there: There) -> None:
    there.push("v1")
    arn = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/cache/*"
    ann = user_with(counter.desk, {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"})
    password = counter.login(ann)

    def pull() -> int:
        return counter.ask("GET", "/v2/cache/team/app/manifests/v1", password=password).status
    granted: list[str] = []
    for action, status in (("BatchImportUpstreamImage", 403), ("BatchGetImage", 404), ("CreateRepository", 200)):
        granted.append(f"ecr:{action}")
        allow(counter.desk, {"Effect": "Allow", "Action": granted, "Resource": arn})
        assert pull() == status, action
    allow(counter.desk, {"Effect": "Allow", "Action": "ecr:BatchGetImage", "Resource": arn})
    assert pull() == 200
    there.push("v2")
    assert counter.ask("GET", "/v2/cache/team/app/manifests/v2", password=password).error[:2] == (
        404, "MANIFEST_UNKNOWN")


def test_credentials_are_those_of_the_secret_as_it_is_now(counter: Counter) -> None:
    hub, arn = There(counter, HUB, ("ann", "t0ken")), make_secret(counter)
    counter("CreatePullThroughCacheRule", ecrRepositoryPrefix="hub/", upstreamRegistryUrl="registry-1.docker.io",
            credentialArn=arn)
    hub.push("v1", repository="library/nginx")
    hub.push("v2", repository="library/nginx")
    assert counter.ask("GET", "/v2/hub/library/nginx/manifests/v1").status == 200
    counter.desk(secretsmanager.secretsmanager, "PutSecretValue", SecretId=arn, ClientRequestToken="2" * 32,
                 SecretString=json.dumps({"username": "ann", "accessToken": "old"}))
    assert counter.ask("GET", "/v2/hub/library/nginx/manifests/v2").error == (
        403, "DENIED", f"the upstream registry: {HUB} does not accept the credentials")
    counter.desk(secretsmanager.secretsmanager, "DeleteSecret", SecretId=arn, ForceDeleteWithoutRecovery=True)
    assert counter.ask("GET", "/v2/hub/library/nginx/manifests/v2").error[1] == "DENIED"
    assert counter.ask("GET", "/v2/hub/library/nginx/manifests/v1").status == 200


def test_the_longest_prefix_counts_and_root_is_the_last(counter: Counter) -> None:
    for prefix, port, upstream_prefix in (("ROOT", 1000, None), ("a", 2000, None), ("a/b", 3000, "far/away"),
                                          ("c", 4000, "ROOT")):
        more = {"upstreamRepositoryPrefix": upstream_prefix} if upstream_prefix else {}
        counter("CreatePullThroughCacheRule", ecrRepositoryPrefix=prefix, upstreamRegistryUrl=f"127.0.0.1:{port}",
                **more)
    for name, port, repository in (("x/y", 1000, "x/y"), ("a/x", 2000, "x"), ("a/b/x", 3000, "far/away/x"),
                                   ("c/x/y", 4000, "x/y")):
        digest = There(counter, f"http://127.0.0.1:{port}").push("v1", repository=repository)
        assert counter.ask("GET", f"/v2/{name}/manifests/v1").headers["docker-content-digest"] == digest


# ── The rules ────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_a_rule_and_its_life(counter: Counter) -> None:
    made = counter("CreatePullThroughCacheRule", ecrRepositoryPrefix="quay/", upstreamRegistryUrl="quay.io")
    now = counter.desk.clock.time
    assert made == {"ecrRepositoryPrefix": "quay", "upstreamRegistryUrl": "quay.io", "upstreamRegistry": "quay",
                    "createdAt": now, "registryId": ACCOUNT}
    again = {"ecrRepositoryPrefix": "quay", "upstreamRegistryUrl": "quay.io"}
    assert refused(counter, "CreatePullThroughCacheRule", **again) == (
        "PullThroughCacheRuleAlreadyExistsException",
        f"The pull through cache rule with prefix 'quay' already exists in the registry with id '{ACCOUNT}'")
    assert refused(counter, "UpdatePullThroughCacheRule", ecrRepositoryPrefix="quay") == (
        "InvalidParameterException",
        "Invalid input: Please set either credential arn or role arn to update the credentials")
    arn = make_secret(counter)
    counter.desk.clock.time += 10
    changed = counter("UpdatePullThroughCacheRule", ecrRepositoryPrefix="quay", credentialArn=arn)
    assert changed == {"ecrRepositoryPrefix": "quay", "registryId": ACCOUNT, "updatedAt": now + 10,
                       "credentialArn": arn}
    counter("CreatePullThroughCacheRule", ecrRepositoryPrefix="local", upstreamRegistryUrl="localhost:5000",
            upstreamRepositoryPrefix="team")
    described = counter("DescribePullThroughCacheRules")["pullThroughCacheRules"]
    assert [rule["ecrRepositoryPrefix"] for rule in described] == ["local", "quay"]
    assert described[0] == {
        "ecrRepositoryPrefix": "local", "upstreamRegistryUrl": "localhost:5000", "upstreamRepositoryPrefix": "team",
        "createdAt": now + 10, "updatedAt": now + 10, "registryId": ACCOUNT}
    assert counter("DescribePullThroughCacheRules", ecrRepositoryPrefixes=["quay"])["pullThroughCacheRules"] \
        == described[1:]
    assert counter("DescribePullThroughCacheRules", region="eu-west-1")["pullThroughCacheRules"] == []
    gone = counter("DeletePullThroughCacheRule", ecrRepositoryPrefix="quay")
    assert (gone["createdAt"], gone["credentialArn"]) == (now, arn)
    for operation, request in (("DeletePullThroughCacheRule", {"ecrRepositoryPrefix": "quay"}),
                               ("UpdatePullThroughCacheRule", {"ecrRepositoryPrefix": "quay", "credentialArn": arn}),
                               ("DescribePullThroughCacheRules", {"ecrRepositoryPrefixes": ["quay"]})):
        assert refused(counter, operation, **request)[0] == "PullThroughCacheRuleNotFoundException"


@pytest.mark.parametrize("url", [
    "docker.io", "https://quay.io", "example.com", "example.com:5000", "ftp://localhost:5000", "localhost:5000/path",
    "http://", "", "localhost:5000 ", "http://ann:secret@localhost", "192.0.2.1:5000", "[::1", "notlocalhost",
    "123456789012.dkr.ecr.us-east-1.amazonaws.com"])
def test_other_registries_are_not_supported(counter: Counter, url: str) -> None:
    assert refused(counter, "CreatePullThroughCacheRule", ecrRepositoryPrefix="x1", upstreamRegistryUrl=url) == (
        "UnsupportedUpstreamRegistryException", "The specified upstream registry isn't supported.")


@pytest.mark.parametrize("url", ["localhost", "http://127.0.0.1:5000/", "https://localhost:5000", "[::1]:5000",
                                 "123456789012.dkr.ecr.us-east-1.localhost:4566", "public.ecr.aws", "registry.k8s.io"])
def test_registries_that_are(counter: Counter, url: str) -> None:
    made = counter("CreatePullThroughCacheRule", ecrRepositoryPrefix="x1", upstreamRegistryUrl=url)
    assert made["upstreamRegistryUrl"] == url


def test_what_a_rule_may_not_be(counter: Counter) -> None:
    def create(**request: Any) -> tuple[str, str]:
        return refused(counter, "CreatePullThroughCacheRule", **{
            "ecrRepositoryPrefix": "x1", "upstreamRegistryUrl": "registry-1.docker.io", **request})
    assert create() == ("UnsupportedUpstreamRegistryException",
                        "The specified upstream registry requires authentication. Specify a valid Secrets Manager ARN")
    assert create(upstreamRegistry="quay")[0] == "UnsupportedUpstreamRegistryException"
    arn = make_secret(counter)
    assert create(credentialArn=arn + "x")[0] == "SecretNotFoundException"
    assert create(credentialArn=arn.replace("us-east-1", "eu-west-1"))[0] == "UnableToAccessSecretException"
    for number, value in enumerate(("no json", '{"username": "ann"}', "[]")):
        wrong = make_secret(counter, f"ecr-pullthroughcache/{number}", value)
        assert create(credentialArn=wrong)[0] == "UnableToAccessSecretException"
    assert create(customRoleArn="arn:aws:iam::123456789012:role/r")[0] == "InvalidParameterException"
    assert create(ecrRepositoryPrefix="ROOT", upstreamRepositoryPrefix="team")[0] == "InvalidParameterException"
    for number in range(50):
        counter("CreatePullThroughCacheRule", ecrRepositoryPrefix=f"r{number}", upstreamRegistryUrl="quay.io")
    assert create(upstreamRegistryUrl="quay.io")[0] == "LimitExceededException"


def validated(counter: Counter, prefix: str) -> dict[str, Any]:
    """What ValidatePullThroughCacheRule answers while the loop runs."""
    desk = counter.desk
    reconcilers = ecr.controller(desk.store, counter.blobs, counter.world.engines).reconcilers

    async def scenario() -> dict[str, Any]:
        asked = asyncio.ensure_future(ecr.ecr.operations["ValidatePullThroughCacheRule"].run(
            desk.call(), desk.store, {"ecrRepositoryPrefix": prefix}))
        await asyncio.sleep(0)
        await reconcilers["ecr.upstream"](f"{ACCOUNT}/us-east-1/{prefix}")
        answer: dict[str, Any] = await asked
        return answer
    return asyncio.run(scenario())


def test_a_rule_is_validated_by_asking(counter: Counter, there: There) -> None:
    assert validated(counter, "cache") == {
        "ecrRepositoryPrefix": "cache", "registryId": ACCOUNT, "upstreamRegistryUrl": "localhost:5000", "isValid": True}
    there.registry.login = ("ann", "secret")
    assert validated(counter, "cache")["failure"] == f"{URL} does not accept the credentials"
    counter.upstreams.registries.clear()
    answer = validated(counter, "cache")
    assert (answer["isValid"], answer["failure"]) == (False, f"{URL} cannot be reached")
    with pytest.raises(AwsError, match="was not found"):
        validated(counter, "nosuch")


def test_rules_are_of_one_account(counter: Counter, there: There) -> None:
    stranger = root("999999999999")
    assert counter("DescribePullThroughCacheRules", stranger)["pullThroughCacheRules"] == []
    there.push("v1")
    answer = counter.ask("GET", "/v2/cache/team/app/manifests/v1", password=counter.login(stranger))
    assert answer.error[:2] == (404, "NAME_UNKNOWN")


# ── Tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_a_tasks_image_is_pulled_through(counter: Counter, there: There) -> None:
    digest = there.push("v1")

    def resolve(image: str, account: str = ACCOUNT) -> ecr.ResolvedImage:
        with counter.desk.store.tx() as tx:
            found = ecr.resolve_image(tx, account, "us-east-1", image, counter.desk.site)
        assert found is not None
        return found

    def pull(found: ecr.ResolvedImage, reference: str, repository: str = "cache/team/app") -> int:
        return counter.ask("GET", f"/v2/{repository}/manifests/{reference}", password=found.password).status
    first = resolve("localhost:4566/cache/team/app:v1")
    assert (first.reference, first.digest) == ("localhost:4566/cache/team/app:v1", "")
    assert pull(first, "v1", "cache/team/other") == 403
    assert pull(first, "v1") == 200
    second = resolve("localhost:4566/cache/team/app:v1")
    assert (second.reference, second.digest) == (f"localhost:4566/cache/team/app@{digest}", digest)
    by_digest = there.push()
    third = resolve(f"localhost:4566/cache/team/app@{by_digest}")
    assert (third.reference, third.digest) == (f"localhost:4566/cache/team/app@{by_digest}", by_digest)
    assert pull(second, by_digest) == 404  # what was given out for an image that is here imports nothing
    assert pull(third, by_digest) == 200
    counter.desk.clock.time += 24 * 3600
    assert resolve("localhost:4566/cache/team/app:v1").digest == ""
    with pytest.raises(ecr.ImageNotFound):
        resolve("localhost:4566/other/app:v1")
