"""ListObjects, ListObjectsV2 and ListObjectVersions."""

import hashlib
from typing import Any

import pytest

from tests.services.s3.counter import Answer, Counter, document

KEYS = ["a+b", "a b", "boo/bar", "boo/baz/xyzzy", "cquux/thud", "cquux/bla", "é/☃", "\U0001f600", "top"]


@pytest.fixture
def filled(counter: Counter) -> Counter:
    for key in KEYS:
        counter.ask("PUT", f"/bkt/{key}", key.encode())
    return counter


def names(answer: Answer, path: str = "Contents/Key") -> list[str]:
    return [element.text or "" for element in answer.xml.findall(path)]


def prefixes(answer: Answer) -> list[str]:
    return names(answer, "CommonPrefixes/Prefix")


@pytest.mark.parametrize("v2", [{}, {"list_type": "2"}])
def test_keys_in_the_order_of_their_bytes(filled: Counter, v2: dict[str, str]) -> None:
    answer = filled.ask("GET", "/bkt", **v2)
    assert names(answer) == sorted(KEYS, key=str.encode)
    one = answer.xml.find("Contents")
    assert {child.tag: child.text for child in one if child.tag != "Owner"} == {
        "Key": "a b", "LastModified": "2023-11-14T22:13:20.000Z", "ETag": f'"{hashlib.md5(b"a b").hexdigest()}"',
        "Size": "3", "ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT", "StorageClass": "STANDARD"}
    assert (one.find("Owner") is None) == bool(v2)
    assert filled.ask("GET", "/bkt", list_type="2", fetch_owner="true").xml.find("Contents/Owner/ID") is not None
    assert (answer.xml.findtext("IsTruncated"), answer.xml.findtext("Prefix"), answer.xml.find("Delimiter")) == (
        "false", "", None)


def test_delimiters_of_any_length(filled: Counter) -> None:
    answer = filled.ask("GET", "/bkt", delimiter="/")
    assert (names(answer), prefixes(answer)) == (["a b", "a+b", "top", "\U0001f600"], ["boo/", "cquux/", "é/"])
    assert filled.ask("GET", "/bkt", list_type="2", delimiter="/").xml.findtext("KeyCount") == "7"
    within = filled.ask("GET", "/bkt", delimiter="/", prefix="boo/")
    assert (names(within), prefixes(within)) == (["boo/bar"], ["boo/baz/"])
    assert prefixes(filled.ask("GET", "/bkt", delimiter="oo/ba")) == ["boo/ba"]
    assert filled.ask("GET", "/bkt", delimiter="").xml.find("Delimiter") is None
    assert names(filled.ask("GET", "/bkt", prefix="nothing")) == []


def test_pages(filled: Counter) -> None:
    seen: list[str] = []
    marker = ""
    while True:
        answer = filled.ask("GET", "/bkt", delimiter="/", max_keys="2", marker=marker)
        seen += names(answer) + prefixes(answer)
        if answer.xml.findtext("IsTruncated") == "false":
            break
        marker = answer.xml.findtext("NextMarker")
    assert sorted(seen) == sorted(["a b", "a+b", "top", "\U0001f600", "boo/", "cquux/", "é/"])
    token: dict[str, str] = {}
    walked: list[str] = []
    while True:
        answer = filled.ask("GET", "/bkt", list_type="2", max_keys="4", start_after="a b", **token)
        walked += names(answer)
        assert answer.xml.findtext("StartAfter") == "a b"
        if answer.xml.findtext("IsTruncated") == "false":
            break
        token = {"continuation_token": answer.xml.findtext("NextContinuationToken")}
        assert filled.ask("GET", "/bkt", max_keys="4").xml.find("NextMarker") is None  # only where there is a delimiter
    assert walked == sorted(KEYS, key=str.encode)[1:]


def test_listings_say_where_the_bucket_is(filled: Counter) -> None:
    for query in ({}, {"list_type": "2", "prefix": "a", "fetch_owner": "true"}):
        assert filled.ask("GET", "/bkt", **query).headers["x-amz-bucket-region"] == "us-east-1"
    assert "x-amz-bucket-region" not in filled.ask("GET", "/bkt", versioning="").headers
    assert "x-amz-bucket-region" not in filled.ask("GET", "/").headers


def test_who_owns_objects_is_not_told_to_just_anybody(filled: Counter) -> None:
    filled.ask("DELETE", "/bkt", publicAccessBlock="")
    policy = document({"Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bkt"}).encode()
    assert filled.ask("PUT", "/bkt", policy, policy="").status == 204
    assert filled.ask("GET", "/bkt", key="").xml.find("Contents/Owner") is None
    assert filled.ask("GET", "/bkt").xml.find("Contents/Owner/ID") is not None


def test_how_many(filled: Counter) -> None:
    none = filled.ask("GET", "/bkt", list_type="2", max_keys="0")
    assert (names(none), none.xml.findtext("IsTruncated"), none.xml.findtext("KeyCount")) == ([], "false", "0")
    assert filled.ask("GET", "/bkt", max_keys="5000").xml.findtext("MaxKeys") == "1000"
    exactly = filled.ask("GET", "/bkt", max_keys=str(len(KEYS)))
    assert (len(names(exactly)), exactly.xml.findtext("IsTruncated")) == (len(KEYS), "false")


