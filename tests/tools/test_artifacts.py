"""Unusual images, in and out by skopeo byte for byte: what buildx, zstd, Windows and signers make."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.images import login
from tests.running import Cloudlet
from tests.tools.test_skopeo import credentials, skopeo

pytestmark = pytest.mark.engine("skopeo")

IMAGE, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
CONFIG, LAYER = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"
IN_TOTO = "application/vnd.in-toto+json"


class Layout:
    """An OCI layout on the disk."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.blobs = directory, directory / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.named: list[dict[str, Any]] = []

    def put(self, data: bytes, media_type: str, **members: Any) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data), **members}

    def image(self, *layers: dict[str, Any], architecture: str = "amd64", **members: Any) -> dict[str, Any]:
        config = json.dumps({"architecture": architecture, "os": "linux", "config": {}, "rootfs": {
            "type": "layers", "diff_ids": [layer["digest"] for layer in layers]}}).encode()
        document = {"schemaVersion": 2, "mediaType": IMAGE, "config": self.put(config, CONFIG), "layers": layers,
                    **members}
        return self.put(json.dumps(document).encode(), IMAGE,
                        platform={"architecture": architecture, "os": "linux"})

    def name(self, name: str, descriptor: dict[str, Any]) -> str:
        """Its digest."""
        self.named.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}})
        (self.directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.named}))
        return str(descriptor["digest"])


def built(layout: Layout) -> dict[str, Any]:
    """As `docker buildx build --platform linux/amd64,linux/arm64 --provenance=true` pushes it."""
    images = [layout.image(layout.put(os.urandom(5000), f"{LAYER}+gzip"), architecture=name)
              for name in ("amd64", "arm64")]
    attestations = []
    for each in images:
        statement = layout.put(json.dumps({"subject": each["digest"]}).encode(), IN_TOTO,
                               annotations={"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"})
        attestations.append({**layout.image(statement, architecture="unknown"), "platform": {
            "architecture": "unknown", "os": "unknown"}, "annotations": {
            "vnd.docker.reference.digest": each["digest"], "vnd.docker.reference.type": "attestation-manifest"}})
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*images, *attestations]}
    return layout.put(json.dumps(document).encode(), INDEX)


@pytest.fixture(scope="module")
def host(cloudlet: Cloudlet) -> str:
    cloudlet.client("ecr").create_repository(repositoryName="odd")
    return f"docker://localhost:{cloudlet.port}/odd"


def test_what_goes_in_comes_out(cloudlet: Cloudlet, host: str, tmp_path: Path) -> None:
    layout, secret = Layout(tmp_path / "in"), credentials(cloudlet)
    wanted = {
        "buildx": layout.name("buildx", built(layout)),
        "zstd": layout.name("zstd", layout.image(layout.put(b"\x28\xb5\x2f\xfd" + os.urandom(3000), f"{LAYER}+zstd"))),
        "huge": layout.name("huge", layout.image(layout.put(b"x", LAYER), annotations={
            str(number): "a" * 9900 for number in range(400)})),
        "many": layout.name("many", layout.image(*(layout.put(b"%d" % number, LAYER) for number in range(120))))}
    for name, digest in wanted.items():
        skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", secret,
               f"oci:{layout.directory}:{name}", f"{host}:{name}")
        raw = skopeo("inspect", "--raw", "--tls-verify=false", "--creds", secret, f"{host}:{name}").stdout
        assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == digest
        skopeo("copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--src-creds", secret,
               f"{host}:{name}", f"dir:{tmp_path}/{name}")
        assert len(list((tmp_path / name).iterdir())) > 3
    details = cloudlet.client("ecr").describe_images(repositoryName="odd")["imageDetails"]
    assert {tag: detail["imageDigest"] for detail in details for tag in detail.get("imageTags", ())} == wanted


def test_a_signature_by_tag_and_by_subject(cloudlet: Cloudlet, host: str, tmp_path: Path) -> None:
    """As cosign has both: a tag made of the digest, and an artifact that says whom it is about."""
    registry = login(cloudlet)
    digest = registry.push("odd", "signed", [b"layer"], ["/bin/true"])
    tag = digest.replace(":", "-") + ".sig"
    registry.push("odd", tag, [b"simple signing"], [])
    listed = json.loads(skopeo("list-tags", "--tls-verify=false", "--creds", credentials(cloudlet), host).stdout)
    assert tag in listed["Tags"]
    empty = registry.push_blob("odd", b"{}")
    bundle = registry.push_blob("odd", b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}')
    kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
    body = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "artifactType": kind,
                       "config": {"mediaType": "application/vnd.oci.empty.v1+json", **empty},
                       "layers": [{"mediaType": kind, **bundle}],
                       "subject": {"mediaType": IMAGE, "digest": digest, "size": 1}}).encode()
    put = registry.call("PUT", f"/v2/odd/manifests/sha256:{hashlib.sha256(body).hexdigest()}", body, IMAGE)
    assert put.headers["OCI-Subject"] == digest
    answer = registry.call("GET", f"/v2/odd/referrers/{digest}?artifactType={kind}")
    (found,) = json.load(answer)["manifests"]
    assert (answer.headers["OCI-Filters-Applied"], found["artifactType"]) == ("artifactType", kind)
