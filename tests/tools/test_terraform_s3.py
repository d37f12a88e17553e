"""Terraform makes what a bucket has beside its doors: locks, life cycles, events, copies of objects; and what the
well-known module for buckets (terraform-aws-modules/s3-bucket 4.x) declares, written out."""

import json

import pytest

from tests.running import Cloudlet
from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform

terraform = network.terraform  # the fixture
pytestmark = pytest.mark.slow

START = PROVIDER.replace('provider "aws" {', 'provider "aws" {\n  s3_use_path_style = true') + """
data "aws_caller_identity" "current" {}
data "aws_canonical_user_id" "current" {}
"""

MODULE = """
resource "aws_s3_bucket" "this" {
  bucket              = "s3-bucket-complete"
  force_destroy       = true
  object_lock_enabled = true
  tags                = { Owner = "Anton" }
}

resource "aws_s3_bucket_object_lock_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = %(days)s
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  bucket                = aws_s3_bucket.this.id
  expected_bucket_owner = data.aws_caller_identity.current.account_id
  versioning_configuration {
    status     = "Enabled"
    mfa_delete = "Disabled"
  }
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id
  rule { object_ownership = "BucketOwnerPreferred" }
  depends_on = [aws_s3_bucket_policy.this, aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_acl" "this" {
  bucket                = aws_s3_bucket.this.id
  expected_bucket_owner = data.aws_caller_identity.current.account_id
  access_control_policy {
    grant {
      permission = "FULL_CONTROL"
      grantee {
        type = "CanonicalUser"
        id   = data.aws_canonical_user_id.current.id
      }
    }
    grant {
      permission = "READ_ACP"
      grantee {
        type = "Group"
        uri  = "http://acs.amazonaws.com/groups/s3/LogDelivery"
      }
    }
    owner { id = data.aws_canonical_user_id.current.id }
  }
  depends_on = [aws_s3_bucket_ownership_controls.this]
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

data "aws_iam_policy_document" "combined" {
  statement {
    sid       = "denyInsecureTransport"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["maybe"]  # the module denies what is not TLS; this test speaks none
    }
  }
  statement {
    sid       = "denyUnencryptedObjectUploads"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.this.arn}/secret/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Null"
      variable = "s3:x-amz-server-side-encryption"
      values   = [true]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket     = aws_s3_bucket.this.id
  policy     = data.aws_iam_policy_document.combined.json
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    apply_server_side_encryption_by_default { sse_algorithm = "AES256" }
  }
}

resource "aws_s3_bucket_accelerate_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  status = "Suspended"
}

resource "aws_s3_bucket_request_payment_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  payer  = "BucketOwner"
}

resource "aws_s3_bucket_cors_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  cors_rule {
    allowed_methods = ["PUT", "POST"]
    allowed_origins = ["https://modules.tf", "https://terraform-aws-modules.modules.tf"]
    allowed_headers = ["*"]
    expose_headers  = ["ETag"]
    max_age_seconds = 3000
  }
  cors_rule {
    allowed_methods = ["PUT"]
    allowed_origins = ["https://example.com"]
    allowed_headers = ["*"]
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    id     = "log"
    status = "Enabled"
    filter {
      and {
        tags = {
          some    = "value"
          another = "value2"
        }
      }
    }
    transition {
      days          = 30
      storage_class = "ONEZONE_IA"
    }
    transition {
      days          = 60
      storage_class = "GLACIER"
    }
  }
  rule {
    id     = "log1"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload { days_after_initiation = 7 }
    noncurrent_version_transition {
      noncurrent_days = 30
      storage_class   = "STANDARD_IA"
    }
    noncurrent_version_transition {
      noncurrent_days = 90
      storage_class   = "GLACIER"
    }
    noncurrent_version_expiration { noncurrent_days = 300 }
  }
  rule {
    id     = "log2"
    status = "Enabled"
    filter {
      and {
        prefix                   = "log1/"
        object_size_greater_than = 200000
        object_size_less_than    = 500000
        tags                     = { some = "value" }
      }
    }
    noncurrent_version_expiration {
      noncurrent_days           = 300
      newer_noncurrent_versions = 5
    }
  }
  rule {
    id     = "old"
    status = "Disabled"
    filter { prefix = "old/" }
    expiration { days = %(days)s }
  }
  depends_on = [aws_s3_bucket_versioning.this]
}
"""

