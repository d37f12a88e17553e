"""Terraform has buckets copied to others; what it cannot make of S3 here is refused; and every resource of buckets and
objects that its provider has is in one of the suites."""

import json
import re
import time
from pathlib import Path

import pytest

from tests.running import Cloudlet
from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform

terraform = network.terraform  # the fixture
pytestmark = pytest.mark.slow

START = PROVIDER.replace('provider "aws" {', 'provider "aws" {\n  s3_use_path_style = true')

# As in https://registry.terraform.io/providers/hashicorp/aws/5.100.0/docs/resources/s3_bucket_replication_configuration,
# in time and in both directions.
REPLICATION = """
data "aws_iam_policy_document" "assume_role" {
  statement {
    effect  = "Allow"
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "replication" {
  name               = "tf-iam-role-replication-12345"
  assume_role_policy = data.aws_iam_policy_document.assume_role.json
}

data "aws_iam_policy_document" "replication" {
  statement {
    effect    = "Allow"
    actions   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
    resources = [aws_s3_bucket.east.arn, aws_s3_bucket.west.arn]
  }
  statement {
    effect = "Allow"
    actions = [
      "s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging",
      "s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags",
    ]
    resources = ["${aws_s3_bucket.east.arn}/*", "${aws_s3_bucket.west.arn}/*"]
  }
}

resource "aws_iam_policy" "replication" {
  name   = "tf-iam-role-policy-replication-12345"
  policy = data.aws_iam_policy_document.replication.json
}

resource "aws_iam_role_policy_attachment" "replication" {
  role       = aws_iam_role.replication.name
  policy_arn = aws_iam_policy.replication.arn
}

resource "aws_s3_bucket" "east" {
  bucket        = "tf-test-bucket-east-12345"
  force_destroy = true
}

resource "aws_s3_bucket_versioning" "east" {
  bucket = aws_s3_bucket.east.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket" "west" {
  bucket        = "tf-test-bucket-west-12345"
  force_destroy = true
}

resource "aws_s3_bucket_versioning" "west" {
  bucket = aws_s3_bucket.west.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_replication_configuration" "east_to_west" {
  depends_on = [
    aws_s3_bucket_versioning.east, aws_s3_bucket_versioning.west, aws_iam_role_policy_attachment.replication
  ]
  role       = aws_iam_role.replication.arn
  bucket     = aws_s3_bucket.east.id
  rule {
    id       = "foobar"
    priority = 10
    status   = "Enabled"
    filter { prefix = "foo" }
    delete_marker_replication { status = "%(markers)s" }
    source_selection_criteria {
      replica_modifications { status = "Enabled" }
    }
    destination {
      bucket        = aws_s3_bucket.west.arn
      storage_class = "STANDARD_IA"
      replication_time {
        status = "Enabled"
        time { minutes = 15 }
      }
      metrics {
        status = "Enabled"
        event_threshold { minutes = 15 }
      }
    }
  }
  rule {
    id       = "tagged"
    priority = 20
    status   = "Enabled"
    filter {
      and {
        prefix = "bar"
        tags   = { copy = "yes" }
      }
    }
    delete_marker_replication { status = "Disabled" }
    destination { bucket = aws_s3_bucket.west.arn }
  }
}

resource "aws_s3_bucket_replication_configuration" "west_to_east" {
  depends_on = [
    aws_s3_bucket_versioning.east, aws_s3_bucket_versioning.west, aws_iam_role_policy_attachment.replication
  ]
  role       = aws_iam_role.replication.arn
  bucket     = aws_s3_bucket.west.id
  rule {
    id     = "old"
    prefix = "old"
    status = "Enabled"
    destination { bucket = aws_s3_bucket.east.arn }
  }
}

resource "aws_s3_object" "copied" {
  depends_on = [aws_s3_bucket_replication_configuration.east_to_west]
  bucket     = aws_s3_bucket.east.id
  key        = "foo/bar"
  content    = "copied"
  tags       = { kind = "text" }
}

resource "aws_s3_bucket_object" "deprecated" {
  bucket  = aws_s3_bucket.east.id
  key     = "as before version 4"
  content = "still works"
}
"""

