"""Identity tokens: JSON Web Tokens that an OpenID Connect provider signed, verified against the keys it published.

https://www.rfc-editor.org/rfc/rfc7519, https://www.rfc-editor.org/rfc/rfc7518
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from cloudlet.services.sts.service import ExpiredToken, InvalidIdentityToken

SKEW_S = 300
_HASHES: dict[str, HashAlgorithm] = {"256": SHA256(), "384": SHA384(), "512": SHA512()}
_CURVES: dict[str, tuple[str, ec.EllipticCurve, int]] = {
    "ES256": ("P-256", ec.SECP256R1(), 32), "ES384": ("P-384", ec.SECP384R1(), 48),
    "ES512": ("P-521", ec.SECP521R1(), 66)}
_RSA_BITS_MIN = 2048
_NO_JWT = ("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")


class UnknownKey(Exception):
    """The token names a key that the provider had not published when it was last asked."""


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def claims_of(token: str) -> dict[str, Any]:
    """What a token claims, before anything of it is believed. Raises InvalidIdentityToken."""
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidIdentityToken(_NO_JWT)
    claims = _object(parts[1])
    if not isinstance(claims.get("iss"), str) or not isinstance(claims.get("sub"), str):
        raise InvalidIdentityToken("Missing a required claim: iss, sub")
    return claims


def verify(token: str, keys: str, now: float) -> dict[str, Any]:
    """The claims of a token that one of the keys (a JSON Web Key Set) signed and that is valid now.

    Raises InvalidIdentityToken, ExpiredToken, or UnknownKey.
    """
    claims = claims_of(token)
    signed, _, signature = token.rpartition(".")
    header = _object(token.partition(".")[0])
    algorithm = header.get("alg")
    if algorithm not in _CURVES and algorithm not in ("RS256", "RS384", "RS512"):
        raise InvalidIdentityToken("The token's algorithm is not supported")
    key = _key_of(keys, header.get("kid"), "EC" if algorithm in _CURVES else "RSA")
    try:
        _check_signature(key, algorithm, signed.encode(), _decoded(signature))
    except (InvalidSignature, ValueError, KeyError, TypeError):
        raise InvalidIdentityToken("The signature of the token does not match the provider's key") from None
    expires, begins = _time(claims, "exp"), _time(claims, "nbf" if "nbf" in claims else "iat")
    if now >= expires:
        raise ExpiredToken(f"Token expired: current date/time {int(now)} must be before the expiration date/time"
                           f" {int(expires)}")
    if begins > now + SKEW_S:
        raise InvalidIdentityToken("The token is not valid yet")
    return claims


def _key_of(keys: str, kid: Any, kind: str) -> Mapping[str, Any]:
    try:
        published = msgspec.json.decode(keys, type=_KeySet).keys
    except msgspec.DecodeError:
        raise UnknownKey from None
    fitting = [key for key in published if key.get("kty") == kind and key.get("use", "sig") == "sig"
               and (kid is None or key.get("kid") == kid)]
    if len(fitting) != 1:
        raise UnknownKey
    return fitting[0]


def _check_signature(key: Mapping[str, Any], algorithm: str, signed: bytes, signature: bytes) -> None:
    digest = _HASHES[algorithm[2:]]
    if algorithm in _CURVES:
        name, curve, size = _CURVES[algorithm]
        if key["crv"] != name or len(signature) != 2 * size:
            raise InvalidSignature
        point = ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), curve).public_key()
        halves = (int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
        point.verify(encode_dss_signature(*halves), signed, ec.ECDSA(digest))
        return
    public = rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
    if public.key_size < _RSA_BITS_MIN:
        raise InvalidSignature
    public.verify(signature, signed, padding.PKCS1v15(), digest)


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidIdentityToken(f"Missing a required claim: {name}")
    return value


def _object(part: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(_decoded(part))
    except (ValueError, RecursionError):
        raise InvalidIdentityToken(_NO_JWT) from None
    if not isinstance(found, dict):
        raise InvalidIdentityToken(_NO_JWT)
    return found


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part.encode() + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidIdentityToken(_NO_JWT) from None


def _number(text: str) -> int:
    return int.from_bytes(_decoded(text), "big")