@pytest.mark.parametrize("query", [
    {"max_keys": "-1"}, {"max_keys": "many"}, {"max_keys": "99999999999"}, {"encoding_type": "punycode"},
    {"list_type": "2", "continuation_token": ""}, {"list_type": "2", "continuation_token": "!"},
    {"versions": "", "version_id_marker": "x"}, {"list_type": "3"}, {"start_after": "a"},
    {"continuation_token": "MWE="}, {"list_type": "2", "marker": "a"}])
def test_what_no_listing_may_ask(filled: Counter, query: dict[str, str]) -> None:
    answer = filled.ask("GET", "/bkt", **query)
    assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_what_is_wrong_with_a_number_of_keys_is_said_in_aws_s_words(filled: Counter) -> None:
    for query in ({}, {"list_type": "2"}, {"versions": ""}):
        refused = filled.ask("GET", "/bkt", max_keys="-1", **query).xml
        assert refused.findtext("Message") == "Argument maxKeys must be an integer between 0 and 2147483647"
        assert (refused.findtext("ArgumentName"), refused.findtext("ArgumentValue")) == ("maxKeys", "-1")


def test_keys_that_xml_cannot_say(counter: Counter) -> None:
    for key in ("a\x01b", "d/\x02", "100%"):
        counter.ask("PUT", f"/bkt/{key}")
    answer = counter.ask("GET", "/bkt", encoding_type="url", delimiter="/", start_after="0", list_type="2")
    assert (names(answer), prefixes(answer)) == (["100%25", "a%01b"], ["d/"])
    assert answer.xml.findtext("EncodingType") == "url"
    assert "�" in names(counter.ask("GET", "/bkt"))[1]


def test_what_is_not_there(counter: Counter) -> None:
    for query in ({}, {"list_type": "2"}, {"versions": ""}, {"uploads": ""}):
        assert counter.ask("GET", "/nowhere", **query).code == "NoSuchBucket"


def test_versions_and_markers(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/b", b"0")
    counter.ask("PUT", "/bkt", b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
                versioning="")
    ids = [counter.ask("PUT", f"/bkt/{key}", b"1").headers["x-amz-version-id"] for key in ("a", "a", "b", "c/d")]
    marker = counter.ask("DELETE", "/bkt/a").headers["x-amz-version-id"]
    answer = counter.ask("GET", "/bkt", versions="")
    found = [(each.tag, each.findtext("Key"), each.findtext("VersionId"), each.findtext("IsLatest"))
             for each in answer.xml if each.tag in ("Version", "DeleteMarker")]
    assert sorted(found) == sorted([
        ("DeleteMarker", "a", marker, "true"), ("Version", "a", ids[1], "false"), ("Version", "a", ids[0], "false"),
        ("Version", "b", ids[2], "true"), ("Version", "b", "null", "false"), ("Version", "c/d", ids[3], "true")])
    assert prefixes(counter.ask("GET", "/bkt", versions="", delimiter="/")) == ["c/"]
    assert names(counter.ask("GET", "/bkt")) == ["b", "c/d"]
    after = counter.ask("GET", "/bkt", versions="", key_marker="a", version_id_marker=ids[1])
    assert names(after, "Version/VersionId") == [ids[0], ids[2], "null", ids[3]]
    assert names(counter.ask("GET", "/bkt", versions="", key_marker="b"), "Version/Key") == ["c/d"]


def test_a_bucket_is_emptied_page_by_page(counter: Counter) -> None:
    """The version that a page ended with is deleted before the next page is asked for, as every such program does."""
    counter.ask("PUT", "/bkt", b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
                versioning="")
    for key in ("a", "a", "a", "b", "b"):
        counter.ask("PUT", f"/bkt/{key}", b"1")
    query: dict[str, Any] = {}
    for _ in range(5):
        answer = counter.ask("GET", "/bkt", versions="", max_keys="2", **query)
        for one in answer.xml.findall("Version"):
            counter.ask("DELETE", f"/bkt/{one.findtext('Key')}", versionId=one.findtext("VersionId"))
        if answer.xml.findtext("IsTruncated") == "false":
            break
        query = {"key_marker": answer.xml.findtext("NextKeyMarker"),
                 "version_id_marker": answer.xml.findtext("NextVersionIdMarker")}
    assert counter.rows("s3_version") == 0


def test_until_when_archived_objects_can_be_read(counter: Counter) -> None:
    for key, kind in (("cold", "GLACIER"), ("colder", "DEEP_ARCHIVE"), ("warm", "STANDARD")):
        counter.ask("PUT", f"/bkt/{key}", b"x", headers={"x-amz-storage-class": kind})
    restore = b"<RestoreRequest><Days>2</Days></RestoreRequest>"
    assert counter.ask("POST", "/bkt/cold", restore, restore="").status == 202
    asked = {"x-amz-optional-object-attributes": "RestoreStatus"}
    for query, tag in (({}, "Contents"), ({"list_type": "2"}, "Contents"), ({"versions": ""}, "Version")):
        answer = counter.ask("GET", "/bkt", headers=asked, **query).xml
        assert [(each.findtext("Key"), each.findtext("RestoreStatus/RestoreExpiryDate"),
                 each.findtext("RestoreStatus/IsRestoreInProgress")) for each in answer.findall(tag)] == [
            ("cold", "2023-11-17T00:00:00.000Z", "false"), ("colder", None, None), ("warm", None, None)]
        assert counter.ask("GET", "/bkt", **query).xml.find(f"{tag}/RestoreStatus") is None
