"""A tiny image, made from the machine's static busybox and pushed the way a registry client does."""

import base64
import gzip
import hashlib
import io
import json
import shutil
import tarfile
import urllib.request
from typing import Any

from tests.running import Cloudlet

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def busybox_layer() -> bytes:
    """A root file system with /bin/busybox, and /bin/sh as another name of it."""
    busybox = shutil.which("busybox")
    assert busybox, "needs busybox-static"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "tmp", "etc"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        with open(busybox, "rb") as program:
            body = program.read()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(body), 0o755
        tar.addfile(entry, io.BytesIO(body))
        for name in ("sh", "sleep", "httpd", "wget", "nc", "cat", "id", "env", "hostname"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return out.getvalue()


def digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


class Registry:
    """A registry client of fifty lines, for tests that are about something else."""

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self._authorization = "Basic " + base64.b64encode(f"AWS:{password}".encode()).decode()

    def call(self, method: str, path: str, body: bytes | None = None, content_type: str = "application/octet-stream",
             ) -> Any:
        url = path if path.startswith("http") else self.url + path
        request = urllib.request.Request(url, data=body, method=method, headers={
            "Authorization": self._authorization, "Content-Type": content_type})
        return _direct.open(request, timeout=60)

    def push_blob(self, repository: str, body: bytes) -> dict[str, Any]:
        location = self.call("POST", f"/v2/{repository}/blobs/uploads/", b"").headers["Location"]
        separator = "&" if "?" in location else "?"
        self.call("PUT", f"{location}{separator}digest={digest(body)}", body)
        return {"digest": digest(body), "size": len(body)}

    def push(self, repository: str, tag: str, layers: list[bytes], command: list[str], **settings: Any) -> str:
        """Pushes an image of those (uncompressed) layers and further settings; its manifest's digest."""
        config = json.dumps({"architecture": "amd64", "os": "linux",
                             "config": {"Cmd": command, "Env": ["PATH=/bin"], **settings},
                             "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}}).encode()
        packed = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **self.push_blob(repository, config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                        **self.push_blob(repository, layer)} for layer in packed]}).encode()
        answer = self.call("PUT", f"/v2/{repository}/manifests/{tag}", manifest,
                           "application/vnd.oci.image.manifest.v1+json")
        found: str = answer.headers["Docker-Content-Digest"]
        assert found == digest(manifest)
        return found


def login(cloudlet: Cloudlet, **client: Any) -> Registry:
    """A client logged in as `aws ecr get-login-password` would."""
    answer = cloudlet.client("ecr", **client).get_authorization_token()["authorizationData"][0]
    return Registry(cloudlet.url, base64.b64decode(answer["authorizationToken"]).decode().removeprefix("AWS:"))


def push_busybox(cloudlet: Cloudlet, repository: str = "busybox", tag: str = "latest",
                 command: list[str] | None = None) -> str:
    """Makes the repository, pushes the image, and answers the name a task definition takes."""
    ecr = cloudlet.client("ecr")
    try:
        made = ecr.create_repository(repositoryName=repository)["repository"]
    except ecr.exceptions.RepositoryAlreadyExistsException:
        made = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]
    login(cloudlet).push(repository, tag, [busybox_layer()], command or ["/bin/sleep", "1000"])
    return f"{made['repositoryUri']}:{tag}"
