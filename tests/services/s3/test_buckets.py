"""Buckets: CreateBucket, HeadBucket, GetBucketLocation, ListBuckets, DeleteBucket."""

import pytest

from tests.services.s3.counter import Counter

OTHER = "111111111111"


def test_a_bucket_is_made_found_listed_and_deleted(counter: Counter) -> None:
    made = counter.ask("PUT", "/made")
    assert (made.status, made.headers["location"]) == (200, "/made")
    assert counter.ask("HEAD", "/made").headers["x-amz-bucket-region"] == "us-east-1"
    assert counter.ask("GET", "/made", location="").xml.text is None
    listed = counter.ask("GET", "/").xml
    assert [name.text for name in listed.findall("Buckets/Bucket/Name")] == ["bkt", "made"]
    assert counter.ask("DELETE", "/made").status == 204
    assert counter.ask("HEAD", "/made").status == 404
    assert counter.ask("DELETE", "/made").code == "NoSuchBucket"


def test_a_bucket_of_another_region_says_so(counter: Counter) -> None:
    body = b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"
    assert counter.ask("PUT", "/far", body).code == "IllegalLocationConstraintException"
    assert counter.ask("PUT", "/far", region="eu-west-1").code == "IllegalLocationConstraintException"
    assert counter.ask("PUT", "/far", body, region="eu-west-1").status == 200
    assert counter.ask("GET", "/far", location="").xml.text == "eu-west-1"
    assert counter.ask("PUT", "/far", body, region="eu-west-1").code == "BucketAlreadyOwnedByYou"


def test_a_name_is_taken_once(counter: Counter) -> None:
    assert counter.ask("PUT", "/bkt").status == 200  # in us-east-1 its owner may make it again
    assert counter.ask("PUT", "/bkt", key=OTHER).code == "BucketAlreadyExists"


@pytest.mark.parametrize("name", ["ab", "a" * 64, "Upper", "under_score", "-a-", "a..b", "192.168.5.4", "xn--abc",
                                  "abc-s3alias", "abc-"])
def test_names_that_no_bucket_may_have(counter: Counter, name: str) -> None:
    assert counter.ask("PUT", f"/{name}").code == "InvalidBucketName"


def test_pages_of_buckets(counter: Counter) -> None:
    for name in ("c1c", "c2c", "d1d"):
        counter.ask("PUT", f"/{name}")
    page = counter.ask("GET", "/", max_buckets="1", prefix="c").xml
    assert [name.text for name in page.findall("Buckets/Bucket/Name")] == ["c1c"]
    rest = counter.ask("GET", "/", prefix="c", continuation_token=page.findtext("ContinuationToken")).xml
    assert [name.text for name in rest.findall("Buckets/Bucket/Name")] == ["c2c"]
    assert rest.find("ContinuationToken") is None


def test_a_bucket_with_something_in_it_stays(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    assert counter.ask("DELETE", "/bkt").code == "BucketNotEmpty"
    counter.ask("DELETE", "/bkt/key")
    assert counter.ask("DELETE", "/bkt").status == 204


def test_the_owner_that_a_request_expects(counter: Counter) -> None:
    for owner, status in ((OTHER, 403), ("000000000000", 200)):
        headers = {"x-amz-expected-bucket-owner": owner}
        assert counter.ask("GET", "/bkt", location="", headers=headers).status == status
