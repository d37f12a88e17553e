"""What a bucket itself says of who may do what with it.

PutBucketPolicy, GetBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus; PutPublicAccessBlock, GetPublicAccessBlock,
DeletePublicAccessBlock; PutBucketOwnershipControls, GetBucketOwnershipControls, DeleteBucketOwnershipControls.
"""

import json
from typing import Any

import pytest

from cloudlet.services.s3.access.public import is_public
from cloudlet.services.s3.owners import canonical_id
from tests.services.s3.counter import ACCOUNT, Counter, document

OTHER = "111111111111"
BUCKET, OBJECTS = "arn:aws:s3:::bkt", "arn:aws:s3:::bkt/*"
READ = {"Principal": {"AWS": OTHER}, "Action": "s3:GetObject", "Resource": OBJECTS}


def test_a_policy_is_put_read_and_deleted(counter: Counter) -> None:
    assert counter.ask("GET", "/bkt", policy="").code == "NoSuchBucketPolicy"
    assert counter.ask("GET", "/bkt", policyStatus="").code == "NoSuchBucketPolicy"
    said = document(READ)
    assert counter.ask("PUT", "/bkt", said.encode(), policy="").status == 204
    assert counter.ask("GET", "/bkt", policy="").body.decode() == said
    assert counter.ask("GET", "/bkt", policyStatus="").xml.findtext("IsPublic") == "false"
    assert counter.ask("DELETE", "/bkt", policy="").status == 204
    assert counter.ask("GET", "/bkt", policy="").code == "NoSuchBucketPolicy"


def test_canonical_ids_become_accounts(counter: Counter) -> None:
    said = document({**READ, "Principal": {"CanonicalUser": canonical_id(OTHER)}})
    assert counter.ask("PUT", "/bkt", said.encode(), policy="").status == 204
    kept = json.loads(counter.ask("GET", "/bkt", policy="").body)
    assert kept["Statement"][0]["Principal"] == {"AWS": f"arn:aws:iam::{OTHER}:root"}
    counter.ask("PUT", "/bkt/key", b"x")
    assert counter.ask("GET", "/bkt/key", key=OTHER).body == b"x"


def without(member: str) -> dict[str, Any]:
    return {key: value for key, value in READ.items() if key != member}


