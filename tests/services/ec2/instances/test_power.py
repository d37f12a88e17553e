"""Who may start, stop, reboot and terminate what, and when."""

import pytest

from tests.services.ec2.instances.conftest import Fleet

NOBODY = "i-00000000000000000"


@pytest.mark.parametrize("operation", ["StartInstances", "StopInstances", "RebootInstances", "TerminateInstances",
                                       "MonitorInstances", "UnmonitorInstances"])
def test_of_no_instance(fleet: Fleet, operation: str) -> None:
    assert fleet.region.fails(operation, InstanceIds=[NOBODY]) == (
        "InvalidInstanceID.NotFound", f"The instance ID '{NOBODY}' does not exist")
    assert fleet.region.fails(operation, InstanceIds=["web-1"])[0] == "InvalidInstanceID.Malformed"
    assert fleet.region.fails(operation, InstanceIds=[])[0] == "MissingParameter"
    other = fleet.region.elsewhere(account="210987654321")
    assert other.fails(operation, InstanceIds=[fleet.launch()[0]])[0] == "InvalidInstanceID.NotFound"


def test_one_that_refuses_keeps_all_as_they_are(fleet: Fleet) -> None:
    runs, pends = fleet.run(), fleet.launch()[0]
    code, message = fleet.region.fails("StopInstances", InstanceIds=[runs, pends])
    assert (code, message) == ("IncorrectInstanceState",
                               f"The instance '{pends}' is not in a state from which it can be stopped.")
    assert fleet.state(runs) == "running"


def test_states_from_which_nothing_leads_there(fleet: Fleet) -> None:
    id = fleet.run()
    start = fleet.region("StartInstances", InstanceIds=[id])["StartingInstances"][0]
    assert start["PreviousState"] == start["CurrentState"] == {"Code": 16, "Name": "running"}
    fleet.region("StopInstances", InstanceIds=[id])
    assert fleet.region.fails("StartInstances", InstanceIds=[id])[0] == "IncorrectInstanceState"
    assert fleet.region.fails("RebootInstances", InstanceIds=[id])[0] == "IncorrectInstanceState"
    again = fleet.region("StopInstances", InstanceIds=[id])["StoppingInstances"][0]
    assert again["PreviousState"]["Name"] == again["CurrentState"]["Name"] == "stopping"
    fleet.region.settle()
    assert fleet.region("StopInstances", InstanceIds=[id])["StoppingInstances"][0]["CurrentState"]["Name"] == "stopped"
    fleet.region("TerminateInstances", InstanceIds=[id])
    for operation in ("StartInstances", "StopInstances", "RebootInstances", "MonitorInstances"):
        assert fleet.region.fails(operation, InstanceIds=[id])[0] == "IncorrectInstanceState"


def test_hibernation_is_refused(fleet: Fleet) -> None:
    assert fleet.region.fails("StopInstances", InstanceIds=[fleet.run()], Hibernate=True)[0] == (
        "UnsupportedHibernationConfiguration")


def test_protection(fleet: Fleet) -> None:
    kept, id = fleet.run(DisableApiStop=True), fleet.run(DisableApiTermination=True)
    assert fleet.region.fails("StopInstances", InstanceIds=[kept]) == (
        "OperationNotPermitted", f"The instance '{kept}' may not be stopped. Modify its 'disableApiStop' instance "
        "attribute and try again.")
    assert fleet.region.fails("TerminateInstances", InstanceIds=[kept])[0] == "OperationNotPermitted"
    assert fleet.region.fails("TerminateInstances", InstanceIds=[id]) == (
        "OperationNotPermitted", f"The instance '{id}' may not be terminated. Modify its 'disableApiTermination' "
        "instance attribute and try again.")
    fleet.region("StopInstances", InstanceIds=[id])
    fleet.region("ModifyInstanceAttribute", InstanceId=id, DisableApiTermination={"Value": False})
    fleet.region("ModifyInstanceAttribute", InstanceId=kept, DisableApiStop={"Value": False})
    fleet.region("TerminateInstances", InstanceIds=[id, kept])
    fleet.region.settle()
    assert fleet.state(id) == fleet.state(kept) == "terminated"


def test_a_guest_may_power_off_what_the_api_may_not_stop(fleet: Fleet) -> None:
    id = fleet.run(DisableApiStop=True)
    fleet.end(id, "guest")
    assert fleet.state(id) == "stopped"


def test_monitoring(fleet: Fleet) -> None:
    id = fleet.run()
    answer = fleet.region("MonitorInstances", InstanceIds=[id])["InstanceMonitorings"]
    assert answer == [{"InstanceId": id, "Monitoring": {"State": "pending"}}]
    assert fleet.shown(id)["Monitoring"] == {"State": "enabled"}
    answer = fleet.region("UnmonitorInstances", InstanceIds=[id])["InstanceMonitorings"]
    assert answer == [{"InstanceId": id, "Monitoring": {"State": "disabling"}}]
    assert fleet.shown(id)["Monitoring"] == {"State": "disabled"}


def test_an_elastic_address_stays_through_a_stop(fleet: Fleet) -> None:
    id = fleet.run()
    eni = fleet.shown(id)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    elastic = fleet.region("AllocateAddress")
    fleet.region("AssociateAddress", AllocationId=elastic["AllocationId"], NetworkInterfaceId=eni)
    fleet.region("StopInstances", InstanceIds=[id])
    fleet.region.settle()
    assert fleet.shown(id)["PublicIpAddress"] == elastic["PublicIp"]
    fleet.region("StartInstances", InstanceIds=[id])
    fleet.region.settle()
    assert fleet.shown(id)["PublicIpAddress"] == elastic["PublicIp"]
    fleet.region("TerminateInstances", InstanceIds=[id])
    fleet.region.settle()
    assert "AssociationId" not in fleet.region("DescribeAddresses")["Addresses"][0]


def test_what_has_no_root_volume_is_not_started(fleet: Fleet) -> None:
    id = fleet.run(BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}])
    root = fleet.shown(id)["BlockDeviceMappings"][0]
    fleet.region("StopInstances", InstanceIds=[id])
    fleet.region.settle()
    fleet.region("DetachVolume", VolumeId=root["Ebs"]["VolumeId"])
    assert fleet.region.fails("StartInstances", InstanceIds=[id]) == (
        "InvalidParameterValue",
        f"Invalid value '{id}' for instanceId. Instance does not have a volume attached at root (/dev/xvda)")
    assert fleet.state(id) == "stopped"
    fleet.region("AttachVolume", VolumeId=root["Ebs"]["VolumeId"], InstanceId=id, Device="/dev/xvda")
    fleet.region("StartInstances", InstanceIds=[id])
    fleet.region.settle()
    assert fleet.state(id) == "running"
