"""Lists: PutBucketAcl, GetBucketAcl, PutObjectAcl, GetObjectAcl, and the ways to say one."""

import pytest

from cloudlet.services.s3.access.grants import ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY
from cloudlet.services.s3.owners import ANONYMOUS_ID, account_of, canonical_id
from tests.services.s3.counter import ACCOUNT, Counter

OTHER = "111111111111"
OWNER, THEIRS = canonical_id(ACCOUNT), canonical_id(OTHER)
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


@pytest.fixture(autouse=True)
def lists(counter: Counter) -> None:
    """Lists count, and may be public."""
    counter.ask("DELETE", "/bkt", publicAccessBlock="")
    counter.ask("PUT", "/bkt", b"<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>"
                               b"</OwnershipControls>", ownershipControls="")
    counter.ask("PUT", "/bkt/key", b"x")


def grants(counter: Counter, path: str) -> set[tuple[str, str]]:
    answer = counter.ask("GET", path, acl="").xml
    assert answer.findtext("Owner/ID") == OWNER
    return {(each.findtext("Grantee/ID") or each.findtext("Grantee/URI"), each.findtext("Permission"))
            for each in answer.findall("AccessControlList/Grant")}


def body(*grants: str, owner: str = OWNER) -> bytes:
    return (f"<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>{''.join(grants)}"
            "</AccessControlList></AccessControlPolicy>").encode()


def grant(kind: str, who: str, permission: str = "READ") -> str:
    member = {"CanonicalUser": "ID", "Group": "URI", "AmazonCustomerByEmail": "EmailAddress"}[kind]
    return (f'<Grant><Grantee {XSI} xsi:type="{kind}"><{member}>{who}</{member}></Grantee>'
            f"<Permission>{permission}</Permission></Grant>")


def test_canonical_ids_are_those_of_accounts() -> None:
    assert account_of(OWNER) == ACCOUNT and len(OWNER) == 64 and OWNER != THEIRS
    assert account_of(ANONYMOUS_ID) == "" and canonical_id("") == ANONYMOUS_ID
    assert account_of("0" * 64) is None and account_of("x") is None and account_of(OWNER[:-1] + "1") is None


