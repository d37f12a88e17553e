"""Access logs as boto3 sees them: what was asked before a kill -9 is delivered after it, once."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import running_cloudlet

WAIT_S = 60.0


def _logs(s3: Any) -> list[str]:
    """The records that have been delivered, once there are some."""
    deadline = time.monotonic() + WAIT_S
    while not (found := s3.list_objects_v2(Bucket="logs", Prefix="web/").get("Contents")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return [line for each in found
            for line in s3.get_object(Bucket="logs", Key=each["Key"])["Body"].read().decode().splitlines()]


def test_requests_are_recorded_and_delivered_once(tmp_path: Path) -> None:
    with running_cloudlet(tmp_path) as cloudlet:
        s3 = cloudlet.client("s3")
        s3.create_bucket(Bucket="web")
        s3.create_bucket(Bucket="logs")
        s3.put_bucket_policy(Bucket="logs", Policy=json.dumps({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::logs/*", "Condition": {
                "ArnLike": {"aws:SourceArn": "arn:aws:s3:::web"},
                "StringEquals": {"aws:SourceAccount": "000000000000"}}}]}))
        wanted = {"TargetBucket": "logs", "TargetPrefix": "web/", "TargetObjectKeyFormat": {"SimplePrefix": {}}}
        s3.put_bucket_logging(Bucket="web", BucketLoggingStatus={"LoggingEnabled": wanted})
        assert s3.get_bucket_logging(Bucket="web")["LoggingEnabled"] == wanted
        s3.put_object(Bucket="web", Key="film", Body=bytes(1 << 20))
        assert len(s3.get_object(Bucket="web", Key="film")["Body"].read()) == 1 << 20
        with pytest.raises(ClientError):
            s3.get_object(Bucket="web", Key="none")
        cloudlet.kill()
        cloudlet.start()
        found = [line.partition("] ")[2].split(" ") for line in _logs(s3)]
        assert [each[3] for each in found] == [
            "REST.GET.LOGGING_STATUS", "REST.PUT.OBJECT", "REST.GET.OBJECT", "REST.GET.OBJECT"]
        assert [each[8:12] for each in found[1:]] == [
            ["200", "-", "-", "1048576"], ["200", "-", "1048576", "1048576"], ["404", "NoSuchKey", found[3][10], "-"]]
        cloudlet.kill()
        cloudlet.start()
        assert len(_logs(s3)) == len(found)
