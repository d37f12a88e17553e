"""The front of the registry: who gets in, what paths mean, and how refusals look."""

import base64
import errno
import json
import os
from pathlib import Path

import pytest

from cloudlet.store.blobs import Blobs, digest_of
from tests.services.desk import ACCOUNT, root
from tests.services.ecr.counter import Counter, allow, user_with

OTHER = "999999999999"


def test_the_version_check_asks_for_a_password(counter: Counter) -> None:
    assert counter.ask("GET", "/v2/").status == 200
    assert counter.ask("GET", "/v2").status == 200
    refused = counter.ask("GET", "/v2/", password="")
    assert refused.error == (401, "UNAUTHORIZED", "Not Authorized")
    assert refused.headers["www-authenticate"] == 'Basic realm="http://localhost:4566/",service="ecr.amazonaws.com"'


@pytest.mark.parametrize("authorization", [
    "Basic", "Basic ", "Basic !!!", "Basic " + "A" * 100_000, "Bearer abc", "nonsense",
    "Basic " + base64.b64encode(b"AWS:wrong").decode(), "Basic " + base64.b64encode(b"AWS:a.b").decode(),
    "Basic " + base64.b64encode(b"AWS").decode(), "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
    "Basic " + base64.b64encode("AWS:ü.ü".encode()).decode()])
def test_a_bad_password_is_401(counter: Counter, authorization: str) -> None:
    answer = counter.ask("GET", "/v2/", authorization=authorization)
    assert answer.status == 401
    assert "www-authenticate" in answer.headers


def test_a_password_belongs_to_the_user_aws(counter: Counter) -> None:
    wrong = base64.b64encode(f"root:{counter.password}".encode()).decode()
    assert counter.ask("GET", "/v2/", authorization=f"Basic {wrong}").status == 401


def test_a_changed_password_is_refused(counter: Counter) -> None:
    body, _, signature = counter.password.partition(".")
    grant = json.loads(base64.urlsafe_b64decode(body))
    grant["principal"]["account"] = OTHER
    forged = base64.urlsafe_b64encode(json.dumps(grant).encode()).decode()
    assert counter.ask("GET", "/v2/", password=f"{forged}.{signature}").status == 401
    assert counter.ask("GET", "/v2/", password=f"{body}.{signature[:-1]}0").status in (200, 401)
    assert counter.ask("GET", "/v2/", password=body).status == 401


