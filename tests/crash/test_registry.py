"""kill -9 while images are pushed: whatever was acknowledged can be pulled, and pushing goes on."""

import base64
import http.client
import json
import os
import random
import threading
import time
import urllib.error
from pathlib import Path

from tests.conftest import running_cloudlet
from tests.images import Registry, digest
from tests.running import Cloudlet

KILLS = 3
PUSHERS = 4


class Pusher(threading.Thread):
    """Pushes one image after the other; knows which were acknowledged."""

    def __init__(self, cloudlet: Cloudlet, password: str, number: int) -> None:
        super().__init__()
        self.registry, self.number = Registry(cloudlet.url, password), number
        self.acknowledged: dict[str, str] = {}
        self.interrupted = 0
        self.stopped = threading.Event()
        self.unexpected: list[BaseException] = []

    def run(self) -> None:
        count = 0
        while not self.stopped.is_set():
            count += 1
            tag = f"p{self.number}-{count}"
            try:
                self.acknowledged[tag] = self.registry.push(
                    "app", tag, [os.urandom(300_000), b"shared by all"], ["/bin/true"])
            except urllib.error.HTTPError as error:
                self.unexpected.append(error)
                return
            except (OSError, http.client.HTTPException):
                self.interrupted += 1
                time.sleep(0.05)


def test_what_was_acknowledged_can_be_pulled(tmp_path: Path) -> None:
    with running_cloudlet(tmp_path) as cloudlet:
        ecr = cloudlet.client("ecr")
        ecr.create_repository(repositoryName="app")
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        password = base64.b64decode(token).decode().partition(":")[2]
        pushers = [Pusher(cloudlet, password, number) for number in range(PUSHERS)]
        for pusher in pushers:
            pusher.start()
        for _ in range(KILLS):
            time.sleep(random.uniform(0.2, 0.8))
            cloudlet.kill()
            cloudlet.start()
        time.sleep(0.3)
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
