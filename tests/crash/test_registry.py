"""kill -9 while images are pushed, signed, mounted and deleted: whatever was acknowledged holds, and it all goes on."""

import base64
import gzip
import http.client
import json
import os
import random
import threading
import time
import urllib.error
from pathlib import Path

import pytest

from tests.conftest import running_cloudlet
from tests.crash.test_kill import wait
from tests.images import Registry, digest
from tests.running import Cloudlet

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
KILLS = 3
PUSHERS = 4


class Pusher(threading.Thread):
    """Pushes one image after the other, and to each a signature; mounts a layer of it elsewhere, and deletes every
    third. Knows what was acknowledged."""

    def __init__(self, cloudlet: Cloudlet, password: str, number: int) -> None:
        super().__init__()
        self.registry, self.number = Registry(cloudlet.url, password), number
        self.acknowledged: dict[str, str] = {}
        self.signed: dict[str, str] = {}  # image → its signature
        self.mounted: list[str] = []
        self.deleted: list[str] = []
        self.interrupted = 0
        self.stopped = threading.Event()
        self.unexpected: list[BaseException] = []

    def run(self) -> None:
        count = 0
        while not self.stopped.is_set():
            count += 1
            tag = f"p{self.number}-{count}"
            try:
                layer = os.urandom(300_000)
                image = self.registry.push("app", tag, [layer, b"shared by all"], ["/bin/true"])
                self.acknowledged[tag] = image
                self.signed[image] = self.sign(image)
                self.mount(digest(gzip.compress(layer, 1, mtime=0)))
                if count % 3 == 0:
                    del self.acknowledged[tag]
                    self.registry.call("DELETE", f"/v2/app/manifests/{image}")
                    self.deleted.append(image)
            except urllib.error.HTTPError as error:
                self.unexpected.append(error)
                return
            except (OSError, http.client.HTTPException):
                self.interrupted += 1
                time.sleep(0.05)

    def sign(self, image: str) -> str:
        """Pushes what refers to an image; its digest."""
        empty = self.registry.push_blob("app", b"{}")
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_IMAGE, "artifactType": "application/vnd.signature",
                           "config": {"mediaType": "application/vnd.oci.empty.v1+json", **empty},
                           "layers": [{"mediaType": "text/plain", **self.registry.push_blob("app", os.urandom(99))}],
                           "subject": {"mediaType": OCI_IMAGE, "digest": image, "size": 1}}).encode()
        self.registry.call("PUT", f"/v2/app/manifests/{digest(body)}", body, OCI_IMAGE)
        return digest(body)

    def mount(self, layer: str) -> None:
        answer = self.registry.call("POST", f"/v2/other/blobs/uploads/?mount={layer}&from=app", b"")
        if answer.status == 201:
            self.mounted.append(layer)


def test_what_was_acknowledged_can_be_pulled(tmp_path: Path) -> None:
    with running_cloudlet(tmp_path) as cloudlet:
        ecr = cloudlet.client("ecr")
        for name in ("app", "other"):
            ecr.create_repository(repositoryName=name)
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        password = base64.b64decode(token).decode().partition(":")[2]
        pushers = [Pusher(cloudlet, password, number) for number in range(PUSHERS)]
        for pusher in pushers:
            pusher.start()
        for _ in range(KILLS):
            time.sleep(random.uniform(0.2, 0.8))
            cloudlet.kill()
            cloudlet.start()
        wait("everybody came to mount a layer", lambda: all(pusher.mounted or pusher.unexpected for pusher in pushers))
        for pusher in pushers:
            pusher.stopped.set()
            pusher.join(timeout=30)
        assert [pusher.unexpected for pusher in pushers] == [[]] * PUSHERS
        acknowledged = {tag: manifest for pusher in pushers for tag, manifest in pusher.acknowledged.items()}
        assert acknowledged
        assert any(pusher.interrupted for pusher in pushers)
        registry = Registry(cloudlet.url, password)
        for tag, manifest in acknowledged.items():
            body = registry.call("GET", f"/v2/app/manifests/{tag}").read()
            assert digest(body) == manifest
            document = json.loads(body)
            for part in (document["config"], *document["layers"]):
                assert digest(registry.call("GET", f"/v2/app/blobs/{part['digest']}").read()) == part["digest"]
        for pusher in pushers:
            assert pusher.mounted
            for layer in pusher.mounted:
                assert digest(registry.call("GET", f"/v2/other/blobs/{layer}").read()) == layer
            for image, signature in pusher.signed.items():
                listed = json.load(registry.call("GET", f"/v2/app/referrers/{image}"))["manifests"]
                assert signature in [each["digest"] for each in listed]
            for image in pusher.deleted:
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    registry.call("GET", f"/v2/app/manifests/{image}")
