"""Encryption as requests ask for it: by us (SSE-S3), or with a key that the customer brings along (SSE-C).

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from cloudlet.services.s3.records import About
from cloudlet.services.s3.service import (
    AccessDenied,
    InvalidArgument,
    InvalidEncryptionAlgorithm,
    InvalidRequest,
    NotImplementedHere,
)

S3_MANAGED = "AES256"
NONCE_BYTES = 16
_BLOCK = 16  # bytes of AES
_KEY_BYTES = 32
_KMS = ("aws:kms", "aws:kms:dsse", "aws:fsx")
_OF_KMS = ("SSEKMSKeyId", "SSEKMSEncryptionContext")  # what is said beside that
_ASKED = frozenset(("ServerSideEncryption", "BucketKeyEnabled", *_OF_KMS))
_CUSTOMER_KEY = {of: tuple(f"{of}SSECustomer{what}" for what in ("Algorithm", "Key", "KeyMD5"))
                 for of in ("", "CopySource")}
_METHOD = "x-amz-server-side-encryption"


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """A customer's key, and its MD5 in base64, by which we know it again. We never keep the key."""

    key: bytes
    md5: str

    def cipher(self, nonce: bytes, at: int = 0) -> CipherContext:
        """AES-256 in counter mode, from the byte `at` on: its own inverse, so that any range can be read."""
        blocks, skipped = divmod(at, _BLOCK)
        counter = (int.from_bytes(nonce, "big") + blocks) % (1 << 8 * NONCE_BYTES)
        made = Cipher(algorithms.AES(self.key), modes.CTR(counter.to_bytes(NONCE_BYTES, "big"))).encryptor()
        made.update(bytes(skipped))
        return made


def customer_key(request: Mapping[str, Any], of: str = "") -> CustomerKey | None:
    """The key that a request brings along; `of="CopySource"`: for the source of a copy. Raises what is wrong with it.
    """
    members = _CUSTOMER_KEY[of]
    if request.keys().isdisjoint(members):
        return None
    algorithm, key, md5 = map(request.get, members)
    if algorithm is None:
        raise _wrong("Requests specifying Server Side Encryption with Customer provided keys must provide a valid"
                     " encryption algorithm.")
    if algorithm != S3_MANAGED:
        raise InvalidEncryptionAlgorithm(ArgumentName=_METHOD, ArgumentValue=algorithm)
    if key is None:
        raise _wrong("Requests specifying Server Side Encryption with Customer provided keys must provide an"
                     " appropriate secret key.")
    if md5 is None:
        raise _wrong("Requests specifying Server Side Encryption with Customer provided keys must provide the client"
                     " calculated MD5 of the secret key.")
    secret = _decoded(key)
    actual = base64.b64encode(hashlib.md5(secret, usedforsecurity=False).digest()).decode()
    if actual != md5:
        raise _wrong("The calculated MD5 hash of the key did not match the hash that was provided.")
    if len(secret) != _KEY_BYTES:
        raise _wrong("The secret key was invalid for the specified algorithm.")
    return CustomerKey(secret, md5)


def _wrong(why: str) -> Exception:
    """Of what is said of a key S3 names the header that stands for the method, whichever it is that is wrong."""
    return InvalidArgument(why, ArgumentName=_METHOD, ArgumentValue="null")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def asked(request: Mapping[str, Any], key: CustomerKey | None) -> dict[str, str]:
    """The fields of an `About` for what a request that makes an object asks for. Raises what we have not, or what
    contradicts itself."""
    if key is None and _ASKED.isdisjoint(request):
        return {}
    said = request.get("ServerSideEncryption")
    if said is not None and key is not None:
        raise InvalidArgument("Server Side Encryption with Customer provided key is incompatible with the encryption"
                              " method specified", ArgumentName=_METHOD, ArgumentValue=said)
    if said not in _KMS and any(map(request.get, _OF_KMS)):
        raise InvalidArgument("Server Side Encryption with AWS KMS managed key requires HTTP header"
                              " x-amz-server-side-encryption : aws:kms", ArgumentName=_METHOD,
                              ArgumentValue=said or "null")
    if said in _KMS or request.get("BucketKeyEnabled"):
        raise NotImplementedHere("Cloudlet has no KMS: encrypt by SSE-S3 (AES256) or with keys of your own (SSE-C)")
    return {"encryption": "", "customer_key_md5": key.md5} if key is not None else {}


def check_key(about: About, key: CustomerKey | None) -> None:
    """Raises unless a request brings along the key that an object was put with, or none where it needs none."""
    if not about.customer_key_md5:
        if key is not None:
            raise InvalidRequest("The encryption parameters are not applicable to this object.")
    elif key is None:
        raise InvalidRequest("The object was stored using a form of Server Side Encryption. The correct parameters must"
                             " be provided to retrieve the object.")
    elif not hmac.compare_digest(key.md5, about.customer_key_md5):
        raise AccessDenied("Requests specifying Server Side Encryption with Customer provided keys must provide the"
                           " correct secret key.")


def members(about: About) -> dict[str, Any]:
    """How an object is encrypted, as answers say it."""
    if about.customer_key_md5:
        return {"SSECustomerAlgorithm": S3_MANAGED, "SSECustomerKeyMD5": about.customer_key_md5}
    return {"ServerSideEncryption": about.encryption}
