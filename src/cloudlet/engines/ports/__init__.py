"""What the control plane needs of the world below: at most eight verbs a port.

Every verb is idempotent, bounded in time, leaves nothing half-made, and raises only `Busy`, `Conflict` or `Refused`.
Objects are named by the caller (`names.Installation`); the name is the handle. Specs say what is wanted, observations
what is there.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from cloudlet.engines.ports.machines import Card as Card
from cloudlet.engines.ports.machines import Disk as Disk
from cloudlet.engines.ports.machines import Disks as Disks
from cloudlet.engines.ports.machines import DiskSpec as DiskSpec
from cloudlet.engines.ports.machines import Drive as Drive
from cloudlet.engines.ports.machines import LayerSource as LayerSource
from cloudlet.engines.ports.machines import Machine as Machine
from cloudlet.engines.ports.machines import Machines as Machines
from cloudlet.engines.ports.machines import MachineSpec as MachineSpec
from cloudlet.engines.ports.machines import Nic as Nic
from cloudlet.engines.ports.machines import Place as Place
from cloudlet.engines.ports.machines import Shelved as Shelved
from cloudlet.engines.ports.mail import Letter as Letter
from cloudlet.engines.ports.mail import Mail as Mail
from cloudlet.engines.ports.networks import Address as Address
from cloudlet.engines.ports.networks import Fabric as Fabric
from cloudlet.engines.ports.networks import Interface as Interface
from cloudlet.engines.ports.networks import InterfaceSpec as InterfaceSpec
from cloudlet.engines.ports.networks import Lease as Lease
from cloudlet.engines.ports.networks import Member as Member
from cloudlet.engines.ports.networks import Networks as Networks
from cloudlet.engines.ports.networks import NetworkSpec as NetworkSpec
from cloudlet.engines.ports.networks import Rule as Rule
from cloudlet.engines.ports.upstreams import Upstream as Upstream
from cloudlet.engines.ports.upstreams import UpstreamManifest as UpstreamManifest
from cloudlet.engines.ports.upstreams import Upstreams as Upstreams
from cloudlet.engines.ports.webhooks import Webhooks as Webhooks

# ── Images and containers ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """`reference` as Podman takes it, with a digest where known; credentials for its registry; `plain_http` for our
    own registry on loopback."""

    reference: str
    username: str = ""
    password: str = field(default="", repr=False)
    plain_http: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is on this machine. `digest` is that of its manifest; `volumes` are the paths it declares as such
    (VOLUME in a Dockerfile)."""

    reference: str
    id: str
    digest: str
    volumes: tuple[str, ...] = ()


