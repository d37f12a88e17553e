"""AWS's tutorials of S3 for the command line, typed as they stand there, changed only where a name is one's own."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.running import Cloudlet
from tests.tools.test_tutorials import script

pytestmark = pytest.mark.slow
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/GetStartedWithS3.html, in the commands of AWS's tutorial for the
# command line (github.com/aws-samples/sample-developer-tutorials, 003-s3-gettingstarted)
STARTED = """
BUCKET_NAME="amzn-s3-demo-$(tr -dc 'a-f0-9' < /dev/urandom | dd bs=12 count=1 iflag=fullblock 2>/dev/null || true)"
aws s3api create-bucket --bucket "$BUCKET_NAME"
echo "Hello, Amazon S3!" > sample.txt
aws s3api put-object --bucket "$BUCKET_NAME" --key "sample.txt" --body "sample.txt"
aws s3api get-object --bucket "$BUCKET_NAME" --key "sample.txt" "downloaded-sample.txt"
cmp sample.txt downloaded-sample.txt
aws s3api copy-object --bucket "$BUCKET_NAME" --copy-source "$BUCKET_NAME/sample.txt" --key "backup/sample.txt"
aws s3api put-bucket-versioning --bucket "$BUCKET_NAME" --versioning-configuration Status=Enabled
echo "This is version 2." > sample.txt
aws s3api put-object --bucket "$BUCKET_NAME" --key "sample.txt" --body "sample.txt"
aws s3api put-bucket-encryption --bucket "$BUCKET_NAME" --server-side-encryption-configuration \
 '{"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": true}]}'
aws s3api put-public-access-block --bucket "$BUCKET_NAME" --public-access-block-configuration \
 '{"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true}'
aws s3api put-bucket-tagging --bucket "$BUCKET_NAME" --tagging \
 '{"TagSet": [{"Key": "Environment", "Value": "Tutorial"}, {"Key": "Project", "Value": "S3-GettingStarted"}]}'
aws s3api get-bucket-tagging --bucket "$BUCKET_NAME"
aws s3api list-objects-v2 --bucket "$BUCKET_NAME"
echo versions=$(aws s3api list-object-versions --bucket "$BUCKET_NAME" --query 'length(Versions)')
aws s3api list-object-versions --bucket "$BUCKET_NAME" --query "Versions[].{Key:Key,VersionId:VersionId}" \
 --output text | while IFS=$'\\t' read -r KEY VERSION_ID; do
 aws s3api delete-object --bucket "$BUCKET_NAME" --key "$KEY" --version-id "$VERSION_ID"; done
aws s3api list-object-versions --bucket "$BUCKET_NAME" --query "DeleteMarkers[].{Key:Key,VersionId:VersionId}" \
 --output text
aws s3api delete-bucket --bucket "$BUCKET_NAME"
"""

# https://docs.aws.amazon.com/cli/latest/userguide/cli-services-s3-commands.html
COMMANDS = """
aws s3 mb s3://amzn-s3-demo-bucket
aws s3 ls
echo one > filename.txt; echo two > MyFile1.rtf; echo three > MyFile2.txt
aws s3 cp filename.txt s3://amzn-s3-demo-bucket/example/
aws s3 cp filename.txt s3://amzn-s3-demo-bucket
aws s3 ls s3://amzn-s3-demo-bucket
aws s3 ls s3://amzn-s3-demo-bucket/example/
aws s3 rm s3://amzn-s3-demo-bucket/filename.txt
aws s3 rm s3://amzn-s3-demo-bucket/example --recursive
aws s3 mb s3://amzn-s3-demo-bucket1
echo "hello world" | aws s3 cp - s3://amzn-s3-demo-bucket/example/filename.txt
aws s3 cp s3://amzn-s3-demo-bucket/example/filename.txt -
aws s3 cp s3://amzn-s3-demo-bucket/example/filename.txt - | bzip2 --best | \
 aws s3 cp - s3://amzn-s3-demo-bucket/key.bz2
