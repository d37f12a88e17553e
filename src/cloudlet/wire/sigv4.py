"""AWS Signature Version 4: whose request it is, and that it is what its sender signed.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import calendar
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

import msgspec

from cloudlet.kernel.errors import declare
from cloudlet.kernel.http import Request
from cloudlet.kernel.identity import Credential
from cloudlet.wire.faults import Faults, worded
from cloudlet.wire.scalars import Malformed, time_of_rfc822

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_MAX_S = 15 * 60
EXPIRES_MAX_S = 7 * 24 * 3600
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-"

_CREDENTIAL = re.compile(r"Credential=([^,\s]+)")
_SIGNED = re.compile(r"SignedHeaders=([^,\s]+)")
_SIGNATURE, _BEGINNING = "Signature=", ALGORITHM + " "
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9/_.~-]*")  # what nobody encodes
_SIGNATURES = frozenset({"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "AWSAccessKeyId", "Signature"})

MissingDigest = declare("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
InvalidDigest = declare(
    "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER,"
    " STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")


class Scope(msgspec.Struct, frozen=True):
    """A credential as a request names it: `AKID/20260102/us-east-1/ecs/aws4_request`; `text` is what is signed of it.
    """

    access_key_id: str
    date: str
    region: str
    service: str
    text: str = ""


class Signed(msgspec.Struct, frozen=True):
    """What a request says of its signature. `expires_s` is set for a presigned URL; `payload` is the digest or marker
    in the canonical request; `key` (once verified) signs what follows, e.g. the chunks of a body."""

    scope: Scope
    stamp: str
    headers: tuple[str, ...]
    signature: str
    token: str | None
    payload: str | None
    expires_s: int | None = None
    key: bytes = b""

    @property
    def may_sign_chunks(self) -> bool:
        """Whether the body may come in chunks: not where the query or Version 2 signs, for which S3 takes a marker of
        chunks for a digest."""
        return bool(self.headers) == bool(self.scope.access_key_id) and self.expires_s is None

    def verified(self, key: bytes) -> "Signed":
        """The same with its key."""
        return Signed(self.scope, self.stamp, self.headers, self.signature, self.token, self.payload, self.expires_s,
                      key)


_NOBODY = Scope("", "", "", "")


def _pairs(query: str) -> list[tuple[str, str]]:
    out = []
    for pair in query.split("&"):
        if pair:
            key, _, value = pair.partition("=")
            out.append((key, value))
    return out


def find_scope(request: Request) -> Scope | None:
    """The scope that a request claims, for routing; None where it claims none or none that can be read."""
    header = request.headers.get("authorization")
    if header is not None:
        return _claim(header.partition(_SIGNATURE)[0])[0]
    if "X-Amz-Credential=" in request.query:
        for key, value in _pairs(request.query):
            if key == "X-Amz-Credential":
                return scope_of(unquote(value))
    return None


@lru_cache(maxsize=4096)
def scope_of(text: str) -> Scope | None:
    """A credential's parts, or None where the text is none."""
    parts = text.rsplit("/", 4)  # an access key id may itself hold a slash
    if len(parts) != 5 or parts[4] != "aws4_request" or not all(parts):
        return None
    key_id, date, region, service, end = parts
    return Scope(key_id, date, region, service, f"{date}/{region}/{service}/{end}")


def is_unsigned(request: Request) -> bool:
    """Whether a request claims no signature of any kind, so that it comes from nobody in particular."""
    return "authorization" not in request.headers and not any(
        key in _SIGNATURES for key, _ in _pairs(request.query))


def digest_in(said: str) -> bytes:
    """The SHA-256 that a text says in hexadecimal digits; nothing where it says none."""
    try:
        found = bytes.fromhex(said) if len(said) == 64 else b""
    except ValueError:
        return b""
    return found if len(found) == 32 else b""


