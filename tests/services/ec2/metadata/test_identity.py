"""The identity document of an instance, and whether OpenSSL believes its signatures."""

import base64
import json
import subprocess
from pathlib import Path

import pytest

from cloudlet.services.ec2.metadata.identity import FILE
from tests.services.ec2.metadata.conftest import Guest, Town


def openssl(*words: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=False)


@pytest.fixture
def guest(town: Town) -> Guest:
    return town.guest()


def test_the_document_says_who_it_is(guest: Guest) -> None:
    found = json.loads(guest.read("dynamic/instance-identity/document"))
    assert found == {
        "accountId": "123456789012", "architecture": "x86_64", "availabilityZone": "us-east-1a",
        "billingProducts": None, "devpayProductCodes": None, "marketplaceProductCodes": None, "imageId": "ami-1",
        "instanceId": guest.instance.id, "instanceType": "t3.nano", "kernelId": None, "ramdiskId": None,
        "pendingTime": "2023-11-14T22:13:20Z", "privateIp": guest.interface.private_ip, "region": "us-east-1",
        "version": "2017-09-30"}


def test_openssl_verifies_its_signatures(guest: Guest, tmp_path: Path) -> None:
    document = guest.read("dynamic/instance-identity/document").encode()
    signature = base64.b64decode(guest.read("dynamic/instance-identity/signature"))
    certificate = tmp_path / FILE  # in the data directory
    public = openssl("x509", "-in", str(certificate), "-pubkey", "-noout", data=b"").stdout
    (tmp_path / "key").write_bytes(public)
    (tmp_path / "signature").write_bytes(signature)
    check = ("dgst", "-sha256", "-verify", str(tmp_path / "key"), "-signature", str(tmp_path / "signature"))
    assert openssl(*check, data=document).returncode == 0
    assert openssl(*check, data=document.replace(b"t3.nano", b"m5.huge")).returncode != 0
    for name in ("rsa2048", "pkcs7"):
        text = f"-----BEGIN PKCS7-----\n{guest.read(f'dynamic/instance-identity/{name}')}\n-----END PKCS7-----\n"
        words = ("smime", "-verify", "-inform", "PEM", "-CAfile", str(certificate), "-certfile", str(certificate),
                 "-nointern", "-noverify")
        said = openssl(*words, data=text.encode())
        assert (said.returncode, said.stdout) == (0, document), said.stderr


def test_the_key_stays_and_is_nowhere_in_the_clear(town: Town, guest: Guest, tmp_path: Path) -> None:
    before = guest.read("dynamic/instance-identity/signature")
    (tmp_path / FILE).unlink()
    again = Guest(Town(town.region), guest.instance, guest.interface)
    assert again.read("dynamic/instance-identity/signature") == before
    assert "BEGIN CERTIFICATE" in (tmp_path / FILE).read_text()
    for path in tmp_path.iterdir():
        assert b"PRIVATE KEY" not in path.read_bytes(), path
