"""Where access logs go: PutBucketLogging, GetBucketLogging."""

import base64
import hashlib
import json
from typing import Any

import pytest

from tests.services.s3.counter import ACCOUNT, Answer, Counter

OTHER = "111111111111"
SERVICE = "logging.s3.amazonaws.com"
GROUP = ('<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group">'
         "<URI>http://acs.amazonaws.com/groups/global/AuthenticatedUsers</URI></Grantee>")


def log_to(counter: Counter, target: str = "logs", *, prefix: str | None = "p/", more: str = "", bucket: str = "bkt",
           **asked: Any) -> Answer:
    inner = f"<TargetBucket>{target}</TargetBucket>" if target else ""
    inner += f"<TargetPrefix>{prefix}</TargetPrefix>" if prefix is not None else ""
    return counter.ask("PUT", f"/{bucket}", (
        f"<BucketLoggingStatus><LoggingEnabled>{inner}{more}</LoggingEnabled></BucketLoggingStatus>").encode(),
        logging="", **asked)


def let(counter: Counter, target: str = "logs", **condition: Any) -> None:
    """Gives a bucket a policy that lets logs in."""
    statement = {"Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": "s3:PutObject",
                 "Resource": f"arn:aws:s3:::{target}/*",
                 "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::bkt"},
                               "StringEquals": {"aws:SourceAccount": ACCOUNT}, **condition}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
    assert counter.ask("PUT", f"/{target}", document, policy="").status in (200, 204)


def own(counter: Counter, ownership: str, bucket: str = "logs") -> None:
    rule = f"<OwnershipControls><Rule><ObjectOwnership>{ownership}</ObjectOwnership></Rule></OwnershipControls>"
    assert counter.ask("PUT", f"/{bucket}", rule.encode(), ownershipControls="").status == 200


@pytest.fixture(autouse=True)
def logs(counter: Counter) -> None:
    counter.ask("PUT", "/logs")


def test_logging_is_switched_on_and_off(counter: Counter) -> None:
    assert counter.ask("GET", "/bkt", logging="").xml.find("LoggingEnabled") is None
    more = ("<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource>"
            "</PartitionedPrefix></TargetObjectKeyFormat>")
    assert log_to(counter, more=more).status == 200
    shown = counter.ask("GET", "/bkt", logging="").xml.find("LoggingEnabled")
    assert (shown.findtext("TargetBucket"), shown.findtext("TargetPrefix")) == ("logs", "p/")
    assert shown.findtext("TargetObjectKeyFormat/PartitionedPrefix/PartitionDateSource") == "EventTime"
    assert log_to(counter, prefix="").status == 200
    assert counter.ask("GET", "/bkt", logging="").xml.findtext("LoggingEnabled/TargetPrefix") == ""
    assert counter.ask("PUT", "/bkt", b"<BucketLoggingStatus/>", logging="").status == 200
    assert counter.ask("GET", "/bkt", logging="").xml.find("LoggingEnabled") is None
    assert counter.ask("GET", "/missing", logging="").code == "NoSuchBucket"


def test_what_a_target_must_be(counter: Counter) -> None:
    assert log_to(counter, "missing").code == "InvalidTargetBucketForLogging"
    counter.ask("PUT", "/others", key=OTHER)
    assert log_to(counter, "others").xml.findtext("TargetBucket") == "others"
    counter.ask("PUT", "/far", b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint>"
                b"</CreateBucketConfiguration>")
    far = log_to(counter, "far")
    assert (far.status, far.code, far.xml.findtext("TargetBucketLocation"), far.xml.find("SourceBucketLocation")) == (
        403, "CrossLocationLoggingProhibitted", "eu-west-1", None)
    counter.ask("PUT", "/logs", b"<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
                requestPayment="")
    assert log_to(counter).code == "InvalidTargetBucketForLogging"


def test_a_target_with_default_retention_is_refused(counter: Counter) -> None:
    counter.ask("PUT", "/lck", headers={"x-amz-bucket-object-lock-enabled": "true"})
    body = (b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
            b"<Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>")
    assert log_to(counter, "lck").status == 200
    assert counter.ask("PUT", "/lck", body, object_lock="", headers=md5(body)).status == 200
    assert log_to(counter, "lck").code == "InvalidTargetBucketForLogging"


def md5(body: bytes) -> dict[str, str]:
    return {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}


def test_a_target_whose_lists_count_must_let_the_group(counter: Counter) -> None:
    own(counter, "BucketOwnerPreferred")
    assert "log-delivery group" in log_to(counter).xml.findtext("Message")
    let(counter)
    assert log_to(counter).status == 200
    counter.ask("DELETE", "/logs", policy="")
    assert log_to(counter).code == "InvalidTargetBucketForLogging"
    assert counter.ask("PUT", "/logs", headers={"x-amz-acl": "log-delivery-write"}, acl="").status == 200
    assert log_to(counter).status == 200


def test_grants_are_for_targets_whose_lists_count(counter: Counter) -> None:
    grant = f"<TargetGrants><Grant>{GROUP}<Permission>READ</Permission></Grant></TargetGrants>"
    assert log_to(counter, more=grant).code == "AccessControlListNotSupported"
    own(counter, "BucketOwnerPreferred")
    counter.ask("PUT", "/logs", headers={"x-amz-acl": "log-delivery-write"}, acl="")
    assert log_to(counter, more=grant).status == 200
    shown = counter.ask("GET", "/bkt", logging="").xml
    assert shown.findtext("LoggingEnabled/TargetGrants/Grant/Grantee/URI").endswith("AuthenticatedUsers")
    assert log_to(counter, more=grant.replace("READ", "EAT")).code == "MalformedXML"


@pytest.mark.parametrize("wrong", [
    {"target": ""}, {"prefix": None},
    {"more": "<TargetObjectKeyFormat/>"},
    {"more": "<TargetObjectKeyFormat><SimplePrefix/><PartitionedPrefix><PartitionDateSource>EventTime"
             "</PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat>"},
    {"more": "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>Never</PartitionDateSource>"
             "</PartitionedPrefix></TargetObjectKeyFormat>"}])
def test_what_is_not_as_the_schema_has_it(counter: Counter, wrong: dict[str, Any]) -> None:
    assert log_to(counter, **wrong).code == "MalformedXML"


def test_a_prefix_leaves_room_for_the_rest_of_the_key(counter: Counter) -> None:
    assert log_to(counter, prefix="x" * 801).code == "InvalidArgument"
