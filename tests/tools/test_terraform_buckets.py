"""Terraform makes buckets with what opens and shuts them, finds nothing to change, and takes them away again."""

import json

import pytest

from tests.running import Cloudlet
from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform

terraform = network.terraform  # the fixture

BUCKETS = PROVIDER.replace('provider "aws" {', 'provider "aws" {\n  s3_use_path_style = true') + """
resource "aws_s3_bucket" "site" {
  bucket        = "tf-site"
  force_destroy = true
}

resource "aws_s3_bucket" "plain" {
  bucket_prefix = "tf-plain-"
  tags          = { team = "red" }
}

resource "aws_s3_bucket_ownership_controls" "site" {
  bucket = aws_s3_bucket.site.id
  rule {
    object_ownership = "BucketOwnerPreferred"
  }
}

resource "aws_s3_bucket_public_access_block" "site" {
  bucket                  = aws_s3_bucket.site.id
  block_public_acls       = false
  block_public_policy     = false
  ignore_public_acls      = false
  restrict_public_buckets = false
}

resource "aws_s3_bucket_acl" "site" {
  depends_on = [aws_s3_bucket_ownership_controls.site, aws_s3_bucket_public_access_block.site]
  bucket     = aws_s3_bucket.site.id
  acl        = "%(acl)s"
}

resource "aws_s3_bucket_policy" "site" {
  depends_on = [aws_s3_bucket_public_access_block.site]
  bucket     = aws_s3_bucket.site.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{
      Sid       = "Everybody"
      Effect    = "Allow"
      Principal = "*"
      Action    = "s3:GetObject"
      Resource  = "${aws_s3_bucket.site.arn}/*"
    }]
  })
}

resource "aws_s3_bucket_website_configuration" "site" {
  bucket = aws_s3_bucket.site.id
  index_document {
    suffix = "index.html"
  }
  error_document {
    key = "error.html"
  }
  routing_rule {
    condition {
      key_prefix_equals = "docs/"
    }
    redirect {
      replace_key_prefix_with = "papers/"
    }
  }
}

resource "aws_s3_bucket_cors_configuration" "site" {
  bucket = aws_s3_bucket.site.id
  cors_rule {
    allowed_methods = ["GET"]
    allowed_origins = ["https://www.example.com"]
    expose_headers  = ["ETag"]
    max_age_seconds = %(age)s
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "plain" {
  bucket = aws_s3_bucket.plain.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
    bucket_key_enabled = true
  }
}

resource "aws_s3_bucket_versioning" "plain" {
  bucket = aws_s3_bucket.plain.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_request_payment_configuration" "plain" {
  bucket = aws_s3_bucket.plain.id
  payer  = "Requester"
}

resource "aws_s3_bucket_accelerate_configuration" "plain" {
  bucket = aws_s3_bucket.plain.id
  status = "Enabled"
}

resource "aws_s3_bucket" "logs" {
  bucket        = "tf-logs"
  force_destroy = true
}

resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "logging.s3.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.logs.arn}/*"
      Condition = { ArnLike = { "aws:SourceArn" = aws_s3_bucket.plain.arn } }
    }]
  })
}

resource "aws_s3_bucket_logging" "plain" {
  bucket        = aws_s3_bucket.plain.id
  target_bucket = aws_s3_bucket.logs.id
  target_prefix = "plain/%(age)s/"
  target_object_key_format {
    partitioned_prefix {
      partition_date_source = "EventTime"
    }
  }
}

resource "aws_s3_object" "index" {
  bucket       = aws_s3_bucket.site.id
  key          = "index.html"
  content      = "<h1>hello</h1>"
  content_type = "text/html"
  tags         = { kind = "page" }
}

data "aws_s3_bucket" "site" {
  bucket     = aws_s3_bucket.site.bucket
  depends_on = [aws_s3_bucket_website_configuration.site]
}

data "aws_canonical_user_id" "me" {}

output "seen" {
  value = { region = data.aws_s3_bucket.site.region, me = length(data.aws_canonical_user_id.me.id) }
}
"""


@pytest.mark.slow
def test_apply_an_empty_plan_and_destroy(terraform: Terraform, cloudlet: Cloudlet) -> None:
    client = cloudlet.client("s3")
    terraform.environment["AWS_ENDPOINT_URL"] = cloudlet.url
    terraform.write(BUCKETS.replace("%(acl)s", "private").replace("%(age)s", "60"))
    terraform("init", "-input=false")
    terraform.settle()
    assert json.loads(terraform("output", "-json", "seen")) == {"region": "us-east-1", "me": 64}
    assert client.get_bucket_policy_status(Bucket="tf-site")["PolicyStatus"]["IsPublic"] is True
    terraform.write(BUCKETS.replace("%(acl)s", "public-read").replace("%(age)s", "600"))
    terraform.settle()
    assert len(client.get_bucket_acl(Bucket="tf-site")["Grants"]) == 2
    assert client.get_bucket_cors(Bucket="tf-site")["CORSRules"][0]["MaxAgeSeconds"] == 600
    terraform("destroy", "-auto-approve", "-input=false")
    assert client.list_buckets()["Buckets"] == []