class Images(Protocol):
    """The images that containers start from."""

    async def ensure(self, spec: ImageSpec) -> Image:
        """Pulled and complete. Raises Refused with the registry's reason where it never will be."""
        ...

    async def observe(self, reference: str) -> Image | None:
        """The image, if it is here."""
        ...

    async def destroy(self, reference: str) -> None:
        """Removes it, unless a container uses it (Conflict)."""
        ...

    async def owned(self) -> tuple[str, ...]:
        """The references of all images here."""
        ...


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory of the host inside the container. `fill`: a directory that is empty first gets the content,
    the owner and the mode of what the image has at the target."""

    source: str
    target: str
    read_only: bool = False
    fill: bool = False


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A set of containers that share limits (a task). `cpus` in cores; `memory_bytes` for all of them together."""

    name: str
    cpus: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container. None leaves what the image says. `namespace` is the network namespace's path (Interface.path);
    `hosts` are pairs of name and address; `ulimits` are (name, soft, hard); without `keep_log` its output goes nowhere.
    The environment may hold secrets, and is not shown where a spec is. `starts`: the how manieth start is wanted; for
    one above the first, a container that has ended since is started again, with the disk that it left."""

    name: str
    group: GroupSpec
    image: str
    namespace: str
    hostname: str
    resolvers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    entry_point: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    working_directory: str | None = None
    user: str | None = None
    cpu_shares: int | None = None
    memory_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    read_only: bool = False
    init: bool = False
    tty: bool = False
    stdin: bool = False
    privileged: bool = False
    stop_signal: str | None = None
    stop_timeout_s: int = 30
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    keep_log: bool = True
    starts: int = 1


@dataclass(frozen=True, slots=True)
class Container:
    """A container as observed. Times are epoch seconds. `id` is the runtime's 64 hex digits.

    "created": its making (or its next start) was cut off, and `ensure` finishes or repeats it. "exited" without
    `exit_code` and `finished_at`: nobody was there to see the end (the machine stopped). `starts`: how often it was
    started.
    """

    name: str
    id: str
    state: Literal["created", "running", "exited"]
    image_digest: str = ""
    pid: int | None = None
    exit_code: int | None = None
    out_of_memory: bool = False
    started_at: float | None = None
    finished_at: float | None = None
    starts: int = 1


@dataclass(frozen=True, slots=True)
class LogLine:
    """One whole line of a container's output (without its newline), and when it was written (epoch seconds)."""

    timestamp: float
    stream: Literal["stdout", "stderr"]
    text: str


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Lines from an offset on; `next_offset` is where to read on. `whole`: nothing more will ever come."""

    lines: tuple[LogLine, ...]
    next_offset: int
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Traffic:
    """What passed a network interface, seen from inside."""

    interface: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What was read from and written to a block device."""

    major: int
    minor: int
    read_bytes: int
    write_bytes: int
    reads: int
    writes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container has used since its start: CPU seconds (of them in user and kernel mode), memory now without the
    cache that can be given back, with it, at most, its limit (bytes) and the kernel's own counts; processes; disks;
    CPU periods, those in which it was throttled, and for how many seconds; its network's traffic. Beside it what all
    processors of the machine together have been through, and their number."""

    cpu_seconds: float
    memory_bytes: int
    memory_limit_bytes: int
    user_seconds: float = 0.0
    kernel_seconds: float = 0.0
    memory_total_bytes: int = 0
    memory_peak_bytes: int = 0
    memory_details: tuple[tuple[str, int], ...] = ()
    processes: int = 0
    disks: tuple[DiskUse, ...] = ()
    throttled: tuple[int, int, float] = (0, 0, 0.0)
    traffic: tuple[Traffic, ...] = ()
    host_cpu_seconds: float = 0.0
    cpus: int = 1


class Containers(Protocol):
    """Containers that outlive the control plane."""

    async def ensure(self, spec: ContainerSpec) -> Container:
        """Created and started, as often as the spec says and no more. A container of that name that has exited after
        its last start is left as it is and observed."""
        ...

    async def observe(self, name: str) -> Container | None:
        """What is there; None where nothing is. Cheap: no process is started for it."""
        ...

    async def stop(self, name: str, grace_s: float) -> None:
        """Sends the stop signal and, after the grace, SIGKILL. Returns when it was sent: observe to see the end.

        The signal is sent once, however often this is called; the last call's grace counts from that call, and 0 kills
        at once. The wait for SIGKILL is the control plane's: after a restart call again with what is left.
        """
        ...

    async def destroy(self, name: str) -> None:
        """Removes a container, running or not, its log, and its group when that is empty."""
        ...

    async def owned(self) -> tuple[str, ...]:
        """The names of all containers of this installation."""
        ...

    async def read_log(self, name: str, offset: int, limit: int = 10_000) -> LogChunk:
        """At most `limit` lines of output from a byte offset; a partial last line waits until it is whole. What lies
        far (64 MiB) before an offset that was asked for may be forgotten: ask for what is stored, never further."""
        ...

    async def usage(self, name: str) -> Usage | None:
        """What a running container uses now."""
        ...

    def events(self) -> AsyncIterator[str]:
        """The name of each container that starts or exits, promptly; a hint that observing is worth it."""
        ...


# ── Storages ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class StorageSpec:
    """The volumes of a group of containers (a task), which has the same name: a directory each."""

    name: str
    volumes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Storage:
    """Volumes as observed: each one's directory."""

    name: str
    paths: dict[str, str]


class Storages(Protocol):
    """What groups of containers write to: volumes that they share, and that end with them."""

    async def ensure(self, spec: StorageSpec) -> Storage:
        """Each volume is there; a new one is empty, belongs to root, and everybody may enter it."""
        ...

    async def observe(self, name: str) -> Storage | None:
        """The volumes there are; None where there never were any."""
        ...

    async def usage(self, name: str) -> int:
        """How many bytes of disk the volumes and the writable layers of the group's containers take, as measured not
        long ago. 0 where there are none."""
        ...

    async def destroy(self, name: str) -> None:
        """Removes the volumes and what is in them. What is gone already is fine."""
        ...

    async def owned(self) -> tuple[str, ...]:
        """The names of all storages of this installation."""
        ...


class Probes(Protocol):
    """Commands run inside containers, to learn how they are."""

    async def probe(self, name: str, command: tuple[str, ...], timeout_s: float) -> int | None:
        """The exit code of a command in a running container, with its environment, its user and its limits; None where
        it was killed when the time was up. A command that is not there has an exit code as well (126 or 127).

        Raises Conflict where the container does not run, which says nothing of its health.
        """
        ...


# ── Doors ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Doors(Protocol):
    """The control plane's own sockets inside networks: task credentials and metadata (169.254.170.2, port 80), metadata
    of instances (169.254.169.254, port 80) and the API endpoint (169.254.170.2, the endpoint's port). They live and die
    with the control plane's process."""

    async def ensure(self, network: str) -> None:
        """All doors of that network are open."""
        ...

    async def destroy(self, network: str) -> None:
        """They are shut."""
        ...


# ── Keys of identity providers ───────────────────────────────────────────────────────────────────────────────────


class KeySets(Protocol):
    """Where OpenID Connect providers publish the keys that sign their tokens."""

    async def fetch(self, issuer: str, thumbprints: tuple[str, ...]) -> str:
        """The JSON Web Key Set of the provider `https://…`, as text. `thumbprints` are SHA-1 digests (hex) of
        certificates that are trusted beside those that the machine trusts.

        Raises Busy where the provider does not answer, Refused where it may not be asked or says nothing of use.
        """
        ...


@dataclass(frozen=True, slots=True)
class Engines:
    """All ports, as the app plugged them in."""

    networks: Networks
    images: Images
    containers: Containers
    storages: Storages
    doors: Doors
    disks: Disks
    machines: Machines
    keysets: KeySets | None = None
    probes: Probes | None = None
    upstreams: Upstreams | None = None
    webhooks: Webhooks | None = None
    mail: Mail | None = None
