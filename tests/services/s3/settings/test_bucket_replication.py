"""PutBucketReplication, GetBucketReplication and DeleteBucketReplication."""

import json
from typing import Any

import pytest

from cloudlet.services.iam import iam
from tests.services.desk import root
from tests.services.s3.counter import ACCOUNT, Answer, Counter, document
from tests.services.s3.test_versions import set_versioning

ROLE = f"arn:aws:iam::{ACCOUNT}:role/copier"
ENABLED = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
DELETES = "<DeleteMarkerReplication><Status>{}</Status></DeleteMarkerReplication>"
MEASURED = ("<Metrics><Status>Enabled</Status><EventThreshold><Minutes>15</Minutes></EventThreshold></Metrics>")
TIMED = "<ReplicationTime><Status>Enabled</Status><Time><Minutes>15</Minutes></Time></ReplicationTime>"
TO = "<Destination><Bucket>arn:aws:s3:::dst</Bucket>{}</Destination>"


def role(counter: Counter, *statements: dict[str, Any], service: str = "s3.amazonaws.com") -> None:
    """The role that copies, with all that S3 allows unless a test says otherwise."""
    trust = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]})
    counter.desk(iam, "CreateRole", root(ACCOUNT), RoleName="copier", AssumeRolePolicyDocument=trust)
    counter.desk(iam, "PutRolePolicy", root(ACCOUNT), RoleName="copier", PolicyName="p",
                 PolicyDocument=document(*(statements or ({},))))


def rule(number: int = 1, filter: str = "<Filter/>", deletes: str = "Disabled", destination: str = "", *,
         to: str = "dst", more: str = "") -> str:
    """A rule of the newer schema."""
    return (f"<Rule><ID>r{number}</ID><Priority>{number}</Priority><Status>Enabled</Status>{filter}"
            f"{DELETES.format(deletes)}{TO.format(destination).replace('dst', to)}{more}</Rule>")


def replicate(counter: Counter, *rules: str, role: str = ROLE, bucket: str = "bkt", **who: str) -> Answer:
    body = f"<ReplicationConfiguration><Role>{role}</Role>{''.join(rules)}</ReplicationConfiguration>"
    return counter.ask("PUT", f"/{bucket}", body.encode(), replication="", **who)  # type: ignore[arg-type]


@pytest.fixture
def pair(counter: Counter) -> Counter:
    """`bkt` and `dst`, both with versioning, and a role."""
    role(counter)
    set_versioning(counter, "Enabled")
    counter.ask("PUT", "/dst")
    counter.ask("PUT", "/dst", ENABLED, versioning="")
    return counter


def test_what_is_put_is_read_and_taken_away(pair: Counter) -> None:
    assert pair.ask("GET", "/bkt", replication="").code == "ReplicationConfigurationNotFoundError"
    assert replicate(pair, rule(filter="<Filter><Prefix>a/</Prefix></Filter>")).status == 200
    got = pair.ask("GET", "/bkt", replication="").xml
    assert (got.findtext("Role"), got.findtext("Rule/Filter/Prefix"), got.findtext("Rule/Destination/Bucket")) == (
        ROLE, "a/", "arn:aws:s3:::dst")
    assert set_versioning(pair, "Suspended").code == "InvalidBucketState"
    assert pair.ask("DELETE", "/bkt", replication="").status == 204
    assert pair.ask("GET", "/bkt", replication="").status == 404
    assert set_versioning(pair, "Suspended").status == 200
    assert replicate(pair, rule()).code == "InvalidRequest"


TAG = "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>"


@pytest.mark.parametrize(("rules", "code"), [
    ((), "MalformedXML"), ((rule(to="none"),), "InvalidRequest"), ((rule(to="bkt"),), "InvalidRequest"),
    ((rule(to="plain"),), "InvalidRequest"), ((rule(), rule()), "InvalidRequest"),
    ((rule(), rule().replace("r1", "r2")), "InvalidRequest"),
    ((rule(filter=TAG, deletes="Enabled"),), "InvalidRequest"),
    ((rule().replace("<Priority>1</Priority>", ""),), "InvalidRequest"),
    ((rule().replace(DELETES.format("Disabled"), ""),), "InvalidRequest"),
    ((rule(filter="<Filter/><Prefix/>"),), "MalformedXML"),
    ((rule(destination="<StorageClass>COLD</StorageClass>"),), "MalformedXML"),
    ((rule(destination="<AccessControlTranslation><Owner>Destination</Owner></AccessControlTranslation>"),),
     "InvalidRequest"),
    ((rule(destination="<Account>111111111111</Account>"),), "InvalidRequest"),
    ((rule(destination="<EncryptionConfiguration/>"),), "NotImplemented"),
    ((rule(destination="<Metrics><Status>On</Status></Metrics>"),), "MalformedXML"),
    ((rule(destination=MEASURED.replace("15", "5")),), "InvalidArgument"),
    ((rule(destination=TIMED),), "InvalidRequest"),
    ((rule(destination=f"{TIMED}<Metrics><Status>Enabled</Status></Metrics>"),), "InvalidRequest"),
    ((rule(destination=f"{TIMED.replace('15', '30')}{MEASURED}"),), "InvalidArgument"),
    ((f"<Rule><ID>r</ID><Prefix/><Status>Enabled</Status>{TO.format(MEASURED)}</Rule>",), "InvalidRequest"),
    ((rule(more="<SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects>"
                "</SourceSelectionCriteria>"),), "NotImplemented")])
def test_what_is_no_replication(pair: Counter, rules: tuple[str, ...], code: str) -> None:
    pair.ask("PUT", "/plain")
    assert replicate(pair, *rules).code == code
    assert pair.ask("GET", "/bkt", replication="").status == 404


def test_copies_in_time_are_promised_as_they_can_be(pair: Counter) -> None:
    assert replicate(pair, rule(destination=f"{TIMED}{MEASURED}")).status == 200
    got = pair.ask("GET", "/bkt", replication="").xml
    assert (got.findtext(".//ReplicationTime/Time/Minutes"), got.findtext(".//Metrics/Status")) == ("15", "Enabled")
    assert replicate(pair, rule(destination="<Metrics><Status>Enabled</Status></Metrics>")).status == 200


def test_a_role_must_be_there_and_be_passed(pair: Counter) -> None:
    assert replicate(pair, rule(), role=f"{ROLE}x").code == "InvalidArgument"
    user = pair.user("plain", {})
    assert replicate(pair, rule(), **user).code == "AccessDenied"
    pair.allow("plain", {}, {"Action": "iam:PassRole"})
    assert replicate(pair, rule(), **user).status == 200


def test_locked_buckets_need_locked_ones(pair: Counter) -> None:
    pair.ask("PUT", "/lck", headers={"x-amz-bucket-object-lock-enabled": "true"})
    assert replicate(pair, rule(), bucket="lck").code == "InvalidRequest"
    assert replicate(pair, rule(to="lck")).status == 200
