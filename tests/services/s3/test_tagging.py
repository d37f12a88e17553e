"""Tags of objects: PutObjectTagging, GetObjectTagging, DeleteObjectTagging, and the header."""

from collections.abc import Iterable
from typing import Any

import pytest

from tests.services.s3.counter import Counter


def document(tags: Iterable[tuple[str, str]]) -> bytes:
    inner = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in tags)
    return f"<Tagging><TagSet>{inner}</TagSet></Tagging>".encode()


def tags_of(counter: Counter, **query: str) -> dict[str, str]:
    root: Any = counter.ask("GET", "/bkt/key", tagging="", **query).xml
    return {tag.findtext("Key"): tag.findtext("Value") for tag in root.iter("Tag")}


def test_tags_are_put_got_and_deleted(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"x", headers={"x-amz-tagging": "a=1&b=%C3%BC+%2B"})
    assert tags_of(counter) == {"a": "1", "b": "ü +"}
    assert counter.ask("PUT", "/bkt/key", document([("c", "")]), tagging="").status == 200
    assert tags_of(counter) == {"c": ""}
    assert counter.ask("HEAD", "/bkt/key").headers["x-amz-tagging-count"] == "1"
    assert counter.ask("DELETE", "/bkt/key", tagging="").status == 204
    assert tags_of(counter) == {}
    assert counter.ask("GET", "/bkt/none", tagging="").code == "NoSuchKey"


def test_each_version_has_its_own(counter: Counter) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    counter.ask("PUT", "/bkt", enabled, versioning="")
    one = counter.ask("PUT", "/bkt/key", b"x").headers["x-amz-version-id"]
    counter.ask("PUT", "/bkt/key", b"y")
    put = counter.ask("PUT", "/bkt/key", document([("a", "1")]), tagging="", versionId=one)
    assert put.headers["x-amz-version-id"] == one
    assert (tags_of(counter, versionId=one), tags_of(counter)) == ({"a": "1"}, {})


def test_the_tags_of_what_was_deleted(counter: Counter) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    counter.ask("PUT", "/bkt", enabled, versioning="")
    counter.ask("PUT", "/bkt/key", b"x")
    marker = counter.ask("DELETE", "/bkt/key").headers["x-amz-version-id"]
    for method, body in (("PUT", document([("a", "1")])), ("GET", b""), ("DELETE", b"")):
        for query in ({"versionId": marker}, {}):  # as on AWS, where reading the object itself is a NoSuchKey
            answer = counter.ask(method, "/bkt/key", body, tagging="", **query)
            assert (answer.status, answer.xml.findtext("Method"), answer.xml.findtext("ResourceType")) == (
                405, method, "DeleteMarker")


def test_a_list_is_put_on_no_marker(counter: Counter) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    counter.ask("PUT", "/bkt", enabled, versioning="")
    counter.ask("PUT", "/bkt/key", b"x")
    counter.ask("DELETE", "/bkt/key")
    refused = counter.ask("PUT", "/bkt/key", acl="", headers={"x-amz-acl": "bucket-owner-full-control"})
    assert (refused.status, refused.code, refused.xml.findtext("Method")) == (405, "MethodNotAllowed", "PUT")
    assert counter.ask("GET", "/bkt/key", acl="").code == "NoSuchKey"


def test_tags_of_the_system_are_refused_in_other_words(counter: Counter) -> None:
    answer = counter.ask("PUT", "/bkt/key", b"x", headers={"x-amz-tagging": "aws:a=1"})
    assert (answer.code, answer.xml.findtext("Message")) == ("InvalidTag", "Your TagKey cannot be prefixed with aws:")


@pytest.mark.parametrize(("tags", "code"), [
    ([("a", "1"), ("a", "2")], "InvalidTag"), ([("aws:x", "1")], "InvalidTag"), ([("k" * 129, "1")], "InvalidTag"),
    ([("", "1")], "InvalidTag"), ([("k", "v" * 257)], "InvalidTag"), ([("k", "a;b")], "InvalidTag"),
    ([(str(number), "") for number in range(11)], "BadRequest")])
def test_tags_that_are_refused(counter: Counter, tags: list[tuple[str, str]], code: str) -> None:
    counter.ask("PUT", "/bkt/key", b"x", headers={"x-amz-tagging": "old=1"})
    assert counter.ask("PUT", "/bkt/key", document(tags), tagging="").code == code
    assert tags_of(counter) == {"old": "1"}


@pytest.mark.parametrize(("header", "tags"), [
    ("&&", {}), ("a", {"a": ""}), ("a&", {"a": ""}), ("a&b=1", {"a": "", "b": "1"}), ("a+b=%2B", {"a b": "+"})])
def test_headers_that_say_little(counter: Counter, header: str, tags: dict[str, str]) -> None:
    assert counter.ask("PUT", "/bkt/key", b"x", headers={"x-amz-tagging": header}).status == 200
    assert tags_of(counter) == tags


@pytest.mark.parametrize("header", ["a=1&a=2", "=", "a=%FF", "a%", "a=%2", "a=1,b=2", "a=b=c"])
def test_headers_that_are_no_tags(counter: Counter, header: str) -> None:
    refused = counter.ask("PUT", "/bkt/key", b"x", headers={"x-amz-tagging": header})
    assert (refused.code, refused.xml.findtext("ArgumentName")) == ("InvalidArgument", "x-amz-tagging")
    assert counter.ask("HEAD", "/bkt/key").status == 404
