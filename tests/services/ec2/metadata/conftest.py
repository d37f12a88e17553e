"""Instances as records in a VPC of fake engines, and what they are told on 169.254.169.254."""

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cloudlet.kernel.http import Body, Request, Response
from cloudlet.services.ec2 import NetworkInterface, instance_metadata
from cloudlet.services.ec2.instances.records import Instance, MetadataOptions, ProfileAssociation, Reservation
from cloudlet.services.ec2.records import InterfaceAttachment
from tests.services.desk import Desk
from tests.services.ec2.conftest import Region

TOKEN, TTL = "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"


async def _nothing() -> Any:
    for chunk in ():
        yield chunk


@dataclass
class Guest:
    """One instance, and how it asks."""

    town: "Town"
    instance: Instance
    interface: NetworkInterface

    def ask(self, path: str, method: str = "GET", source: str = "", network: str | None = None,
            **headers: str) -> Response:
        """A request, by default from its own address in its own network."""
        asked = Request(method, path, "", {name.replace("_", "-"): value for name, value in headers.items()},
                        Body(_nothing()), source or self.interface.private_ip,
                        network=self.interface.network if network is None else network)
        return asyncio.run(self.town.handle(asked))

    def read(self, path: str, **headers: str) -> str:
        """What lies at a path below /latest, which must be there."""
        answer = self.ask(f"/latest/{path}", **headers)
        assert answer.status == 200, (path, answer)
        assert isinstance(answer.body, bytes)
        return answer.body.decode()

    def status(self, path: str, method: str = "GET", **headers: str) -> int:
        return self.ask(path, method, **headers).status

    def token(self, ttl: str = "60") -> str:
        answer = self.ask("/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds=ttl)
        assert isinstance(answer.body, bytes)
        return answer.body.decode()

    def change(self, **given: Any) -> None:
        """Changes the record."""
        with self.town.region.desk.store.tx() as tx:
            now = tx.get(Instance, self.instance.key)
            assert now is not None
            self.instance = replace(now, **given)
            tx.put(self.instance)

    def options(self, **given: Any) -> None:
        """Changes the metadata options."""
        self.change(metadata=MetadataOptions(**given))


class Town:
    """A region with instances."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.handle = instance_metadata(region.desk.store, region.desk.site)

    def guest(self, number: int = 0, **given: Any) -> Guest:
        """An instance with one interface."""
        region = self.region
        made = region("CreateNetworkInterface", SubnetId=region.subnet_id)["NetworkInterface"]
        id = f"i-{number:017x}"
        given.setdefault("public_key", "ssh-ed25519 AAAA me")
        with region.desk.store.tx() as tx:
            (interface,) = tx.find(NetworkInterface, id=made["NetworkInterfaceId"])
            interface = replace(interface, workload="tap", attachment=InterfaceAttachment(
                f"eni-attach-{number:017x}", id, 0, tx.now))
            instance = Instance(
                f"{region.account}/{region.name}/{id}", id, region.account, region.name, "t3.nano", "ami-1",
                interface.vpc_id, interface.subnet_id, interface.availability_zone, "/dev/xvda", tx.now, tx.now, 0,
                Reservation("r-1"), key_name="mine", **given)
            tx.put(interface)
            tx.put(instance)
        return Guest(self, instance, interface)

    def profile(self, trust: str = "ec2.amazonaws.com") -> ProfileAssociation:
        """An instance profile with a role."""
        from cloudlet.services.iam import iam
        from tests.services.desk import root

        def ask(operation: str, **request: Any) -> Any:
            return self.region.desk(iam, operation, root(self.region.account), self.region.name, **request)
        ask("CreateRole", RoleName="worker", AssumeRolePolicyDocument=(
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",'
            f' "Principal": {{"Service": "{trust}"}}}}]}}'))
        made = ask("CreateInstanceProfile", InstanceProfileName="profile")["InstanceProfile"]
        ask("AddRoleToInstanceProfile", InstanceProfileName="profile", RoleName="worker")
        return ProfileAssociation("iip-assoc-1", made["Arn"], made["InstanceProfileId"], 0.0)


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    desk = Desk(tmp_path)
    yield Town(Region(desk))
    desk.store.close()
