"""Listing referrers, beyond what the conformance suite asks."""

import json
from typing import Any

import pytest

from cloudlet.services.ecr import referrers
from cloudlet.services.ecr.manifests import OCI_IMAGE
from cloudlet.store.blobs import digest_of
from tests.services.ecr.counter import Counter, image

SUBJECT = {"mediaType": OCI_IMAGE, "digest": digest_of(b"subject"), "size": 7}
URL = f"/v2/app/referrers/{SUBJECT['digest']}"


def refer(counter: Counter, number: int, artifact_type: str = "application/vnd.x+json", **members: Any) -> str:
    counter.push_blob(b"config")
    body = image(OCI_IMAGE, b"config", artifactType=artifact_type, subject=SUBJECT, **members,
                 annotations={"number": str(number), "long": "x" * 1000})
    assert counter.put_manifest(digest_of(body), body, OCI_IMAGE).status == 201
    return digest_of(body)


def test_pages(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = sorted(refer(counter, number) for number in range(7))
    refer(counter, 8, "application/vnd.y")
    monkeypatch.setattr(referrers, "PAGE_BYTES", 3000)
    seen, url, pages = [], f"{URL}?artifactType=application/vnd.x%2Bjson", 0
    while url:
        answer = counter.ask("GET", url)
        assert answer.headers["oci-filters-applied"] == "artifactType"
        found = json.loads(answer.body)["manifests"]
        assert 1 <= len(found) <= 2
        seen += [each["digest"] for each in found]
        link, pages = answer.headers.get("link", ""), pages + 1
        assert not link or link.endswith('; rel="next"')
        url = link[1:].partition(">")[0]
    assert (seen, pages) == (wanted, 4)


def test_a_plus_sign_may_be_sent_as_it_is(counter: Counter) -> None:
    digest = refer(counter, 1)
    (found,) = json.loads(counter.ask("GET", f"{URL}?artifactType=application/vnd.x+json").body)["manifests"]
    assert found["digest"] == digest


def test_referrers_are_those_of_one_repository(counter: Counter) -> None:
    counter("CreateRepository", repositoryName="other")
    refer(counter, 1)
    assert json.loads(counter.ask("GET", URL.replace("/app/", "/other/")).body)["manifests"] == []
    counter("DeleteRepository", repositoryName="app", force=True)
    counter("CreateRepository", repositoryName="app")
    assert json.loads(counter.ask("GET", URL).body)["manifests"] == []
