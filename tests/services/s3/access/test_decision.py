"""Who may do what: owners, identity policies, bucket policies, lists, the public access block, nobody."""

import hashlib
from typing import Any

import pytest

from tests.services.s3.counter import ACCOUNT, Counter, document

OTHER = "111111111111"
BUCKET, OBJECTS = "arn:aws:s3:::bkt", "arn:aws:s3:::bkt/*"
OWNERSHIP = b"<OwnershipControls><Rule><ObjectOwnership>%s</ObjectOwnership></Rule></OwnershipControls>"


@pytest.fixture
def filled(counter: Counter) -> Counter:
    counter.ask("PUT", "/bkt/key", b"data")
    return counter


def policy(counter: Counter, *statements: dict[str, Any], key: str = "test") -> str:
    return counter.ask("PUT", "/bkt", document(*statements).encode(), policy="", key=key).code


def unblock(counter: Counter, ownership: str = "") -> None:
    """As buckets were before April 2023."""
    assert counter.ask("DELETE", "/bkt", publicAccessBlock="").status == 204
    if ownership:
        assert counter.ask("PUT", "/bkt", OWNERSHIP % ownership.encode(), ownershipControls="").status == 200


def test_nobody_and_strangers_may_nothing(filled: Counter) -> None:
    for who in ("", OTHER):
        for method, path in (("GET", "/bkt/key"), ("HEAD", "/bkt/key"), ("PUT", "/bkt/new"), ("DELETE", "/bkt/key"),
                             ("HEAD", "/bkt"), ("DELETE", "/bkt"), ("GET", "/bkt/none")):
            answer = filled.ask(method, path, key=who)
            assert answer.status == 403, (method, path, who)
        refused = filled.ask("GET", "/bkt/key", key=who)
        assert (refused.code, refused.xml.findtext("Message")) == ("AccessDenied", "Access Denied")
        assert filled.ask("GET", "/missing/key", key=who).code == "NoSuchBucket"
    assert filled.ask("GET", "/", key="").code == "AccessDenied"
    assert filled.ask("GET", "/bkt/key").body == b"data"


def test_identity_policies_by_action_and_version(filled: Counter) -> None:
    bob = filled.user("bob")
    assert filled.ask("GET", "/bkt/key", **bob).code == "AccessDenied"
    assert filled.ask("GET", "/bkt/key", **bob).xml.findtext("Message") == (
        f"User: arn:aws:iam::{ACCOUNT}:user/bob is not authorized to perform: s3:GetObject on resource: "
        '"arn:aws:s3:::bkt/key" because no identity-based policy allows the s3:GetObject action')
    filled.allow("bob", {"Action": "s3:GetObject", "Resource": OBJECTS})
    assert filled.ask("GET", "/bkt/key", **bob).body == b"data"
    assert filled.ask("HEAD", "/bkt/key", **bob).status == 200
    assert filled.ask("GET", "/bkt/key", versionId="null", **bob).code == "AccessDenied"
    assert filled.ask("PUT", "/bkt/key", **bob).code == "AccessDenied"
    assert filled.ask("HEAD", "/bkt", **bob).status == 403
    assert filled.ask("GET", "/bkt/none", **bob).code == "AccessDenied"  # who may not list may not know
    filled.allow("bob", {"Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": OBJECTS},
                 {"Action": "s3:ListBucket", "Resource": BUCKET})
    assert filled.ask("GET", "/bkt/key", versionId="null", **bob).body == b"data"
    assert filled.ask("GET", "/bkt/none", **bob).code == "NoSuchKey"
    assert filled.ask("HEAD", "/bkt", **bob).status == 200
    assert filled.ask("GET", "/missing/key", **bob).code == "NoSuchBucket"


def test_what_is_put_along_needs_a_permission_of_its_own(counter: Counter) -> None:
    bob = counter.user("bob", {"Action": "s3:PutObject"})
    for headers in ({"x-amz-acl": "bucket-owner-full-control"}, {"x-amz-tagging": "a=b"},
                    {"x-amz-object-lock-legal-hold": "ON"}):
        assert counter.ask("PUT", "/bkt/key", b"x", headers=headers, **bob).code == "AccessDenied"
    assert counter.ask("PUT", "/bkt/key", b"x", **bob).status == 200
    counter.allow("bob", {"Action": ["s3:PutObject", "s3:PutObjectAcl"]})
    assert counter.ask("PUT", "/bkt/key", b"x", headers={"x-amz-acl": "bucket-owner-full-control"}, **bob).status == 200


