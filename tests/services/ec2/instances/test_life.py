"""The life of an instance on engines without a world: what is observed becomes its state, whoever ends it."""

from typing import Any

import pytest

from cloudlet.engines.fake import Faults
from cloudlet.services.ec2.instances.plan import STOP_GRACE_S, TERMINATED_KEPT_S
from tests.services.ec2.instances.conftest import Fleet


def test_a_launch_waits_for_its_parts_and_then_runs(fleet: Fleet) -> None:
    id = fleet.launch()[0]
    shown = fleet.shown(id)
    assert shown["State"] == {"Code": 0, "Name": "pending"}
    assert shown["NetworkInterfaces"][0]["Attachment"]["Status"] == "attaching"
    assert fleet.box(id) is None
    fleet.region.settle()
    shown, box = fleet.shown(id), fleet.machine(id)
    assert shown["State"] == {"Code": 16, "Name": "running"}
    assert shown["NetworkInterfaces"][0]["Attachment"]["Status"] == "attached"
    assert shown["BlockDeviceMappings"][0]["Ebs"]["Status"] == "attached"
    assert (box.spec.cpus, box.spec.memory_bytes, box.spec.kernel) == (2, 1 << 30, "cl-abcdef-snap-image")
    assert box.spec.nics[0].mac == shown["NetworkInterfaces"][0]["MacAddress"]
    assert box.spec.nics[0].device == box.spec.nics[0].interface, "the tap's name, which was observed"
    assert box.spec.drives[0].serial == shown["BlockDeviceMappings"][0]["Ebs"]["VolumeId"].replace("-", "")
    assert fleet.world.disks.disks[box.spec.drives[0].disk].text == "debian"
    assert fleet.world.networks.interfaces[box.spec.nics[0].interface].workload == "tap"
    assert fleet.kept() == {box.spec.name}
    uuid = box.spec.uuid
    assert uuid.startswith("ec2")
    assert [len(part) for part in uuid.split("-")] == [8, 4, 4, 4, 12]


