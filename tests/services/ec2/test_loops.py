"""From a record to an interface in the world, and back; and what happens when the world forgets."""

import pytest

from cloudlet.engines.fake import Faults
from cloudlet.services.ec2 import find_interface_by_address
from cloudlet.services.ec2.loops import INTERFACE, LINGER_S, NETWORK
from cloudlet.services.ec2.records import Network, NetworkInterface
from tests.services.ec2.conftest import Region


def key(region: Region, vpc_id: str = "") -> str:
    return f"{region.account}/{region.name}/{vpc_id or region.vpc_id}"


def owned(region: Region) -> set[str]:
    return {*region.world.networks.networks, *region.world.networks.interfaces}


def kept(region: Region) -> set[str]:
    with region.desk.store.tx() as tx:
        return set(region.controller.keeps["networks"](tx))


def test_a_task_gets_its_interface(region: Region) -> None:
    task = region.task(public=True)
    assert (task.ready, task.path) == (False, "")
    region.settle()
    assert region.told() == ["t1"]
    seen = region.interface(task.id)
    assert seen is not None
    assert seen.ready
    assert seen.path == f"/run/netns/{task.fabric_name}"
    spec = region.world.networks.interfaces[task.fabric_name]
    assert (spec.network, spec.address, spec.gateway, spec.mac) == (
        task.network, task.private_ip, "172.31.0.1", task.mac)
    network = region.world.networks.networks[task.network]
    assert network.cidrs == ("172.31.0.0/16",)
    assert network.resolver == task.resolver == "172.31.0.2"
    assert len(network.gateways) == 6
    assert region.world.doors.open == {task.network}
    assert kept(region) == owned(region)
    with region.desk.store.tx() as tx:
        assert find_interface_by_address(tx, task.network, task.private_ip) == seen
        assert find_interface_by_address(tx, "elsewhere", task.private_ip) is None


def test_a_running_network_costs_two_steps(region: Region) -> None:
    region.task("t1")
    region.settle()
    trace: list[str] = []
    region.world.trace = trace.append
    region.task("t2")
    region.settle()
    assert [line.split()[0] for line in trace] == ["ensure_interface", "apply"]
    assert region.told() == ["t1", "t2"]


def test_release(region: Region) -> None:
    first, second = region.task("t1"), region.task("t2")
    region.settle()
    region.release(first.id)
    assert region.interface(first.id) is None
    assert first.id not in [i["NetworkInterfaceId"] for i in region("DescribeNetworkInterfaces")["NetworkInterfaces"]]
    assert first.fabric_name in kept(region), "until it is gone from the world, a record accounts for it"
    region.settle()
    assert [m.interface for m in region.fabric().members] == [second.fabric_name]
    assert first.fabric_name not in owned(region)
    assert kept(region) == owned(region)
    region.release(first.id)
    with region.desk.store.tx() as tx:
        assert find_interface_by_address(tx, first.network, first.private_ip) is None
        assert tx.count(NetworkInterface, vpc=first.vpc_id) == 1


def test_release_before_it_was_ever_there(region: Region) -> None:
    task = region.task()
    region.release(task.id)
    region.settle()
    assert task.fabric_name not in owned(region)
    assert region.told() == []


def test_an_empty_network_goes_after_a_while(region: Region) -> None:
    task = region.task()
    region.settle()
    region.release(task.id)
    region.settle()
    assert task.network in owned(region)
    region.desk.clock.time += LINGER_S / 2
    region.settle()
    other = region.task("t2")
    region.settle()
    region.desk.clock.time += LINGER_S
    region.settle()
    assert task.network in owned(region), "it was needed again"
    region.release(other.id)
    region.settle()
    region.desk.clock.time += LINGER_S + 1
    region.settle()
    assert owned(region) == kept(region) == set()
    assert not region.world.doors.open
    region.task("t3")
    region.settle()
    assert task.network in owned(region)


def test_a_deleted_vpc_takes_its_network_along_at_once(region: Region) -> None:
    vpc_id = region.vpc()
    subnet_id = region.subnet(vpc_id)
    task = region.task(subnet_id=subnet_id)
    region.settle()
    assert region.fails("DeleteVpc", VpcId=vpc_id)[0] == "DependencyViolation"
    assert region.fails("DeleteSubnet", SubnetId=subnet_id)[0] == "DependencyViolation"
    region.release(task.id)
    region("DeleteSubnet", SubnetId=subnet_id)
    region("DeleteVpc", VpcId=vpc_id)
    region.settle()
    assert owned(region) == kept(region) == set()