def test_tags_are_copied_by_who_may_read_and_put_them(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/tagged", b"data", headers={"x-amz-tagging": "team=red"})
    counter.ask("PUT", "/bkt/plain", b"data")
    usual = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
    bob = counter.user("bob", {"Action": usual})

    def copy(source: str = "tagged", **headers: str) -> str:
        return counter.ask("PUT", "/bkt/copy", headers={"x-amz-copy-source": f"/bkt/{source}", **headers}, **bob).code
    assert copy("plain") == ""
    assert copy(**{"x-amz-tagging-directive": "REPLACE"}) == ""
    for more in ("s3:GetObjectTagging", "s3:PutObjectTagging"):  # both, not one of them
        assert copy() == "AccessDenied"
        counter.allow("bob", {"Action": [*usual, more]})
    assert copy() == "AccessDenied"
    counter.allow("bob", {"Action": [*usual, "s3:PutObjectTagging"]},
                  {"Action": "s3:GetObjectTagging", "Condition": {"StringEquals": {
                      "s3:ExistingObjectTag/team": "red"}}})
    assert copy() == ""
    assert counter.ask("GET", "/bkt/copy", tagging="").xml.findtext(".//Value") == "red"
    assert copy("tagged?versionId=null") == "AccessDenied"
    counter.allow("bob", {"Action": [*usual, "s3:PutObjectTagging", "s3:GetObjectVersionTagging"]})
    assert copy("tagged?versionId=null") == ""


@pytest.mark.parametrize(("condition", "allowed", "refused"), [
    ({"StringEquals": {"s3:x-amz-acl": "private"}}, {"x-amz-acl": "private"}, {"x-amz-acl": "bucket-owner-read"}),
    ({"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}, {"x-amz-server-side-encryption": "AES256"}, {}),
    ({"StringEquals": {"s3:RequestObjectTag/team": "red"}}, {"x-amz-tagging": "team=red"},
     {"x-amz-tagging": "team=blue"}),
    ({"StringEquals": {"s3:ResourceAccount": ACCOUNT}}, {}, None),
    ({"StringNotEquals": {"s3:ResourceAccount": ACCOUNT}}, None, {}),
    ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, {}, None),
    ({"Bool": {"aws:SecureTransport": "true"}}, None, {}),
    ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256", "s3:authType": "REST-HEADER",
                       "s3:x-amz-content-sha256": hashlib.sha256(b"x").hexdigest()}}, {}, None),
    ({"StringEquals": {"s3:x-amz-content-sha256": "UNSIGNED-PAYLOAD"}}, None, {}),
    ({"NumericLessThan": {"s3:signatureAge": "600000"}}, {}, None)])
def test_condition_keys(counter: Counter, condition: dict[str, Any], allowed: dict[str, str] | None,
                        refused: dict[str, str] | None) -> None:
    bob = counter.user("bob", {"Condition": condition})
    if allowed is not None:
        assert counter.ask("PUT", "/bkt/key", b"x", headers=allowed, **bob).code in ("", "NotImplemented")
    if refused is not None:
        assert counter.ask("PUT", "/bkt/key", b"x", headers=refused, **bob).code == "AccessDenied"


def test_a_bucket_policy_lets_in_strangers_nobody_and_keeps_out_the_owner(filled: Counter) -> None:
    eve = filled.user("eve", account=OTHER)
    read = {"Action": "s3:GetObject", "Resource": OBJECTS}
    assert policy(filled, {**read, "Principal": {"AWS": OTHER}}) == ""
    assert filled.ask("GET", "/bkt/key", key=OTHER).body == b"data"
    assert filled.ask("GET", "/bkt/key", **eve).code == "AccessDenied"  # her own account must allow it, too
    filled.allow("eve", read, account=OTHER)
    assert filled.ask("GET", "/bkt/key", **eve).body == b"data"
    assert filled.ask("PUT", "/bkt/key", **eve).code == "AccessDenied"
    assert filled.ask("GET", "/bkt/key", key="222222222222").code == "AccessDenied"
    assert filled.ask("GET", "/bkt/key", key="").code == "AccessDenied"
    public = {**read, "Principal": "*"}
    assert policy(filled, public) == "AccessDenied"  # BlockPublicPolicy
    unblock(filled)
    assert policy(filled, public) == ""
    assert filled.ask("GET", "/bkt/key", key="").body == b"data"
    assert filled.ask("GET", "/bkt/none", key="").code == "AccessDenied"
    assert policy(filled, public, {"Action": "s3:ListBucket", "Resource": BUCKET, "Principal": {"AWS": "*"}}) == ""
    assert filled.ask("GET", "/bkt/none", key="").code == "NoSuchKey"
    assert policy(filled, public, {"Effect": "Deny", "Principal": "*", "Resource": [BUCKET, OBJECTS]}) == ""
    assert filled.ask("GET", "/bkt/key").code == "AccessDenied"
    assert filled.ask("GET", "/bkt", policy="").status == 200  # root can always mend it
    assert filled.ask("DELETE", "/bkt", policy="").status == 204
    assert filled.ask("GET", "/bkt/key").body == b"data"


