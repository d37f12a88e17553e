"""Who is told what on 169.254.169.254, by either version of the service, and who is not."""

import json
from typing import Any

import pytest

from cloudlet.services.ec2.connect import give_key
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.records import NetworkInterface
from tests.services.ec2.conftest import Region
from tests.services.ec2.instances.conftest import IMAGE, Fleet
from tests.services.ec2.metadata.conftest import TTL, Guest, Town, encoded

PUBLIC = "ssh-ed25519 AAAAC3 somebody"


def test_version_two_needs_a_token_and_version_one_none(town: Town) -> None:
    guest = town.guest()
    assert guest.read("meta-data/instance-id") == guest.instance.id
    token = guest.token("21600")
    assert len(token) >= 40
    answer = guest.ask("/latest/meta-data/instance-id", x_aws_ec2_metadata_token=token)
    assert (answer.status, answer.body, answer.headers[TTL]) == (200, guest.instance.id.encode(), "21600")
    guest.options(tokens="required")
    assert guest.status("/latest/meta-data/instance-id") == 401
    assert guest.status("/") == 401
    assert guest.read("meta-data/instance-id", x_aws_ec2_metadata_token=token) == guest.instance.id


def test_a_token_is_good_for_its_time_and_its_instance(town: Town) -> None:
    mine, other = town.guest(1), town.guest(2)
    token = mine.token("60")
    for wrong in ("", "x", token[:-4] + "AAAA", "ü"):
        assert mine.status("/latest/meta-data/", x_aws_ec2_metadata_token=wrong) == 401, "even where none is needed"
    assert other.status("/latest/meta-data/", x_aws_ec2_metadata_token=token) == 401
    again = Town(town.region)  # after a restart
    assert Guest(again, mine.instance, mine.interface).read(
        "meta-data/instance-id", x_aws_ec2_metadata_token=token) == mine.instance.id
    town.region.desk.clock.time += 59
    assert mine.status("/latest/meta-data/", x_aws_ec2_metadata_token=token) == 200
    town.region.desk.clock.time += 2
    assert mine.status("/latest/meta-data/", x_aws_ec2_metadata_token=token) == 401


