"""What is told of objects to queues."""

import asyncio
import json
from typing import Any

import pytest

from cloudlet.services import sqs
from cloudlet.services.s3.lifecycle import Keeper
from cloudlet.services.s3.notifications import ends_of, wants
from cloudlet.services.s3.restoring import Closer
from tests.services.desk import root
from tests.services.s3.counter import ACCOUNT, Counter
from tests.services.s3.settings.test_bucket_lifecycle import configure
from tests.services.s3.settings.test_bucket_notification import notify, queue, told
from tests.services.s3.test_forms import fields_of
from tests.services.s3.test_versions import set_versioning
from tests.wire.test_s3_forms import form_of, request_of

ALL = "".join(f"<Event>s3:{name}</Event>" for name in (
    "ObjectCreated:*", "ObjectRemoved:*", "ObjectTagging:*", "ObjectAcl:Put", "LifecycleExpiration:*",
    "LifecycleTransition"))


@pytest.fixture
def told_of(counter: Counter) -> Counter:
    queue(counter, "q")
    assert notify(counter, "q", ALL, name="mine").status == 200
    assert [each["Event"] for each in told(counter, "q")] == ["s3:TestEvent"]
    return counter


def records(counter: Counter) -> list[dict[str, Any]]:
    return [record for message in told(counter, "q") for record in message["Records"]]


def names(counter: Counter) -> list[str]:
    return [record["eventName"] for record in records(counter)]


def test_a_record_has_what_awss_has(told_of: Counter) -> None:
    put = told_of.ask("PUT", "/bkt/a b/ü+", b"data")
    (record,) = records(told_of)
    assert record["eventTime"] == "2023-11-14T22:13:20.000Z"
    assert (record["eventVersion"], record["eventSource"], record["awsRegion"], record["eventName"]) == (
        "2.1", "aws:s3", "us-east-1", "ObjectCreated:Put")
    assert record["userIdentity"] == {"principalId": f"AWS:{ACCOUNT}"}
    assert record["requestParameters"]["sourceIPAddress"]
    assert record["responseElements"] == {
        name: put.headers[name] for name in ("x-amz-request-id", "x-amz-id-2")}
    about = record["s3"]
    assert (about["s3SchemaVersion"], about["configurationId"]) == ("1.0", "mine")
    assert (about["bucket"]["name"], about["bucket"]["arn"]) == ("bkt", "arn:aws:s3:::bkt")
    assert len(about["object"].pop("sequencer")) == 18
    assert about["object"] == {"key": "a+b/%C3%BC%2B", "size": 4, "eTag": put.headers["etag"].strip('"')}


def test_each_thing_has_its_name(told_of: Counter) -> None:
    told_of.ask("PUT", "/bkt/a", b"data")
    told_of.ask("PUT", "/bkt/b", headers={"x-amz-copy-source": "/bkt/a"})
    tagging = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"
    told_of.ask("PUT", "/bkt/a", tagging, tagging="")
    told_of.ask("DELETE", "/bkt/a", tagging="")
    told_of.ask("DELETE", "/bkt/a")
    told_of.ask("DELETE", "/bkt/none")
    begun = told_of.ask("POST", "/bkt/c", uploads="").xml.findtext("UploadId")
    etag = told_of.ask("PUT", "/bkt/c", b"x", partNumber="1", uploadId=begun).headers["etag"]
    told_of.ask("POST", "/bkt/c", f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
                "</CompleteMultipartUpload>".encode(), uploadId=begun)
    assert names(told_of) == ["ObjectCreated:Put", "ObjectCreated:Copy", "ObjectTagging:Put", "ObjectTagging:Delete",
                              "ObjectRemoved:Delete", "ObjectCreated:CompleteMultipartUpload"]


def test_what_happens_beside_the_bytes_says_nothing_of_them(told_of: Counter) -> None:
    told_of.ask("PUT", "/bkt/a", b"data")
    told_of.ask("PUT", "/bkt/a", b"<Tagging><TagSet></TagSet></Tagging>", tagging="")
    put, tagged = (each["s3"]["object"] for each in records(told_of))
    assert put.keys() == {"key", "size", "eTag", "sequencer"}
    assert tagged == {"key": "a", "eTag": put["eTag"]}


def test_a_trace_goes_on(told_of: Counter) -> None:
    told_of.ask("PUT", "/bkt/a", b"data", headers={"x-amzn-trace-id": "Root=1-3152b799-8954dae64eda91bc9a23a7e8"})
    run = sqs.sqs.operations["ReceiveMessage"].run
    (message,) = asyncio.run(run(told_of.desk.call(root(ACCOUNT)), told_of.store, {
        "QueueUrl": f"http://x/{ACCOUNT}/q", "MessageSystemAttributeNames": ["AWSTraceHeader"]}))["Messages"]
    assert message["Attributes"] == {"AWSTraceHeader": "Root=1-3152b799-8954dae64eda91bc9a23a7e8"}


def test_what_a_browsers_form_puts_is_told_as_that(told_of: Counter) -> None:
    assert asyncio.run(told_of.answer(request_of(form_of(fields_of("key"), b"data"), "/bkt"))).status == 204
    (record,) = records(told_of)
    assert (record["eventName"], record["s3"]["object"]["key"]) == ("ObjectCreated:Post", "key")