def test_a_public_policy_is_restricted_to_the_own_account(filled: Counter) -> None:
    unblock(filled)
    assert policy(filled, {"Principal": "*", "Action": "s3:GetObject", "Resource": OBJECTS}) == ""
    restrict = (b"<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets>"
                b"</PublicAccessBlockConfiguration>")
    assert filled.ask("PUT", "/bkt", restrict, publicAccessBlock="").status == 200
    bob = filled.user("bob")
    assert filled.ask("GET", "/bkt/key", **bob).body == b"data"
    for who in ("", OTHER):
        assert filled.ask("GET", "/bkt/key", key=who).code == "AccessDenied"
    assert filled.ask("GET", "/bkt", policyStatus="").xml.findtext("IsPublic") == "true"


def test_nobody_may_change_a_policy_but_the_own_account(filled: Counter) -> None:
    assert policy(filled, {"Principal": {"AWS": OTHER}, "Resource": [BUCKET, OBJECTS]}) == ""
    assert filled.ask("HEAD", "/bkt", key=OTHER).status == 200
    for method in ("GET", "DELETE"):
        assert filled.ask(method, "/bkt", policy="", key=OTHER).code == "MethodNotAllowed"
    assert policy(filled, {"Principal": {"AWS": OTHER}, "Resource": OBJECTS}, key=OTHER) == "MethodNotAllowed"


def test_lists_of_objects_count_where_ownership_lets_them(filled: Counter) -> None:
    public = {"x-amz-acl": "public-read"}
    assert filled.ask("PUT", "/bkt/open", b"x", headers=public).code == "AccessControlListNotSupported"
    for path in ("/bkt", "/bkt/key"):
        for said, code in ((public, "AccessControlListNotSupported"), ({"x-amz-acl": "private"}, (
                "AccessControlListNotSupported")), ({"x-amz-acl": "bucket-owner-full-control"}, "")):
            assert filled.ask("PUT", path, headers=said, acl="").code == code, (path, said)
    unblock(filled, "ObjectWriter")
    assert filled.ask("PUT", "/bkt/open", b"x", headers=public).status == 200
    assert filled.ask("GET", "/bkt/open", key="").body == b"x"
    assert filled.ask("GET", "/bkt/open", acl="", key="").code == "AccessDenied"
    assert filled.ask("GET", "/bkt/key", key="").code == "AccessDenied"
    assert filled.ask("PUT", "/bkt/key", headers={"x-amz-acl": "authenticated-read"}, acl="").status == 200
    assert filled.ask("GET", "/bkt/key", key="").code == "AccessDenied"
    assert filled.ask("GET", "/bkt/key", key=OTHER).body == b"data"
    ignore = (b"<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls>"
              b"</PublicAccessBlockConfiguration>")
    filled.ask("PUT", "/bkt", ignore, publicAccessBlock="")
    for path in ("/bkt/open", "/bkt/key"):
        assert filled.ask("GET", path, key=OTHER).code == "AccessDenied"
    unblock(filled, "BucketOwnerEnforced")
    assert filled.ask("GET", "/bkt/open", key="").code == "AccessDenied"
    assert len(filled.ask("GET", "/bkt/open", acl="").xml.findall("AccessControlList/Grant")) == 1


def test_what_others_put_is_theirs_unless_the_bucket_says_otherwise(counter: Counter) -> None:
    unblock(counter, "ObjectWriter")
    assert counter.ask("PUT", "/bkt", headers={"x-amz-acl": "public-read-write"}, acl="").status == 200
    assert counter.ask("PUT", "/bkt/theirs", b"x", key=OTHER).status == 200
    assert counter.ask("GET", "/bkt/theirs", key=OTHER).body == b"x"
    assert counter.ask("GET", "/bkt/theirs").code == "AccessDenied"
    full = {"x-amz-acl": "bucket-owner-full-control"}
    assert counter.ask("PUT", "/bkt/theirs", headers=full, acl="").code == "AccessDenied"
    assert counter.ask("PUT", "/bkt/theirs", headers=full, acl="", key=OTHER).status == 200
    assert counter.ask("GET", "/bkt/theirs").body == b"x"
    assert counter.ask("PUT", "/bkt/nobodys", b"x", key="").status == 200
    assert counter.ask("GET", "/bkt/nobodys", key=OTHER).code == "AccessDenied"
    assert counter.ask("GET", "/bkt/none", key="").code == "NoSuchKey"  # who may list may know
    assert counter.ask("DELETE", "/bkt/nobodys").status == 204
    unblock(counter, "BucketOwnerPreferred")
    assert counter.ask("PUT", "/bkt/given", b"x", headers=full, key=OTHER).status == 200
    assert counter.ask("GET", "/bkt/given").body == b"x"
    assert counter.ask("GET", "/bkt/given", key=OTHER).code == "AccessDenied"