@pytest.mark.parametrize(("said", "message"), [
    *((no_json, "Policies must be valid JSON and the first byte must be '{'") for no_json in ("", " {}", "[]")),
    ("{", "This policy contains invalid Json"),
    ("{}", "Missing required field Statement"),
    ('{"Statement":[]}', "Could not parse the policy: Statement is empty!"),
    ('{"Version":"2020-01-01","Statement":[]}', "The policy must contain a valid version string"),
    (json.dumps({"Statement": [without("Principal") | {"Effect": "Allow"}]}), "Missing required field Principal"),
    (json.dumps({"Statement": [without("Action") | {"Effect": "Allow"}]}), "Missing required field Action"),
    (json.dumps({"Statement": [without("Resource") | {"Effect": "Allow"}]}), "Missing required field Resource"),
    (json.dumps({"Statement": [READ]}), "Missing required field Effect"),
    (document({**READ, "Effect": "Maybe"}), "Invalid effect: Maybe"),
    (document({**READ, "Resource": "*"}), "Policy has invalid resource"),
    *[(document({**READ, "Condition": {operator: {"aws:SourceIp": value}}}), "Invalid IP address in Conditions")
      for operator in ("IpAddress", "NotIpAddress", "NotIpAddressIfExists", "ForAnyValue:IpAddress")
      for value in ("10.0.0.0/33", ["10.0.0.1", "everywhere"], 7)],
    (document({**READ, "Principal": {"AWS": "anonymous"}}), "Invalid principal in policy"),
    (document({**READ, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody"}}), "Invalid principal in policy"),
    (document({**READ, "Principal": {"CanonicalUser": "0" * 64}}), "Invalid principal in policy"),
    (document({**READ, "Principal": {}}), "Invalid principal in policy"),
    (document({**READ, "Action": "ec2:RunInstances"}), "Policy has invalid action"),
    (document({**READ, "Action": []}), "Policy has invalid action"),
    *((document({**READ, "Action": action}), "Policy has invalid action") for action in (
        "s3", "s3:", "s3:GetObjects", "s3::GetObject", "s3:GetObject:", "s3:????", "*GetObject", "s3x:GetObject")),
    *((document({**READ, "Action": action}), "Action does not apply to any resource(s) in statement") for action in (
        "s3:GetBucket*", "s3:???BucketVersioning", "s3:ListAllMyBuckets")),
    *((document({**READ, "Resource": BUCKET, "Action": action}),
       "Action does not apply to any resource(s) in statement") for action in ("s3:Abort*", "s3:GetObjec?")),
    (document({**READ, "Resource": "arn:aws:s3:::other/*"}), "Policy has invalid resource"),
    (document({**READ, "Resource": "bkt"}), "Policy has invalid resource"),
    (document({**READ, "Resource": BUCKET}), "Action does not apply to any resource(s) in statement"),
    (document({**READ, "Action": "s3:ListBucket"}), "Action does not apply to any resource(s) in statement"),
    (document({**READ, "Condition": {"Nonsense": {"aws:a": "b"}}}), "Invalid Condition type : Nonsense"),
    (document({**READ, "Resources": BUCKET}), "Unknown field Resources"),
    (json.dumps({"Statements": [READ]}), "Unknown field Statements"),
    (document({**READ, "Condition": {"StringEquals": {"a": "b"}}}), "Policy has an invalid condition key"),
    (document({**READ, "Condition": {"StringEquals": {"s3:Colour": "b"}}}), "Policy has an invalid condition key"),
    (document({**without("Principal"), "NotPrincipal": {"AWS": OTHER}}), "Allow with NotPrincipal is not allowed."),
    (document({**READ, "Sid": "a" * 21000}), "Policy exceeds the maximum allowed document size of 20480 bytes.")])
def test_what_is_no_policy(counter: Counter, said: str, message: str) -> None:
    answer = counter.ask("PUT", "/bkt", said.encode(), policy="")
    assert (answer.status, answer.code, answer.xml.findtext("Message")) == (
        400, "MalformedPolicy", message)
    assert counter.ask("GET", "/bkt", policy="").code == "NoSuchBucketPolicy"


def test_users_may_not_lock_themselves_out_but_knowingly(counter: Counter) -> None:
    bob = counter.user("bob", {})
    deny = document({"Effect": "Deny", "Principal": "*", "Action": "s3:PutBucketPolicy", "Resource": BUCKET}).encode()
    assert counter.ask("PUT", "/bkt", deny, policy="", **bob).code == "MalformedPolicy"
    assert counter.ask("GET", "/bkt", policy="").code == "NoSuchBucketPolicy"
    confirm = {"x-amz-confirm-remove-self-bucket-access": "true"}
    assert counter.ask("PUT", "/bkt", deny, policy="", headers=confirm, **bob).status == 204
    assert counter.ask("PUT", "/bkt", deny, policy="", headers=confirm, **bob).code == "AccessDenied"
    assert counter.ask("DELETE", "/bkt", policy="").status == 204


@pytest.mark.parametrize(("change", "public"), [
    ({}, True), ({"Principal": {"AWS": "*"}}, True), ({"Principal": {"AWS": OTHER}}, False),
    ({"Principal": {"AWS": [OTHER, "*"]}}, True), ({"Effect": "Deny"}, False),
    ({"Principal": {"Service": "logging.s3.amazonaws.com"}}, False),
    ({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}, False),
    ({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}, True),
    ({"Condition": {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}}, True),
    ({"Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}, True),
    ({"Condition": {"StringEquals": {"aws:SourceAccount": "${aws:userid}"}}}, True),
    ({"Condition": {"StringEquals": {"aws:UserAgent": "secret"}}}, True),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, False),
    ({"Condition": {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/1"]}}}, True),
    ({"Condition": {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, True),
    ({"Condition": {"StringLike": {"aws:userid": "AROAEXAMPLE:*"}}}, False),
    ({"Condition": {"StringLike": {"aws:userid": "*"}}}, True)])
def test_what_is_public(change: dict[str, Any], public: bool) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": OBJECTS, **change}
    assert is_public(json.dumps({"Statement": [statement]})) is public


def test_the_block_and_the_ownership_of_a_new_bucket_are_awss(counter: Counter) -> None:
    block = counter.ask("GET", "/bkt", publicAccessBlock="").xml
    assert [(each.tag, each.text) for each in block] == [
        (name, "true") for name in ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy",
                                    "RestrictPublicBuckets")]
    rule = counter.ask("GET", "/bkt", ownershipControls="").xml
    assert rule.findtext("Rule/ObjectOwnership") == "BucketOwnerEnforced"
    assert counter.ask("DELETE", "/bkt", publicAccessBlock="").status == 204
    assert counter.ask("GET", "/bkt", publicAccessBlock="").code == "NoSuchPublicAccessBlockConfiguration"
    assert counter.ask("DELETE", "/bkt", ownershipControls="").status == 204
    assert counter.ask("GET", "/bkt", ownershipControls="").code == "OwnershipControlsNotFoundError"
    none = b"<PublicAccessBlockConfiguration></PublicAccessBlockConfiguration>"
    assert counter.ask("PUT", "/bkt", none, publicAccessBlock="").status == 200
    assert {each.text for each in counter.ask("GET", "/bkt", publicAccessBlock="").xml} == {"false"}


def test_lists_are_not_switched_off_while_one_lets_others_in(counter: Counter) -> None:
    rule = "<OwnershipControls><Rule><ObjectOwnership>{}</ObjectOwnership></Rule></OwnershipControls>"
    counter.ask("DELETE", "/bkt", publicAccessBlock="")
    assert counter.ask("PUT", "/bkt", rule.format("ObjectWriter").encode(), ownershipControls="").status == 200
    assert counter.ask("PUT", "/bkt", headers={"x-amz-acl": "public-read"}, acl="").status == 200
    enforce = rule.format("BucketOwnerEnforced").encode()
    assert counter.ask("PUT", "/bkt", enforce, ownershipControls="").code == "InvalidBucketAclWithObjectOwnership"
    counter.ask("PUT", "/bkt", headers={"x-amz-acl": "private"}, acl="")
    assert counter.ask("PUT", "/bkt", enforce, ownershipControls="").status == 200
    for wrong in (rule.format("Nobody"), "<OwnershipControls></OwnershipControls>"):
        assert counter.ask("PUT", "/bkt", wrong.encode(), ownershipControls="").code == "MalformedXML"
