"""What EC2's instances keep. Keys are `account/region/i-…`."""

from dataclasses import dataclass, field
from typing import Any, Literal

from cloudlet.store.records import record

State = Literal["pending", "running", "shutting-down", "terminated", "stopping", "stopped"]
CODES: dict[State, int] = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64,
                           "stopped": 80}


@dataclass(frozen=True, slots=True)
class Reservation:
    """What came of one RunInstances. `requester`: who called, where that was not the account itself."""

    id: str
    requester: str = ""


@dataclass(frozen=True, slots=True)
class MetadataOptions:
    """How the guest may ask 169.254.169.254. `tokens`: whether it must bring one; `hop_limit` of the answer to a
    request for one; `tags`: whether it tells the instance's tags."""

    tokens: Literal["optional", "required"] = "optional"
    hop_limit: int = 1
    enabled: bool = True
    tags: bool = False


@dataclass(frozen=True, slots=True)
class StateReason:
    """Why the state last changed, in AWS's words: "Client.UserInitiatedShutdown: User initiated shutdown"."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ProfileAssociation:
    """The instance profile of an instance: `arn` and `profile_id` are IAM's."""

    id: str
    arn: str
    profile_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Check:
    """What a status check last said; "": it has not passed yet since the instance was powered on. `since` is when it
    failed."""

    status: Literal["", "passed", "failed", "insufficient-data"] = ""
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The status checks: of the machine, of the guest (it answers on its network), and of its volumes (what is written
    to them finds space)."""

    system: Check = Check()
    guest: Check = Check()
    volumes: Check = Check()


@record("ec2.instance", reconciled=True, indexes={
    "id": lambda i: i.id,
    "machine": lambda i: i.machine or None,
    "uses": lambda i: (i.type, f"{i.account}/{i.region}/{i.type}") if i.uses_memory else None,
    "token": lambda i: i.client_token or None,
    "profile": lambda i: i.profile.id if i.profile else None,
})
class Instance:
    """A virtual machine, `machine` by its engine name. Its interfaces and volumes name it in their attachments.

    `launched` is when it was last started (AWS's LaunchTime), `created` when it was made. `key_name` and `public_key`:
    the key pair it was launched with, which may be gone since. `user_data` is base64. `public`: its primary interface
    gets a public address whenever it is started. Wanted is `desired`; `stopping_at` is when it was told to stop,
    `force` that it gets no time for that; `rebooting_at` when it was told to reboot, until it was seen to be off.
    `starts` counts how often it was to be powered on. `auto_recovery`: it starts again by itself when its
    machine is lost; `recoveries` are the times of the last day when it did.

    Observed are `on` (its machine was seen running, and not yet seen gone), `on_since`, `booted_at` (the guest was seen
    to have finished its boot), `heard_at` (it asked for its metadata, or answered on its network), `health` and
    `ended_at` (it is gone for good).
    """

    key: str
    id: str
    account: str
    region: str
    type: str
    image_id: str
    vpc_id: str
    subnet_id: str
    zone: str
    root_device_name: str
    created: float
    launched: float
    launch_index: int
    reservation: Reservation
    machine: str = ""
    key_name: str = ""
    public_key: str = ""
    user_data: str = ""
    profile: ProfileAssociation | None = None
    metadata: MetadataOptions = MetadataOptions()
    shutdown_behavior: Literal["stop", "terminate"] = "stop"
    termination_protection: bool = False
    stop_protection: bool = False
    auto_recovery: bool = False
    recoveries: tuple[float, ...] = ()
    monitoring: bool = False
    ebs_optimized: bool = False
    credits: Literal["", "standard", "unlimited"] = ""
    client_token: str = ""
    desired: Literal["running", "stopped", "terminated"] = "running"
    on: bool = False
    on_since: float | None = None
    booted_at: float | None = None
    heard_at: float | None = None
    health: Health = Health()
    starts: int = 1
    public: bool = False
    stopping_at: float | None = None
    force: bool = False
    rebooting_at: float | None = None
    ended_at: float | None = None
    reason: StateReason | None = None
    transition: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """Where it stands in AWS's life cycle: what is wanted, and whether that was seen.

        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
        """
        if self.desired == "terminated":
            return "terminated" if self.ended_at is not None else "shutting-down"
        if self.desired == "stopped":
            return "stopping" if self.on else "stopped"
        return "running" if self.on else "pending"

    @property
    def uses_memory(self) -> bool:
        """Whether the host's memory must be there for it."""
        return self.state not in ("stopped", "terminated")


@record("ec2.console")
class Console:
    """What an instance wrote to its console, as read at `at`. The key is the instance's."""

    key: str
    text: str
    at: float


@record("ec2.launch-template", indexes={"name": lambda t: f"{t.account}/{t.region}/{t.name}"})
class LaunchTemplate:
    """A name for versions of what RunInstances is asked; version numbers are never used again."""

    key: str
    id: str
    account: str
    region: str
    name: str
    created: float
    created_by: str
    default_version: int = 1
    latest_version: int = 1
    tags: dict[str, str] = field(default_factory=dict)


@record("ec2.launch-template-version")
class LaunchTemplateVersion:
    """One version: `data` is RequestLaunchTemplateData as it was given. The key is the template's and the number, in
    ten digits."""

    key: str
    number: int
    created: float
    created_by: str
    description: str
    data: dict[str, Any]
