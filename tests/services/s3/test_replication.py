"""What is copied to other buckets, and what is not."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from cloudlet.services.iam import iam
from cloudlet.services.s3 import replication, versions
from cloudlet.store.db import OutOfSpace
from tests.services.desk import root
from tests.services.s3.counter import ACCOUNT, Answer, Counter, document
from tests.services.s3.settings.test_bucket_notification import notify, queue, told
from tests.services.s3.settings.test_bucket_replication import ENABLED, MEASURED, ROLE, TIMED, pair, replicate, rule
from tests.services.s3.test_lock import hold

__all__ = ["pair"]  # a fixture
TAGGING = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication, "SLICE", 2)


def copy(counter: Counter, bucket: str = "bkt") -> None:
    asyncio.run(replication.Copier(counter.store).copy(bucket))


def put(counter: Counter, key: str = "key", data: bytes = b"data", headers: Mapping[str, str] | None = None) -> str:
    return counter.ask("PUT", f"/bkt/{key}", data, headers=headers).headers["x-amz-version-id"]


def head(counter: Counter, bucket: str, key: str = "key") -> Mapping[str, str]:
    return counter.ask("HEAD", f"/{bucket}/{key}").headers


def status(counter: Counter, bucket: str = "bkt", key: str = "key") -> str | None:
    return head(counter, bucket, key).get("x-amz-replication-status")


def test_a_replica_is_what_it_is_one_of(pair: Counter) -> None:
    put(pair, "before")
    replicate(pair, rule())
    headers = {"x-amz-meta-a": "b", "x-amz-tagging": "k=v", "content-type": "text/x"}
    ids = [put(pair, data=data, headers=headers) for data in (b"one", b"two", bytes(100_000))]
    assert status(pair) == "PENDING"
    assert pair.ask("GET", "/dst/key").status == 404
    pair.desk.clock.time += 100
    copy(pair)
    there, here = head(pair, "dst"), head(pair, "bkt")
    assert (here["x-amz-replication-status"], there["x-amz-replication-status"]) == ("COMPLETED", "REPLICA")
    for name in ("etag", "last-modified", "content-type", "x-amz-meta-a", "x-amz-version-id", "x-amz-tagging-count"):
        assert there[name] == here[name]
    assert pair.ask("GET", "/dst/key", versionId=ids[0]).body == b"one"
    assert pair.ask("GET", "/dst/key").body == bytes(100_000)
    listed = [each.findtext("VersionId") for each in pair.ask("GET", "/dst", versions="").xml.findall("Version")]
    assert listed == ids[::-1]
    assert status(pair, key="before") is None
    assert (pair.rows("s3_content"), pair.rows("s3_replication")) == (4, 0)  # the bytes are shared


def test_bytes_live_as_long_as_one_of_both(pair: Counter) -> None:
    replicate(pair, rule())
    data = bytes(5 << 20)
    whole, begun = put(pair, "whole", data), pair.ask("POST", "/bkt/key", uploads="").xml.findtext("UploadId")
    parts = ""
    for number in "123":  # parts that share their bytes
        copied = pair.ask("PUT", "/bkt/key", headers={"x-amz-copy-source": "/bkt/whole"}, partNumber=number,
                          uploadId=begun)
        parts += f"<Part><PartNumber>{number}</PartNumber><ETag>{copied.xml.findtext('ETag')}</ETag></Part>"
    done = pair.ask("POST", "/bkt/key", f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode(),
                    uploadId=begun)
    version = done.headers["x-amz-version-id"]
    copy(pair)
    with pair.store.tx() as tx:
        assert tx.execute("select refs from s3_content").fetchall() == [(5,)]
    pair.ask("DELETE", "/bkt/key", versionId=version)  # which is never copied
    pair.work()
    for bucket in ("bkt", "dst"):
        pair.ask("DELETE", f"/{bucket}/whole", versionId=whole)
    assert pair.ask("GET", "/dst/key").body == 3 * data
    assert pair.ask("GET", "/dst/key", partNumber="2").headers["content-length"] == str(len(data))
    pair.ask("DELETE", "/dst/key", versionId=version)
    pair.work()
    assert (pair.rows("s3_part"), pair.rows("s3_content")) == (0, 0)


def test_replicas_are_not_copied_on(pair: Counter) -> None:
    pair.ask("PUT", "/far")
    pair.ask("PUT", "/far", ENABLED, versioning="")
    replicate(pair, rule())
    replicate(pair, rule(to="far"), bucket="dst")
    put(pair)
    copy(pair)
    copy(pair, "dst")
    assert status(pair, "dst") == "REPLICA"
    assert pair.ask("GET", "/far/key").status == 404


def test_rules_choose(pair: Counter) -> None:
    pair.ask("PUT", "/far")
    pair.ask("PUT", "/far", ENABLED, versioning="")
    cold = "<StorageClass>STANDARD_IA</StorageClass>"
    replicate(pair, rule(1, "<Filter><Prefix>a</Prefix></Filter>"),
              rule(2, "<Filter><Prefix>a/b</Prefix></Filter>", destination=cold),
              rule(3, "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>", to="far"))
    for key in ("a", "a/b", "b"):
        put(pair, key)
    put(pair, "a/c", headers={"x-amz-tagging": "k=v"})
    copy(pair)
    assert [status(pair, key=key) for key in ("a", "a/b", "b", "a/c")] == ["COMPLETED", "COMPLETED", None, "COMPLETED"]
    assert head(pair, "dst", "a/b")["x-amz-storage-class"] == "STANDARD_IA"
    assert "x-amz-storage-class" not in head(pair, "dst", "a")
    assert [pair.ask("GET", f"/far/{key}").status for key in ("a", "a/b", "a/c")] == [404, 404, 200]


@pytest.mark.parametrize(("deletes", "there"), [("Enabled", 404), ("Disabled", 200)])
def test_markers(pair: Counter, deletes: str, there: int) -> None:
    replicate(pair, rule(deletes=deletes))
    put(pair)
    marker = pair.ask("DELETE", "/bkt/key").headers["x-amz-version-id"]
    copy(pair)
    got = pair.ask("GET", "/dst/key")
    assert got.status == there
    assert got.headers["x-amz-version-id"] == marker or deletes == "Disabled"


def test_what_changes_is_copied_again(pair: Counter) -> None:
    replicate(pair, rule())
    put(pair)
    copy(pair)
    pair.ask("PUT", "/bkt/key", TAGGING, tagging="")
    assert status(pair) == "PENDING"
    copy(pair)
    assert pair.ask("GET", "/dst/key", tagging="").xml.findtext("TagSet/Tag/Value") == "v"
    assert (status(pair), pair.rows("s3_version")) == ("COMPLETED", 2)


CHANGES = ("<SourceSelectionCriteria><ReplicaModifications><Status>{}</Status></ReplicaModifications>"
           "</SourceSelectionCriteria>")


@pytest.mark.parametrize("status_of_changes", ["Enabled", "Disabled"])
def test_what_changes_of_a_replica_is_copied_back_where_a_rule_says_so(pair: Counter, status_of_changes: str) -> None:
    replicate(pair, rule())
    replicate(pair, rule(to="bkt", more=CHANGES.format(status_of_changes)), bucket="dst")
    version = put(pair)
    copy(pair)
    pair.ask("PUT", "/dst/key", TAGGING, tagging="")
    pair.ask("PUT", "/dst/new", b"of its own")
    for _ in range(2):  # back, and no further
        copy(pair, "dst")
        copy(pair)
        assert pair.rows("s3_replication") == 0
    expected = "v" if status_of_changes == "Enabled" else None
    assert pair.ask("GET", "/bkt/key", tagging="", versionId=version).xml.findtext("TagSet/Tag/Value") == expected
    assert [status(pair, bucket) for bucket in ("bkt", "dst")] == ["COMPLETED", "REPLICA"]
    assert [status(pair, bucket, "new") for bucket in ("bkt", "dst")] == ["REPLICA", "COMPLETED"]
    pair.ask("DELETE", "/bkt/key", versionId=version)
    pair.ask("DELETE", "/dst/key", tagging="")
    copy(pair, "dst")
    assert pair.ask("GET", "/bkt/key").status == 404, "a change is none of the bytes"


def test_locks_go_along(counter: Counter, pair: Counter) -> None:
    for name in ("lck", "far"):
        pair.ask("PUT", f"/{name}", headers={"x-amz-bucket-object-lock-enabled": "true"})
    assert replicate(pair, rule(to="far"), bucket="lck").status == 200
    version = pair.ask("PUT", "/lck/key", b"data").headers["x-amz-version-id"]
    hold(pair, "ON")
    copy(pair, "lck")
    assert pair.ask("DELETE", "/far/key", versionId=version).code == "AccessDenied"


def test_another_account_takes_what_its_bucket_lets_in(pair: Counter) -> None:
    other = "111111111111"
    pair.ask("PUT", "/far", key=other)
    pair.ask("PUT", "/far", ENABLED, versioning="", key=other)
    taken = f"<Account>{other}</Account><AccessControlTranslation><Owner>Destination</Owner></AccessControlTranslation>"
    assert replicate(pair, rule(to="far", destination=taken)).status == 200
    put(pair)
    copy(pair)
    assert status(pair) == "FAILED"  # its policy does not let the role in
    policy = document({"Principal": {"AWS": ROLE}, "Resource": "arn:aws:s3:::far/*", "Action": [
        "s3:ReplicateObject", "s3:ObjectOwnerOverrideToBucketOwner"]})
    assert pair.ask("PUT", "/far", policy.encode(), policy="", key=other).status == 204
    put(pair)
    copy(pair)
    got = pair.ask("GET", "/far/key", key=other)
    assert (status(pair), got.body, got.headers["x-amz-replication-status"]) == ("COMPLETED", b"data", "REPLICA")


def break_role(counter: Counter) -> None:
    counter.desk(iam, "PutRolePolicy", root(ACCOUNT), RoleName="copier", PolicyName="p", PolicyDocument=document(
        {}, {"Effect": "Deny", "Action": "s3:ReplicateObject"}))


def distrust(counter: Counter) -> None:
    trust = document({"Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
    counter.desk(iam, "UpdateAssumeRolePolicy", root(ACCOUNT), RoleName="copier",
                 PolicyDocument=trust.replace(', "Resource": "*"', ""))


def suspend(counter: Counter) -> Answer:
    return counter.ask("PUT", "/dst", ENABLED.replace(b"Enabled", b"Suspended"), versioning="")


@pytest.mark.parametrize("harm", [break_role, distrust, suspend, lambda counter: counter.ask("DELETE", "/dst"),
                                  lambda counter: counter.ask("DELETE", "/bkt", replication="")])
def test_what_cannot_be_copied_has_failed(pair: Counter, harm: object) -> None:
    replicate(pair, rule())
    put(pair)
    harm(pair)  # type: ignore[operator]
    copy(pair)
    assert (status(pair), pair.rows("s3_version"), pair.rows("s3_replication")) == ("FAILED", 1, 0)
    assert pair.ask("GET", "/bkt/key").body == b"data"
    copy(pair)  # it is not tried again, as on AWS
    assert status(pair) == "FAILED"


def test_what_fails_for_now_waits(pair: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    replicate(pair, rule())
    put(pair)

    def put_version(*_: object) -> None:
        raise OutOfSpace
    with monkeypatch.context() as patch:
        patch.setattr(versions, "put_version", put_version)
        with pytest.raises(OutOfSpace):
            copy(pair)
    assert (status(pair), pair.rows("s3_replication")) == ("PENDING", 1)
    copy(pair)
    assert (status(pair), pair.ask("GET", "/dst/key").body) == ("COMPLETED", b"data")


ROLE_MAY = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging", "s3:ReplicateObject",
            "s3:ReplicateDelete", "s3:ReplicateTags"]


@pytest.mark.parametrize(("missing", "why"), [
    ("s3:GetObjectVersionForReplication", "SrcGetObjectNotPermitted"),
    ("s3:ReplicateObject", "DstPutObjectNotPermitted"), ("s3:ReplicateTags", "DstPutTaggingNotPermitted"),
    ("s3:GetObjectVersionTagging", "SrcGetTaggingNotPermitted"), ("", "DstBucketUnversioned")])
def test_a_failure_and_its_reason_are_told_where_a_rule_is_measured(pair: Counter, missing: str, why: str) -> None:
    queue(pair, "q")
    notify(pair, "q", "<Event>s3:Replication:*</Event>")
    told(pair, "q")
    pair.desk(iam, "PutRolePolicy", root(ACCOUNT), RoleName="copier", PolicyName="p",
              PolicyDocument=document({"Action": [action for action in ROLE_MAY if action != missing]}))
    tagged = {"x-amz-tagging": "k=v"}
    replicate(pair, rule(destination=MEASURED))
    if not missing:
        put(pair, headers=tagged)
        copy(pair)
        assert (status(pair), told(pair, "q")) == ("COMPLETED", [])
        suspend(pair)
    version = put(pair, headers=tagged)
    copy(pair)
    (message,) = told(pair, "q")
    (record,) = message["Records"]
    assert (record["eventName"], record["eventVersion"]) == ("Replication:OperationFailedReplication", "2.2")
    assert (record["s3"]["object"]["versionId"], record["userIdentity"]) == (
        version, {"principalId": "s3.amazonaws.com"})
    assert record["replicationEventData"] == {
        "replicationRuleId": "r1", "destinationBucket": "arn:aws:s3:::dst", "s3Operation": "OBJECT_PUT",
        "requestTime": "2023-11-14T22:13:20.000Z", "failureReason": why}
    if missing:
        assert replicate(pair, rule()).status == 200  # which nobody measures
        put(pair, headers=tagged)
        copy(pair)
        assert (status(pair), told(pair, "q")) == ("FAILED", [])


def test_what_comes_late_is_told_where_a_rule_promises_otherwise(pair: Counter) -> None:
    queue(pair, "q")
    notify(pair, "q", "<Event>s3:Replication:*</Event>")
    told(pair, "q")
    replicate(pair, rule(destination=f"{TIMED}{MEASURED}"))
    put(pair)
    pair.desk.clock.time += 900
    copy(pair)
    assert told(pair, "q") == []
    put(pair)
    pair.desk.clock.time += 901
    copy(pair)
    assert told_names(pair) == ["Replication:OperationMissedThreshold", "Replication:OperationReplicatedAfterThreshold"]
    pair.ask("PUT", "/bkt/key", TAGGING, tagging="")  # which takes no time, however old its version is
    copy(pair)
    assert (status(pair), told_names(pair)) == ("COMPLETED", [])


def retag(counter: Counter) -> None:
    counter.ask("DELETE", "/bkt/key", tagging="")


TAGGED = "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>"
FEW = "<Filter><Prefix>other</Prefix></Filter>"


@pytest.mark.parametrize(("change", "untracked", "becomes"), [
    (lambda counter: None, [], "COMPLETED"),
    (lambda counter: counter.ask("DELETE", "/bkt", replication=""), ["r1"], "FAILED"),
    (lambda counter: replicate(counter, rule(1, FEW, destination=MEASURED)), ["r1"], "FAILED"),
    (lambda counter: replicate(counter, rule(1)), ["r1"], "COMPLETED"),  # which nobody measures
    (lambda counter: replicate(counter, rule(2, destination=MEASURED)), ["r1"], "COMPLETED"),
    (lambda counter: replicate(counter, rule(1, destination=MEASURED), rule(2, FEW)), [], "COMPLETED"),
    (retag, ["r1"], "FAILED")])
def test_what_a_rule_measures_no_longer_is_told(pair: Counter, change: Callable[[Counter], object],
                                                untracked: list[str], becomes: str) -> None:
    queue(pair, "q")
    notify(pair, "q", "<Event>s3:Replication:OperationNotTracked</Event>")
    told(pair, "q")
    replicate(pair, rule(1, TAGGED, destination=MEASURED))
    version = put(pair, headers={"x-amz-tagging": "k=v"})
    change(pair)
    copy(pair)
    records = [message["Records"][0] for message in told(pair, "q")]
    assert [record["replicationEventData"] for record in records] == [
        {"replicationRuleId": each, "destinationBucket": "arn:aws:s3:::dst", "s3Operation": "OBJECT_PUT",
         "requestTime": "2023-11-14T22:13:20.000Z"} for each in untracked]
    assert all(record["s3"]["object"]["versionId"] == version for record in records)
    assert (status(pair), pair.rows("s3_replication")) == (becomes, 0)
    replicate(pair, rule())
    pair.ask("PUT", "/bkt/key", TAGGING, tagging="")
    copy(pair)
    assert (status(pair), told(pair, "q")) == ("COMPLETED", [])  # it is told once


def told_names(counter: Counter) -> list[str]:
    return [message["Records"][0]["eventName"] for message in told(counter, "q")]
