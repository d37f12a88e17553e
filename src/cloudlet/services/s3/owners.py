"""Who owns buckets and objects, as S3 says it: by an account's canonical user id."""

import hashlib
import re
from functools import lru_cache

from cloudlet.services.s3.service import AccessDenied, InvalidBucketOwner

ANONYMOUS_ID = "65a011a29cdf8ec533ec3d1ccaae921c"  # whose are objects that nobody in particular put, as on AWS
_DIGITS = 12
_ACCOUNT = re.compile(r"[0-9]{12}")


@lru_cache(maxsize=1024)
def canonical_id(account: str) -> str:
    """The canonical user id of an account: 64 hex digits, always the same, that end with the account's own."""
    if not account:
        return ANONYMOUS_ID
    return hashlib.sha256(f"cloudlet:{account}".encode()).hexdigest()[:-_DIGITS] + account


def check_expected(owner: str | None, account: str) -> None:
    """Raises unless an account is the one that a request expects to own a bucket, if it expects one."""
    if owner is None or owner == account:
        return
    if not _ACCOUNT.fullmatch(owner):
        raise InvalidBucketOwner("The value of the expected bucket owner parameter must be an AWS Account ID..."
                                 f" [{owner[:256]}]")
    raise AccessDenied()


def account_of(canonical: str) -> str | None:
    """The account of a canonical user id ("" for nobody in particular), or None where it is nobody's."""
    account = canonical[-_DIGITS:]
    if canonical == ANONYMOUS_ID:
        return ""
    digits = len(account) == _DIGITS and account.isascii() and account.isdigit()
    return account if digits and canonical_id(account) == canonical else None
