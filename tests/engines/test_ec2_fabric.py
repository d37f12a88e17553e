"""EC2's loops on real networks: what customers ask for is what packets meet."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudlet.services.ec2.fabric import interface_spec
from tests.engines.fabric_ground import FabricGround, assert_nothing_is_left, fabric_ground, real
from tests.services.desk import Desk
from tests.services.ec2.conftest import Region


class NoDoors:
    """The control plane's own sockets have tests of their own."""

    async def ensure(self, network: str) -> None:
        pass

    async def destroy(self, network: str) -> None:
        pass


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[FabricGround]:
    with fabric_ground(tmp_path) as found:
        yield found


@pytest.fixture
def real_region(ground: FabricGround, tmp_path: Path) -> Iterator[Region]:
    desk = Desk(tmp_path)
    desk.site = ground.site
    engines = replace(Region(desk).world.engines, networks=ground.networks, doors=NoDoors())
    yield Region(desk, engines=engines, run=ground.run)
    desk.store.close()


def allow(region: Region, group_id: str, **peer: object) -> str:
    made = region("AuthorizeSecurityGroupIngress", GroupId=group_id, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, **peer}])
    region.settle()
    rule_id: str = made["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    return rule_id


@real
def test_a_task_from_its_first_packet_to_its_last(real_region: Region, ground: FabricGround) -> None:
    region, ping = real_region, ground.ping
    front, back = region.group("front"), region.group("back")
    web = region.task("web", group_ids=[front], public=True)
    database = region.task("database", group_ids=[back])
    region.settle()
    assert region.told() == ["database", "web"]
    assert web.public_ip
    web_spec, database_spec = interface_spec(web), interface_spec(database)
    with ground.server(web_spec), ground.server(database_spec):
        assert ground.tcp(None, web.public_ip) is None, "closed until a rule opens it"
        rule_id = allow(region, front, IpRanges=[{"CidrIp": f"{ground.host}/32"}])
        assert ground.tcp(None, web.public_ip) == ground.host
        assert ground.tcp(database_spec, web.private_ip) is None
        assert ground.tcp(web_spec, database.private_ip) is None
        allow(region, back, UserIdGroupPairs=[{"GroupId": front}])
        assert ground.tcp(web_spec, database.private_ip) == web.private_ip
        assert ground.resolve(web_spec, database.private_dns_name, server=web.resolver) == (0, [database.private_ip])
        held = ground.call(None, web.public_ip)
        assert held is not None
        with held:
            region("RevokeSecurityGroupIngress", GroupId=front, SecurityGroupRuleIds=[rule_id])
            region.settle()
            assert ground.tcp(None, web.public_ip) is None
            assert held.echoes(), "a connection that is open stays open"
    assert not ping(None, web.public_ip)
    for task in (web, database):
        region.release(task.id)
    region.settle()
    region.desk.clock.time += 60
    region.settle()
    assert_nothing_is_left(ground.site)


@real
def test_what_somebody_removed_is_made_again_where_it_was(real_region: Region, ground: FabricGround) -> None:
    region = real_region
    group_id = region.group()
    allow(region, group_id, IpRanges=[{"CidrIp": "0.0.0.0/0"}])
    task = region.task("t1", group_ids=[group_id], public=True)
    region.settle()
    assert region.told() == ["t1"]
    assert task.public_ip
    for name in (task.fabric_name, task.network):
        ground.run(ground.networks.destroy(name))
        if name == task.fabric_name:  # without the network there is no guard: then no packet may be sent to see
            assert ground.tcp(None, task.public_ip) is None
        region.look_again("ec2.interface", task.key)
        assert region.told() == ["t1"]
        with ground.server(interface_spec(task)):
            assert ground.tcp(None, task.public_ip) == ground.host
