"""From the word to power on to a command over ssh, by booting and as a copy of a saved machine, and what each costs in
memory. The image is the newest of `cloudlet images build` in the data directory named by CLOUDLET_DATA_DIR."""

import http.server
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cloudlet.engines import netns, saved_states
from cloudlet.engines.disks import QcowDisks
from cloudlet.engines.machines import QemuMachines
from cloudlet.engines.ports import DiskSpec, Drive, InterfaceSpec, LayerSource, Lease, MachineSpec, Member, Nic
from tests.engines.fabric_ground import FabricGround, fabric_ground, opened, rule

ROUNDS = 2
MEMORY_BYTES = 512 << 20  # a t3.nano's
SSH_S = 180.0
IDENTITY = ("cat /etc/machine-id /proc/sys/kernel/random/boot_id; sudo cat /sys/class/dmi/id/product_uuid; "
            "cat /etc/ssh/ssh_host_ed25519_key.pub; head -c 16 /dev/urandom | od -An -tx1; "
            "cat /sys/class/net/eth0/address; lsblk -bdno SIZE,SERIAL /dev/vda; date +%s; free -b | grep Mem")


@dataclass
class Launch:
    """What was measured of one machine; times in seconds since the word was given."""

    powered: float
    asked: float  # its first question for metadata
    reached: float
    resident: int
    said: str


class Metadata(http.server.BaseHTTPRequestHandler):
    """As little of the metadata service as cloud-init needs. `heard` is called with every question."""

    protocol_version = "HTTP/1.1"

    def __init__(self, key: str, heard: list[tuple[str, float]], *args: object) -> None:
        self.key, self.heard = key, heard
        super().__init__(*args)  # type: ignore[arg-type]

    def do_PUT(self) -> None:
        self._answer("token")

    def do_GET(self) -> None:
        address = self.client_address[0]
        texts = {"meta-data": "hostname\ninstance-id\nlocal-hostname\nlocal-ipv4\nplacement/\npublic-keys/",
                 "meta-data/instance-id": f"i-{address.replace('.', '')}", "meta-data/local-ipv4": address,
                 "meta-data/hostname": f"ip-{address.replace('.', '-')}.ec2.internal",
                 "meta-data/local-hostname": f"ip-{address.replace('.', '-')}.ec2.internal",
                 "meta-data/placement": "availability-zone\nregion", "meta-data/placement/region": "us-east-1",
                 "meta-data/placement/availability-zone": "us-east-1a",
                 "meta-data/public-keys": "0=key", "meta-data/public-keys/0/openssh-key": self.key,
                 "user-data": "", "dynamic/instance-identity": "document",
                 "dynamic/instance-identity/document": json.dumps({"region": "us-east-1"})}
        self._answer(texts.get(self.path.strip("/").partition("/")[2].rstrip("/")))

    def _answer(self, text: str | None) -> None:
        self.heard.append((self.client_address[0], time.perf_counter()))
        body = (text or "").encode()
        self.send_response(200 if text is not None else 404)
        self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Yard:
    """A VPC with metadata, an image as a layer, and machines launched from it."""

    def __init__(self, fabric: FabricGround, directory: Path, image: Path) -> None:
        self.fabric, self.key = fabric, directory / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        fabric.site.data_dir.mkdir(exist_ok=True)
        self.disks = QcowDisks(fabric.site)
        self.machines = QemuMachines(fabric.site, self.disks)
        self.layer = fabric.site.installation.name("snap", "image")
        card = json.loads((image / "image.json").read_text())
        fabric.run(self.disks.receive(self.layer, LayerSource(
            str(image / card["disk"]), card["format"], str(image / card["kernel"]), str(image / card["ramdisk"]))))
        self.interfaces = fabric.build()
        self.heard: list[tuple[str, float]] = []
        self.launched: list[MachineSpec] = []
        self._serve()

    def _serve(self) -> None:
        listener = self.fabric.run(self.fabric.networks.listen(self.fabric.network().name, "169.254.169.254", 80))
        listener.setblocking(True)
        handler = partial(Metadata, self.key.with_suffix(".pub").read_text().strip(), self.heard)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def spec(self, last: int) -> MachineSpec:
        """A machine's disk and interface, made."""
        name, network = self.fabric.site.installation.name, self.fabric.network().name
        inner = self.fabric.interface(last)
        tap = InterfaceSpec(inner.name, inner.network, inner.address, inner.gateway, inner.mac, workload="tap",
                            lease=Lease("10.1.0.0/24", "10.1.0.2", f"ip-10-1-0-{last}.ec2.internal"))
        made = self.fabric.run(self.fabric.networks.ensure_interface(tap))
        members = [Member(self.fabric.interface(other).name, f"10.1.0.{other}", ("sg-a",))
                   for other in (*(int(spec.uuid[-2:], 16) for spec in self.launched), last)]
        self.fabric.apply(members, sg_a=opened(rule("ingress")))
        disk = name("vol", str(last))
        self.fabric.run(self.disks.ensure(DiskSpec(disk, 10 << 30, self.layer)))
        spec = MachineSpec(name("vm", str(last)), network, 2, MEMORY_BYTES, (Drive(disk, f"vol{last:017x}"),),
                           (Nic(tap.name, made.path, tap.mac),), self.layer,
                           f"ec2{last:05x}-0000-4000-8000-0000000000{last:02x}")
        self.launched.append(spec)
        return spec

    def launch(self, last: int) -> Launch:
        """Powers one on and waits for ssh."""
        spec = self.spec(last)
        started = time.perf_counter()
        seen = self.fabric.run(self.machines.ensure(spec))
        powered = time.perf_counter() - started
        while not self.ssh(last, "echo there") and time.perf_counter() - started < SSH_S:
            time.sleep(0.1)
        reached = time.perf_counter() - started
        said = self.ssh(last, IDENTITY) if os.environ.get("CLOUDLET_BENCH_TELL") else ""
        asked = next((at - started for address, at in self.heard if address == f"10.1.0.{last}"), 0.0)
        status = Path(f"/proc/{seen.pid}/status").read_text()
        return Launch(powered, asked, reached, int(status.split("VmRSS:")[1].split()[0]) << 10, said)

    def ssh(self, last: int, command: str) -> str:
        """What a command in the guest says; "" where it is not reached."""
        return subprocess.run(
            ["nsenter", f"--net={netns.path_of(self.fabric.network().name)}", "ssh", "-i", str(self.key), "-o",
             "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=2", "-o",
             "BatchMode=yes", "-o", "LogLevel=ERROR", f"admin@10.1.0.{last}", command],
            capture_output=True, text=True, check=False, timeout=60).stdout

    def save(self) -> float:
        """Makes the state that copies are made from."""
        spec = self.spec(9)
        started = time.perf_counter()
        like = self.machines._states.likeness(spec)
        assert like is not None
        self.fabric.run(self.machines._states.make(like))
        return float(time.perf_counter() - started)

    def end(self, last: int) -> None:
        """Powers one off for good."""
        self.fabric.run(self.machines.destroy(self.fabric.site.installation.name("vm", str(last))))

    async def clear(self) -> None:
        """Nothing is left of it."""
        for spec in self.launched:
            await self.machines.destroy(spec.name)
        await self.machines.destroy_all()
        await self.machines.close()