def test_stop_and_start(fleet: Fleet) -> None:
    id = fleet.run()
    public = fleet.shown(id)["PublicIpAddress"]
    answer = fleet.region("StopInstances", InstanceIds=[id])["StoppingInstances"][0]
    assert (answer["PreviousState"]["Name"], answer["CurrentState"]) == ("running", {"Code": 64, "Name": "stopping"})
    fleet.region.settle()
    shown = fleet.shown(id)
    assert shown["State"] == {"Code": 80, "Name": "stopped"}
    assert shown["StateReason"] == {"Code": "Client.UserInitiatedShutdown",
                                    "Message": "Client.UserInitiatedShutdown: User initiated shutdown"}
    assert shown["StateTransitionReason"] == "User initiated (2023-11-14 22:13:20 GMT)"
    assert "PublicIpAddress" not in shown, "it goes back to the pool"
    assert shown["PrivateIpAddress"]
    assert shown["BlockDeviceMappings"][0]["Ebs"]["Status"] == "attached"
    assert fleet.box(id) is None
    disk = fleet.region("DescribeVolumes")["Volumes"][0]
    assert disk["State"] == "in-use"
    fleet.desk.clock.time += 10
    answer = fleet.region("StartInstances", InstanceIds=[id])["StartingInstances"][0]
    assert (answer["PreviousState"]["Name"], answer["CurrentState"]["Name"]) == ("stopped", "pending")
    fleet.region.settle()
    again = fleet.shown(id)
    assert again["State"]["Name"] == "running"
    assert again["LaunchTime"] == shown["LaunchTime"] + 10
    assert "StateReason" not in again
    assert again["StateTransitionReason"] == ""
    assert again["PublicIpAddress"]
    assert public
    assert again["PrivateIpAddress"] == shown["PrivateIpAddress"]
    assert again["BlockDeviceMappings"][0]["Ebs"]["VolumeId"] == shown["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert fleet.world.machines.starts[fleet.record(id).machine] == 2


def test_terminate_leaves_a_trace_for_an_hour_and_nothing_else(fleet: Fleet) -> None:
    id = fleet.run()
    answer = fleet.region("TerminateInstances", InstanceIds=[id])["TerminatingInstances"][0]
    assert answer["CurrentState"] == {"Code": 32, "Name": "shutting-down"}
    fleet.region.settle()
    shown = fleet.shown(id)
    assert shown["State"] == {"Code": 48, "Name": "terminated"}
    assert shown["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    for gone in ("VpcId", "SubnetId", "PrivateIpAddress", "PublicIpAddress"):
        assert gone not in shown
    assert shown["NetworkInterfaces"] == shown["BlockDeviceMappings"] == shown["SecurityGroups"] == []
    assert fleet.everything() == (1, 0, 0)
    assert fleet.kept() == set()
    assert fleet.world.machines.boxes == {}
    assert fleet.world.disks.disks == {}
    again = fleet.region("TerminateInstances", InstanceIds=[id])["TerminatingInstances"][0]
    assert again["PreviousState"]["Name"] == again["CurrentState"]["Name"] == "terminated"
    fleet.later(TERMINATED_KEPT_S - 1)
    assert fleet.state(id) == "terminated"
    fleet.later(2)
    assert fleet.region.fails("DescribeInstances", InstanceIds=[id])[0] == "InvalidInstanceID.NotFound"


@pytest.mark.parametrize(("behavior", "state"), [("stop", "stopped"), ("terminate", "terminated")])
def test_a_poweroff_inside(fleet: Fleet, behavior: str, state: str) -> None:
    id = fleet.run(InstanceInitiatedShutdownBehavior=behavior)
    fleet.end(id, "guest")
    shown = fleet.shown(id)
    assert shown["State"]["Name"] == state
    assert shown["StateReason"] == {
        "Code": "Client.InstanceInitiatedShutdown",
        "Message": "Client.InstanceInitiatedShutdown: Instance initiated shutdown"}
    assert shown["StateTransitionReason"] == ""
    assert fleet.world.machines.boxes == {}


def test_a_machine_that_is_lost_recovers_where_that_is_wanted(fleet: Fleet) -> None:
    id = fleet.run(MaintenanceOptions={"AutoRecovery": "default"})
    before = fleet.shown(id)
    assert before["MaintenanceOptions"] == {"AutoRecovery": "default"}
    for starts in (2, 3, 4):
        fleet.end(id, "lost")
        fleet.later(2)
        assert fleet.world.machines.starts[fleet.record(id).machine] == starts
        after = fleet.shown(id)
        assert (after["State"]["Name"], after["PublicIpAddress"]) == ("running", before["PublicIpAddress"])
        assert after["BlockDeviceMappings"][0]["Ebs"]["VolumeId"] == before["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    fleet.end(id, "lost")
    assert (fleet.state(id), fleet.shown(id)["StateReason"]["Code"]) == ("stopped", "Server.InternalError"), (
        "three times a day are enough")
    fleet.region("StartInstances", InstanceIds=[id])
    fleet.later(86_400)
    fleet.end(id, "lost")
    fleet.later(2)
    assert fleet.state(id) == "running"
    fleet.end(id, "guest")
    assert fleet.state(id) == "stopped", "whoever powers off means it"


def test_modify_instance_maintenance_options(fleet: Fleet) -> None:
    id = fleet.run()
    change = "ModifyInstanceMaintenanceOptions"
    assert fleet.shown(id)["MaintenanceOptions"] == {"AutoRecovery": "disabled"}
    assert fleet.region(change, InstanceId=id, AutoRecovery="default") == {"InstanceId": id, "AutoRecovery": "default"}
    assert fleet.shown(id)["MaintenanceOptions"] == {"AutoRecovery": "default"}
    found = fleet.region("DescribeInstances", Filters=[{"Name": "maintenance-options.auto-recovery",
                                                        "Values": ["default"]}])
    assert len(found["Reservations"]) == 1
    data = fleet.region("GetLaunchTemplateData", InstanceId=id)["LaunchTemplateData"]
    assert data["MaintenanceOptions"] == {"AutoRecovery": "default"}
    assert fleet.region(change, InstanceId=id)["AutoRecovery"] == "default", "nothing is asked"
    assert fleet.region(change, InstanceId=id, AutoRecovery="disabled")["AutoRecovery"] == "disabled"
    assert fleet.region.fails(change, InstanceId=id, AutoRecovery="perhaps")[0] == "InvalidParameterValue"
    assert fleet.region.fails(change, InstanceId=id, RebootMigration="default")[0] == "UnsupportedOperation"
    assert fleet.refuses(MaintenanceOptions={"AutoRecovery": "perhaps"})[0] == "UnsupportedOperation"
    fleet.region("CreateLaunchTemplate", LaunchTemplateName="recovers", LaunchTemplateData={
        "MaintenanceOptions": {"AutoRecovery": "default"}})
    (other,) = fleet.launch(LaunchTemplate={"LaunchTemplateName": "recovers"})
    assert fleet.shown(other)["MaintenanceOptions"] == {"AutoRecovery": "default"}
    fleet.region("TerminateInstances", InstanceIds=[id])
    assert fleet.region.fails(change, InstanceId=id, AutoRecovery="default")[0] == "IncorrectInstanceState"


def test_a_machine_that_is_lost_is_stopped_with_a_reason(fleet: Fleet) -> None:
    id = fleet.run()
    fleet.end(id, "lost")
    shown = fleet.shown(id)
    assert shown["State"]["Name"] == "stopped"
    assert shown["StateReason"]["Code"] == "Server.InternalError"
    fleet.region("StartInstances", InstanceIds=[id])
    fleet.region.settle()
    assert fleet.state(id) == "running"


def test_after_a_reboot_of_the_host_what_ran_boots_again(fleet: Fleet) -> None:
    runs, stopped = fleet.run(), fleet.run()
    fleet.region("StopInstances", InstanceIds=[stopped])
    fleet.region.settle()
    fleet.world.reboot()
    with fleet.desk.store.tx() as tx:
        tx.enqueue_all()
    fleet.region.settle()
    assert (fleet.state(runs), fleet.state(stopped)) == ("running", "stopped")
    assert fleet.machine(runs).seen.state == "running"
    assert fleet.world.machines.starts[fleet.record(runs).machine] == 2
    assert "StateReason" not in fleet.shown(runs)


def test_a_machine_that_somebody_removed_is_powered_on_again(fleet: Fleet) -> None:
    id = fleet.run()
    del fleet.world.machines.boxes[fleet.record(id).machine]
    fleet.region.look_again("ec2.instance", fleet.record(id).key)
    assert fleet.state(id) == "running"
    assert fleet.machine(id).seen.state == "running"


def test_a_deaf_guest_is_cut_off_when_its_time_is_up(fleet: Fleet) -> None:
    id = fleet.run()
    fleet.machine(id).deaf = True
    fleet.region("StopInstances", InstanceIds=[id])
    fleet.region.settle()
    assert fleet.state(id) == "stopping"
    fleet.later(STOP_GRACE_S - 1)
    assert fleet.state(id) == "stopping"
    assert fleet.box(id) is not None
    fleet.later(2)
    assert fleet.state(id) == "stopped"


@pytest.mark.parametrize(("verb", "after"), [("StopInstances", "stopped"), ("TerminateInstances", "terminated"),
                                             ("RebootInstances", "running")])
def test_a_machine_that_does_not_answer_is_cut_off_too(fleet: Fleet, verb: str, after: str) -> None:
    id = fleet.run()
    first = fleet.machine(id)
    first.frozen = True
    fleet.region.look_again("ec2.instance", fleet.record(id).key)
    assert fleet.state(id) == "running", "nobody asked it to end"
    assert first.seen.state == "running"
    fleet.region(verb, InstanceIds=[id])
    fleet.region.settle()
    assert first.seen.state == "running", "it has its time"
    fleet.later(STOP_GRACE_S + 1)
    fleet.later(60)
    assert (first.seen.state, fleet.state(id)) == ("off", after)


@pytest.mark.parametrize("given", [{"Force": True}, {"SkipOsShutdown": True}])
def test_force_cuts_the_power(fleet: Fleet, given: dict[str, Any]) -> None:
    id = fleet.run()
    fleet.machine(id).deaf = True
    fleet.region("StopInstances", InstanceIds=[id])
    fleet.region.settle()
    assert fleet.state(id) == "stopping"
    fleet.region("StopInstances", InstanceIds=[id], **given)
    fleet.region.settle()
    assert fleet.state(id) == "stopped"


def test_a_reboot_shuts_down_and_powers_on_and_stays_running(fleet: Fleet) -> None:
    id = fleet.run()
    fleet.says(id, "debian login: ")
    fleet.later(5)
    public, name = fleet.shown(id)["PublicIpAddress"], fleet.record(id).machine
    fleet.machine(id).deaf = True
    fleet.region("RebootInstances", InstanceIds=[id])
    fleet.region.settle()
    assert fleet.state(id) == "running"
    assert fleet.world.machines.starts[name] == 1
    fleet.later(STOP_GRACE_S + 1)
    assert fleet.world.machines.starts[name] == 2
    assert fleet.state(id) == "running"
    assert fleet.machine(id).seen.state == "running"
    assert fleet.shown(id)["PublicIpAddress"] == public
    assert fleet.record(id).booted_at is None, "it boots again"
    assert fleet.shown(id)["LaunchTime"] == 1_700_000_000.0


def test_a_new_machine_that_the_host_refuses_is_terminated(fleet: Fleet) -> None:
    id = fleet.launch()[0]
    fleet.world.machines.refusals[fleet.record(id).machine] = "QEMU said no"
    fleet.region.settle()
    shown = fleet.shown(id)
    assert shown["State"]["Name"] == "terminated"
    assert shown["StateReason"] == {"Code": "Server.InternalError", "Message": "Server.InternalError: QEMU said no"}
    assert fleet.everything() == (1, 0, 0)


def test_one_that_was_there_before_is_stopped_again(fleet: Fleet) -> None:
    id = fleet.run()
    fleet.region("StopInstances", InstanceIds=[id])
    fleet.region.settle()
    fleet.world.machines.refusals[fleet.record(id).machine] = "QEMU said no"
    fleet.region("StartInstances", InstanceIds=[id])
    fleet.region.settle()
    assert fleet.state(id) == "stopped"
    assert fleet.shown(id)["StateReason"]["Message"] == "Server.InternalError: QEMU said no"
    assert fleet.region("DescribeVolumes")["Volumes"][0]["State"] == "in-use", "nothing is lost"


def test_terminated_before_it_was_ever_powered_on(fleet: Fleet) -> None:
    id = fleet.launch()[0]
    fleet.region("TerminateInstances", InstanceIds=[id])
    fleet.region.settle()
    assert fleet.state(id) == "terminated"
    assert fleet.world.machines.starts[fleet.record(id).machine] == 0
    assert fleet.everything() == (1, 0, 0)


def test_what_does_not_go_with_the_instance_stays(fleet: Fleet) -> None:
    eni = fleet.region("CreateNetworkInterface", SubnetId=fleet.region.subnet_id)["NetworkInterface"]
    id = fleet.run(
        NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": eni["NetworkInterfaceId"]}],
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": False}}])
    assert fleet.region.fails("DeleteNetworkInterface", NetworkInterfaceId=eni["NetworkInterfaceId"])[0] == (
        "InvalidParameterValue")
    fleet.region("TerminateInstances", InstanceIds=[id])
    fleet.region.settle()
    volume = fleet.region("DescribeVolumes")["Volumes"][0]
    assert (volume["State"], volume["Attachments"]) == ("available", [])
    left = fleet.region("DescribeNetworkInterfaces")["NetworkInterfaces"][0]
    assert (left["NetworkInterfaceId"], left["Status"]) == (eni["NetworkInterfaceId"], "available")
    assert left["PrivateIpAddress"] == eni["PrivateIpAddress"]
    assert fleet.world.networks.interfaces == {}, "a record again, and no more in the world"
    fleet.region("DeleteNetworkInterface", NetworkInterfaceId=eni["NetworkInterfaceId"])


def test_a_reset_leaves_nothing_running(fleet: Fleet) -> None:
    fleet.run()
    with fleet.desk.store.tx() as tx:
        tx.clear()
    fleet.region.settle()
    assert fleet.world.machines.boxes == {}
    assert fleet.kept() == set()


def test_lost_acknowledgements_power_nothing_on_twice(fleet: Fleet) -> None:
    id = fleet.launch()[0]
    fleet.world.faults = Faults(lost=0.6, busy=0.2)
    for _ in range(60):
        fleet.later(1)
    fleet.world.faults = Faults()
    fleet.later(60)
    assert fleet.state(id) == "running"
    assert fleet.world.machines.starts[fleet.record(id).machine] == 1


def test_an_event_wakes_the_instance_of_that_machine(fleet: Fleet) -> None:
    record = fleet.record(fleet.run())
    with fleet.desk.store.tx() as tx:
        wakes = fleet.region.controller.wakes["machines"]
        assert wakes(tx, record.machine) == ("ec2.instance", record.key)
        assert wakes(tx, "cl-abcdef-vm-0") is None
