"""ECR without the wire: its operations at a desk, and its registry as a handler of requests."""

import asyncio
import base64
import http.client
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cloudlet.engines.fake import World
from cloudlet.kernel.call import Principal
from cloudlet.kernel.http import Body, Request
from cloudlet.kernel.identity import Refusal
from cloudlet.services import ecr, iam
from cloudlet.services.ecr.collect import Collector
from cloudlet.services.ecr.manifests import DOCKER_IMAGE, OCI_IMAGE, OCI_INDEX
from cloudlet.store.blobs import Blobs, digest_of
from tests.services.desk import ACCOUNT, Desk

HOST = "localhost:4566"


class Answer:
    """A response, read to its end."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def error(self) -> tuple[int, str, str]:
        (error,) = json.loads(self.body)["errors"]
        assert self.headers["content-type"] == "application/json"
        return self.status, error["code"], error["message"]


class Counter:
    """Account 123456789012, us-east-1, with the repository `app`."""

    def __init__(self, directory: Path) -> None:
        self.desk = Desk(directory)
        self.blobs = Blobs(directory / "registry")
        self.identities = iam.identities(self.desk.site, (iam.iam, ecr.ecr))
        self.world = World(self.desk.clock)
        self.upstreams = self.world.upstreams
        self.open()
        self("CreateRepository", repositoryName="app")
        self.password = self.login()

    def open(self) -> None:
        self.handler = ecr.registry(self.desk.store, self.blobs, self.identities, self.upstreams)
        self.collector = Collector(self.desk.store, self.blobs)

    def close(self) -> None:
        self.blobs.close()
        self.desk.store.close()

    def restart(self) -> None:
        """As after a crash: only what is on the disk is known."""
        self.blobs.close()
        self.blobs = Blobs(self.blobs._blobs.parent)
        self.open()

    def __call__(self, operation: str, principal: Principal | None = None, region: str = "us-east-1",
                 **request: Any) -> Any:
        if ecr.ecr.operations[operation].mode == "wait":
            return self.wait(operation, principal, **request)
        return self.desk(ecr.ecr, operation, principal, region, **request)

    def wait(self, operation: str, principal: Principal | None = None, **request: Any) -> Any:
        """One operation that owns its transactions, in a loop of its own."""
        return asyncio.run(ecr.ecr.operations[operation].run(self.desk.call(principal), self.desk.store, request))

    def asked(self, principal: Principal, operation: str, **request: Any) -> Refusal | None:
        """What the gateway is told of a request."""
        declared, call = ecr.ecr.operations[operation], self.desk.call(principal)
        ((action, resources),) = declared.needs(call, request).items()
        with self.desk.store.tx() as tx:
            return self.identities.refuses(tx, call, action, tuple(resources))

    def login(self, principal: Principal | None = None, region: str = "us-east-1") -> str:
        (data,) = self("GetAuthorizationToken", principal, region)["authorizationData"]
        user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        assert user == "AWS"
        return password

    async def send(self, method: str, url: str, sent_body: bytes | list[bytes] = b"", *, password: str | None = None,
                   host: str = HOST, length: int | None = None, **headers: str) -> Answer:
        parts = [sent_body] if isinstance(sent_body, bytes) else sent_body

        async def chunks() -> AsyncIterator[bytes]:
            for part in parts:
                yield part
        if isinstance(sent_body, bytes):
            length = len(sent_body) if length is None else length
        secret = self.password if password is None else password
        split = urlsplit(url)
        sent = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if secret:
            sent.setdefault("authorization", "Basic " + base64.b64encode(f"AWS:{secret}".encode()).decode())
        response = await self.handler(Request(method, split.path, split.query, sent, Body(chunks(), length)))
        body = response.body
        whole = body if isinstance(body, bytes) else b"".join([chunk async for chunk in body])
        assert response.headers["docker-distribution-api-version"] == "registry/2.0"
        if "content-length" in response.headers and method != "HEAD":
            assert int(response.headers["content-length"]) == len(whole)
        return Answer(response.status, dict(response.headers), whole)

    def ask(self, method: str, url: str, body: bytes | list[bytes] = b"", **options: Any) -> Answer:
        """One request in a loop of its own."""
        return asyncio.run(self.send(method, url, body, **options))

    def push_blob(self, data: bytes, repository: str = "app") -> str:
        digest = digest_of(data)
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data)
        assert answer.status == 201, answer.body
        return digest

    def push(self, tag: str = "v1", repository: str = "app", media_type: str = DOCKER_IMAGE,
             layer: bytes | None = None, **members: Any) -> str:
        """An image of one layer; its digest."""
        data, config = os.urandom(1000) if layer is None else layer, os.urandom(40)
        for blob in (data, config):
            self.push_blob(blob, repository)
        answer = self.put_manifest(tag, image(media_type, config, data, **members), media_type, repository)
        assert answer.status == 201, answer.body
        return answer.headers["docker-content-digest"]

    def push_list(self, tag: str, *children: str, repository: str = "app") -> str:
        answer = self.put_manifest(tag, index(*children), OCI_INDEX, repository)
        assert answer.status == 201, answer.body
        return answer.headers["docker-content-digest"]

    def put_manifest(self, reference: str, manifest: bytes, media_type: str, repository: str = "app") -> Answer:
        return self.ask("PUT", f"/v2/{repository}/manifests/{reference}", manifest, content_type=media_type)

    def images(self, repository: str = "app") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("DescribeImages", repositoryName=repository)["imageDetails"]
        return found


class Client(http.client.HTTPConnection):
    """A connection to the registry on a port of loopback, logged in."""

    def __init__(self, port: int, password: str) -> None:
        super().__init__("127.0.0.1", port, timeout=20)
        self.authorization = "Basic " + base64.b64encode(f"AWS:{password}".encode()).decode()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> http.client.HTTPResponse:
        self.request(method, path, body, {"authorization": self.authorization, **headers})  # type: ignore[arg-type]
        return self.getresponse()


def user_with(desk: Desk, *statements: dict[str, object]) -> Principal:
    """A user with these policy statements, as the gateway would know it."""
    desk(iam.iam, "CreateUser", UserName="ann")
    allow(desk, *statements)
    key = desk(iam.iam, "CreateAccessKey", UserName="ann")["AccessKey"]
    principal = desk.principal(key["AccessKeyId"])
    assert principal is not None
    return principal


def allow(desk: Desk, *statements: dict[str, object]) -> None:
    desk(iam.iam, "PutUserPolicy", UserName="ann", PolicyName="p",
         PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def image(media_type: str, config: bytes, *layers: bytes, **members: Any) -> bytes:
    family = "application/vnd.oci.image" if media_type == OCI_IMAGE else "application/vnd.docker.container.image"
    return json.dumps({
        "schemaVersion": 2, "mediaType": media_type,
        "config": descriptor(config, f"{family}.config.v1+json" if "oci" in family else f"{family}.v1+json"),
        "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers],
        **members}).encode()


def index(*children: str) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": DOCKER_IMAGE, "digest": child, "size": 500, "platform": {"os": "linux", "architecture": name}}
        for child, name in zip(children, ("amd64", "arm64", "s390x"), strict=False)]}).encode()


__all__ = ["ACCOUNT", "Answer", "Client", "Counter", "allow", "descriptor", "image", "index", "user_with"]