def test_what_is_restored_is_told(counter: Counter) -> None:
    queue(counter, "q")
    notify(counter, "q", "<Event>s3:ObjectRestore:*</Event>")
    told(counter, "q")
    counter.ask("PUT", "/bkt/a", b"data", headers={"x-amz-storage-class": "GLACIER"})
    assert counter.ask("POST", "/bkt/a", b"<RestoreRequest><Days>1</Days></RestoreRequest>", restore="").status == 202
    assert counter.ask("POST", "/bkt/a", b"<RestoreRequest><Days>2</Days></RestoreRequest>", restore="").status == 200
    asked, done = records(counter)
    assert (asked["eventName"], done["eventName"]) == ("ObjectRestore:Post", "ObjectRestore:Completed")
    assert done["glacierEventData"]["restoreEventData"] == {
        "lifecycleRestorationExpiryTime": "2023-11-16T00:00:00.000Z", "lifecycleRestoreStorageClass": "GLACIER"}
    counter.ask("PUT", "/bkt/deleted", b"data", headers={"x-amz-storage-class": "GLACIER"})
    counter.ask("POST", "/bkt/deleted", b"<RestoreRequest><Days>2</Days></RestoreRequest>", restore="")
    counter.ask("DELETE", "/bkt/deleted")
    records(counter)
    close(counter)
    counter.desk.clock.time += 2 * 86_400  # a day longer than was asked for first
    close(counter)
    assert (records(counter), counter.rows("s3_restored")) == ([], 2)
    counter.desk.clock.time += 86_400
    close(counter)
    (gone,) = records(counter)
    assert (gone["eventName"], gone["eventVersion"]) == ("ObjectRestore:Delete", "2.3")
    assert gone["s3"]["object"]["key"] == "a"
    assert gone["glacierEventData"]["restoreEventData"]["lifecycleRestorationExpiryTime"] == "2023-11-17T00:00:00.000Z"
    assert counter.rows("s3_restored") == 0
    close(counter)
    assert records(counter) == []


def close(counter: Counter) -> None:
    asyncio.run(Closer(counter.store).look())


def test_versions_are_named(told_of: Counter) -> None:
    set_versioning(told_of, "Enabled")
    version = told_of.ask("PUT", "/bkt/a", b"data").headers["x-amz-version-id"]
    marker = told_of.ask("DELETE", "/bkt/a").headers["x-amz-version-id"]
    told_of.ask("DELETE", "/bkt/a", versionId=version)
    found = records(told_of)
    assert [(each["eventName"], each["s3"]["object"]["versionId"]) for each in found] == [
        ("ObjectCreated:Put", version), ("ObjectRemoved:DeleteMarkerCreated", marker),
        ("ObjectRemoved:Delete", version)]
    assert "size" not in found[-1]["s3"]["object"] and "eTag" not in found[-1]["s3"]["object"]


def test_lifecycles_tell_what_they_do(told_of: Counter) -> None:
    configure(told_of, "<Filter><Prefix>a</Prefix></Filter><Expiration><Days>1</Days></Expiration>",
              "<Filter><Prefix>b</Prefix></Filter><Transition><Days>0</Days><StorageClass>GLACIER</StorageClass>"
              "</Transition>")
    told_of.ask("PUT", "/bkt/a", b"data")
    told_of.ask("PUT", "/bkt/b", bytes(128 << 10))
    records(told_of)
    told_of.desk.clock.time += 3 * 86_400
    asyncio.run(Keeper(told_of.store).carry_out("bkt"))
    expired, moved = records(told_of)
    assert (expired["eventName"], expired["eventVersion"]) == ("LifecycleExpiration:Delete", "2.3")
    assert expired["userIdentity"] == {"principalId": "s3.amazonaws.com"}
    assert moved["lifecycleEventData"] == {"transitionEventData": {"destinationStorageClass": "GLACIER"}}


def test_what_is_refused_is_not_told(told_of: Counter) -> None:
    assert told_of.ask("PUT", "/bkt/a", b"data", headers={"if-match": '"x"'}).status == 404
    assert told_of.ask("PUT", "/bkt/a", b"data", headers={"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}).status == 400
    assert told(told_of, "q") == []


def test_a_queue_that_is_gone_stops_nobody(told_of: Counter) -> None:
    told_of.desk(sqs.sqs, "DeleteQueue", root(ACCOUNT), QueueUrl=f"http://x/{ACCOUNT}/q")
    assert told_of.ask("PUT", "/bkt/a", b"data").status == 200


def test_a_queue_that_lets_s3_no_longer_send_gets_nothing(told_of: Counter) -> None:
    told_of.desk(sqs.sqs, "SetQueueAttributes", root(ACCOUNT), QueueUrl=f"http://x/{ACCOUNT}/q",
                 Attributes={"Policy": ""})
    assert told_of.ask("PUT", "/bkt/a", b"data").status == 200
    assert told(told_of, "q") == []


@pytest.mark.parametrize(("rules", "key", "fits"), [
    ({}, "x", True), ({"Prefix": "a/"}, "a/b", True), ({"Prefix": "a/"}, "b/a/", False),
    ({"suffix": ".jpg"}, "x.jpg", True), ({"Suffix": ".jpg"}, "x.JPG", False),
    ({"prefix": "a", "suffix": "z"}, "abz", True), ({"prefix": "a", "suffix": "z"}, "bz", False)])
def test_filters(rules: dict[str, str], key: str, fits: bool) -> None:
    said = {"Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": [
        {"Name": name, "Value": value} for name, value in rules.items()]}}}
    assert wants(said, "ObjectCreated:Put", key) == fits
    assert not wants(said, "ObjectRemoved:Delete", key)
    assert ends_of({"Events": []}) == ("", "")
    assert json.dumps(said)
