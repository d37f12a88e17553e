"""What policies may ask of a request, and what a request needs for what it asks."""

import asyncio
import base64
import hashlib
from typing import Any

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.services.s3.access.test_decision import OBJECTS, policy
from tests.services.s3.counter import Counter
from tests.services.s3.settings.test_bucket_inventory import wanted
from tests.services.s3.settings.test_tagging import tagging
from tests.services.s3.test_uploads import begin, complete, sent
from tests.services.s3.test_uploads import document as document_of
from tests.wire.exchange import HOST, presigned, request_of


@pytest.fixture(autouse=True)
def filled(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")


LINK = {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}


@pytest.mark.parametrize(("condition", "allowed"), [
    ({"StringEquals": {"s3:authType": "REST-HEADER"}}, ""), (LINK, "link old"),
    ({**LINK, "NumericLessThan": {"s3:signatureAge": "60000"}}, "link"),
    ({"StringEquals": {"s3:signatureversion": "AWS"}}, "old"),
    ({"StringNotEquals": {"s3:signatureversion": "AWS"}}, "link"),
    ({**LINK, "Null": {"s3:signatureAge": "true"}}, "old")])
def test_how_a_link_is_signed(counter: Counter, condition: dict[str, Any], allowed: str) -> None:
    bob, url = counter.user("bob", {"Condition": condition}), f"http://{HOST}/bkt/key"
    link = presigned("s3", url, signer=S3SigV4QueryAuth, key=bob["key"], secret=bob["secret"])
    old = AWSRequest("GET", url)
    HmacV1QueryAuth(Credentials(bob["key"], bob["secret"])).add_auth(old)
    made = {"link": link, "old": request_of("GET", old.url, {})}
    assert [name for name, request in made.items() if asyncio.run(counter.answer(request)).status == 200] == (
        allowed.split())


CONDITIONAL = {"Principal": "*", "Resource": OBJECTS, "Action": "s3:PutObject", "Effect": "Deny"}


def test_writes_may_have_to_be_conditional(counter: Counter) -> None:
    """As https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html has it."""
    assert policy(counter, {**CONDITIONAL, "Condition": {
        "Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}}) == ""
    new, copied = {"if-none-match": "*"}, {"x-amz-copy-source": "/bkt/key"}
    assert counter.ask("PUT", "/bkt/new", b"x").code == "AccessDenied"
    assert counter.ask("PUT", "/bkt/new", b"x", headers=new).status == 200
    assert counter.ask("PUT", "/bkt/copy", headers=copied).code == "AccessDenied"
    upload = begin(counter, "parts")  # nothing of which makes an object before it is completed
    parts = sent(counter, upload, b"x", key="parts")
    assert counter.ask("PUT", "/bkt/parts", headers=copied, partNumber="2", uploadId=upload).status == 200
    assert complete(counter, upload, parts, "parts").code == "AccessDenied"
    assert complete(counter, upload, parts, "parts", headers=new).status == 200


def test_who_asks_about_an_entity_tag_must_be_allowed_to_read(counter: Counter) -> None:
    writes = {"Action": ["s3:PutObject", "s3:DeleteObject"]}
    bob, etag = counter.user("bob", writes), counter.ask("HEAD", "/bkt/key").headers["etag"]
    one = f"<Delete><Object><Key>key</Key><ETag>{etag}</ETag></Object></Delete>".encode()
    digest = {"content-md5": base64.b64encode(hashlib.md5(one).digest()).decode()}
    upload, given = begin(counter), {"if-match": etag}
    parts = document_of(sent(counter, upload, b"x"))
    assert counter.ask("PUT", "/bkt/key", b"y", headers=given, **bob).code == "AccessDenied"
    assert counter.ask("DELETE", "/bkt/key", headers=given, **bob).code == "AccessDenied"
    assert counter.ask("POST", "/bkt/key", parts, headers=given, uploadId=upload, **bob).code == "AccessDenied"
    told = counter.ask("POST", "/bkt", one, headers=digest, delete="", **bob).xml
    assert (told.findtext("Error/Code"), counter.ask("GET", "/bkt/key").body) == ("AccessDenied", b"data")
    counter.allow("bob", writes, {"Action": "s3:GetObject"})
    assert counter.ask("POST", "/bkt/key", parts, headers=given, uploadId=upload, **bob).status == 200
    counter.allow("bob", writes)  # is enough where only existence is asked about
    assert counter.ask("PUT", "/bkt/new", b"y", headers={"if-none-match": "*"}, **bob).status == 200
    assert counter.ask("DELETE", "/bkt/key", headers={"if-match": "*"}, **bob).status == 204


def test_a_bucket_s_tags_are_asked_about_its_objects_where_they_count(counter: Counter) -> None:
    bob = counter.user("bob", {"Condition": {"StringEquals": {"s3:BucketTag/team": "red"}}})
    counter.ask("PUT", "/bkt", tagging(("team", "red")), tagging="")
    assert counter.ask("GET", "/bkt/key", **bob).code == "AccessDenied"
    counter.ask("PUT", "/bkt", b"<AbacStatus><Status>Enabled</Status></AbacStatus>", abac="")
    assert counter.ask("GET", "/bkt/key", **bob).body == b"data"
    counter.ask("PUT", "/bkt", tagging(("team", "blue")), tagging="")
    assert counter.ask("GET", "/bkt/key", **bob).code == "AccessDenied"


def test_which_fields_an_inventory_may_have(counter: Counter) -> None:
    counter.ask("PUT", "/dst")
    bob = counter.user("bob", {"Condition": {"ForAllValues:StringEquals": {
        "s3:InventoryAccessibleOptionalFields": ["Size", "ETag"]}}})
    for fields, status in ((("Size",), 204), (("ETag", "Size"), 204), ((), 204), (("Size", "StorageClass"), 403)):
        assert counter.ask("PUT", "/bkt", wanted(fields=fields), inventory="", id="all", **bob).status == status
