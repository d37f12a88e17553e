"""Push and pull of an image with one large layer that does not compress, beside Debian's docker-registry.

`python -m bench registry` needs skopeo and docker-registry, and about 3 GB of disk for a while.
"""

import base64
import gzip
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.running import Cloudlet, free_port, free_public_cidr

SIZE_MB = 500
ROUNDS = 7
REPOSITORY = "bench"


class _Random:
    """A file of random bytes, and never the same."""

    def read(self, size: int) -> bytes:
        return os.urandom(size)


class _Hashed:
    """Writes on to a file and knows the digest of what went through."""

    def __init__(self, file: Any) -> None:
        self.file, self.hash, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        self.file.write(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self.hash.hexdigest()}"


def make_image(directory: Path, size_mb: int) -> None:
    """An OCI layout with the image v1."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    layer = blobs / "layer"
    with open(layer, "wb") as file:
        packed = _Hashed(file)
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=0, mtime=0) as zipped:
            plain = _Hashed(zipped)
            with tarfile.open(fileobj=plain, mode="w|") as archive:
                entry = tarfile.TarInfo("data")
                entry.size = size_mb << 20
                archive.addfile(entry, _Random())
    layer.rename(blobs / packed.digest.removeprefix("sha256:"))

    def put(kind: str, document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(document).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}.v1+json", "digest": f"sha256:{digest}",
                "size": len(data)}
    config = put("config", {"architecture": "amd64", "os": "linux", "config": {},
                            "rootfs": {"type": "layers", "diff_ids": [plain.digest]}})
    manifest = put("manifest", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": packed.digest,
                    "size": packed.size}]})
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {**manifest, "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


@contextmanager
def docker_registry(directory: Path) -> Iterator[int]:
    """Debian's docker-registry on its own disk store; its port."""
    port = free_port()
    settings = directory / "registry.yml"
    settings.write_text(json.dumps({"version": "0.1", "log": {"level": "error"}, "http": {"addr": f"127.0.0.1:{port}"},
                                    "storage": {"filesystem": {"rootdirectory": str(directory / "peer")}}}))
    # A session of its own, as Cloudlet has: the kernel shares processors out by session (sched_autogroup).
    process = subprocess.Popen(["docker-registry", "serve", str(settings)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        time.sleep(1)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def skopeo(*arguments: str) -> float:
    """Runs it; the seconds it took."""
    os.sync()
    started = time.perf_counter()
    subprocess.run(["skopeo", "copy", "--quiet", *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Medians of a few rounds; the two sides take turns at going first."""
    missing = [program for program in ("skopeo", "docker-registry") if shutil.which(program) is None]
    if missing:
        print("not measured: needs", *missing)
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        cloudlet = Cloudlet(directory / "data", free_port(), free_public_cidr())
        with cloudlet, docker_registry(directory) as port:
            ecr = cloudlet.client("ecr")
            ecr.create_repository(repositoryName=REPOSITORY)
            token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
            measure(directory, {"ours": (f"localhost:{cloudlet.port}", base64.b64decode(token).decode()),
                                "peer": (f"localhost:{port}", "")})


def measure(directory: Path, sides: dict[str, tuple[str, str]]) -> None:
    """Pushes and pulls a new image in every round, on the sides (host and credentials) called "ours" and "peer"."""
    seconds: dict[str, list[float]] = {f"{what} {side}": [] for what in ("push", "pull") for side in sides}
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > SIZE_MB << 21
    with tempfile.TemporaryDirectory(dir=memory if roomy else directory) as pulled:
        for number in range(ROUNDS):
            source = directory / "image"
            make_image(source, SIZE_MB)
            order = sorted(sides, reverse=number % 2 == 1)
            for side in order:
                host, credentials = sides[side]
                seconds[f"push {side}"].append(skopeo(
                    "--dest-tls-verify=false", *(["--dest-creds", credentials] if credentials else []),
                    f"oci:{source}:v1", f"docker://{host}/{REPOSITORY}:v1"))
            shutil.rmtree(source)
            for side in order:
                host, credentials = sides[side]
                target = Path(pulled) / "image"
                seconds[f"pull {side}"].append(skopeo(
                    "--src-tls-verify=false", *(["--src-creds", credentials] if credentials else []),
                    f"docker://{host}/{REPOSITORY}:v1", f"dir:{target}"))
                shutil.rmtree(target)
    for what in ("push", "pull"):
        ours, peer = seconds[f"{what} ours"], seconds[f"{what} peer"]
        ratio = statistics.median(theirs / mine for mine, theirs in zip(ours, peer, strict=True))
        print(f"{what} of {SIZE_MB} MB: {statistics.median(ours):.2f} s, docker-registry "
              f"{statistics.median(peer):.2f} s: {ratio:.2f} × as fast (median of {ROUNDS} rounds; at least 1 wanted)")
