"""Who may do what with S3, and what buckets say to browsers, as boto3 and plain HTTP see it."""

import json
import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.running import Cloudlet

OTHER = "111111111111"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def nobody(cloudlet: Cloudlet) -> Any:
    return boto3.client("s3", endpoint_url=cloudlet.url, region_name="us-east-1",
                        config=Config(signature_version=UNSIGNED, retries={"max_attempts": 0}, proxies={}))


def fetch(cloudlet: Cloudlet, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(cloudlet.url + path, method=method, headers={
        name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with _direct.open(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def allow(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]})


def test_a_client_of_another_region_is_led_to_the_bucket(cloudlet: Cloudlet) -> None:
    here = cloudlet.client("s3")
    here.create_bucket(Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    here.put_object(Bucket="far-away", Key="key", Body=b"data")  # redirected by botocore, as on AWS
    assert cloudlet.client("s3").get_object(Bucket="far-away", Key="key")["Body"].read() == b"data"
    assert cloudlet.client("s3").head_bucket(Bucket="far-away")["BucketRegion"] == "eu-central-1"
    assert cloudlet.client("s3").head_object(Bucket="far-away", Key="key")["ContentLength"] == 4
    assert here.get_bucket_location(Bucket="far-away")["LocationConstraint"] == "eu-central-1"
    there = cloudlet.client("s3", region="eu-central-1")
    assert there.list_objects_v2(Bucket="far-away")["KeyCount"] == 1
    with pytest.raises(there.exceptions.BucketAlreadyOwnedByYou):
        there.create_bucket(Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    with pytest.raises(here.exceptions.BucketAlreadyExists):
        cloudlet.client("s3", key=OTHER).create_bucket(Bucket="far-away")
    assert [bucket["Name"] for bucket in here.list_buckets(BucketRegion="eu-central-1")["Buckets"]] == ["far-away"]


def test_public_objects_by_policy_and_by_list(cloudlet: Cloudlet) -> None:
    client, anybody = cloudlet.client("s3"), nobody(cloudlet)
    client.create_bucket(Bucket="public", ObjectOwnership="ObjectWriter")
    client.put_object(Bucket="public", Key="key", Body=b"data")
    with pytest.raises(ClientError) as refused:
        anybody.get_object(Bucket="public", Key="key")
    assert code(refused) == "AccessDenied"
    policy = allow({"Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::public/*"})
    with pytest.raises(ClientError) as refused:
        client.put_bucket_policy(Bucket="public", Policy=policy)
    assert code(refused) == "AccessDenied"
    client.delete_public_access_block(Bucket="public")
    client.put_bucket_policy(Bucket="public", Policy=policy)
    assert client.get_bucket_policy_status(Bucket="public")["PolicyStatus"]["IsPublic"] is True
    assert anybody.get_object(Bucket="public", Key="key")["Body"].read() == b"data"
    client.delete_bucket_policy(Bucket="public")
    client.put_object(Bucket="public", Key="listed", Body=b"more", ACL="public-read")
    assert anybody.get_object(Bucket="public", Key="listed")["Body"].read() == b"more"
    grants = client.get_object_acl(Bucket="public", Key="listed")["Grants"]
    assert {(grant["Grantee"]["Type"], grant["Permission"]) for grant in grants} == {
        ("CanonicalUser", "FULL_CONTROL"), ("Group", "READ")}
    acl = client.get_bucket_acl(Bucket="public")
    client.put_bucket_acl(Bucket="public", AccessControlPolicy={"Owner": acl["Owner"], "Grants": acl["Grants"]})
    client.put_bucket_acl(Bucket="public", ACL="public-read-write")
    anybody.put_object(Bucket="public", Key="anybodys", Body=b"x")
    assert {entry["Key"] for entry in anybody.list_objects_v2(Bucket="public")["Contents"]} == {
        "anybodys", "key", "listed"}
    client.put_bucket_ownership_controls(Bucket="public", OwnershipControls={
        "Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]})
    client.put_public_access_block(Bucket="public", PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    with pytest.raises(ClientError) as refused:
        anybody.get_object(Bucket="public", Key="listed")
    assert code(refused) == "AccessDenied"


def test_users_roles_and_other_accounts(cloudlet: Cloudlet) -> None:
    client, iam = cloudlet.client("s3"), cloudlet.client("iam")
    client.create_bucket(Bucket="shared")
    client.put_object(Bucket="shared", Key="red/a", Body=b"a", Tagging="team=red")
    client.put_object(Bucket="shared", Key="blue/b", Body=b"b")
    iam.create_user(UserName="s3-user")
    made = iam.create_access_key(UserName="s3-user")["AccessKey"]
    user = cloudlet.client("s3", key=made["AccessKeyId"], secret=made["SecretAccessKey"])

    def rule(*statements: dict[str, Any]) -> None:
        iam.put_user_policy(UserName="s3-user", PolicyName="p", PolicyDocument=allow(*statements))

    rule({"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::shared", "Condition": {
        "StringLike": {"s3:prefix": "red/*"}}}, {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::shared/*",
                                                 "Condition": {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}})
    assert user.list_objects_v2(Bucket="shared", Prefix="red/")["KeyCount"] == 1
    assert user.get_object(Bucket="shared", Key="red/a")["Body"].read() == b"a"
    for refused in (lambda: user.list_objects_v2(Bucket="shared"), lambda: user.list_buckets(),
                    lambda: user.get_object(Bucket="shared", Key="blue/b"),
                    lambda: user.put_object(Bucket="shared", Key="red/a", Body=b"x"),
                    lambda: user.copy_object(Bucket="shared", Key="red/c", CopySource="shared/red/a")):
        with pytest.raises(ClientError) as error:
            refused()
        assert code(error) == "AccessDenied"
    rule({"Action": "s3:PutObject", "Resource": "*"},
         {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::shared/red/*"})
    with pytest.raises(ClientError, match="s3:GetObjectTagging"):  # it has tags, which come along
        user.copy_object(Bucket="shared", Key="red/c", CopySource="shared/red/a")
    rule({"Action": ["s3:PutObject", "s3:PutObjectTagging"], "Resource": "*"},
         {"Action": ["s3:GetObject", "s3:GetObjectTagging"], "Resource": "arn:aws:s3:::shared/red/*"})
    user.copy_object(Bucket="shared", Key="red/c", CopySource="shared/red/a")
    with pytest.raises(ClientError) as error:
        user.copy_object(Bucket="shared", Key="red/d", CopySource="shared/blue/b")
    assert code(error) == "AccessDenied"
    other = cloudlet.client("s3", key=OTHER)
    with pytest.raises(ClientError) as error:
        other.get_object(Bucket="shared", Key="red/a")
    assert code(error) == "AccessDenied"
    client.put_bucket_policy(Bucket="shared", Policy=allow({
        "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}, "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": "arn:aws:s3:::shared/*"}))
    other.put_object(Bucket="shared", Key="theirs", Body=b"t")
    assert client.get_object(Bucket="shared", Key="theirs")["Body"].read() == b"t"  # which the bucket's owner owns
    for who, owner, status in ((client, "000000000000", 200), (other, "000000000000", 200), (other, OTHER, 403)):
        try:
            got = who.get_object(Bucket="shared", Key="red/a", ExpectedBucketOwner=owner)
        except ClientError as wrong:
            got = wrong.response
        assert got["ResponseMetadata"]["HTTPStatusCode"] == status


def test_a_website_and_a_browser_from_elsewhere(cloudlet: Cloudlet) -> None:
    client = cloudlet.client("s3")
    client.create_bucket(Bucket="site")
    client.delete_public_access_block(Bucket="site")
    client.put_bucket_policy(Bucket="site", Policy=allow(
        {"Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::site/*"}))
    client.put_object(Bucket="site", Key="index.html", Body=b"<h1>hello</h1>", ContentType="text/html")
    client.put_bucket_website(Bucket="site", WebsiteConfiguration={
        "IndexDocument": {"Suffix": "index.html"}, "RoutingRules": [
            {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/"}}]})
    assert client.get_bucket_website(Bucket="site")["IndexDocument"] == {"Suffix": "index.html"}
    host = f"site.s3-website-us-east-1.localhost:{cloudlet.port}"
    status, headers, body = fetch(cloudlet, "/", Host=host)
    assert (status, headers["content-type"], body) == (200, "text/html", b"<h1>hello</h1>")
    assert fetch(cloudlet, "/none", Host=host)[0] == 403
    client.put_bucket_cors(Bucket="site", CORSConfiguration={"CORSRules": [
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["http://*.example.com"], "AllowedHeaders": ["*"]}]})
    asked = {"Origin": "http://www.example.com", "Access_Control_Request_Method": "GET"}
    status, headers, body = fetch(cloudlet, "/site/index.html", "OPTIONS", **asked)
    assert (status, headers["access-control-allow-origin"], body) == (200, "http://www.example.com", b"")
    assert fetch(cloudlet, "/site/index.html", "OPTIONS", **asked | {"Origin": "http://a.org"})[0] == 403
    status, headers, _ = fetch(cloudlet, "/site/index.html", Origin="http://www.example.com")
    assert (status, headers["access-control-allow-origin"]) == (200, "http://www.example.com")
    client.delete_bucket_cors(Bucket="site")
    client.delete_bucket_website(Bucket="site")
    assert fetch(cloudlet, "/", Host=host)[0] == 404


def test_settings_come_back_as_they_were_put(cloudlet: Cloudlet) -> None:
    client = cloudlet.client("s3")
    client.create_bucket(Bucket="settings")
    client.put_bucket_tagging(Bucket="settings", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert client.get_bucket_tagging(Bucket="settings")["TagSet"] == [{"Key": "a", "Value": "b"}]
    client.put_bucket_request_payment(Bucket="settings", RequestPaymentConfiguration={"Payer": "Requester"})
    assert client.get_bucket_request_payment(Bucket="settings")["Payer"] == "Requester"
    rule = client.get_bucket_encryption(Bucket="settings")["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    client.put_bucket_accelerate_configuration(Bucket="settings", AccelerateConfiguration={"Status": "Enabled"})
    assert client.get_bucket_accelerate_configuration(Bucket="settings")["Status"] == "Enabled"
    assert client.get_public_access_block(Bucket="settings")["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
    assert "LoggingEnabled" not in client.get_bucket_logging(Bucket="settings")
    assert client.list_bucket_metrics_configurations(Bucket="settings")["IsTruncated"] is False
    client.delete_bucket(Bucket="settings")
    client.create_bucket(Bucket="settings")
    with pytest.raises(ClientError) as error:
        client.get_bucket_tagging(Bucket="settings")
    assert code(error) == "NoSuchTagSet"
