"""Access control lists: grants, the ways in which requests say them, and what they permit.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from cloudlet.kernel.policy import Grant as Level
from cloudlet.services.s3.owners import ANONYMOUS_ID, account_of
from cloudlet.services.s3.service import (
    AccessDenied,
    InvalidArgument,
    InvalidRequest,
    MalformedAcl,
    MissingSecurityHeader,
    UnexpectedContent,
    UnresolvableGrant,
)

GRANTS_MAX = 100
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
PUBLIC = frozenset({ALL_USERS, AUTHENTICATED_USERS})
_GROUPS = PUBLIC | {LOG_DELIVERY}
_AWS_EXEC = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"  # EC2, to whom aws-exec-read gives READ
_HEADERS = {"GrantFullControl": "FULL_CONTROL", "GrantRead": "READ", "GrantReadACP": "READ_ACP", "GrantWrite": "WRITE",
            "GrantWriteACP": "WRITE_ACP"}
_ASKED = frozenset(("ACL", *_HEADERS))
_GRANTEE = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*("[^"]*"|[^",\s]*)\s*', re.IGNORECASE)


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """A permission, and to whom: an account by its canonical user id, or a group by its URI."""

    to: str
    permission: str


Acl = tuple[Grant, ...]
_decode = msgspec.json.Decoder(Acl).decode


def private(owner: str) -> Acl:
    """What an owner gets who asks for nothing else."""
    return (Grant(owner, "FULL_CONTROL"),)


@lru_cache(maxsize=1024)
def load(text: str, owner: str) -> Acl:
    """A list as it is stored."""
    return _decode(text) if text else private(owner)


def dump(acl: Acl, owner: str) -> str:
    """A list to be stored; "" for a private one."""
    return "" if acl == private(owner) else msgspec.json.encode(acl).decode()


def canned(name: str, owner: str, bucket_owner: str) -> Acl:
    """One of the lists that have names, of something of `owner` in a bucket of `bucket_owner`. Raises InvalidArgument.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#canned-acl
    """
    more = {
        "private": (), "public-read": (Grant(ALL_USERS, "READ"),),
        "public-read-write": (Grant(ALL_USERS, "READ"), Grant(ALL_USERS, "WRITE")),
        "authenticated-read": (Grant(AUTHENTICATED_USERS, "READ"),),
        "aws-exec-read": (Grant(_AWS_EXEC, "READ"),),
        "bucket-owner-read": (Grant(bucket_owner, "READ"),) if owner != bucket_owner else (),
        "bucket-owner-full-control": private(bucket_owner) if owner != bucket_owner else (),
        "log-delivery-write": (Grant(LOG_DELIVERY, "WRITE"), Grant(LOG_DELIVERY, "READ_ACP"))}.get(name)
    if more is None:
        raise InvalidArgument("", ArgumentName="x-amz-acl", ArgumentValue=name)
    return private(owner) + more


def requested(request: Mapping[str, Any], owner: str, bucket_owner: str) -> Acl | None:
    """The list that a request's headers ask for, None where they ask for none. Raises what is wrong with them."""
    if _ASKED.isdisjoint(request):
        return None
    name, headers = request.get("ACL"), {member: request[member] for member in _HEADERS if request.get(member)}
    if name is not None and headers:
        raise InvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
    if name is not None:
        return canned(name, owner, bucket_owner)
    if not headers:
        return None
    return _bounded(Grant(to, _HEADERS[member]) for member, text in headers.items() for to in _grantees(member, text))


def demanded(request: Mapping[str, Any], owner: str, bucket_owner: str) -> Acl:
    """The list that a request which must say one says, in its headers or its body. Raises what is wrong with it."""
    body, of_headers = request.get("AccessControlPolicy"), requested(request, owner, bucket_owner)
    if of_headers is not None:
        if body is not None:
            raise UnexpectedContent()
        return of_headers
    if body is None:
        raise MissingSecurityHeader(MissingHeaderName="x-amz-acl")
    if body.get("Grants") is None or not (body.get("Owner") or {}).get("ID"):
        raise MalformedAcl()
    if body["Owner"]["ID"] != owner:
        raise AccessDenied()
    return _bounded(Grant(grantee(each.get("Grantee") or {}), each.get("Permission") or _malformed())
                    for each in body["Grants"])


def members(acl: Acl, owner: str) -> dict[str, Any]:
    """A list as answers say it."""
    return {"Owner": {"ID": owner}, "Grants": [
        {"Grantee": {"Type": "Group", "URI": grant.to} if grant.to in _GROUPS
         else {"Type": "CanonicalUser", "ID": grant.to}, "Permission": grant.permission} for grant in acl]}


def is_public(acl: Acl) -> bool:
    """Whether a list gives anything to everybody, or to everybody with an account."""
    return any(grant.to in PUBLIC for grant in acl)


def permitted(acl: Acl, who: str, permission: str, *, ignore_public: bool = False) -> Level:
    """What a list gives somebody ("" for nobody in particular), as a policy would."""
    level: Level = "none"
    for grant in acl:
        if grant.permission not in (permission, "FULL_CONTROL"):
            continue
        if grant.to == ALL_USERS or (grant.to == AUTHENTICATED_USERS and who):
            if not ignore_public:
                return "direct"
        elif grant.to == ANONYMOUS_ID and not who:
            return "direct"
        elif grant.to == who:
            level = "account"
    return level


def _grantees(member: str, text: str) -> Iterable[str]:
    header = "x-amz-grant-" + {"GrantFullControl": "full-control", "GrantReadACP": "read-acp",
                               "GrantWriteACP": "write-acp"}.get(member, member.removeprefix("Grant").lower())
    for each in text.split(","):
        found = _GRANTEE.fullmatch(each)
        if found is None:
            raise InvalidArgument("Argument format not recognized", ArgumentName=header, ArgumentValue=text)
        kind, value = found[1].lower(), found[2].strip('"')
        yield _known("id" if kind == "id" else kind, value, "id", "uri")


def grantee(said: Mapping[str, Any]) -> str:
    """Who is meant by a body. Raises what is wrong with it."""
    for member, kind in (("ID", "id"), ("URI", "uri"), ("EmailAddress", "emailaddress")):
        if said.get(member):
            return _known(kind, said[member], "CanonicalUser/ID", "Group/URI")
    return _malformed()


def _known(kind: str, value: str, of_id: str, of_uri: str) -> str:
    """Who is meant. Raises InvalidArgument for nobody; no account here has an e-mail address."""
    if kind == "emailaddress":
        raise UnresolvableGrant()
    if kind == "id" and value != _AWS_EXEC and account_of(value) is None:
        raise InvalidArgument("Invalid id", ArgumentName=of_id, ArgumentValue=value)
    if kind == "uri" and value not in _GROUPS:
        raise InvalidArgument("Invalid group uri", ArgumentName=of_uri, ArgumentValue=value)
    return value


def _bounded(grants: Iterable[Grant]) -> Acl:
    found = tuple(dict.fromkeys(grants))
    if len(found) > GRANTS_MAX:
        raise InvalidRequest(f"The request contained more than {GRANTS_MAX} grants")
    return found


def _malformed() -> str:
    raise MalformedAcl()
