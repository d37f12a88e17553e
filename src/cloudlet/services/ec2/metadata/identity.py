"""The instance identity document, and its signatures by this installation's own certificate.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
"""

import base64
import json
import os
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from cloudlet.services.ec2.metadata.facts import Facts
from cloudlet.store.db import Tx
from cloudlet.store.records import record

FILE = "instance-identity.pem"  # in the data directory: the certificate, for whoever verifies
BITS, YEARS = 2048, 30
_LINE = 64


@record("ec2.identity-signer", lasting=True)
class IdentitySigner:
    """The certificate (PEM) under which identity documents are signed, and its private key (PEM), sealed. The key is
    "signer"."""

    key: str
    certificate: str
    sealed: str


class Signer:
    """Signs with a key that is drawn when the first instance asks. `directory` gets the certificate."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE
        self._private: rsa.RSAPrivateKey | None = None
        self._certificate: x509.Certificate | None = None

    def leaves(self, tx: Tx, facts: Facts) -> dict[str, str | Callable[[], str]]:
        """The document, and each signature when it is asked for. `tx` lives as long as that."""
        text = document(facts)
        return {"document": text, "pkcs7": lambda: self._pkcs7(tx, text), "rsa2048": lambda: self._pkcs7(tx, text),
                "signature": lambda: self._signature(tx, text)}

    def _signature(self, tx: Tx, text: str) -> str:
        private, _ = self._opened(tx)
        return _lines(private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))

    def _pkcs7(self, tx: Tx, text: str) -> str:
        private, certificate = self._opened(tx)
        signed = pkcs7.PKCS7SignatureBuilder().set_data(text.encode()).add_signer(certificate, private, hashes.SHA256())
        return _lines(signed.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary]))

    def _opened(self, tx: Tx) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
        kept = tx.get(IdentitySigner, "signer")
        if kept is None:
            kept = _drawn(tx)
            tx.put(kept)
            self._private = None
        if self._private is None or self._certificate is None:
            private = serialization.load_pem_private_key(tx.seal.open(kept.sealed, "ec2.identity-signer"), None)
            assert isinstance(private, rsa.RSAPrivateKey)
            self._private, self._certificate = private, x509.load_pem_x509_certificate(kept.certificate.encode())
            draft = self._file.with_name(f".{FILE}")
            draft.write_text(kept.certificate)
            os.replace(draft, self._file)
        return self._private, self._certificate


def document(facts: Facts) -> str:
    """As AWS writes it, to the space before the colon: what is signed is its bytes."""
    return json.dumps({
        "accountId": facts.account, "architecture": "x86_64", "availabilityZone": facts.zone, "billingProducts": None,
        "devpayProductCodes": None, "imageId": facts.image_id, "instanceId": facts.id, "instanceType": facts.type,
        "kernelId": None, "marketplaceProductCodes": None,
        "pendingTime": datetime.fromtimestamp(int(facts.launched), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "privateIp": facts.cards[0].addresses[0], "ramdiskId": None, "region": facts.region, "version": "2017-09-30",
    }, indent=2, separators=(",", " : "))


def _drawn(tx: Tx) -> IdentitySigner:
    private = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Cloudlet"),
                      x509.NameAttribute(NameOID.COMMON_NAME, "EC2 instance identity")])
    begin = datetime.fromtimestamp(tx.now, UTC) - timedelta(days=1)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
                   .serial_number(int(tx.token(16), 16) | 1).not_valid_before(begin)
                   .not_valid_after(begin + timedelta(days=365 * YEARS)).sign(private, hashes.SHA256()))
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
    return IdentitySigner("signer", certificate.public_bytes(serialization.Encoding.PEM).decode(),
                          tx.seal.close(pem, "ec2.identity-signer"))


def _lines(data: bytes) -> str:
    return "\n".join(textwrap.wrap(base64.b64encode(data).decode(), _LINE))
