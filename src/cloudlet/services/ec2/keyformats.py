"""The forms in which keys are written, and AWS's fingerprints of them.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html
"""

import base64
import hashlib
import hmac
import struct
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
    load_ssh_public_key,
)

Private: TypeAlias = RSAPrivateKey | Ed25519PrivateKey
Public: TypeAlias = RSAPublicKey | Ed25519PublicKey


def pem(private: Private) -> str:
    """A private key as AWS shows it: PKCS#1 for RSA; for ED25519 OpenSSH's own form, which ssh reads with its newline
    only."""
    if isinstance(private, RSAPrivateKey):
        return private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL,
                                     NoEncryption()).decode().rstrip("\n")
    return private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def open_ssh(public: Public) -> str:
    """A public key as in authorized_keys, without a comment."""
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def read_public(material: bytes) -> Public | None:
    """A public key in OpenSSH's form, RFC 4716's, in PEM, or as DER in base64; None where it is none, or of another
    kind."""
    raw = material.strip()
    try:
        if raw.startswith(b"---- BEGIN SSH2"):
            raw = _from_rfc4716(raw)
        if raw.startswith((b"ssh-", b"ecdsa-")):
            found: object = load_ssh_public_key(raw)
        elif raw.startswith(b"-----"):
            found = load_pem_public_key(raw)
        else:
            found = load_der_public_key(base64.b64decode(raw, validate=True))
    except (ValueError, UnsupportedAlgorithm, struct.error):
        return None
    return found if isinstance(found, RSAPublicKey | Ed25519PublicKey) else None


def _from_rfc4716(raw: bytes) -> bytes:
    """OpenSSH's line for a key in RFC 4716's form: the same bytes, whose first string names the kind."""
    lines, body, is_header = raw.splitlines()[1:-1], b"", False
    for line in lines:
        if is_header or b":" in line:
            is_header = line.endswith(b"\\")
        else:
            body += line.strip()
    blob = base64.b64decode(body, validate=True)
    (length,) = struct.unpack_from(">I", blob)
    return blob[4:4 + length] + b" " + body


def fingerprint_of_created(private: Private) -> str:
    """RSA: SHA-1 of the private key's PKCS#8 form. ED25519: as `fingerprint_of_imported`."""
    if isinstance(private, Ed25519PrivateKey):
        return fingerprint_of_imported(private.public_key())
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return hashlib.sha1(der, usedforsecurity=False).digest().hex(":")


def fingerprint_of_imported(public: Public) -> str:
    """RSA: MD5 of the public key's DER form. ED25519: SHA-256 of OpenSSH's, in base64, padded."""
    if isinstance(public, Ed25519PublicKey):
        blob = base64.b64decode(open_ssh(public).split()[1])
        return base64.b64encode(hashlib.sha256(blob).digest()).decode()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.md5(der, usedforsecurity=False).digest().hex(":")


def ppk(private: Private, comment: str) -> str:
    """A private key in PuTTY's form, version 2, not encrypted.

    https://the.earth.li/~sgtatham/putty/0.83/htmldoc/AppendixC.html
    """
    kind, blob = open_ssh(private.public_key()).split()
    public = base64.b64decode(blob)
    secret = _secret_numbers(private)
    mac_key = hashlib.sha1(b"putty-private-key-file-mac-key", usedforsecurity=False).digest()
    signed = b"".join(map(_string, (kind.encode(), b"none", comment.encode(), public, secret)))
    mac = hmac.new(mac_key, signed, hashlib.sha1).hexdigest()
    return "\r\n".join([f"PuTTY-User-Key-File-2: {kind}", "Encryption: none", f"Comment: {comment}",
                        *_lines("Public-Lines", public), *_lines("Private-Lines", secret), f"Private-MAC: {mac}", ""])


def _secret_numbers(private: Private) -> bytes:
    if isinstance(private, Ed25519PrivateKey):
        return _string(private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    numbers = private.private_numbers()
    return b"".join(_string(number.to_bytes(number.bit_length() // 8 + 1))
                    for number in (numbers.d, numbers.p, numbers.q, numbers.iqmp))


def _string(data: bytes) -> bytes:
    """A string of RFC 4251."""
    return struct.pack(">I", len(data)) + data


def _lines(name: str, data: bytes) -> list[str]:
    text = base64.b64encode(data).decode()
    rows = [text[start:start + 64] for start in range(0, len(text), 64)]
    return [f"{name}: {len(rows)}", *rows]
