"""Signatures of messages, by a key pair of this installation, and the certificate by which subscribers verify them.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from cloudlet.store.db import Tx
from cloudlet.store.records import record

BITS, YEARS = 2048, 30
NAME = "sns.amazonaws.com"
_OWNER = "sns.signer"
# What is signed of a message, in this order, where it is there.
SIGNED = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


@record("sns.signer", lasting=True)
class MessageSigner:
    """The certificate (PEM) under which messages are signed, its private key (PEM), sealed, and by what name the
    certificate is served. The key is "signer"."""

    key: str
    certificate: str
    sealed: str
    serial: str

    @property
    def path(self) -> str:
        """Where the endpoint serves the certificate."""
        return f"/SimpleNotificationService-{self.serial}.pem"


def signer(tx: Tx) -> MessageSigner:
    """The installation's; drawn when the first message is signed."""
    kept = tx.get(MessageSigner, "signer")
    if kept is None:
        kept = _drawn(tx)
        tx.put(kept)
    return kept


def signature(tx: Tx, by: MessageSigner, message: Mapping[str, str], version: str) -> str:
    """The signature of a message, in base64: version 1 with SHA-1, 2 with SHA-256."""
    private = _loaded(tx.seal.open(by.sealed, _OWNER))
    digest = hashes.SHA256() if version == "2" else hashes.SHA1()
    return base64.b64encode(private.sign(text_of(message), padding.PKCS1v15(), digest)).decode()


def text_of(message: Mapping[str, str]) -> bytes:
    """What is signed: names and values, each on a line of its own."""
    return "".join(f"{name}\n{message[name]}\n" for name in SIGNED if name in message).encode()


@lru_cache(maxsize=2)
def _loaded(pem: bytes) -> rsa.RSAPrivateKey:
    private = serialization.load_pem_private_key(pem, None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return private


def _drawn(tx: Tx) -> MessageSigner:
    private = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    begin = datetime.fromtimestamp(tx.now, UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
        .serial_number(int(tx.token(30), 16) + 1).not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(private, hashes.SHA256()))
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
    return MessageSigner("signer", certificate.public_bytes(serialization.Encoding.PEM).decode(),
                         tx.seal.close(pem, _OWNER), tx.token(32))