def unsigned(request: Request, faults: Faults) -> Signed:
    """What stands for the signature of such a request while its body is verified. Raises for a digest that is none."""
    said = request.headers.get("x-amz-content-sha256")
    if said is not None and said != UNSIGNED and not said.startswith(STREAMING) and not digest_in(said):
        raise faults.incomplete("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- value or a sha256.")
    return Signed(_NOBODY, "", (), "", None, said)


def read(request: Request, faults: Faults) -> Signed:
    """The signature of a request, from its header or its query string. Raises what is wrong with it."""
    header = request.headers.get("authorization")
    if header is not None:
        signed = claimed(request, header)
        if signed is None:
            raise faults.incomplete(_missing(request, header))
        return signed
    if "X-Amz-Algorithm=" in request.query or "X-Amz-Signature=" in request.query:
        return _of_query(request, faults)
    raise faults.unsigned()


def read_in_time(request: Request, now: float, faults: Faults) -> Signed:
    """The same, which is of about now."""
    signed = read(request, faults)
    check_time(signed, now, faults)
    return signed


def claimed(request: Request, header: str) -> Signed | None:
    """What an Authorization header says; None where something is missing, or not as it has to be."""
    claim, _, signature = header.partition(_SIGNATURE)
    scope, signed = _claim(claim)
    headers = request.headers
    stamp = stamp_of_headers(headers)
    if scope is None or not (signed and signature and stamp and claim.startswith(_BEGINNING)):
        return None
    return Signed(scope, stamp, signed, signature, headers.get("x-amz-security-token"),
                  headers.get("x-amz-content-sha256"))


def _missing(request: Request, header: str) -> str:
    """What is wrong with a header that `claimed` does not read."""
    if not header.startswith(_BEGINNING):
        return f"Authorization header must begin with '{ALGORITHM}'; got '{header[:32]}'"
    claim, _, signature = header.partition(_SIGNATURE)
    given = (("Credential", "Credential=" in claim), ("SignedHeaders", _claim(claim)[1]), ("Signature", signature))
    missing = [f"Authorization header requires '{name}' parameter." for name, there in given if not there]
    if missing:
        return " ".join(missing)
    if not stamp_of_headers(request.headers):
        return "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
    return "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term"


@lru_cache(maxsize=4096)
def _claim(text: str) -> tuple[Scope | None, tuple[str, ...]]:
    """The scope and the signed headers that an Authorization header names before its signature."""
    credential, signed = _CREDENTIAL.search(text), _SIGNED.search(text)
    return (scope_of(credential[1]) if credential else None), tuple(signed[1].split(";")) if signed else ()


def _of_query(request: Request, faults: Faults) -> Signed:
    given = {key: unquote(value) for key, value in _pairs(request.query) if key.startswith("X-Amz-")}
    needed = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature")
    missing = [name for name in needed if not given.get(name)]
    if missing:
        raise faults.incomplete(" ".join(f"AWS query-string parameters must include '{name}'." for name in missing))
    if given["X-Amz-Algorithm"] != ALGORITHM:
        raise faults.incomplete(f"X-Amz-Algorithm only supports \"{ALGORITHM}\"")
    scope = scope_of(given["X-Amz-Credential"])
    if scope is None:
        raise faults.incomplete("Credential must have exactly 5 slash-delimited elements")
    expires = given.get("X-Amz-Expires", "900")
    if not (expires.isascii() and expires.isdigit() and len(expires) < 10 and 0 < int(expires) <= EXPIRES_MAX_S):
        raise faults.incomplete(f"X-Amz-Expires must be a number of seconds between 1 and {EXPIRES_MAX_S}")
    return Signed(scope, given["X-Amz-Date"], tuple(given["X-Amz-SignedHeaders"].split(";")), given["X-Amz-Signature"],
                  given.get("X-Amz-Security-Token"),
                  request.headers.get("x-amz-content-sha256") or given.get("X-Amz-Content-Sha256"), int(expires))