INVENTORY = """
resource "aws_s3_bucket" "inventory" {
  bucket        = "tf-inventories"
  force_destroy = true
}

resource "aws_s3_bucket_policy" "inventory" {
  bucket = aws_s3_bucket.inventory.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.inventory.arn}/*"
      Condition = { ArnLike = { "aws:SourceArn" = aws_s3_bucket.east.arn } }
    }]
  })
}

resource "aws_s3_bucket_inventory" "east" {
  depends_on               = [aws_s3_bucket_policy.inventory]
  bucket                   = aws_s3_bucket.east.id
  name                     = "EntireBucketDaily"
  included_object_versions = "All"
  optional_fields          = ["Size", "ETag", "ReplicationStatus"]
  schedule { frequency = "Daily" }
  filter { prefix = "foo" }
  destination {
    bucket {
      format     = "CSV"
      bucket_arn = aws_s3_bucket.inventory.arn
      prefix     = "inventory"
      encryption {
        sse_s3 {}
      }
    }
  }
}
"""

# What would be kept and not acted on.
REFUSED = {
    "metric": 'resource "aws_s3_bucket_metric" "x" {\n  bucket = aws_s3_bucket.x.id\n  name = "all"\n}',
    "analytics": """resource "aws_s3_bucket_analytics_configuration" "x" {
  bucket = aws_s3_bucket.x.id
  name   = "all"
}""",
    "tiering": """resource "aws_s3_bucket_intelligent_tiering_configuration" "x" {
  bucket = aws_s3_bucket.x.id
  name   = "all"
  tiering {
    access_tier = "ARCHIVE_ACCESS"
    days        = 125
  }
}""",
}
# Its client asks a host of the bucket's own name, before anything exists, so that Terraform cannot even be refused.
NEVER = {"aws_s3_directory_bucket"}


def test_apply_an_empty_plan_and_destroy(terraform: Terraform, cloudlet: Cloudlet) -> None:
    client = cloudlet.client("s3")
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    terraform.write(START + INVENTORY + REPLICATION.replace("%(markers)s", "Disabled"))
    terraform("init", "-input=false")
    terraform.settle()
    east, west = "tf-test-bucket-east-12345", "tf-test-bucket-west-12345"
    deadline = time.monotonic() + 20
    while client.head_object(Bucket=east, Key="foo/bar")["ReplicationStatus"] != "COMPLETED":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    replica = client.get_object(Bucket=west, Key="foo/bar")
    assert (replica["Body"].read(), replica["StorageClass"], replica["ReplicationStatus"]) == (
        b"copied", "STANDARD_IA", "REPLICA")
    while not (found := client.list_objects_v2(Bucket="tf-inventories").get("Contents")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found[0]["Key"].startswith("inventory/tf-test-bucket-east-12345/EntireBucketDaily/")
    terraform.write(START + INVENTORY + REPLICATION.replace("%(markers)s", "Enabled"))
    terraform.settle()
    rules = client.get_bucket_replication(Bucket=east)["ReplicationConfiguration"]["Rules"]
    assert sorted(rule["DeleteMarkerReplication"]["Status"] for rule in rules) == ["Disabled", "Enabled"]
    terraform("destroy", "-auto-approve", "-input=false")
    assert client.list_buckets()["Buckets"] == []


def test_what_nothing_would_act_on_is_refused(terraform: Terraform, cloudlet: Cloudlet) -> None:
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    bucket = 'resource "aws_s3_bucket" "x" {\n  bucket = "tf-refused"\n}\n'
    terraform.write(START + bucket)
    terraform("init", "-input=false")
    terraform("apply", "-auto-approve", "-input=false")
    for kind, resource in REFUSED.items():
        terraform.write(START + bucket + resource)
        with pytest.raises(AssertionError, match="NotImplemented"):
            terraform("apply", "-auto-approve", "-input=false")
        assert kind
    terraform.write(START + bucket)
    terraform.settle()
    terraform("destroy", "-auto-approve", "-input=false")


def test_every_resource_of_the_provider_is_in_a_suite(terraform: Terraform, cloudlet: Cloudlet) -> None:
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    terraform.write(START)
    terraform("init", "-input=false")
    schemas = json.loads(terraform("providers", "schema", "-json"))["provider_schemas"]
    (provider,) = schemas.values()
    there = {name for name in provider["resource_schemas"] if re.match(r"aws_s3_(bucket|object|directory)", name)}
    suites = "".join(path.read_text() for path in Path(__file__).parent.glob("test_terraform_*.py"))
    assert len(there) > 20
    assert there - NEVER == {name for name in there if f'resource "{name}"' in suites}