def test_another_installation_knows_nothing_of_it(counter: Counter, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Counter(tmp_path / "other")
    assert other.ask("GET", "/v2/", password=counter.password).status == 401
    other.close()


def test_a_password_expires_after_twelve_hours(counter: Counter) -> None:
    counter.desk.clock.time += 12 * 3600 - 1
    assert counter.ask("GET", "/v2/").status == 200
    counter.desk.clock.time += 1
    assert counter.ask("GET", "/v2/").error == (
        401, "UNAUTHORIZED", "Your authorization token has expired. Reauthenticate and try again.")


def test_another_accounts_password_sees_only_that_account(counter: Counter) -> None:
    counter.push()
    stranger = counter.login(root(OTHER))
    answer = counter.ask("GET", "/v2/app/manifests/v1", password=stranger)
    assert answer.error == (404, "NAME_UNKNOWN", "The repository with name 'app' does not exist in the registry with "
                                                 f"id '{OTHER}'")
    answer = counter.ask("GET", "/v2/app/manifests/v1", password=stranger,
                         host=f"{ACCOUNT}.dkr.ecr.us-east-1.localhost:4566")
    assert answer.status == 403
    assert answer.error[1] == "DENIED"
    assert "no resource-based policy allows the ecr:BatchGetImage action" in answer.error[2]


def test_the_host_names_the_registry(counter: Counter) -> None:
    counter.push()
    host = f"{ACCOUNT}.dkr.ecr.us-east-1.localhost:4566"
    assert counter.ask("GET", "/v2/app/manifests/v1", host=host).status == 200
    elsewhere = counter.ask("GET", "/v2/app/manifests/v1", host=f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com")
    assert elsewhere.error[:2] == (403, "DENIED")
    assert counter.ask("GET", "/v2/app/manifests/v1", password=counter.login(region="eu-west-1")).status == 404


def test_permissions_count_at_every_request(counter: Counter) -> None:
    counter.push()
    arn = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/app"
    ann = user_with(counter.desk, {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:InitiateLayerUpload"],
                                   "Resource": arn})
    password = counter.login(ann)
    counter("CreateRepository", repositoryName="other")
    assert counter.ask("GET", "/v2/app/manifests/v1", password=password).status == 200
    assert counter.ask("GET", "/v2/other/manifests/v1", password=password).error == (
        403, "DENIED", f"User: {ann.arn} is not authorized to perform: ecr:BatchGetImage on resource: "
        f"{arn.replace('app', 'other')} because no identity-based policy allows the ecr:BatchGetImage action")
    started = counter.ask("POST", "/v2/app/blobs/uploads/", password=password)
    assert started.status == 202
    for method, path in (("PATCH", started.headers["location"]), ("GET", started.headers["location"]),
                         ("PUT", started.headers["location"]), ("DELETE", started.headers["location"]),
                         ("GET", "/v2/app/tags/list"), ("PUT", "/v2/app/manifests/v2"),
                         ("DELETE", "/v2/app/manifests/v1"), ("GET", f"/v2/app/blobs/{digest_of(b'')}"),
                         ("HEAD", f"/v2/app/blobs/{digest_of(b'')}"), ("DELETE", f"/v2/app/blobs/{digest_of(b'')}")):
        assert counter.ask(method, path, password=password).status == 403, (method, path)
    allow(counter.desk, {"Effect": "Deny", "Action": "*", "Resource": "*"})
    answer = counter.ask("GET", "/v2/app/manifests/v1", password=password)
    assert answer.status == 403
    assert "explicit deny" in answer.error[2]


@pytest.mark.parametrize(("method", "path", "status", "code"), [
    ("GET", "/v2/_catalog", 404, "UNSUPPORTED"),
    ("GET", "/v2/app", 404, "UNSUPPORTED"),
    ("GET", "/v2/app/tags/all", 404, "UNSUPPORTED"),
    ("GET", "/v2/" + "a/" * 2000 + "tags/list", 404, "UNSUPPORTED"),
    ("POST", "/v2/", 405, "UNSUPPORTED"),
    ("POST", "/v2/app/tags/list", 405, "UNSUPPORTED"),
    ("PATCH", "/v2/app/manifests/v1", 405, "UNSUPPORTED"),
    ("POST", f"/v2/app/blobs/{digest_of(b'')}", 405, "UNSUPPORTED"),
    ("DELETE", f"/v2/app/blobs/{digest_of(b'')}", 404, "BLOB_UNKNOWN"),
    ("DELETE", "/v2/app/blobs/latest", 400, "DIGEST_INVALID"),
    ("GET", "/v2/app/referrers/latest", 400, "DIGEST_INVALID"),
    ("POST", f"/v2/app/referrers/{digest_of(b'')}", 405, "UNSUPPORTED"),
    ("GET", f"/v2/nosuch/referrers/{digest_of(b'')}", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/UPPER/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/../tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/%2e%2e/%2e%2e/etc/manifests/v1", 400, "NAME_INVALID"),
    ("GET", "/v2/app/../app/manifests/v1", 400, "NAME_INVALID"),
    ("GET", "/v2/app%2f..%2fapp/manifests/v1", 400, "NAME_INVALID"),
    ("GET", "/v2/app%00/manifests/v1", 400, "NAME_INVALID"),
    ("GET", "/v2/app%0a/manifests/v1", 404, "UNSUPPORTED"),
    ("GET", "/v2/" + "a" * 257 + "/manifests/v1", 400, "NAME_INVALID"),
    ("GET", "/v2/app/blobs/sha256:..", 400, "DIGEST_INVALID"),
    ("GET", "/v2/app/blobs/sha512:" + "0" * 128, 400, "DIGEST_INVALID"),
    ("GET", "/v2/app/blobs/sha256:" + "G" * 64, 400, "DIGEST_INVALID"),
    ("GET", "/v2/app/blobs/sha256%3A" + "0" * 64, 404, "BLOB_UNKNOWN"),
    ("GET", "/v2/app/manifests/.INVALID", 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v2/app/manifests/%2e%2e", 404, "MANIFEST_UNKNOWN"),
    ("PUT", "/v2/app/manifests/..", 400, "TAG_INVALID"),
    ("PUT", "/v2/app/manifests/" + "a" * 129, 400, "TAG_INVALID"),
    ("GET", "/v2/app/blobs/uploads/..", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("PATCH", "/v2/app/blobs/uploads/%2e%2e%2fx", 404, "UNSUPPORTED"),
    ("POST", "/v2/app/blobs/uploads/?digest=sha256:../../x", 400, "DIGEST_INVALID"),
    ("GET", "/v2/app/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
    ("GET", "/v2/app/tags/list?n=²", 400, "PAGINATION_NUMBER_INVALID"),
    ("GET", "/v2/nosuch/tags/list", 404, "NAME_UNKNOWN"),
])
def test_odd_paths_are_refused(counter: Counter, method: str, path: str, status: int, code: str) -> None:
    assert counter.ask(method, path).error[:2] == (status, code)


def test_odd_paths_are_refused_before_anything_is_told_to_strangers(counter: Counter) -> None:
    for path in ("/v2/app/tags/list", "/v2/UPPER/tags/list", "/v2/_catalog", "/v2/nosuch/manifests/v1"):
        assert counter.ask("GET", path, password="").status == 401


def test_a_repository_may_be_called_like_a_path(counter: Counter) -> None:
    for name in ("a/blobs/uploads", "manifests/tags", "blobs"):
        counter("CreateRepository", repositoryName=name)
        digest = counter.push(repository=name)
        assert counter.ask("GET", f"/v2/{name}/manifests/{digest}").status == 200


def test_a_refused_head_has_no_body(counter: Counter) -> None:
    assert counter.ask("HEAD", "/v2/app/manifests/nosuch").body == b""


def test_a_full_disk_is_said_clearly(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(self: Blobs, name: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(Blobs, "begin", full)
    assert counter.ask("POST", "/v2/app/blobs/uploads/").error == (
        507, "DENIED", "there is no space left on the registry's disk")


def test_a_full_database_is_said_as_clearly_and_pulls_go_on(counter: Counter) -> None:
    digest = counter.push("v1")
    location = counter.ask("POST", "/v2/app/blobs/uploads/").headers["location"]
    counter.desk.clock.time += 3600
    counter.password = counter.login()
    database = counter.desk.store._db
    pages = database.pragma("page_count")
    database.pragma("max_page_count", pages)
    while (answer := counter.ask("POST", "/v2/app/blobs/uploads/")).status == 202:
        pass  # there is some room in the pages that the file has
    data = os.urandom(500)
    for refused in (answer, counter.ask("POST", f"/v2/app/blobs/uploads/?digest={digest_of(data)}", data)):
        assert refused.error == (507, "DENIED", "there is no space left on the registry's disk")
    assert counter.ask("GET", f"/v2/app/manifests/{digest}").status == 200
    assert counter.ask("GET", location).status == 204
    database.pragma("max_page_count", 2 * pages)
    counter.push("v2")
    counter.ask("GET", f"/v2/app/manifests/{digest}")
    assert [image["lastRecordedPullTime"] for image in counter.images() if image["imageDigest"] == digest] \
        == [counter.desk.clock.time]
