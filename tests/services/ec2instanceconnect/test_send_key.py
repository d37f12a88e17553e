"""SendSSHPublicKey: a key in, for a minute, to a running instance of one's own."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2instanceconnect import ec2_instance_connect, tags_by_arn
from tests.services.desk import Desk, root
from tests.services.ec2.conftest import Region
from tests.services.ec2.metadata.conftest import Guest, Town

KEYS = "meta-data/managed-ssh-keys/active-keys"


def public(kind: Any = ed25519.Ed25519PrivateKey) -> str:
    made = kind.generate() if kind is ed25519.Ed25519PrivateKey else ec.generate_private_key(ec.SECP256R1())
    text: str = made.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return text


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Town(Region(Desk(tmp_path))).guest(1, on=True, tags={"team": "a"})


def send(guest: Guest, key: str, account: str = "123456789012", **given: Any) -> Any:
    asked = {"InstanceId": guest.instance.id, "InstanceOSUser": "admin", "SSHPublicKey": key, **given}
    return guest.town.region.desk(ec2_instance_connect, "SendSSHPublicKey", root(account), **asked)


def test_send_ssh_public_key(guest: Guest) -> None:
    key = public()
    assert send(guest, key + " a comment\n", AvailabilityZone=guest.instance.zone)["Success"] is True
    assert guest.read(f"{KEYS}/admin") == key
    other = public()
    assert send(guest, other)["Success"] is True
    assert guest.read(f"{KEYS}/admin").splitlines() == [key, other]
    guest.town.region.desk.clock.time += 60
    assert guest.status(f"/latest/{KEYS}/admin") == 404


@pytest.mark.parametrize(("given", "code"), [
    ({"InstanceId": "i-00000000000000099"}, "EC2InstanceNotFoundException"),
    ({"account": "999999999999"}, "EC2InstanceNotFoundException"),
    ({"AvailabilityZone": "us-east-1f"}, "EC2InstanceNotFoundException"),
    ({"key": "ssh-rsa AAAA" + "A" * 80}, "InvalidArgsException"),
    ({"key": "command=\"/bin/sh\" " + public()}, "InvalidArgsException"),
    ({"key": public(ec.EllipticCurvePrivateKey)}, "InvalidArgsException"),
])
def test_what_is_refused(guest: Guest, given: dict[str, str], code: str) -> None:
    asked = {"key": public(), **given}
    with pytest.raises(AwsError) as caught:
        send(guest, **asked)
    assert (caught.value.code, caught.value.status) == (code, 400)
    assert guest.status(f"/latest/{KEYS}/admin") == 404


def test_an_instance_that_does_not_run_takes_none(guest: Guest) -> None:
    guest.change(desired="stopped")
    with pytest.raises(AwsError) as caught:
        send(guest, public())
    assert caught.value.code == "EC2InstanceStateInvalidException"


def test_policies_may_ask_for_user_and_tags(guest: Guest) -> None:
    operation = ec2_instance_connect.operations["SendSSHPublicKey"]
    call = guest.town.region.desk.call()
    request = {"InstanceId": guest.instance.id, "InstanceOSUser": "admin"}
    assert operation.context is not None
    assert operation.resources is not None
    assert dict(operation.context(call, request)) == {"ec2:osuser": "admin"}
    (arn,) = operation.resources(call, request)
    assert arn == f"arn:aws:ec2:us-east-1:123456789012:instance/{guest.instance.id}"
    with guest.town.region.desk.store.tx() as tx:
        assert tags_by_arn(tx, arn) == {"team": "a"}