@pytest.mark.parametrize("ownership", ["ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced"])
def test_who_puts_says_a_list_of_their_own(counter: Counter, ownership: str) -> None:
    """As AWS's examples have it: a policy that lets others put, if they give the bucket's owner full control."""
    unblock(counter, ownership)
    full, put = {"x-amz-acl": "bucket-owner-full-control"}, {
        "Principal": {"AWS": OTHER}, "Action": "s3:PutObject", "Resource": OBJECTS}
    assert policy(counter, {**put, "Condition": {"StringEquals": {"s3:x-amz-acl": full["x-amz-acl"]}}}) == ""
    assert counter.ask("PUT", "/bkt/key", b"x", key=OTHER).code == "AccessDenied"
    assert counter.ask("PUT", "/bkt/key", b"x", key=OTHER, headers=full).status == 200
    assert counter.ask("GET", "/bkt/key").body == b"x"
    eve = counter.user("eve", {"Action": "s3:PutObject"}, account=OTHER)
    assert policy(counter, {**put, "Principal": {"AWS": "arn:aws:iam::111111111111:user/eve"}}) == ""
    assert counter.ask("PUT", "/bkt/hers", b"x", **eve).status == 200
    assert counter.ask("PUT", "/bkt/hers", b"x", headers=full, **eve).code == "AccessDenied"  # her account has its say
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObjectAcl", "Resource": OBJECTS}
    assert policy(counter, put, deny) == ""
    assert counter.ask("PUT", "/bkt/key", b"x", key=OTHER, headers=full).code == "AccessDenied"
    assert policy(counter, put) == ""
    tagged = counter.ask("PUT", "/bkt/key", b"x", key=OTHER, headers={"x-amz-tagging": "a=b"})
    assert tagged.status == (403 if ownership == "BucketOwnerEnforced" else 200)


def test_a_bucket_policy_says_nothing_of_what_others_own_but_denials(counter: Counter) -> None:
    unblock(counter, "ObjectWriter")
    writer = {"Principal": {"AWS": OTHER}, "Resource": [BUCKET, OBJECTS]}
    assert policy(counter, writer) == ""
    assert counter.ask("PUT", "/bkt/theirs", b"x", key=OTHER).status == 200
    assert policy(counter, {**writer, "Principal": {"AWS": ACCOUNT}}) == ""
    assert counter.ask("GET", "/bkt/theirs").code == "AccessDenied"
    assert counter.ask("GET", "/bkt/theirs", key=OTHER).body == b"x"
    assert policy(counter, {**writer, "Effect": "Deny"}) == ""
    assert counter.ask("GET", "/bkt/theirs", key=OTHER).code == "AccessDenied"


def test_a_picture_is_for_pages_of_ones_own(filled: Counter) -> None:
    unblock(filled)
    assert policy(filled, {"Principal": "*", "Action": "s3:GetObject", "Resource": OBJECTS, "Condition": {
        "StringLike": {"aws:Referer": "https://www.example.com/*"}}}) == ""
    assert filled.ask("GET", "/bkt/key", key="", headers={"referer": "https://www.example.com/page"}).body == b"data"
    for headers in ({}, {"referer": "https://example.org/"}):
        assert filled.ask("GET", "/bkt/key", key="", headers=headers).code == "AccessDenied"


def test_listing_buckets_is_of_all_of_them(counter: Counter) -> None:
    bob = counter.user("bob", {"Action": "s3:ListAllMyBuckets", "Resource": BUCKET})
    assert counter.ask("GET", "/", **bob).code == "AccessDenied"
    counter.allow("bob", {"Action": "s3:ListAllMyBuckets", "Resource": "arn:aws:s3:::*"})
    assert counter.ask("GET", "/", **bob).xml.findtext("Buckets/Bucket/Name") == "bkt"


def test_of_nobody_there_is_no_account(filled: Counter) -> None:
    unblock(filled)
    for key, status in (("aws:PrincipalAccount", 200), ("aws:PrincipalArn", 200), ("aws:PrincipalType", 403)):
        assert policy(filled, {"Principal": "*", "Action": "s3:GetObject", "Resource": OBJECTS,
                               "Condition": {"Null": {key: "true"}}}) == ""
        assert filled.ask("GET", "/bkt/key", key="").status == status, key