def stamp_of_headers(headers: Mapping[str, str]) -> str:
    """When a request says that it was signed; "" where its headers do not."""
    if headers.get("x-amz-date"):
        return headers["x-amz-date"]
    text = headers.get("date")
    if not text:
        return ""
    if _STAMP.fullmatch(text):
        return text
    try:
        return stamp_of(time_of_rfc822(text))
    except Malformed:
        return ""


def stamp_of(now: float) -> str:
    """`20260102T030405Z`."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=4096)
def seconds_of(stamp: str) -> float | None:
    """Epoch seconds of `20260102T030405Z`, or None where the text is not one."""
    found = _STAMP.fullmatch(stamp)
    if not found:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 62):
        return None
    return float(calendar.timegm((year, month, day, hour, minute, second)))


def check_time(signed: Signed, now: float, faults: Faults) -> None:
    """Raises where the signature's time is too far from now, or its URL has expired."""
    at = seconds_of(signed.stamp)
    if at is None or signed.stamp[:8] != signed.scope.date:
        raise faults.incomplete("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from"
                                f" HTTP: '{signed.scope.date[:16]}' != '{signed.stamp[:32]}'")
    if at > now + SKEW_MAX_S:
        raise worded(faults.skewed, f"Signature not yet current: {signed.stamp} is still later than"
                     f" {stamp_of(now + SKEW_MAX_S)} ({stamp_of(now)} + 15 min.)")
    if signed.expires_s is not None:
        if now > at + signed.expires_s:
            raise worded(faults.expired_url, f"Signature expired: {signed.stamp} is now earlier than"
                         f" {stamp_of(now - signed.expires_s)} ({stamp_of(now)} - {signed.expires_s} s.)")
    elif at < now - SKEW_MAX_S:
        raise worded(faults.skewed, f"Signature expired: {signed.stamp} is now earlier than"
                     f" {stamp_of(now - SKEW_MAX_S)} ({stamp_of(now)} - 15 min.)")


