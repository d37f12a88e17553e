"""Key pairs, held against OpenSSH's and OpenSSL's own words where they are on the machine."""

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from tests.services.ec2.conftest import Region


def test_a_made_key_opens_what_its_public_half_locks(region: Region) -> None:
    made = region("CreateKeyPair", KeyName="mine", TagSpecifications=[
        {"ResourceType": "key-pair", "Tags": [{"Key": "team", "Value": "a"}]}])
    private = load_pem_private_key(made["KeyMaterial"].encode(), None)
    assert made["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert private.key_size == 2048  # type: ignore[union-attr]
    [seen] = region("DescribeKeyPairs", KeyNames=["mine"], IncludePublicKey=True)["KeyPairs"]
    assert seen["KeyFingerprint"] == made["KeyFingerprint"] and seen["KeyFingerprint"].count(":") == 19
    assert seen["Tags"] == made["Tags"] == [{"Key": "team", "Value": "a"}]
    assert seen["PublicKey"].startswith("ssh-rsa ") and seen["PublicKey"].endswith(" mine")
    assert "KeyMaterial" not in seen


@pytest.mark.engine("ssh-keygen")
@pytest.mark.engine("openssl")
@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_fingerprints_are_those_of_the_programs_that_aws_names(region: Region, tmp_path: Path, kind: str) -> None:
    made = region("CreateKeyPair", KeyName="mine", KeyType=kind)
    file = tmp_path / "mine.pem"
    file.write_text(made["KeyMaterial"] + "\n")
    file.chmod(0o600)
    if kind == "rsa":
        said = subprocess.run(f"openssl pkcs8 -in {file} -inform PEM -outform DER -topk8 -nocrypt | openssl sha1 -c",
                              shell=True, capture_output=True, text=True, check=True).stdout
        assert said.split()[-1] == made["KeyFingerprint"]
    else:
        said = subprocess.run(["ssh-keygen", "-l", "-f", str(file)], capture_output=True, text=True, check=True).stdout
        assert said.split()[1] == "SHA256:" + made["KeyFingerprint"].rstrip("=")
    public = subprocess.run(["ssh-keygen", "-y", "-f", str(file)], capture_output=True, text=True, check=True).stdout
    [seen] = region("DescribeKeyPairs", IncludePublicKey=True)["KeyPairs"]
    assert seen["PublicKey"].split()[:2] == public.split()[:2]


@pytest.mark.engine("ssh-keygen")
@pytest.mark.engine("openssl")
@pytest.mark.parametrize("form", ["RFC4716", "PKCS8", "PEM", ""])
def test_an_imported_key_is_known_again(region: Region, tmp_path: Path, form: str) -> None:
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(file)], check=True)
    material = file.with_suffix(".pub").read_bytes()
    if form:
        material = subprocess.run(["ssh-keygen", "-e", "-m", form, "-f", str(file)], capture_output=True,
                                  check=True).stdout
    made = region("ImportKeyPair", KeyName="mine", PublicKeyMaterial=material)
    der = subprocess.run(f"ssh-keygen -e -m PKCS8 -f {file} | openssl rsa -pubin -outform DER | openssl md5 -c",
                         shell=True, capture_output=True, text=True, check=True).stdout
    assert made["KeyFingerprint"] == der.split()[-1]


def test_a_ppk_is_what_putty_reads(region: Region) -> None:
    made = region("CreateKeyPair", KeyName="mine", KeyType="ed25519", KeyFormat="ppk")
    lines = made["KeyMaterial"].split("\r\n")
    assert lines[:3] == ["PuTTY-User-Key-File-2: ssh-ed25519", "Encryption: none", "Comment: mine"]
    public = base64.b64decode("".join(lines[4:4 + int(lines[3].split()[1])]))
    assert base64.b64encode(hashlib.sha256(public).digest()).decode() == made["KeyFingerprint"]


def test_an_ed25519_key_is_openssh_s(region: Region) -> None:
    made = region("CreateKeyPair", KeyName="mine", KeyType="ed25519")
    assert made["KeyMaterial"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    load_ssh_private_key(made["KeyMaterial"].encode(), None)


def test_what_is_wrong_is_said_in_aws_s_words(region: Region) -> None:
    region("CreateKeyPair", KeyName="mine")
    assert region.fails("CreateKeyPair", KeyName="mine") == (
        "InvalidKeyPair.Duplicate", "The keypair already exists: mine")
    assert region.fails("ImportKeyPair", KeyName="other", PublicKeyMaterial=b"ssh-rsa AAAA")[0] == "InvalidKey.Format"
    assert region.fails("DescribeKeyPairs", KeyNames=["nobody"]) == (
        "InvalidKeyPair.NotFound", "The key pair 'nobody' does not exist")
    assert region.fails("DeleteKeyPair")[0] == "MissingParameter"
    assert region("DeleteKeyPair", KeyName="nobody") == {"Return": True}
    assert region.elsewhere("eu-west-1")("DescribeKeyPairs")["KeyPairs"] == []


def test_a_deleted_key_is_gone_and_its_name_free(region: Region) -> None:
    first = region("CreateKeyPair", KeyName="mine")
    assert region("DeleteKeyPair", KeyPairId=first["KeyPairId"])["KeyPairId"] == first["KeyPairId"]
    assert region("CreateKeyPair", KeyName="mine")["KeyPairId"] != first["KeyPairId"]


def test_ssh_reads_what_is_written_to_a_file(region: Region) -> None:
    for kind in ("rsa", "ed25519"):
        material = region("CreateKeyPair", KeyName=kind, KeyType=kind)["KeyMaterial"]
        assert material.endswith("\n") == (kind == "ed25519"), "OpenSSH's own form needs its last newline"
