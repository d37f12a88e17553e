"""Object lock, lifecycles, notifications and replication of S3 as boto3 sees them."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.running import Cloudlet


def code_of(refused: Any) -> str:
    return str(refused.value.response["Error"]["Code"])


def bucket_with_versions(s3: Any, name: str) -> None:
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


def test_locked_versions_stay(cloudlet: Cloudlet) -> None:
    s3, until = cloudlet.client("s3"), datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    version = s3.put_object(Bucket="locked", Key="k", Body=b"x", ObjectLockMode="GOVERNANCE",
                            ObjectLockRetainUntilDate=until, ObjectLockLegalHoldStatus="ON")["VersionId"]
    head = s3.head_object(Bucket="locked", Key="k")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"], head["ObjectLockLegalHoldStatus"]) == (
        "GOVERNANCE", until, "ON")
    s3.put_object_legal_hold(Bucket="locked", Key="k", LegalHold={"Status": "OFF"})
    with pytest.raises(ClientError) as refused:
        s3.delete_object(Bucket="locked", Key="k", VersionId=version)
    assert code_of(refused) == "AccessDenied"
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": until + timedelta(days=1)}
    s3.put_object_retention(Bucket="locked", Key="k", Retention=retention)
    assert s3.get_object_retention(Bucket="locked", Key="k")["Retention"] == retention
    default = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    s3.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=default)
    assert s3.get_object_lock_configuration(Bucket="locked")["ObjectLockConfiguration"] == default
    deleted = s3.delete_objects(Bucket="locked", BypassGovernanceRetention=True, Delete={
        "Objects": [{"Key": "k", "VersionId": version}]})
    assert deleted["Deleted"][0]["VersionId"] == version


def test_a_lifecycle_is_read_as_it_was_put(cloudlet: Cloudlet) -> None:
    s3 = cloudlet.client("s3")
    s3.create_bucket(Bucket="passing")
    rules = [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3},
              "Transitions": [{"Days": 0, "StorageClass": "GLACIER"}],
              "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
             {"ID": "then", "Status": "Enabled", "Expiration": {"Date": datetime(2020, 1, 1, tzinfo=UTC)},
              "Filter": {"And": {"Prefix": "gone/", "Tags": [{"Key": "k", "Value": "v"}]}}}]
    s3.put_object(Bucket="passing", Key="gone/a", Body=b"x", Tagging="k=v")
    s3.put_object(Bucket="passing", Key="gone/b", Body=b"x")
    s3.put_bucket_lifecycle_configuration(Bucket="passing", LifecycleConfiguration={"Rules": rules})
    got = s3.get_bucket_lifecycle_configuration(Bucket="passing")
    assert (got["Rules"], got["TransitionDefaultMinimumObjectSize"]) == (rules, "all_storage_classes_128K")
    assert 'rule-id="old"' in s3.put_object(Bucket="passing", Key="logs/a", Body=b"x")["Expiration"]
    begun = s3.create_multipart_upload(Bucket="passing", Key="logs/b")
    assert begun["AbortRuleId"] == "old" and begun["AbortDate"] > datetime.now(UTC)
    deadline = time.monotonic() + 30  # what is past due goes at once
    while s3.list_objects_v2(Bucket="passing", Prefix="gone/")["KeyCount"] > 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="passing", Prefix="gone/")["Contents"]] == ["gone/b"]


def test_a_queue_is_told(cloudlet: Cloudlet) -> None:
    s3, sqs = cloudlet.client("s3"), cloudlet.client("sqs")
    s3.create_bucket(Bucket="telling")
    url = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    wanted = {"QueueConfigurations": [{"Id": "n", "QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    with pytest.raises(ClientError) as refused:
        s3.put_bucket_notification_configuration(Bucket="telling", NotificationConfiguration=wanted)
    assert code_of(refused) == "InvalidArgument"
    policy = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::telling"}}}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    s3.put_bucket_notification_configuration(Bucket="telling", NotificationConfiguration=wanted)
    got = s3.get_bucket_notification_configuration(Bucket="telling")
    assert got["QueueConfigurations"] == wanted["QueueConfigurations"]
    s3.put_object(Bucket="telling", Key="a b", Body=b"x")
    bodies = [json.loads(message["Body"]) for message in sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10)["Messages"]]
    assert bodies[0]["Event"] == "s3:TestEvent"
    assert bodies[1]["Records"][0]["s3"]["object"]["key"] == "a+b"


def test_a_bucket_is_copied_through_a_kill(cloudlet: Cloudlet) -> None:
    s3, iam = cloudlet.client("s3"), cloudlet.client("iam")
    for name in ("from-here", "to-there"):
        bucket_with_versions(s3, name)
    trust = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName="replicator", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="replicator", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", "Action": [
            "s3:GetObjectVersionForReplication", "s3:ReplicateObject", "s3:ReplicateDelete"]}]}))
    s3.put_bucket_replication(Bucket="from-here", ReplicationConfiguration={"Role": role, "Rules": [{
        "ID": "all", "Priority": 1, "Status": "Enabled", "Filter": {}, "DeleteMarkerReplication": {"Status": "Enabled"},
        "Destination": {"Bucket": "arn:aws:s3:::to-there"}}]})
    version = s3.put_object(Bucket="from-here", Key="k", Body=b"x" * 100_000)["VersionId"]
    cloudlet.kill()
    cloudlet.start()
    s3, deadline = cloudlet.client("s3"), time.monotonic() + 30
    while s3.head_object(Bucket="from-here", Key="k")["ReplicationStatus"] == "PENDING":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    head = s3.head_object(Bucket="to-there", Key="k")
    assert (head["VersionId"], head["ReplicationStatus"], head["ContentLength"]) == (version, "REPLICA", 100_000)
