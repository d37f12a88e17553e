"""Key pairs: made here, whose private half is shown once and never kept, or imported.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-key-pairs.html
"""

from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, keyformats
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.records import KeyPair
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx

NAME_LENGTH_MAX = 255
KEYS_MAX = 5000  # in a region, as on AWS
RSA_BITS = 2048


def find_key_pair(tx: Tx, call: Call, name: str) -> KeyPair:
    """The caller's key pair of that name. Raises InvalidKeyPair.NotFound."""
    found = next(iter(tx.find(KeyPair, name=f"{call.scope}/{name}")), None)
    if found is None:
        raise api.InvalidKeyPairNotFound(f"The key pair '{name}' does not exist")
    return found


def _named(call: Call, request: Input) -> Iterable[str]:
    return (call.arn("ec2", f"key-pair/{request.get('KeyName') or '*'}"),)


def _require_new(tx: Tx, call: Call, name: str) -> None:
    if len(name) > NAME_LENGTH_MAX or not name.isascii() or not name.isprintable():
        raise api.InvalidParameterValue(f"Value ({name}) for parameter KeyName is invalid. A key pair's name may have"
                                        f" up to {NAME_LENGTH_MAX} ASCII characters.")
    if name != name.strip():
        raise api.InvalidParameterValue(f"Value ({name}) for parameter KeyName is invalid. It must not begin or end"
                                        " with a space.")
    if tx.count(KeyPair, name=f"{call.scope}/{name}"):
        raise api.InvalidKeyPairDuplicate(f"The keypair already exists: {name}")
    if tx.count(KeyPair, scope=call.scope) >= KEYS_MAX:
        raise api.KeyPairLimitExceeded("You have reached the limit of key pairs in this region.")


@ec2.write(resources=_named)
def create_key_pair(call: Call, tx: Tx, request: Input) -> Output:
    """A new pair: the only answer that ever shows the private key."""
    kind, form = request.get("KeyType") or "rsa", request.get("KeyFormat") or "pem"
    if kind not in ("rsa", "ed25519") or form not in ("pem", "ppk"):
        wrong, name = (kind, "KeyType") if kind not in ("rsa", "ed25519") else (form, "KeyFormat")
        raise api.InvalidParameterValue(f"Value ({wrong}) for parameter {name} is invalid.")
    name = request["KeyName"]
    _require_new(tx, call, name)
    private: keyformats.Private = (
        rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS) if kind == "rsa"
        else ed25519.Ed25519PrivateKey.generate())
    pair = _keep(call, tx, request, kind, keyformats.open_ssh(private.public_key()),
                 keyformats.fingerprint_of_created(private))
    material = keyformats.pem(private) if form == "pem" else keyformats.ppk(private, name)
    return {"KeyName": name, "KeyPairId": pair.id, "KeyFingerprint": pair.fingerprint, "KeyMaterial": material,
            "Tags": tag_set(pair.tags)}


@ec2.write(resources=_named)
def import_key_pair(call: Call, tx: Tx, request: Input) -> Output:
    """A public key that was made elsewhere: OpenSSH's form, or PEM, or its DER in base64."""
    _require_new(tx, call, request["KeyName"])
    public = keyformats.read_public(request["PublicKeyMaterial"])
    if public is None:
        raise api.InvalidKeyFormat("Key is not in valid OpenSSH public key format")
    kind = "rsa" if isinstance(public, rsa.RSAPublicKey) else "ed25519"
    if isinstance(public, rsa.RSAPublicKey) and public.key_size not in (1024, 2048, 4096):
        raise api.InvalidKeyFormat("The key length is invalid: RSA keys have 1024, 2048 or 4096 bits")
    pair = _keep(call, tx, request, kind, keyformats.open_ssh(public), keyformats.fingerprint_of_imported(public))
    return {"KeyName": pair.name, "KeyPairId": pair.id, "KeyFingerprint": pair.fingerprint, "Tags": tag_set(pair.tags)}


def _keep(call: Call, tx: Tx, request: Input, kind: str, public: str, fingerprint: str) -> KeyPair:
    id = f"key-{tx.token(17)}"
    pair = KeyPair(f"{call.scope}/{id}", id, call.account, call.region, request["KeyName"], kind, public, fingerprint,
                   tx.now, tags_for(request, "key-pair"))
    tx.put(pair)
    return pair


@ec2.read(resources=any_resource)
def describe_key_pairs(call: Call, tx: Tx, request: Input) -> Output:
    """Pairs by name, id and filter; their public keys on demand."""
    names, ids = request.get("KeyNames") or [], request.get("KeyPairIds") or []
    pairs = tx.find(KeyPair, f"{call.scope}/")
    if names or ids:
        chosen = {find_key_pair(tx, call, name).key for name in names}
        for id in ids:
            found = tx.get(KeyPair, f"{call.scope}/{id}")
            if found is None:
                raise api.InvalidKeyPairNotFound(f"The key pair '{id}' does not exist")
            chosen.add(found.key)
        pairs = [pair for pair in pairs if pair.key in chosen]
    found_pairs = matching(pairs, request.get("Filters"), {
        "key-pair-id": lambda pair: pair.id, "fingerprint": lambda pair: pair.fingerprint,
        "key-name": lambda pair: pair.name}, lambda pair: pair.tags)
    return {"KeyPairs": [_view(pair, bool(request.get("IncludePublicKey"))) for pair in found_pairs]}


def _view(pair: KeyPair, with_public: bool) -> dict[str, Any]:
    view = {"KeyPairId": pair.id, "KeyName": pair.name, "KeyType": pair.kind, "KeyFingerprint": pair.fingerprint,
            "CreateTime": pair.created, "Tags": tag_set(pair.tags)}
    return view | {"PublicKey": f"{pair.public} {pair.name}"} if with_public else view


@ec2.write(resources=_named)
def delete_key_pair(call: Call, tx: Tx, request: Input) -> Output:
    """Forgets a pair; one that is not there is no error, and instances keep their copy of the public key."""
    name, id = request.get("KeyName"), request.get("KeyPairId")
    if not name and not id:
        raise api.MissingParameter("The request must contain the parameter KeyName or KeyPairId")
    found = (tx.get(KeyPair, f"{call.scope}/{id}") if id
             else next(iter(tx.find(KeyPair, name=f"{call.scope}/{name}")), None))
    if found is None:
        return {"Return": True}
    tx.delete(KeyPair, found.key)
    return {"Return": True, "KeyPairId": found.id}