def test_a_new_subnet_gets_its_router(region: Region) -> None:
    vpc_id = region.vpc()
    region.task(subnet_id=region.subnet(vpc_id, "10.0.0.0/24"))
    region.settle()
    other = region.subnet(vpc_id, "10.0.1.0/24")
    task = region.task("t2", subnet_id=other)
    region.settle()
    assert region.world.networks.networks[task.network].gateways == ("10.0.0.1", "10.0.1.1")
    assert region.told() == ["t1", "t2"]
    region("AssociateVpcCidrBlock", VpcId=vpc_id, CidrBlock="10.7.0.0/16")
    region.settle()
    assert region.world.networks.networks[task.network].cidrs == ("10.0.0.0/16", "10.7.0.0/16")


def test_after_a_reboot_everything_is_made_again(region: Region) -> None:
    tasks = [region.task(f"t{number}", public=True) for number in range(3)]
    region.settle()
    before = region.fabric()
    assert region.told() == ["t0", "t1", "t2"]
    region.world.reboot()
    for task in tasks:
        region.look_again(INTERFACE, task.key)
    assert region.told() == ["t0", "t1", "t2"], "those who use an interface must know that it was gone"
    assert all(i and i.ready for i in map(region.interface, (task.id for task in tasks)))
    assert kept(region) == owned(region)
    assert region.fabric().members == before.members
    assert {s.address for s in region.world.networks.interfaces.values()} == {task.private_ip for task in tasks}


def test_after_a_reboot_whichever_loop_looks_first(region: Region) -> None:
    task = region.task()
    region.settle()
    region.told()
    region.world.reboot()
    region.look_again(NETWORK, key(region))
    assert region.told() == ["t1"]
    assert kept(region) == owned(region)
    assert region.fabric().members
    assert region.world.doors.open == {task.network}


def test_an_interface_that_somebody_removed_is_made_again(region: Region) -> None:
    task = region.task()
    region.settle()
    region.told()
    region.world.networks.vanish(task.fabric_name)
    region.look_again(INTERFACE, task.key)
    assert task.fabric_name in owned(region)
    assert region.told() == ["t1"]
    assert region.interface(task.id).ready  # type: ignore[union-attr]


def test_a_reset_leaves_nothing_and_forbids_nothing(region: Region) -> None:
    region.task()
    region.settle()
    with region.desk.store.tx() as tx:
        tx.clear()
    region.settle()
    assert owned(region) == kept(region) == region.world.doors.open == set()
    assert region.told() == ["t1"]
    region.task("t2", public=True)
    region.settle()
    assert region.told() == ["t2"]


def test_a_restarted_control_plane_opens_its_doors_again(region: Region) -> None:
    task = region.task()
    region.settle()
    region.world.crash()
    region.look_again(NETWORK, key(region))
    assert region.world.doors.open == {task.network}


@pytest.mark.parametrize("seed", range(12))
def test_an_unreliable_world_ends_in_the_same_state(region: Region, seed: int) -> None:
    region.world.random.seed(seed)
    region.world.faults = Faults(busy=0.2, lost=0.2)
    tasks = [region.task(f"t{number}") for number in range(4)]
    for _ in range(40):
        region.settle()
        region.desk.clock.time += 60
    assert all(i and i.ready for i in map(region.interface, (task.id for task in tasks)))
    assert region.told() == ["t0", "t1", "t2", "t3"]
    for task in tasks[1:]:
        region.release(task.id)
    for _ in range(40):
        region.settle()
        region.desk.clock.time += 60
    assert owned(region) == kept(region) == {tasks[0].network, tasks[0].fabric_name}
    assert len(region.fabric().members) == 1


def test_an_interface_that_is_refused_does_not_keep_its_neighbours_busy(region: Region) -> None:
    region.task("t1")
    region.settle()
    region.told()
    region.world.faults = Faults(refused=1.0)
    region.task("t2")
    region.settle(steps_max=10)
    assert region.told() == []
    region.world.faults = Faults()
    region.desk.clock.time += 60
    region.settle()
    assert region.told() == ["t2"]


def test_wakes_finds_whom_a_name_belongs_to(region: Region) -> None:
    task = region.task()
    wake, mine = region.controller.wakes["networks"], key(region)
    with region.desk.store.tx() as tx:
        assert wake(tx, task.fabric_name) == (INTERFACE, task.key)
        assert wake(tx, task.network) == (NETWORK, mine)
        assert wake(tx, "cl-abcdef-eni-0000000000") is None
        assert tx.find(Network)[0].up is False