@lru_cache(maxsize=1024)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key of a day, a region and a service."""
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(maxsize=1024)
def _keyed(key: bytes) -> tuple[Any, Any]:
    """The two hashes of an HMAC, which have read the key: that is half of its work (RFC 2104 §4)."""
    block = key.ljust(64, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))


def _mac(key: bytes, text: bytes) -> str:
    inner, outer = _keyed(key)
    inner, outer = inner.copy(), outer.copy()
    inner.update(text)
    outer.update(inner.digest())
    mac: str = outer.hexdigest()
    return mac


def _canonical_path(path: str, service: str) -> Sequence[str]:
    """The path as signed. S3 signs it encoded once (clients differ in what they encode), others twice and tidied."""
    if path in ("/", ""):
        return ("/",)
    if service.startswith("s3"):
        if _PLAIN.fullmatch(path):
            return (path,)
        again = quote(unquote_to_bytes(path), safe="/-_.~")
        return (path,) if again == path else (path, again)
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part and part != ".":
            kept.append(part)
    tidy = "/" + "/".join(kept) + ("/" if path.endswith("/") and kept else "")
    return (quote(tidy, safe="/-_.~"),)


def _canonical_query(query: str) -> str:
    pairs = [(_encoded(key), _encoded(value)) for key, value in _pairs(query) if key != "X-Amz-Signature"]
    return "&".join(f"{key}={value}" for key, value in sorted(pairs))


def _encoded(text: str) -> str:
    return text if text.isalnum() and text.isascii() else quote(unquote_to_bytes(text), safe="-_.~")


def canonical_requests(request: Request, signed: Signed, payload: str) -> list[str]:
    """The canonical request, once for each way in which clients spell the path."""
    found = request.headers
    lines = "\n".join([f"{name}:{found.get(name, '')}" for name in signed.headers])
    if " " in lines:  # of which one is signed for many
        values = [(name, found.get(name, "")) for name in signed.headers]
        lines = "\n".join(f"{name}:{' '.join(value.split()) if ' ' in value else value}" for name, value in values)
    query = _canonical_query(request.query) if request.query else ""
    rest = f"{query}\n{lines}\n\n{';'.join(signed.headers)}\n{payload}"
    return [f"{request.method}\n{path}\n{rest}" for path in _canonical_path(request.path, signed.scope.service)]


def string_to_sign(signed: Signed, canonical: str) -> bytes:
    """What the signing key signs."""
    digest = sha256(canonical.encode()).hexdigest()
    return f"{ALGORITHM}\n{signed.stamp}\n{signed.scope.text}\n{digest}".encode()


def check_credential(credential: Credential | None, signed: Signed, now: float, faults: Faults) -> Credential:
    """The known credential that a signature names. Raises: nobody has it, another session token, expired."""
    if credential is None:
        known = {"AWSAccessKeyId": signed.scope.access_key_id} if signed.scope.service == "s3" else {}
        raise faults.unknown_key(**known)
    ours, theirs = credential.token or "", signed.token or ""
    if (ours or theirs) and not hmac.compare_digest(ours.encode(), theirs.encode()):
        raise faults.bad_token()
    if credential.expires is not None and now >= credential.expires:
        raise faults.expired_token()
    return credential


def check(request: Request, signed: Signed, secret: str, payload: str, faults: Faults) -> bytes:
    """Raises unless the signature is the secret's over this request and payload; the signing key where it is."""
    if "host" not in signed.headers:
        raise faults.mismatch("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    scope = signed.scope
    if scope.service == "s3":
        loose = [name for name in request.headers.keys() - signed.headers if name.startswith("x-amz-")]
        if loose:
            raise faults.denied("There were headers present in the request which were not signed",
                                HeadersNotSigned=", ".join(sorted(loose))[:512])
    key = signing_key(secret, scope.date, scope.region, scope.service)
    canonicals = canonical_requests(request, signed, payload)
    for canonical in canonicals:
        mac = _mac(key, string_to_sign(signed, canonical))
        if hmac.compare_digest(mac.encode(), signed.signature.encode()):
            return key
    raise faults.mismatch(**(_explained(signed, canonicals[-1]) if scope.service == "s3" else {}))


def _explained(signed: Signed, canonical: str) -> dict[str, str]:
    """What we signed, for who looks for the difference; S3 says it as text and in hexadecimal digits."""
    return mismatched(signed.scope.access_key_id, string_to_sign(signed, canonical).decode(), signed.signature,
                      canonical)


def mismatched(access_key_id: str, text: str, signature: str, canonical: str) -> dict[str, str]:
    """The members of the error: what was signed, by which key, and the signature that came instead."""
    return {"AWSAccessKeyId": access_key_id, "StringToSign": text, "SignatureProvided": signature[:256],
            "StringToSignBytes": text.encode().hex(" "), "CanonicalRequest": canonical,
            "CanonicalRequestBytes": canonical.encode().hex(" ")}


def payload_of(signed: Signed, body: bytes | None, unsigned_allowed: bool, faults: Faults) -> str:
    """What stands for the body in the canonical request; `body` is None where it streams.

    Ordinarily it is the body's digest. S3 (`unsigned_allowed`) takes it from a header, which may also say that the
    body is not signed or is signed in chunks; a digest that the header names is checked while the body is read.
    """
    if not unsigned_allowed:
        return sha256(body or b"").hexdigest()
    said = signed.payload
    if said is None:
        if signed.expires_s is not None:
            return UNSIGNED
        raise MissingDigest()
    if "x-amz-content-sha256" not in signed.headers and signed.expires_s is None:
        raise faults.mismatch("The header x-amz-content-sha256 must be signed.")
    if signed.expires_s is None and said != UNSIGNED and not said.startswith(STREAMING) and not digest_in(said):
        raise InvalidDigest(ArgumentName="x-amz-content-sha256", ArgumentValue=said[:256])
    return said
