"""Who owns buckets and objects, as S3 says it: by an account's canonical user id."""

import hashlib
from functools import lru_cache


@lru_cache(maxsize=1024)
def canonical_id(account: str) -> str:
    """The canonical user id of an account: 64 hex digits, always the same."""
    return hashlib.sha256(f"cloudlet:{account}".encode()).hexdigest()