@pytest.mark.parametrize("ttl", ["0", "21601", "", "abc", "-1", "1.5", "1" * 40])
def test_a_token_lives_from_a_second_to_six_hours(town: Town, ttl: str) -> None:
    guest = town.guest()
    assert guest.status("/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds=ttl) == 400


def test_who_gets_no_token(town: Town) -> None:
    guest = town.guest()
    assert guest.status("/latest/api/token", "PUT") == 400
    assert guest.status("/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds="60",
                        x_forwarded_for="10.0.0.1") == 403
    answer = guest.ask("/latest/api/token")
    assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, PUT")


def test_the_hop_limit_is_that_of_the_instance(town: Town) -> None:
    guest = town.guest()
    ask: dict[str, Any] = {"path": "/latest/api/token", "method": "PUT", "x_aws_ec2_metadata_token_ttl_seconds": "60"}
    assert guest.ask(**ask).hops == 1
    guest.options(hop_limit=3)
    assert guest.ask(**ask).hops == 3
    assert guest.ask("/latest/meta-data/").hops is None


def test_an_instance_is_told_of_all_its_addresses_and_may_ask_from_each(town: Town) -> None:
    guest, region = town.guest(), town.region
    region("AssignPrivateIpAddresses", NetworkInterfaceId=guest.interface.id, PrivateIpAddresses=["172.31.0.77"])
    elastic = region("AllocateAddress")
    region("AssociateAddress", AllocationId=elastic["AllocationId"], NetworkInterfaceId=guest.interface.id,
           PrivateIpAddress="172.31.0.77")
    card = f"meta-data/network/interfaces/macs/{guest.interface.mac}"
    assert guest.read(f"{card}/local-ipv4s") == f"{guest.interface.private_ip}\n172.31.0.77"
    assert guest.read(f"{card}/ipv4-associations/{elastic['PublicIp']}") == "172.31.0.77"
    assert elastic["PublicIp"] in guest.read(f"{card}/public-ipv4s").splitlines()
    assert guest.read("meta-data/local-ipv4") == guest.interface.private_ip
    asked = guest.ask("/latest/meta-data/instance-id", source="172.31.0.77")
    assert asked.body == guest.instance.id.encode()
    region("UnassignPrivateIpAddresses", NetworkInterfaceId=guest.interface.id, PrivateIpAddresses=["172.31.0.77"])
    assert guest.ask("/latest/meta-data/instance-id", source="172.31.0.77").status == 404


def test_nobody_is_told_of_another(town: Town) -> None:
    mine, other = town.guest(1), town.guest(2)
    assert mine.read("meta-data/local-ipv4") == mine.interface.private_ip != other.read("meta-data/local-ipv4")
    task = town.region.task()
    assert mine.ask("/latest/meta-data/", source=task.private_ip).status == 404
    assert mine.ask("/latest/meta-data/", source="172.31.255.254").status == 404
    for network in ("", "cl-000000-vpc-0000000000"):
        assert mine.ask("/latest/meta-data/", network=network).status == 404
    mine.change(desired="terminated", ended_at=1.0)
    assert mine.status("/latest/meta-data/") == 404


def test_the_endpoint_can_be_disabled(town: Town) -> None:
    guest = town.guest()
    guest.options(enabled=False)
    assert guest.status("/latest/meta-data/") == 403
    assert guest.status("/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds="60") == 403


def test_other_methods_and_paths_are_answered_as_by_aws(town: Town) -> None:
    guest = town.guest()
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert guest.status("/latest/meta-data/", method) == 405
    missing = guest.ask("/latest/meta-data/nothing")
    assert isinstance(missing.body, bytes)
    assert (missing.status, missing.headers["content-type"]) == (404, "text/html")
    assert b"<title>404 - Not Found</title>" in missing.body
    assert guest.status("/latest/meta-data", "HEAD") == 200
    assert guest.status("/2001-01-01/meta-data/") == 404
    assert guest.status("/latest/meta-data/instance-id/deeper") == 404


def test_user_data_comes_as_it_was_given(town: Town) -> None:
    assert town.guest(1).status("/latest/user-data") == 404
    data = b"#!/bin/sh\n\x00\xff"
    guest = town.guest(2, user_data=encoded(data))
    answer = guest.ask("/latest/user-data")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, data, "application/octet-stream")


def test_tags_only_where_they_are_to_be_told(town: Town) -> None:
    guest = town.guest(tags={"Name": "web", "a key": "b"})
    assert guest.status("/latest/meta-data/tags/instance") == 404
    guest.options(tags=True)
    assert guest.read("meta-data/tags/instance").splitlines() == ["Name", "a key"]
    assert guest.read("meta-data/tags/instance/a%20key") == "b"
    assert guest.status("/2021-01-03/meta-data/tags/instance") == 404, "this version does not know them"


def test_a_role_s_credentials_are_real_and_renewed(town: Town) -> None:
    guest = town.guest(profile=town.profile())
    assert guest.read("meta-data/iam/security-credentials/") == "worker"
    info = json.loads(guest.read("meta-data/iam/info"))
    assert (info["Code"], info["InstanceProfileArn"]) == (
        "Success", "arn:aws:iam::123456789012:instance-profile/profile")
    found = json.loads(guest.read("meta-data/iam/security-credentials/worker"))
    assert set(found) == {"Code", "LastUpdated", "Type", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert (found["Code"], found["Type"], found["AccessKeyId"][:4]) == ("Success", "AWS-HMAC", "ASIA")
    assert json.loads(guest.read("meta-data/iam/security-credentials/worker")) == found
    whose = town.region.desk.principal(found["AccessKeyId"])
    assert whose.arn == f"arn:aws:sts::123456789012:assumed-role/worker/{guest.instance.id}"
    assert ("ec2:roledelivery", "1.0") in whose.facts
    token = guest.token("60")
    second = json.loads(guest.read("meta-data/iam/security-credentials/worker", x_aws_ec2_metadata_token=token))
    assert ("ec2:roledelivery", "2.0") in town.region.desk.principal(second["AccessKeyId"]).facts
    town.region.desk.clock.time += 5.5 * 3600
    renewed = json.loads(guest.read("meta-data/iam/security-credentials/worker"))
    assert renewed["AccessKeyId"] != found["AccessKeyId"]
    assert renewed["Expiration"] > found["Expiration"]
    assert town.guest(2).status("/latest/meta-data/iam/info") == 404


def test_a_role_that_does_not_trust_ec2_gives_none(town: Town) -> None:
    guest = town.guest(profile=town.profile(trust="ecs-tasks.amazonaws.com"))
    found = json.loads(guest.read("meta-data/iam/security-credentials/worker"))
    assert found["Code"] == "AssumeRoleUnauthorizedAccess"
    assert found["Message"].startswith("EC2 cannot assume the role worker.")
    assert "SecretAccessKey" not in found


def test_keys_of_instance_connect_are_there_for_a_minute(town: Town) -> None:
    guest = town.guest()
    assert guest.status("/latest/meta-data/managed-ssh-keys/active-keys/admin") == 404
    with town.region.desk.store.tx() as tx:
        give_key(tx, guest.instance, "admin", PUBLIC)
        give_key(tx, guest.instance, "admin", PUBLIC)
        give_key(tx, guest.instance, "root", PUBLIC + "2")
    assert guest.read("meta-data/managed-ssh-keys/active-keys/admin") == PUBLIC
    assert guest.read("meta-data/managed-ssh-keys/active-keys/").splitlines() == ["admin", "root"]
    town.region.desk.clock.time += 61
    assert guest.status("/latest/meta-data/managed-ssh-keys/active-keys/admin") == 404
    town.region.settle()
    with town.region.desk.store.tx() as tx:
        assert not list(tx.execute("select key from record where kind='ec2.active-keys'"))


def test_that_it_asked_is_noted(town: Town) -> None:
    guest = town.guest()

    def heard() -> float | None:
        with town.region.desk.store.tx() as tx:
            found = tx.get(Instance, guest.instance.key)
            return found.heard_at if found else None
    assert heard() is None
    assert guest.status("/") == 200
    first = heard()
    assert first == town.region.desk.clock.time
    town.region.desk.clock.time += 30
    assert guest.status("/") == 200
    assert heard() == first, "not every request is a write"
    town.region.desk.clock.time += 31
    assert guest.status("/") == 200
    assert heard() == town.region.desk.clock.time


def test_an_instance_that_was_launched_reads_what_it_was_given(region: Region) -> None:
    fleet = Fleet(region)
    made = region("ImportKeyPair", KeyName="mine", PublicKeyMaterial=(
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5W3lXMZqjJ2vJzTnYz2mUKl7p7xVqQhjVvJb1qjXQk me"))
    id = fleet.run(KeyName=made["KeyName"], UserData=encoded(b"#!/bin/sh"), BlockDeviceMappings=[
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}], MetadataOptions={"HttpTokens": "required"})
    with region.desk.store.tx() as tx:
        (interface,) = tx.find(NetworkInterface, instance=id)
    guest = Guest(Town(region), fleet.record(id), interface)
    assert guest.status("/latest/meta-data/") == 401
    token = guest.token()

    def read(path: str) -> str:
        return guest.read(path, x_aws_ec2_metadata_token=token)
    assert read("meta-data/ami-id") == IMAGE
    assert read("meta-data/public-keys/") == "0=mine"
    assert read("meta-data/public-keys/0/openssh-key").startswith("ssh-ed25519 AAAAC3Nza")
    assert read("meta-data/block-device-mapping/ebs1") == "/dev/sdf"
    assert read("user-data") == "#!/bin/sh"
    assert read("meta-data/public-ipv4") == fleet.shown(id)["PublicIpAddress"]
    assert read(f"meta-data/network/interfaces/macs/{interface.mac}/interface-id") == interface.id