@pytest.mark.parametrize(("name", "more"), [
    ("private", set()), ("public-read", {(ALL_USERS, "READ")}),
    ("public-read-write", {(ALL_USERS, "READ"), (ALL_USERS, "WRITE")}),
    ("authenticated-read", {(AUTHENTICATED_USERS, "READ")}),
    ("bucket-owner-full-control", set()), ("bucket-owner-read", set()),  # of objects, and ignored
    ("log-delivery-write", {(LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")})])
def test_canned_lists_of_buckets(counter: Counter, name: str, more: set[tuple[str, str]]) -> None:
    assert counter.ask("PUT", "/bkt", headers={"x-amz-acl": name}, acl="").status == 200
    assert grants(counter, "/bkt") == {(OWNER, "FULL_CONTROL")} | more


def test_canned_lists_of_objects(counter: Counter) -> None:
    for name in ("bucket-owner-read", "bucket-owner-full-control", "aws-exec-read", "public-read"):
        assert counter.ask("PUT", "/bkt/key", headers={"x-amz-acl": name}, acl="").status == 200
        assert (OWNER, "FULL_CONTROL") in grants(counter, "/bkt/key")
    assert (ALL_USERS, "READ") in grants(counter, "/bkt/key")
    assert counter.ask("PUT", "/bkt/none", headers={"x-amz-acl": "private"}, acl="").code == "NoSuchKey"
    assert counter.ask("GET", "/bkt/none", acl="").code == "NoSuchKey"


def test_grants_in_headers_and_bodies(counter: Counter) -> None:
    headers = {"x-amz-grant-read": f'id="{THEIRS}", uri="{ALL_USERS}"', "x-amz-grant-full-control": f"id={OWNER}"}
    assert counter.ask("PUT", "/bkt/key", headers=headers, acl="").status == 200
    expected = {(OWNER, "FULL_CONTROL"), (THEIRS, "READ"), (ALL_USERS, "READ")}
    assert grants(counter, "/bkt/key") == expected
    assert counter.ask("GET", "/bkt/key", key="222222222222").body == b"x"
    said = body(grant("CanonicalUser", THEIRS, "READ_ACP"), grant("Group", LOG_DELIVERY, "WRITE"))
    assert counter.ask("PUT", "/bkt/key", said, acl="").status == 200
    assert grants(counter, "/bkt/key") == {(THEIRS, "READ_ACP"), (LOG_DELIVERY, "WRITE")}
    assert counter.ask("GET", "/bkt/key", acl="", key=OTHER).status == 200
    assert counter.ask("GET", "/bkt/key", key=OTHER).code == "AccessDenied"
    assert counter.ask("PUT", "/bkt", said, acl="").status == 200
    assert counter.ask("GET", "/bkt", acl="", key=OTHER).status == 200
    assert counter.ask("PUT", "/bkt/new", b"y", headers={"x-amz-grant-read": f"id={THEIRS}"}).status == 200
    assert grants(counter, "/bkt/new") == {(THEIRS, "READ")}


@pytest.mark.parametrize(("said", "headers", "code"), [
    (b"", {}, "MissingSecurityHeader"),
    (b"", {"x-amz-acl": "nonsense"}, "InvalidArgument"),
    (b"", {"x-amz-acl": "private", "x-amz-grant-read": f"id={OWNER}"}, "InvalidRequest"),
    (b"", {"x-amz-grant-read": "nonsense"}, "InvalidArgument"),
    (b"", {"x-amz-grant-read": f"id={'0' * 64}"}, "InvalidArgument"),
    (b"", {"x-amz-grant-write-acp": "uri=http://example.com"}, "InvalidArgument"),
    (b"", {"x-amz-grant-read-acp": "emailAddress=a@example.com"}, "UnresolvableGrantByEmailAddress"),
    (body(), {"x-amz-acl": "private"}, "UnexpectedContent"),
    (body(owner=THEIRS), {}, "AccessDenied"),
    (body(grant("CanonicalUser", "0" * 64)), {}, "InvalidArgument"),
    (body(grant("Group", "http://example.com")), {}, "InvalidArgument"),
    (body(grant("AmazonCustomerByEmail", "a@example.com")), {}, "UnresolvableGrantByEmailAddress"),
    (body(grant("CanonicalUser", OWNER, "EVERYTHING")), {}, "MalformedACLError"),
    (body(grant("CanonicalUser", OWNER)).replace(b"CanonicalUser", b"Nobody"), {}, "MalformedACLError"),
    (b"<AccessControlPolicy></AccessControlPolicy>", {"x-amz-acl": "private"}, "UnexpectedContent"),
    (body("<Grant><Permission>READ</Permission></Grant>"), {}, "MalformedACLError"),
    (b"<AccessControlPolicy></AccessControlPolicy>", {}, "MalformedACLError"),
    (body().replace(b"<AccessControlList></AccessControlList>", b""), {}, "MalformedACLError"),
    (body(*(grant("CanonicalUser", canonical_id(f"{number:012}")) for number in range(101))), {}, "InvalidRequest")])
def test_what_is_no_list(counter: Counter, said: bytes, headers: dict[str, str], code: str) -> None:
    before = grants(counter, "/bkt/key")
    assert counter.ask("PUT", "/bkt/key", said, headers=headers, acl="").code == code
    assert grants(counter, "/bkt/key") == before


def test_a_public_list_is_kept_out_by_the_block(counter: Counter) -> None:
    block = b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"
    counter.ask("PUT", "/bkt", block, publicAccessBlock="")
    for path in ("/bkt", "/bkt/key"):
        assert counter.ask("PUT", path, headers={"x-amz-acl": "public-read"}, acl="").code == "AccessDenied"
        assert counter.ask("PUT", path, headers={"x-amz-acl": "private"}, acl="").status == 200
    assert counter.ask("PUT", "/bkt/new", b"y", headers={"x-amz-acl": "authenticated-read"}).code == "AccessDenied"
    assert counter.ask("GET", "/bkt/new").code == "NoSuchKey"


def test_a_list_may_be_empty_and_its_owner_still_gives_it_another(counter: Counter) -> None:
    for path in ("/bkt", "/bkt/key"):
        assert counter.ask("PUT", path, body(), acl="").status == 200
        assert grants(counter, path) == set()
        assert counter.ask("PUT", path, headers={"x-amz-acl": "private"}, acl="").status == 200
        assert grants(counter, path) == {(OWNER, "FULL_CONTROL")}
