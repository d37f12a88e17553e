"""Status checks that are measured, the console, and the password that Linux has none of."""

import asyncio
import base64
from dataclasses import replace
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2 import ec2
from cloudlet.services.ec2.instances.checks import EVERY_S
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


def up(fleet: Fleet) -> str:
    """An instance whose guest has booted, and answers."""
    id = fleet.run()
    fleet.says(id, "debian login: ")
    fleet.later(5)
    assert checks(fleet, id) == ("ok", "ok")
    return id


def test_a_guest_that_falls_silent_is_impaired_until_it_answers(fleet: Fleet) -> None:
    silent, other = up(fleet), up(fleet)
    fleet.machine(silent).mute = True
    fleet.look(silent, other)
    assert checks(fleet, silent) == ("ok", "ok"), "one miss says nothing yet"
    fleet.machine(silent).mute = False
    fleet.look(silent, other)
    fleet.machine(silent).mute = True
    fleet.look(silent, other)
    assert checks(fleet, silent) == ("ok", "ok"), "they are counted in a row"
    fleet.look(silent, other)
    failed_at = fleet.desk.clock.time
    fleet.look(silent, other)
    assert checks(fleet, silent) == ("ok", "impaired")
    assert checks(fleet, other) == ("ok", "ok")
    assert status(fleet, silent)["InstanceStatus"]["Details"] == [
        {"Name": "reachability", "Status": "failed", "ImpairedSince": failed_at}]
    filters = [{"Name": "instance-status.reachability", "Values": ["failed"]}]
    assert [s["InstanceId"] for s in fleet.region("DescribeInstanceStatus", Filters=filters)["InstanceStatuses"]] == [
        silent]
    fleet.machine(silent).mute = False
    fleet.look(silent, other)
    assert checks(fleet, silent) == ("ok", "ok"), "one answer is enough"
    assert "ImpairedSince" not in status(fleet, silent)["InstanceStatus"]["Details"][0]


def test_a_machine_that_does_not_answer_and_volumes_without_space(fleet: Fleet) -> None:
    id = up(fleet)
    assert status(fleet, id)["AttachedEbsStatus"]["Status"] == "ok"
    box = fleet.machine(id)
    box.frozen = True
    fleet.look(id)
    fleet.look(id)
    assert checks(fleet, id) == ("impaired", "impaired")
    assert status(fleet, id)["SystemStatus"]["Details"][0]["ImpairedSince"] == fleet.desk.clock.time
    assert status(fleet, id)["AttachedEbsStatus"]["Status"] == "insufficient-data"
    box.frozen, box.seen = False, replace(box.seen, stalled=True)
    fleet.look(id)
    fleet.look(id)
    assert checks(fleet, id) == ("ok", "impaired")
    assert status(fleet, id)["AttachedEbsStatus"]["Status"] == "impaired"
    filters = [{"Name": "attached-ebs-status.status", "Values": ["impaired"]}]
    assert fleet.region("DescribeInstanceStatus", Filters=filters)["InstanceStatuses"]
    box.seen = replace(box.seen, stalled=False)
    fleet.look(id)
    assert checks(fleet, id) == ("ok", "ok")
    assert status(fleet, id)["AttachedEbsStatus"]["Status"] == "ok"


def test_where_nobody_can_be_asked_nothing_is_said(fleet: Fleet) -> None:
    id = up(fleet)
    fleet.world.networks.networks.clear()
    fleet.look(id)
    assert checks(fleet, id) == ("ok", "insufficient-data")
    fleet.look(id)
    assert checks(fleet, id) == ("ok", "insufficient-data")
    assert status(fleet, id)["InstanceStatus"]["Details"] == [{"Name": "reachability", "Status": "insufficient-data"}]


def test_what_was_measured_ends_with_the_power(fleet: Fleet) -> None:
    id = up(fleet)
    fleet.machine(id).mute = True
    fleet.look(id)
    fleet.look(id)
    assert checks(fleet, id) == ("ok", "impaired")
    fleet.region("RebootInstances", InstanceIds=[id])
    fleet.look(id)
    assert fleet.record(id).health.guest.status == "failed", "nobody looks at one that restarts"
    fleet.region.settle()
    assert checks(fleet, id) == ("ok", "initializing")
    fleet.machine(id).mute = True
    fleet.says(id, "debian login: ")
    fleet.later(5)
    assert checks(fleet, id) == ("ok", "initializing"), "it has booted, and has not answered yet"
    fleet.machine(id).mute = False
    fleet.look(id)
    assert checks(fleet, id) == ("ok", "ok")


def test_a_silent_guest_that_answers_has_booted(fleet: Fleet) -> None:
    id = fleet.run()
    fleet.look(id)
    heard = fleet.record(id).heard_at
    assert heard == fleet.desk.clock.time
    assert checks(fleet, id) == ("ok", "initializing")
    fleet.look(id)
    assert fleet.record(id).heard_at == heard, "once is enough"
    fleet.later(SILENT_BOOT_S)
    assert checks(fleet, id) == ("ok", "ok")


def test_a_look_at_many_writes_nothing_where_nothing_has_changed(fleet: Fleet) -> None:
    ids = [up(fleet) for _ in range(5)]
    fleet.look(*ids)
    asked: list[str] = []
    fleet.world.trace = asked.append
    before = [fleet.record(id) for id in ids]
    fleet.look(*ids)
    assert [fleet.record(id) for id in ids] == before
    assert len([each for each in asked if each.startswith("answering")]) == 1, "one question for a whole VPC"


def test_the_worker_looks_by_itself(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    id = up(fleet)
    fleet.machine(id).mute = True
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3:
            raise asyncio.CancelledError
        fleet.desk.clock.time += seconds
    monkeypatch.setattr(fleet.desk.clock, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(fleet.region.controller.workers["ec2.checks"]())  # type: ignore[arg-type]
    assert checks(fleet, id) == ("ok", "impaired")
    assert slept == [EVERY_S] * 4


def test_a_report_is_told_in_the_log_and_changes_nothing(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    runs, stopped = up(fleet), fleet.run()
    fleet.region("StopInstances", InstanceIds=[stopped])
    fleet.region.settle()
    report = {"Status": "impaired", "ReasonCodes": ["unresponsive", "performance-network"]}
    fleet.region("ReportInstanceStatus", Instances=[runs], **report)
    assert f"reports {runs} as impaired: unresponsive, performance-network" in caplog.text
    assert checks(fleet, runs) == ("ok", "ok")
    caplog.clear()
    for id, code in ((stopped, "IncorrectInstanceState"), ("i-00000000000000000", "InvalidInstanceID.NotFound")):
        assert fleet.region.fails("ReportInstanceStatus", Instances=[runs, id], **report)[0] == code
    assert "reports" not in caplog.text


def test_only_running_instances_are_listed_unless_asked(fleet: Fleet) -> None:
    runs, stopped = fleet.run(), fleet.run()
    fleet.region("StopInstances", InstanceIds=[stopped])
    fleet.region.settle()
    assert status(fleet, stopped) is None
    assert [s["InstanceId"] for s in fleet.region("DescribeInstanceStatus")["InstanceStatuses"]] == [runs]
    shown = status(fleet, stopped, IncludeAllInstances=True)
    assert shown["InstanceStatus"] == shown["SystemStatus"] == {"Status": "not-applicable"}
    assert shown["AttachedEbsStatus"] == {"Status": "not-applicable"}
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
