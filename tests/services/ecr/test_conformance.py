"""What the OCI distribution conformance suite asks of a registry (v1.1 and the data sets that came after it), case by
case and in its order, over a real connection: pull, push, content discovery, content management.

https://github.com/opencontainers/distribution-spec/tree/main/conformance
"""

import http.client
import json
import os
from collections.abc import Mapping
from typing import Any

import pytest

from cloudlet.services.ecr.manifests import OCI_IMAGE, OCI_INDEX
from cloudlet.store.blobs import digest_of
from tests.services.ecr.counter import Client, Counter, descriptor

CONFIG, LAYER = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
CODES = {"BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
         "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED",
         "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS"}
NOWHERE = digest_of(b"hello world")


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Suite:
    """The suite's client: one repository, and another to mount into."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        path = path if path.startswith("/v2/") else f"/v2/team/suite/{path}"
        return Answer(self.client.ask(method, path, body, **{key.replace("_", "-"): headers[key] for key in headers}))

    def session(self) -> str:
        answer = self.ask("POST", "blobs/uploads/", content_length="0")
        assert answer.status == 202
        location = answer.headers["Location"]
        assert location
        return str(location)

    def push_blob(self, data: bytes) -> dict[str, Any]:
        answer = self.ask("PUT", f"{self.session()}?digest={digest_of(data)}", data,
                          content_type="application/octet-stream")
        assert (answer.status, bool(answer.headers["Location"])) == (201, True)
        return descriptor(data, LAYER)

    def put(self, reference: str, document: Mapping[str, Any], media_type: str = OCI_IMAGE) -> str:
        """Its digest."""
        body = json.dumps(document, indent=1).encode()
        reference = reference or digest_of(body)
        answer = self.ask("PUT", f"manifests/{reference}", body, content_type=media_type)
        assert (answer.status, bool(answer.headers["Location"])) == (201, True), answer.body
        assert answer.headers["Docker-Content-Digest"] == digest_of(body)
        assert answer.headers["OCI-Subject"] == document.get("subject", {}).get("digest")
        return digest_of(body)

    def image(self, config: bytes | None = None, layers: int = 1, **members: Any) -> dict[str, Any]:
        config = b'\n{"architecture":"amd64","os":"linux","unique":"%s"}' % os.urandom(8).hex().encode() \
            if config is None else config
        self.push_blob(config)
        return {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": descriptor(config, CONFIG),
                "layers": [self.push_blob(os.urandom(100)) for _ in range(layers)], **members}

    def artifact(self, artifact_type: str, **members: Any) -> dict[str, Any]:
        """An artifact whose config is empty."""
        self.push_blob(b"{}")
        return {**self.image(b"{}"), "config": descriptor(b"{}", EMPTY), "artifactType": artifact_type, **members}

    def index(self, *children: str, **members: Any) -> dict[str, Any]:
        return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": self.ask("HEAD", f"manifests/{child}").headers["Content-Type"], "digest": child, "size": 7}
            for child in children], **members}

    def referrers(self, digest: str, query: str = "") -> tuple[Answer, list[dict[str, Any]]]:
        answer = self.ask("GET", f"referrers/{digest}{query}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, OCI_INDEX)
        assert (answer.json["schemaVersion"], answer.json["mediaType"]) == (2, OCI_INDEX)
        return answer, answer.json["manifests"]


@pytest.fixture
def suite(counter: Counter, client: Client) -> Suite:
    for name in ("team/suite", "team/mounts"):
        counter("CreateRepository", repositoryName=name)
    return Suite(client)


def test_ping_and_a_repository_with_nothing_in_it(suite: Suite) -> None:
    assert suite.ask("GET", "/v2/").status == 200
    assert suite.ask("GET", "tags/list").json == {"name": "team/suite", "tags": []}
    assert suite.referrers(NOWHERE)[1] == []


# ── Pull ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_pull(suite: Suite) -> None:
    document = suite.image()
    digest, blob = suite.put("tagtest0", document), document["config"]["digest"]
    (tag,) = suite.ask("GET", "tags/list").json["tags"]
    for method in ("HEAD", "GET"):
        assert suite.ask(method, f"blobs/{NOWHERE}").status == 404
        assert suite.ask(method, "manifests/.INVALID_MANIFEST_NAME").status == 404
        assert suite.ask(method, f"manifests/{NOWHERE}").status == 404
        found = suite.ask(method, f"blobs/{blob}")
        assert (found.status, found.headers["Docker-Content-Digest"]) == (200, blob)
        assert found.headers["Content-Length"] == str(document["config"]["size"])
        for reference in (digest, tag):
            found = suite.ask(method, f"manifests/{reference}", accept=OCI_IMAGE)
            assert (found.status, found.headers["Docker-Content-Digest"]) == (200, digest)
            assert found.headers["Content-Type"] == OCI_IMAGE
            assert int(found.headers["Content-Length"]) > 100
    assert digest_of(suite.ask("GET", f"manifests/{digest}").body) == digest


def test_an_error_is_said_in_the_specifications_form(suite: Suite) -> None:
    for body in (b"blablabla", json.dumps(suite.image()).encode()):
        answer = suite.ask("PUT", "manifests/sha256:totallywrong", body, content_type=OCI_IMAGE)
        assert answer.status == 400
        assert answer.json["errors"][0]["code"] in CODES
    assert suite.ask("GET", "manifests/sha256:baddigeststring").status in (400, 404)


# ── Push ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_a_blob_streamed(suite: Suite) -> None:
    data = b"NBA Jam on my NBA toast"
    patched = suite.ask("PATCH", suite.session(), iter([data[:5], data[5:]]), content_type="application/octet-stream")
    assert patched.status == 202
    done = suite.ask("PUT", f"{patched.headers['Location']}?digest={digest_of(data)}",
                     content_type="application/octet-stream")
    assert (done.status, done.headers["Location"]) == (201, f"/v2/team/suite/blobs/{digest_of(data)}")
    assert suite.ask("GET", done.headers["Location"]).body == data


def test_a_blob_in_one_piece(suite: Suite) -> None:
    data = os.urandom(512)
    blob = f"blobs/{digest_of(data)}"
    assert suite.ask("GET", blob).status == 404
    posted = suite.ask("POST", f"blobs/uploads/?digest={digest_of(data)}", data,
                       content_type="application/octet-stream")
    assert (posted.status, bool(posted.headers["Location"])) == (201, True)
    assert suite.ask("GET", blob).body == data
    suite.push_blob(data)
    assert suite.ask("GET", blob).status == 200
    for known in (b"", b"{}"):
        suite.push_blob(known)
        assert suite.ask("HEAD", f"blobs/{digest_of(known)}").headers["Content-Length"] == str(len(known))
        assert suite.ask("GET", f"blobs/{digest_of(known)}").body == known


@pytest.mark.parametrize("last_by_put", [False, True])
def test_a_blob_in_chunks(suite: Suite, last_by_put: bool) -> None:
    data = b"Hello, how are you today?"
    first, second = {"content_range": "0-2"}, {"content_range": f"3-{len(data) - 1}"}
    session = suite.session()
    assert suite.ask("PATCH", session, data[3:], **second).status == 416
    patched = suite.ask("PATCH", session, data[:3], **first)
    assert (patched.status, patched.headers["Range"]) == (202, "0-2")
    assert suite.ask("PATCH", session, data[:3], **first).status == 416
    status = suite.ask("GET", session)
    assert (status.status, status.headers["Range"], bool(status.headers["Location"])) == (204, "0-2", True)
    digest = digest_of(data)
    if last_by_put:
        assert suite.ask("PUT", f"{session}?digest={digest}", data[:3], **first).status == 416
        assert suite.ask("PUT", f"{session}?digest={digest}", data[3:], **second).status == 201
    else:
        patched = suite.ask("PATCH", status.headers["Location"], data[3:], **second)
        assert (patched.status, patched.headers["Range"]) == (202, f"0-{len(data) - 1}")
        done = suite.ask("PUT", f"{patched.headers['Location']}?digest={digest}", content_length="0")
        assert (done.status, bool(done.headers["Location"])) == (201, True)
    assert suite.ask("GET", f"blobs/{digest}").body == data


def test_an_upload_cancelled(suite: Suite) -> None:
    session = suite.session()
    assert suite.ask("DELETE", session).status == 204
    assert suite.ask("GET", session).status == 404


def test_a_blob_that_is_not_what_its_digest_says(suite: Suite) -> None:
    data, digest = os.urandom(2000), digest_of(os.urandom(3))
    session = suite.session()
    assert suite.ask("PATCH", session, data[:500], content_range="0-499").status == 202
    answers = [suite.ask("POST", f"blobs/uploads/?digest={digest}", data),
               suite.ask("PUT", f"{suite.session()}?digest={digest}", data),
               suite.ask("PUT", f"{session}?digest={digest}", data[500:], content_range="500-1999")]
    assert [(answer.status, answer.json["errors"][0]["code"]) for answer in answers] == [(400, "DIGEST_INVALID")] * 3
    assert suite.ask("HEAD", f"blobs/{digest}").status == 404


def test_a_blob_mounted(suite: Suite) -> None:
    data = os.urandom(512)
    suite.push_blob(data)
    mounts = "/v2/team/mounts/blobs/uploads/"
    nowhere = suite.ask("POST", f"{mounts}?mount={NOWHERE}", content_length="0")
    assert (nowhere.status, bool(nowhere.headers["Location"])) == (202, True)
    missing = suite.ask("POST", f"{mounts}?mount={NOWHERE}&from=team/suite", content_length="0")
    assert (missing.status, missing.headers["Location"].startswith(mounts)) == (202, True)
    for query in ("&from=team/suite", ""):  # and without saying where it is
        mounted = suite.ask("POST", f"{mounts}?mount={digest_of(data)}{query}", content_length="0")
        assert (mounted.status, mounted.headers["Location"]) == (201, f"/v2/team/mounts/blobs/{digest_of(data)}")
        assert suite.ask("GET", mounted.headers["Location"]).body == data
        assert suite.ask("DELETE", mounted.headers["Location"]).status == 202


@pytest.mark.parametrize(("wanted", "part"), [("500-1499", slice(500, 1500)), ("500-", slice(500, None)),
                                              ("-500", slice(-500, None)), ("2000-5000", slice(2000, None))])
def test_a_part_of_a_blob(suite: Suite, wanted: str, part: slice) -> None:
    data = os.urandom(2048)
    suite.push_blob(data)
    answer = suite.ask("GET", f"blobs/{digest_of(data)}", range=f"bytes={wanted}")
    assert (answer.status, answer.body) == (206, data[part])
    start = part.indices(2048)[0]
    assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(data[part]) - 1}/2048"
    assert answer.headers["Content-Length"] == str(len(data[part]))
    for none in ("500-0", "5000-10000"):
        assert suite.ask("GET", f"blobs/{digest_of(data)}", range=f"bytes={none}").status == 416


def test_manifests_of_every_kind(suite: Suite) -> None:
    assert suite.ask("GET", "manifests/.INVALID_MANIFEST_NAME").status == 404
    document = suite.image()
    for number in range(4):
        digest = suite.put(f"test{number}", document)
    large = {f"large-annotation-{number}": "A" * 10_000 for number in range(390)}
    foreign = {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "digest": NOWHERE,
               "size": 123_456, "urls": ["https://store.example.com/blobs/1"]}
    full = suite.image()
    full["config"]["data"] = "e30="
    pushed = [digest] + [suite.put(tag, made) for tag, made in (
        ("emptylayer", suite.image(layers=0)),
        ("", {**suite.image(), "config": {**suite.push_blob(b"any"), "mediaType": "application/vnd.nba.config"}}),
        ("", suite.artifact("application/vnd.nba.strawberry.jam.croissant")),
        ("nothing", {**suite.artifact("application/vnd.x"), "layers": [descriptor(b"{}", EMPTY)]}),
        ("large", suite.image(annotations=large)),
        ("foreign", {**suite.image(), "layers": [foreign, suite.push_blob(b"ours")]}),
        ("data", full), ("custom", suite.image(**{"org.example.member": {"any": ["thing"]}})))]
    listed = suite.put("", suite.index(*pushed[:2], artifactType="application/vnd.index"), OCI_INDEX)
    pushed += [listed, suite.put("nested", suite.index(listed, pushed[0]), OCI_INDEX),
               suite.put("empty-index", suite.index(), OCI_INDEX)]
    for digest in pushed:
        got = suite.ask("GET", f"manifests/{digest}")
        assert (got.status, digest_of(got.body)) == (200, digest)
    dangling = suite.artifact("application/vnd.x", subject={"mediaType": OCI_IMAGE, "digest": NOWHERE, "size": 7})
    suite.put("", dangling)
    wrong = suite.ask("PUT", f"manifests/{NOWHERE}", json.dumps(document).encode(), content_type=OCI_IMAGE)
    assert (wrong.status, wrong.json["errors"][0]["code"]) == (400, "DIGEST_INVALID")


# ── Content discovery ────────────────────────────────────────────────────────────────────────────────────────────────

def test_tags(suite: Suite) -> None:
    document = suite.image()
    for tag in ("test2", "test0", "test3", "test1"):
        suite.put(tag, document)
    whole = suite.ask("GET", "tags/list").json["tags"]
    assert whole == ["test0", "test1", "test2", "test3"]
    half = suite.ask("GET", "tags/list?n=2").json["tags"]
    assert half == whole[:2]
    assert suite.ask("GET", f"tags/list?n=2&last={half[-1]}").json["tags"] == whole[2:]
    assert suite.ask("GET", f"tags/list?last={half[-1]}").json["tags"] == whole[2:]


def test_referrers(suite: Suite) -> None:
    """Those that were pushed before their subject and those after it, images and indexes, by each kind of type."""
    strawberry, grape, listed = "application/vnd.nba.strawberry", "application/vnd.nba.grape", "application/vnd.index"
    target = suite.image()
    body = json.dumps(target, indent=1).encode()
    subject = {"mediaType": OCI_IMAGE, "digest": digest_of(body), "size": len(body)}
    wanted: dict[str, tuple[str, str]] = {}

    def push(kind: str, note: str) -> None:
        members = {"subject": subject, "annotations": {"note": note}}
        if kind == "index":
            wanted[suite.put("", suite.index(artifactType=listed, **members), OCI_INDEX)] = (listed, note)
        elif kind == "config":
            made = suite.image(b"", **members)
            made["config"]["mediaType"] = strawberry
            wanted[suite.put("", made)] = (strawberry, note)
        else:
            wanted[suite.put("", suite.artifact(grape, **members))] = (grape, note)
    for kind in ("config", "layer", "index"):
        push(kind, f"{kind} before")
    assert suite.put("tagtest0", target) == subject["digest"]
    for kind in ("config", "layer"):
        push(kind, f"{kind} after")
    missing = suite.put("", suite.artifact(grape, subject={**subject, "digest": NOWHERE}))
    answer, found = suite.referrers(digest_of(body))
    assert {each["digest"]: (each["artifactType"], each["annotations"]["note"]) for each in found} == wanted
    assert len(found) == 5
    assert answer.headers["OCI-Filters-Applied"] is None
    for each in found:
        manifest = suite.ask("GET", f"manifests/{each['digest']}")
        assert (each["size"], each["mediaType"]) == (len(manifest.body), manifest.headers["Content-Type"])
    for artifact_type, count in ((strawberry, 2), (grape, 2), (listed, 1), ("application/vnd.none", 0)):
        answer, found = suite.referrers(digest_of(body), f"?artifactType={artifact_type}")
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        assert [each["artifactType"] for each in found] == [artifact_type] * count
    assert [each["digest"] for each in suite.referrers(NOWHERE)[1]] == [missing]
    assert suite.ask("DELETE", f"manifests/{missing}").status == 202
    assert suite.referrers(NOWHERE)[1] == []


# ── Content management ───────────────────────────────────────────────────────────────────────────────────────────────

def test_deletes(suite: Suite) -> None:
    document = suite.image()
    digest, other = suite.put("tagtest0", document), suite.put("tagtest1", document)
    assert digest == other
    blob = document["config"]["digest"]
    assert suite.ask("DELETE", f"blobs/{blob}").status == 405  # an image uses it
    assert suite.ask("DELETE", "manifests/tagtest0").status == 202
    assert suite.ask("HEAD", "manifests/tagtest0").status == 404
    assert suite.ask("GET", "tags/list").json["tags"] == ["tagtest1"]
    assert suite.ask("DELETE", f"manifests/{digest}").status == 202
    assert suite.ask("GET", f"manifests/{digest}").status == 404
    assert suite.ask("GET", "tags/list").json["tags"] == []
    for deleted in (blob, document["layers"][0]["digest"]):
        assert suite.ask("DELETE", f"blobs/{deleted}").status == 202
        assert suite.ask("GET", f"blobs/{deleted}").status == 404
        assert suite.ask("DELETE", f"blobs/{deleted}").status == 404
