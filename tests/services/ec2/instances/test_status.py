"""Status checks that are measured, the console, and the password that Linux has none of."""

import asyncio
import base64
from dataclasses import replace
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2 import ec2
from cloudlet.services.ec2.instances.plan import SILENT_BOOT_S
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.instances.status import BOOT_S_MAX
from tests.services.desk import root
from tests.services.ec2.instances.conftest import Fleet


def status(fleet: Fleet, id: str, **given: Any) -> Any:
    found = fleet.region("DescribeInstanceStatus", InstanceIds=[id], **given)["InstanceStatuses"]
    return found[0] if found else None


def checks(fleet: Fleet, id: str) -> tuple[str, str]:
    found = status(fleet, id)
    return found["SystemStatus"]["Status"], found["InstanceStatus"]["Status"]


@pytest.mark.parametrize("said", ["Debian GNU/Linux 12 debian ttyS0\n\ndebian login: ",
                                  "Cloud-init v. 22.4.2 finished at Wed, 25 Nov 2026 20:00:00 +0000. Datasource\n"])
def test_a_boot_is_finished_when_the_console_says_so(fleet: Fleet, said: str) -> None:
    id = fleet.run()
    assert checks(fleet, id) == ("ok", "initializing")
    fleet.says(id, "Linux version 6.1\n")
    fleet.later(5)
    assert checks(fleet, id) == ("ok", "initializing")
    fleet.says(id, said)
    fleet.later(5)
    assert checks(fleet, id) == ("ok", "ok")
    found = status(fleet, id)
    assert found["InstanceStatus"]["Details"] == [{"Name": "reachability", "Status": "passed"}]
    assert found["InstanceState"]["Name"] == "running"


def test_a_guest_that_never_boots_is_impaired(fleet: Fleet) -> None:
    id = fleet.run()
    fleet.later(BOOT_S_MAX + 1)
    assert checks(fleet, id) == ("ok", "impaired")
    details = status(fleet, id)["InstanceStatus"]["Details"][0]
    assert (details["Status"], details["ImpairedSince"]) == ("failed", 1_700_000_000 + BOOT_S_MAX)


def test_a_silent_guest_that_asked_for_its_metadata_has_booted(fleet: Fleet) -> None:
    id = fleet.run()
    fleet.later(10)
    with fleet.desk.store.tx() as tx:
        tx.put(replace(tx.find(Instance, id=id)[0], heard_at=tx.now))
    fleet.region.settle()
    assert checks(fleet, id) == ("ok", "initializing")
    fleet.later(SILENT_BOOT_S)
    assert checks(fleet, id) == ("ok", "ok")


def test_only_running_instances_are_listed_unless_asked(fleet: Fleet) -> None:
    runs, stopped = fleet.run(), fleet.run()
    fleet.region("StopInstances", InstanceIds=[stopped])
    fleet.region.settle()
    assert status(fleet, stopped) is None
    assert [s["InstanceId"] for s in fleet.region("DescribeInstanceStatus")["InstanceStatuses"]] == [runs]
    shown = status(fleet, stopped, IncludeAllInstances=True)
    assert shown["InstanceStatus"] == shown["SystemStatus"] == {"Status": "not-applicable"}
    filters = [{"Name": "instance-status.status", "Values": ["initializing"]},
               {"Name": "system-status.reachability", "Values": ["passed"]}]
    assert len(fleet.region("DescribeInstanceStatus", Filters=filters)["InstanceStatuses"]) == 1


def output(fleet: Fleet, id: str) -> str:
    """GetConsoleOutput, while the loop runs beside it."""
    fleet.desk.clock.time += 1
    async def ask() -> Any:
        run = ec2.operations["GetConsoleOutput"].run
        asked = asyncio.ensure_future(run(fleet.desk.call(root()), fleet.desk.store, {"InstanceId": id}))
        await asyncio.sleep(0)
        if fleet.record(id).on:
            await fleet.region.controller.reconcilers["ec2.console"](fleet.record(id).key)
        return await asked
    answer = asyncio.run(ask())
    assert answer["InstanceId"] == id
    return base64.b64decode(answer.get("Output", "")).decode()


def test_the_console_as_it_is_now_and_after_the_end(fleet: Fleet) -> None:
    id = fleet.launch()[0]
    assert output(fleet, id) == ""
    fleet.region.settle()
    fleet.says(id, "booting\n")
    assert output(fleet, id) == "booting\n"
    fleet.says(id, "up\n")
    assert output(fleet, id) == "booting\nup\n"
    fleet.says(id, "bye\n")
    fleet.end(id, "guest")
    assert output(fleet, id) == "booting\nup\nbye\n"
    run = ec2.operations["GetConsoleOutput"].run
    with pytest.raises(AwsError, match="does not exist"):
        asyncio.run(run(fleet.desk.call(root()), fleet.desk.store, {"InstanceId": "i-00000000000000000"}))


def test_linux_has_no_password(fleet: Fleet) -> None:
    id = fleet.run()
    assert fleet.region("GetPasswordData", InstanceId=id)["PasswordData"] == ""
    assert fleet.region.fails("GetPasswordData", InstanceId="i-00000000000000000")[0] == "InvalidInstanceID.NotFound"
