"""Chapter two: a key, a virtual machine with a kernel of its own, and the way into it by ssh."""

import os
import subprocess
import sys
from typing import Any

from cloudlet.demo.stage import Failed, Stage

NAME, USER = "cloudlet-demo-vm", "admin"
BOOT_S_MAX, BUILD_S_MAX = 240.0, 900.0
GREETING = "hello from the user data"
USER_DATA = f"#!/bin/sh\necho '{GREETING}' >/etc/greeting\n"


def chapter(stage: Stage) -> None:
    """From a key pair to a session in a machine that reaches its neighbour, and nobody else reaches."""
    stage.chapter("A virtual machine, and ssh into it")
    if os.geteuid() != 0:
        stage.say("Left out, since it needs root: virtual machines.")
        return
    image = _image(stage)
    group = _network(stage)
    _key(stage)
    instances = _launch(stage, image, group)
    address = _running(stage, instances)
    _knock(stage, address)
    _open(stage, group)
    _enter(stage, address)
    _look_around(stage, address, instances[1])
    _clean_up(stage, instances, group)


def _image(stage: Stage) -> str:
    """The newest Debian image; the first time it is made, from Debian's packages."""
    found = _images(stage, shown=False)
    if not found:
        with stage.step("Make a machine image from Debian's packages (once; about a minute)"):
            stage.show("cloudlet images build debian-12")
            command = [sys.executable, "-m", "cloudlet", "images", "build", "debian-12", "--data-dir", stage.data_dir]
            done = subprocess.run(command, env=stage.environment, timeout=BUILD_S_MAX, check=False)
            if done.returncode != 0:
                raise Failed("the image could not be made")
            stage.until("the image is available", lambda: _images(stage, shown=False) or None)
    with stage.step("Find the newest Debian image"):
        newest = _images(stage)[-1]
        stage.say(f"{newest['ImageId']}  {newest['Name']}")
    image_id: str = newest["ImageId"]
    return image_id


def _images(stage: Stage, *, shown: bool = True) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.aws(
        "ec2", "describe-images", "--owners", "136693071363", "--filters", "Name=name,Values=debian-12-amd64-*",
        "Name=state,Values=available", "--query", "sort_by(Images, &CreationDate)", shown=shown)
    return found


def _network(stage: Stage) -> str:
    with stage.step("Make a security group; nothing may come in yet"):
        group: str = stage.aws("ec2", "create-security-group", "--group-name", NAME, "--description",
                               "virtual machines of the demo")["GroupId"]
        stage.later("the machines' group", lambda: stage.aws("ec2", "delete-security-group", "--group-id", group,
                                                             shown=False))
        stage.aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--ip-permissions",
                  f"IpProtocol=icmp,FromPort=-1,ToPort=-1,UserIdGroupPairs=[{{GroupId={group}}}]")
    return group


def _key(stage: Stage) -> None:
    with stage.step("Make a key pair, and save the .pem"):
        stage.show(f"aws ec2 create-key-pair --key-name {NAME} --query KeyMaterial --output text > demo.pem")
        material = stage.run("aws", "ec2", "create-key-pair", "--key-name", NAME, "--key-type", "ed25519",
                             "--query", "KeyMaterial", "--output", "text", shown=False)
        stage.later("the key pair", lambda: stage.aws("ec2", "delete-key-pair", "--key-name", NAME, shown=False))
        pem = stage.directory / "demo.pem"
        pem.write_text(material)
        pem.chmod(0o400)


def _launch(stage: Stage, image: str, group: str) -> list[str]:
    with stage.step("Launch two machines, with a user-data script"):
        (stage.directory / "user-data.sh").write_text(USER_DATA)
        made = stage.aws("ec2", "run-instances", "--image-id", image, "--instance-type", "t3.nano", "--count", "2",
                         "--key-name", NAME, "--security-group-ids", group, "--user-data", "file://user-data.sh")
        instances: list[str] = [instance["InstanceId"] for instance in made["Instances"]]
        stage.later("the machines", lambda: _terminate(stage, instances, shown=False))
        stage.say(" ".join(instances))
    return instances