THINGS = """
resource "aws_sqs_queue" "events" {
  name = "events"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:us-east-1:${data.aws_caller_identity.current.account_id}:events"
      Condition = { ArnEquals = { "aws:SourceArn" = aws_s3_bucket.this.arn } }
    }]
  })
}

resource "aws_s3_bucket_notification" "this" {
  bucket = aws_s3_bucket.this.id
  queue {
    id            = "pictures"
    queue_arn     = aws_sqs_queue.events.arn
    events        = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    filter_prefix = "pictures/"
    filter_suffix = ".png"
  }
}

resource "aws_s3_object" "held" {
  bucket                        = aws_s3_bucket.this.id
  key                           = "held/a b.txt"
  content                       = "days: %(days)s"
  content_type                  = "text/plain"
  cache_control                 = "max-age=60"
  metadata                      = { origin = "terraform" }
  storage_class                 = "STANDARD_IA"
  checksum_algorithm            = "SHA256"
  object_lock_legal_hold_status = "ON"
  object_lock_mode              = "GOVERNANCE"
  object_lock_retain_until_date = "2099-01-01T00:00:00Z"
  force_destroy                 = true
  tags                          = { kind = "text" }
  depends_on                    = [aws_s3_bucket_object_lock_configuration.this, aws_s3_bucket_versioning.this]
}

resource "aws_s3_object_copy" "copy" {
  bucket             = aws_s3_bucket.this.id
  key                = "copies/a"
  source             = "${aws_s3_object.held.bucket}/${aws_s3_object.held.key}"
  metadata_directive = "REPLACE"
  tagging_directive  = "REPLACE"
  content_type       = "text/x"
  force_destroy      = true
}

data "aws_s3_object" "held" {
  bucket     = aws_s3_bucket.this.id
  key        = aws_s3_object.held.key
  version_id = aws_s3_object.held.version_id
}

data "aws_s3_objects" "all" {
  bucket     = aws_s3_bucket.this.id
  depends_on = [aws_s3_object.held, aws_s3_object_copy.copy]
}

data "aws_s3_bucket_policy" "this" {
  bucket     = aws_s3_bucket.this.id
  depends_on = [aws_s3_bucket_policy.this]
}

output "seen" {
  value = {
    body   = data.aws_s3_object.held.body
    keys   = data.aws_s3_objects.all.keys
    denies = length(jsondecode(data.aws_s3_bucket_policy.this.policy).Statement)
  }
}
"""


def test_apply_an_empty_plan_a_change_and_destroy(terraform: Terraform, cloudlet: Cloudlet) -> None:
    client, text = cloudlet.client("s3"), START + MODULE + THINGS
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    for days in ("1", "2"):
        terraform.write(text.replace("%(days)s", days))
        if days == "1":
            terraform("init", "-input=false")
        terraform.settle()
        assert json.loads(terraform("output", "-json", "seen")) == {
            "body": f"days: {days}", "keys": ["copies/a", "held/a b.txt"], "denies": 2}
    bucket = {"Bucket": "s3-bucket-complete"}
    lock = client.get_object_lock_configuration(**bucket)["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 2}
    assert len(client.get_bucket_lifecycle_configuration(**bucket)["Rules"]) == 4
    assert len(client.get_bucket_acl(**bucket)["Grants"]) == 2
    assert client.get_bucket_notification_configuration(**bucket)["QueueConfigurations"][0]["Id"] == "pictures"
    assert len(client.list_object_versions(**bucket, Prefix="held/")["Versions"]) == 2
    terraform("destroy", "-auto-approve", "-input=false")
    assert client.list_buckets()["Buckets"] == []