aws s3 cp s3://amzn-s3-demo-bucket/key.bz2 - | bunzip2 | grep -x "hello world"
aws s3 mv s3://amzn-s3-demo-bucket/example s3://amzn-s3-demo-bucket1/ --recursive
aws s3 mv MyFile1.rtf s3://amzn-s3-demo-bucket
aws s3 mv s3://amzn-s3-demo-bucket/MyFile1.rtf ./
aws s3 sync . s3://amzn-s3-demo-bucket/path
rm ./MyFile1.rtf
aws s3 sync . s3://amzn-s3-demo-bucket/path --delete
aws s3 sync . s3://amzn-s3-demo-bucket/path --storage-class STANDARD_IA
aws s3 sync . s3://amzn-s3-demo-bucket/txt --exclude "*.txt" --include "MyFile*.txt" --exclude "MyFile?3.txt"
aws s3 ls s3://amzn-s3-demo-bucket --recursive --human-readable --summarize
aws s3 sync s3://amzn-s3-demo-bucket/path s3://amzn-s3-demo-bucket1/path
aws s3 cp filename.txt s3://amzn-s3-demo-bucket/kept --sse AES256 --metadata Year=2026 --cache-control max-age=60
aws s3api head-object --bucket amzn-s3-demo-bucket --key kept --query '[Metadata.year, CacheControl]' --output text
{ aws s3 rb s3://amzn-s3-demo-bucket 2>&1 || true; } | grep BucketNotEmpty
aws s3 rb s3://amzn-s3-demo-bucket --force
aws s3 rb s3://amzn-s3-demo-bucket1 --force
"""

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/HostingWebsiteOnS3Setup.html
WEBSITE = """
aws s3api create-bucket --bucket amzn-s3-demo-website
aws s3 website s3://amzn-s3-demo-website/ --index-document index.html --error-document error.html
aws s3api delete-public-access-block --bucket amzn-s3-demo-website
aws s3api put-bucket-policy --bucket amzn-s3-demo-website --policy file://policy.json
echo '<h1>Welcome to my website</h1>' > index.html
echo '<h1>This page is missing</h1>' > error.html
aws s3 cp index.html s3://amzn-s3-demo-website
aws s3 cp error.html s3://amzn-s3-demo-website
aws s3api get-bucket-website --bucket amzn-s3-demo-website
"""

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-configure.html
LOCK = """
aws s3api create-bucket --bucket amzn-s3-demo-bucket1 --object-lock-enabled-for-bucket
aws s3api put-object-lock-configuration --bucket amzn-s3-demo-bucket1 --object-lock-configuration=\
'{ "ObjectLockEnabled": "Enabled", "Rule": { "DefaultRetention": { "Mode": "COMPLIANCE", "Days": 1 }}}'
aws s3api get-object-lock-configuration --bucket amzn-s3-demo-bucket1
aws s3api put-object-lock-configuration --bucket amzn-s3-demo-bucket1 --object-lock-configuration=\
'{ "ObjectLockEnabled": "Enabled" }'
echo locked > my-image.jpg
VERSION=$(aws s3api put-object --bucket amzn-s3-demo-bucket1 --key my-image.jpg --body my-image.jpg \
 --query VersionId --output text)
aws s3api put-object-legal-hold --bucket amzn-s3-demo-bucket1 --key my-image.jpg --legal-hold="Status=ON"
aws s3api put-object-retention --bucket amzn-s3-demo-bucket1 --key my-image.jpg \
 --retention='{ "Mode": "GOVERNANCE", "RetainUntilDate": "'$(date -u -d '+1 day' +%Y-%m-%dT%H:%M:%S)'" }'
{ aws s3api delete-object --bucket amzn-s3-demo-bucket1 --key my-image.jpg --version-id $VERSION \
 --bypass-governance-retention 2>&1 || true; } | grep AccessDenied
aws s3api put-object-legal-hold --bucket amzn-s3-demo-bucket1 --key my-image.jpg --legal-hold="Status=OFF"
{ aws s3api delete-object --bucket amzn-s3-demo-bucket1 --key my-image.jpg --version-id $VERSION 2>&1 || true; } \
 | grep AccessDenied
aws s3api delete-object --bucket amzn-s3-demo-bucket1 --key my-image.jpg --version-id $VERSION \
 --bypass-governance-retention
aws s3api delete-bucket --bucket amzn-s3-demo-bucket1
"""

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-walkthroughs-managing-access-example1.html
ACCESS = """
aws iam create-user --user-name Dave
aws s3api create-bucket --bucket awsexamplebucket1
aws s3api put-bucket-policy --bucket awsexamplebucket1 --policy file://bucket.json
aws iam put-user-policy --user-name Dave --policy-name put --policy-document file://user.json
echo HappyFace > HappyFace.jpg
aws s3api put-object --bucket awsexamplebucket1 --key HappyFace.jpg --body HappyFace.jpg
set -- $(aws iam create-access-key --user-name Dave --query 'AccessKey.[AccessKeyId,SecretAccessKey]' --output text)
export AWS_ACCESS_KEY_ID=$1 AWS_SECRET_ACCESS_KEY=$2
aws s3 ls s3://awsexamplebucket1
aws s3api get-object --bucket awsexamplebucket1 --key HappyFace.jpg Outputfile.jpg
aws s3api put-object --bucket awsexamplebucket1 --key HappyFace.jpg --body HappyFace.jpg
{ aws s3api delete-object --bucket awsexamplebucket1 --key HappyFace.jpg 2>&1 || true; } | grep AccessDenied
"""

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/ways-to-add-notification-config-to-bucket.html
NOTIFY = """
aws s3api create-bucket --bucket amzn-s3-demo-events
URL=$(aws sqs create-queue --queue-name events --endpoint-url $AWS_ENDPOINT_URL --query QueueUrl --output text)
aws sqs set-queue-attributes --endpoint-url $AWS_ENDPOINT_URL --queue-url $URL --attributes file://attributes.json
aws s3api put-bucket-notification-configuration --bucket amzn-s3-demo-events \
 --notification-configuration file://notification.json
aws s3api get-bucket-notification-configuration --bucket amzn-s3-demo-events
echo picture > cat.jpg
aws s3 cp cat.jpg s3://amzn-s3-demo-events/images/cat.jpg
aws s3 cp cat.jpg s3://amzn-s3-demo-events/other/cat.txt
for try in 1 2 3; do aws sqs receive-message --endpoint-url $AWS_ENDPOINT_URL --queue-url $URL --wait-time-seconds 2 \
 --max-number-of-messages 10 --query 'Messages[].Body' --output text; done > events
grep ObjectCreated events
"""

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpu-upload-object.html and s3api's own examples
PARTS = """
aws s3api create-bucket --bucket amzn-s3-demo-parts
head -c 12000000 /dev/urandom > large; split -b 5M large part-
ID=$(aws s3api create-multipart-upload --bucket amzn-s3-demo-parts --key large_test_file --query UploadId \
 --output text)
NUMBER=0; for PART in part-*; do NUMBER=$((NUMBER + 1))
 aws s3api upload-part --bucket amzn-s3-demo-parts --key large_test_file --part-number $NUMBER --body $PART \
  --upload-id $ID --content-md5 $(openssl md5 -binary $PART | base64); done
aws s3api list-multipart-uploads --bucket amzn-s3-demo-parts --query 'Uploads[].Key' --output text
aws s3api list-parts --bucket amzn-s3-demo-parts --key large_test_file --upload-id $ID \
 --query '{Parts: Parts[].{PartNumber: PartNumber, ETag: ETag}}' > parts.json
aws s3api complete-multipart-upload --multipart-upload file://parts.json --bucket amzn-s3-demo-parts \
 --key large_test_file --upload-id $ID
aws s3 cp s3://amzn-s3-demo-parts/large_test_file - | cmp - large
aws s3 rb s3://amzn-s3-demo-parts --force
"""


def statement(actions: list[str], resource: str, principal: object = None) -> dict[str, object]:
    whom = {} if principal is None else {"Principal": principal}
    return {"Effect": "Allow", **whom, "Action": actions, "Resource": resource}


def write(path: Path, *statements: dict[str, object]) -> None:
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def page(cloudlet: Cloudlet, path: str) -> tuple[int, bytes]:
    host = f"amzn-s3-demo-website.s3-website-us-east-1.localhost:{cloudlet.port}"
    request = urllib.request.Request(f"{cloudlet.url}{path}", headers={"Host": host})
    try:
        with _direct.open(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_getting_started(cloudlet: Cloudlet, tmp_path: Path) -> None:
    said = script(cloudlet, tmp_path, STARTED)
    assert "versions=3" in said
    assert '"Value": "S3-GettingStarted"' in said
    assert cloudlet.client("s3").list_buckets()["Buckets"] == []


@pytest.mark.engine("bzip2")
def test_the_high_level_commands(cloudlet: Cloudlet, tmp_path: Path) -> None:
    said = script(cloudlet, tmp_path, COMMANDS)
    for line in ("make_bucket: amzn-s3-demo-bucket1", "PRE example/", "hello world", "2026\tmax-age=60",
                 "delete: s3://amzn-s3-demo-bucket/path/MyFile1.rtf", "remove_bucket: amzn-s3-demo-bucket1",
                 "move: s3://amzn-s3-demo-bucket/example/filename.txt to s3://amzn-s3-demo-bucket1/filename.txt",
                 "copy: s3://amzn-s3-demo-bucket/path/MyFile2.txt to s3://amzn-s3-demo-bucket1/path/MyFile2.txt"):
        assert line in said
    assert cloudlet.client("s3").list_buckets()["Buckets"] == []


def test_a_static_website(cloudlet: Cloudlet, tmp_path: Path) -> None:
    write(tmp_path / "policy.json", statement(["s3:GetObject"], "arn:aws:s3:::amzn-s3-demo-website/*", "*"))
    script(cloudlet, tmp_path, WEBSITE)
    assert page(cloudlet, "/") == (200, b"<h1>Welcome to my website</h1>\n")
    assert page(cloudlet, "/none") == (403, b"<h1>This page is missing</h1>\n")  # strangers may not list
    script(cloudlet, tmp_path, "aws s3 rb s3://amzn-s3-demo-website --force")


def test_object_lock(cloudlet: Cloudlet, tmp_path: Path) -> None:
    said = script(cloudlet, tmp_path, LOCK)
    assert '"Mode": "COMPLIANCE"' in said
    assert cloudlet.client("s3").list_buckets()["Buckets"] == []


def test_a_bucket_of_ones_users(cloudlet: Cloudlet, tmp_path: Path) -> None:
    dave = {"AWS": "arn:aws:iam::000000000000:user/Dave"}
    write(tmp_path / "bucket.json",
          statement(["s3:GetBucketLocation", "s3:ListBucket"], "arn:aws:s3:::awsexamplebucket1", dave),
          statement(["s3:GetObject"], "arn:aws:s3:::awsexamplebucket1/*", dave))
    write(tmp_path / "user.json", statement(["s3:PutObject"], "arn:aws:s3:::awsexamplebucket1/*"))
    assert "HappyFace.jpg" in script(cloudlet, tmp_path, ACCESS)
    assert (tmp_path / "Outputfile.jpg").read_text() == "HappyFace\n"
    script(cloudlet, tmp_path, "aws s3 rb s3://awsexamplebucket1 --force")


def test_events_of_a_bucket(cloudlet: Cloudlet, tmp_path: Path) -> None:
    queue = "arn:aws:sqs:us-east-1:000000000000:events"
    policy = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": ["SQS:SendMessage"],
        "Resource": queue, "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:*:*:amzn-s3-demo-events"},
                                         "StringEquals": {"aws:SourceAccount": "000000000000"}}}]}
    (tmp_path / "attributes.json").write_text(json.dumps({"Policy": json.dumps(policy)}))
    (tmp_path / "notification.json").write_text(json.dumps({"QueueConfigurations": [{
        "Id": "1", "QueueArn": queue, "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "images/"},
                                           {"Name": "suffix", "Value": ".jpg"}]}}}]}))
    said = script(cloudlet, tmp_path, NOTIFY)
    (events,) = [line for line in said.splitlines() if "ObjectCreated" in line and "Records" in line]
    assert events.count("cat.jpg") == 1
    assert "cat.txt" not in events
    script(cloudlet, tmp_path, "aws s3 rb s3://amzn-s3-demo-events --force")


@pytest.mark.engine("openssl")
def test_a_large_file_in_parts(cloudlet: Cloudlet, tmp_path: Path) -> None:
    assert "large_test_file" in script(cloudlet, tmp_path, PARTS)
    assert cloudlet.client("s3").list_buckets()["Buckets"] == []