def _tell(what: str, launches: list[Launch]) -> None:
    def middle(name: str) -> float:
        return statistics.median(getattr(launch, name) for launch in launches)
    print(f"{what}: powered on after {middle('powered'):.1f} s, asks for its metadata after {middle('asked'):.1f} s, "
          f"ssh after {middle('reached'):.1f} s (median of {len(launches)}); "
          f"QEMU has {middle('resident') / (1 << 20):.0f} MB; load {os.getloadavg()[0]:.1f}", flush=True)


def main() -> None:
    """Medians of a few launches of each kind, one after the other."""
    saved_states.QUIET_S = 1e9  # it is made when we say so
    shelf = Path(os.environ.get("CLOUDLET_DATA_DIR", "/var/lib/cloudlet")) / "images"
    images = sorted(path.parent for path in shelf.glob("*/image.json"))
    if not images:
        print(f"no image is on the shelf {shelf}: cloudlet images build debian-12")
        return
    with tempfile.TemporaryDirectory() as directory, fabric_ground(Path(directory) / "data") as fabric:
        yard = Yard(fabric, Path(directory), images[-1])
        try:
            first = yard.launch(10)
            kind = "KVM" if fabric.run(yard.machines.observe(yard.launched[0].name)).accelerated else "emulation"  # type: ignore[union-attr]
            print(f"{kind}, {os.cpu_count()} processors, {images[-1].name}, a t3.nano's 512 MB and 2 processors")
            yard.end(10)
            cold = [first]
            if kind == "emulation":
                print(f"a state is made in {yard.save():.1f} s")
                copies = []
                for round_ in range(ROUNDS):
                    copies.append(yard.launch(20 + round_))
                    if os.environ.get("CLOUDLET_BENCH_TELL"):
                        print(copies[-1])
                    yard.end(20 + round_)
                _tell("as a copy", copies)
            _tell("by booting", cold)
        finally:
            fabric.run(yard.clear())