def _described(stage: Stage, instances: list[str]) -> list[dict[str, Any]]:
    found = stage.aws("ec2", "describe-instances", "--instance-ids", *instances, shown=False)
    return [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]


def _all_in(stage: Stage, instances: list[str], state: str) -> list[dict[str, Any]] | None:
    """The instances, once each of them is in that state."""
    found = _described(stage, instances)
    return found if all(instance["State"]["Name"] == state for instance in found) else None


def _running(stage: Stage, instances: list[str]) -> str:
    """The public address of the first."""
    with stage.step("Wait until they run"):
        stage.show(f"aws ec2 wait instance-running --instance-ids {' '.join(instances)}")
        found = stage.until("both are running", lambda: _all_in(stage, instances, "running"))
        for instance in found:
            stage.say(f"{instance['InstanceId']}: private {instance['PrivateIpAddress']},"
                      f" public {instance.get('PublicIpAddress')}")
    by_id = {instance["InstanceId"]: instance for instance in found}
    address: str = by_id[instances[0]]["PublicIpAddress"]
    return address


def _knock(stage: Stage, address: str) -> None:
    with stage.step("Port 22 is closed: no rule lets anybody in"):
        complaint = stage.run("curl", "-sS", "-m", "1", f"http://{address}:22/", check=False, print_output=True)
        stage.check("timed out" in complaint, "the packets of a client are dropped before the rule")


def _open(stage: Stage, group: str) -> None:
    with stage.step("Open port 22"):
        stage.aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "22",
                  "--cidr", "0.0.0.0/0")


def _ssh(stage: Stage, address: str, command: str, *, shown: bool = True) -> str | None:
    if shown:
        stage.show(f"ssh -i demo.pem {USER}@{address} {command!r}")
    said = stage.run("ssh", "-i", "demo.pem", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                     "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", f"{USER}@{address}",
                     f"{command} && echo done", shown=False, check=False)
    return said.removesuffix("done\n").strip() if said.endswith("done\n") else None


def _enter(stage: Stage, address: str) -> None:
    with stage.step("Wait until ssh answers: the kernel boots, cloud-init runs (where KVM does not work, in an emulated"
                    " processor: up to a minute)"):
        stage.until("ssh answers", lambda: _ssh(stage, address, "true", shown=False), seconds_max=BOOT_S_MAX)
    with stage.step("A session inside: a kernel of its own, and what the user data did"):
        stage.say(_ssh(stage, address, "uname -a") or "")
        stage.until("cloud-init is done", lambda: _ssh(stage, address, "test -e /etc/greeting", shown=False),
                    seconds_max=BOOT_S_MAX)
        greeting = _ssh(stage, address, "cat /etc/greeting")
        stage.check(greeting == GREETING, "the user-data script ran")
        stage.say(greeting or "")


def _look_around(stage: Stage, address: str, neighbour: str) -> None:
    [other] = _described(stage, [neighbour])
    with stage.step("From inside: who am I, and my neighbour by its private address"):
        stage.say(_ssh(stage, address, "hostname") or "")
        ping = stage.until("the neighbour answers", lambda: _ssh(
            stage, address, f"ping -c 1 -W 2 {other['PrivateIpAddress']}", shown=False), seconds_max=BOOT_S_MAX)
        stage.show(f"ping -c 1 {other['PrivateIpAddress']}")
        stage.say(ping.splitlines()[1])


def _terminate(stage: Stage, instances: list[str], *, shown: bool = True) -> None:
    stage.aws("ec2", "terminate-instances", "--instance-ids", *instances, shown=shown)
    stage.until("they are terminated", lambda: _all_in(stage, instances, "terminated"), seconds_max=BOOT_S_MAX)


def _clean_up(stage: Stage, instances: list[str], group: str) -> None:
    with stage.step("Terminate them, and delete it all"):
        _terminate(stage, instances)
        stage.forget("the machines")
        stage.aws("ec2", "delete-key-pair", "--key-name", NAME)
        stage.forget("the key pair")
        stage.aws("ec2", "delete-security-group", "--group-id", group)
        stage.forget("the machines' group")
