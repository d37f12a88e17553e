"""Buckets: CreateBucket, HeadBucket, GetBucketLocation, ListBuckets, DeleteBucket."""

import asyncio
from dataclasses import replace

import pytest
from botocore.auth import S3SigV4QueryAuth

from cloudlet.services.s3 import set_object_ownership
from tests.services.s3.counter import Counter
from tests.wire.exchange import HOST, presigned, text_of

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


def test_what_is_said_of_a_bucket_has_a_document_s_type(counter: Counter) -> None:
    assert counter.ask("HEAD", "/bkt").headers["content-type"] == "application/xml"


@pytest.mark.parametrize("kind", ["versioning", "object-lock", "lifecycle", "publicAccessBlock", "tagging"])
def test_a_document_that_is_missing(counter: Counter, kind: str) -> None:
    answer = counter.ask("PUT", "/bkt", headers={"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, **{kind: ""})
    assert (answer.status, answer.code) == (400, "MissingRequestBodyError")


def test_a_bucket_of_another_region_says_so(counter: Counter) -> None:
    body = b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"
    assert counter.ask("PUT", "/far", body, region="eu-north-1").code == "IllegalLocationConstraintException"
    assert counter.ask("PUT", "/far", region="eu-west-1").code == "IllegalLocationConstraintException"
    nowhere = counter.ask("PUT", "/far", region="US")
    assert (nowhere.code, nowhere.xml.findtext("Region")) == ("AuthorizationHeaderMalformed", "us-east-1")
    for wrong in (b"nowhere", b"us-east-1"):
        assert counter.ask("PUT", "/far", body.replace(b"eu-west-1", wrong)).code == "InvalidLocationConstraint"
        elsewhere = counter.ask("PUT", "/far", body.replace(b"eu-west-1", wrong), region="eu-west-1")
        assert elsewhere.code == "IllegalLocationConstraintException"
    assert counter.ask("PUT", "/far", body, region="eu-west-1").status == 200
    assert counter.ask("GET", "/far", location="").xml.text == "eu-west-1"  # whichever region is asked
    for region in ("us-east-1", "eu-west-1"):
        assert counter.ask("PUT", "/far", body, region=region).code == "BucketAlreadyOwnedByYou"
    assert counter.ask("PUT", "/far").code == "BucketAlreadyOwnedByYou"
    assert counter.ask("PUT", "/far2", body).status == 200  # us-east-1's endpoint makes them anywhere
    assert counter.ask("GET", "/far2", location="").xml.text == "eu-west-1"


def test_a_signature_for_another_region_is_told_the_right_one(counter: Counter) -> None:
    body = b"<CreateBucketConfiguration><LocationConstraint>EU</LocationConstraint></CreateBucketConfiguration>"
    counter.ask("PUT", "/far", body)
    assert counter.ask("PUT", "/far/key", b"x", region="eu-west-1").status == 200
    answer = counter.ask("GET", "/far/key")
    assert (answer.status, answer.code, answer.headers["x-amz-bucket-region"]) == (
        400, "AuthorizationHeaderMalformed", "eu-west-1")
    assert (answer.xml.findtext("Region"), answer.xml.findtext("Message")) == (
        "eu-west-1", "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'")
    link = counter.gateway.handle(presigned("s3", f"http://{HOST}/far/key", signer=S3SigV4QueryAuth))
    assert ("<Code>AuthorizationQueryParametersError</Code><Message>Error parsing the X-Amz-Credential parameter; the"
            " region 'us-east-1' is wrong; expecting 'eu-west-1'</Message>") in text_of(asyncio.run(link))
    head = counter.ask("HEAD", "/far")
    assert (head.status, head.headers["x-amz-bucket-region"]) == (301, "eu-west-1")
    assert counter.ask("HEAD", "/far/key").status == 400
    assert counter.ask("GET", "/far/key", region="eu-west-1").body == b"x"
    assert counter.ask("DELETE", "/far").status == 400


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
    for wrong in ("0", "10001"):
        refused = counter.ask("GET", "/", max_buckets=wrong)
        assert (refused.code, refused.xml.findtext("Message"), refused.xml.findtext("ArgumentName")) == (
            "InvalidArgument", "Argument max-buckets must be an integer between 1 and 10000.", "max-buckets")


@pytest.mark.parametrize("document", ["<", "<Tagging></Tagging>", "<!DOCTYPE x><Tagging/>"])
def test_of_a_document_that_is_wrong_no_more_is_said(counter: Counter, document: str) -> None:
    refused = counter.ask("PUT", "/bkt", document.encode(), tagging="")
    assert (refused.code, refused.xml.findtext("Message")) == (
        "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")


def test_a_bucket_with_something_in_it_stays(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    assert counter.ask("DELETE", "/bkt").code == "BucketNotEmpty"
    counter.ask("DELETE", "/bkt/key")
    enable = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    counter.ask("PUT", "/bkt", enable, versioning="")
    marker = counter.ask("DELETE", "/bkt/key").headers["x-amz-version-id"]
    refused = counter.ask("DELETE", "/bkt")
    assert (refused.code, refused.xml.findtext("Message")) == (
        "BucketNotEmpty", "The bucket you tried to delete is not empty. You must delete all versions in the bucket.")
    counter.ask("DELETE", "/bkt/key", versionId=marker)
    assert counter.ask("DELETE", "/bkt").status == 204


def test_the_owner_that_a_request_expects(counter: Counter) -> None:
    for owner, status in ((OTHER, 403), ("000000000000", 200)):
        headers = {"x-amz-expected-bucket-owner": owner}
        assert counter.ask("GET", "/bkt", location="", headers=headers).status == status
    for owner in ("0000", "0000000000020", "abcd"):
        refused = counter.ask("GET", "/bkt", location="", headers={"x-amz-expected-bucket-owner": owner})
        assert (refused.status, refused.code, refused.xml.findtext("Message")) == (
            400, "InvalidBucketOwnerAWSAccountID",
            f"The value of the expected bucket owner parameter must be an AWS Account ID... [{owner}]")


def create(counter: Counter, name: str, **headers: str) -> str:
    return counter.ask("PUT", f"/{name}", headers={f"x-amz-{header.replace('_', '-')}": value
                                                   for header, value in headers.items()}).code


def test_what_a_bucket_is_made_with(counter: Counter) -> None:
    assert create(counter, "plain") == ""
    assert create(counter, "private", acl="private") == ""  # which says nothing new
    assert create(counter, "open", acl="public-read") == "InvalidBucketAclWithObjectOwnership"
    assert create(counter, "open", acl="public-read", object_ownership="ObjectWriter") == (
        "InvalidBucketAclWithBlockPublicAccessError")
    assert create(counter, "open", acl="nonsense") == "InvalidArgument"
    assert create(counter, "open", object_ownership="Nobody") == "InvalidArgument"
    assert create(counter, "open", acl="private", grant_read='id="x"') == "InvalidRequest"
    assert create(counter, "listed", acl="log-delivery-write", object_ownership="BucketOwnerPreferred") == ""
    assert len(counter.ask("GET", "/listed", acl="").xml.findall("AccessControlList/Grant")) == 3
    assert create(counter, "locked", bucket_object_lock_enabled="true") == ""
    assert counter.ask("GET", "/locked", versioning="").xml.findtext("Status") == "Enabled"
    body = (b"<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags>"
            b"</CreateBucketConfiguration>")
    assert counter.ask("PUT", "/tagged", body).status == 200
    assert counter.ask("GET", "/tagged", tagging="").xml.findtext("TagSet/Tag/Value") == "b"
    body = b"<CreateBucketConfiguration><Location><Name>use1-az4</Name></Location></CreateBucketConfiguration>"
    assert counter.ask("PUT", "/directory", body).code == "InvalidRequest"
    assert [name.text for name in counter.ask("GET", "/").xml.findall("Buckets/Bucket/Name")] == [
        "bkt", "listed", "locked", "plain", "private", "tagged"]


def test_a_setting_makes_new_buckets_as_before_2023(counter: Counter) -> None:
    set_object_ownership(counter.store, replace(counter.desk.site, object_ownership="ObjectWriter"))
    assert create(counter, "open", acl="public-read") == ""
    assert counter.ask("GET", "/open", ownershipControls="").xml.findtext("Rule/ObjectOwnership") == "ObjectWriter"
    assert counter.ask("GET", "/open", publicAccessBlock="").code == "NoSuchPublicAccessBlockConfiguration"
    assert counter.ask("GET", "/open", key="").status == 200
    assert counter.ask("GET", "/bkt", ownershipControls="").xml.findtext("Rule/ObjectOwnership") == (
        "BucketOwnerEnforced")
    set_object_ownership(counter.store, counter.desk.site)
    assert create(counter, "shut", acl="public-read") == "InvalidBucketAclWithObjectOwnership"


def test_a_bucket_made_again_by_its_owner_has_its_first_list(counter: Counter) -> None:
    create(counter, "twice", acl="log-delivery-write", object_ownership="ObjectWriter")
    assert create(counter, "twice") == ""
    assert len(counter.ask("GET", "/twice", acl="").xml.findall("AccessControlList/Grant")) == 1


def test_what_is_configured_goes_with_the_bucket(counter: Counter) -> None:
    tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    assert counter.ask("PUT", "/bkt", tags, tagging="").status == 204
    counter.ask("DELETE", "/bkt")
    counter.ask("PUT", "/bkt")
    assert counter.ask("GET", "/bkt", tagging="").code == "NoSuchTagSet"
