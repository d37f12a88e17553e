"""Images on Podman: pulled by its API, observed in its storage's own list without asking it."""

import asyncio
import base64
import ipaddress
import json
import posixpath
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec

from cloudlet.engines.podman import Podman
from cloudlet.engines.ports import Image, ImageSpec
from cloudlet.kernel.errors import Busy, Conflict, Refused

PULL_S = 1800
VOLUMES_MAX = 64
_PULLS = 4  # at a time; each already fetches its layers in parallel
# What a registry that cannot answer now looks like; anything else it says is final.
_PASSING = ("connection refused", "connection reset", "i/o timeout", "timeout exceeded", "unexpected eof",
            "no route to host", "network is unreachable", "toomanyrequests", "too many requests", "status: 5",
            "status code 5", "internal server error", "bad gateway", "service unavailable", "tls handshake timeout",
            "deadline exceeded")


@dataclass(frozen=True, slots=True)
class Stored:
    """An image as the storage's list has it (containers/storage, overlay-images/images.json)."""

    id: str
    digest: str = ""
    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()


class ImageList:
    """The storage's list, read again only when its file has changed."""

    def __init__(self, storage: Path) -> None:
        self._path = storage / "overlay-images" / "images.json"
        self._seen: tuple[int, int, int] | None = None
        self._images: tuple[Stored, ...] = ()

    def all(self) -> tuple[Stored, ...]:
        """Every complete image."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._images = tuple(_stored(entry) for entry in msgspec.json.decode(self._path.read_bytes()) or ())
                self._seen = seen
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.DecodeError, KeyError, TypeError) as damaged:
            raise Busy(f"the list of images cannot be read: {damaged}") from None
        return self._images

    def find(self, reference: str) -> Stored | None:
        """The image of a reference: by its name, else by its digest (the same content under another name) or id."""
        name = qualified(reference)
        digest = reference.rpartition("@")[2] if "@" in reference or reference.startswith("sha256:") else ""
        same = None
        for image in self.all():
            if name in image.names:
                return image
            if image.id == reference or (digest and digest in image.digests):
                same = image
        return same

    def stop_signal(self, image: Stored) -> str:
        """The image's STOPSIGNAL, "" where it has none."""
        return str(self._config(image).get("StopSignal") or "")

    def volumes(self, image: Stored) -> tuple[str, ...]:
        """The paths that the image declares as volumes, in order."""
        declared = self._config(image).get("Volumes")
        paths = {posixpath.normpath(f"/{path}").replace("//", "/") for path in declared or ()
                 } if isinstance(declared, dict) else set[str]()
        return tuple(sorted(paths - {"/"}))[:VOLUMES_MAX]

    def _config(self, image: Stored) -> dict[str, object]:
        encoded = base64.b64encode(f"sha256:{image.id}".encode()).decode()
        try:
            config = msgspec.json.decode((self._path.parent / image.id / f"={encoded}").read_bytes())
            return dict(config.get("config") or {})
        except (OSError, msgspec.DecodeError, AttributeError, TypeError, ValueError):
            return {}


def _stored(entry: dict[str, object]) -> Stored:
    names = entry.get("names") or ()
    digests = entry.get("big-data-digests") or {}
    assert isinstance(names, list | tuple) and isinstance(digests, dict)
    manifests = [str(digest) for key, digest in digests.items() if str(key).startswith("manifest")]
    return Stored(str(entry["id"]), str(entry.get("digest") or ""), tuple(map(str, names)), tuple(manifests))


def qualified(reference: str) -> str:
    """The reference in full, as Docker reads it: registry, repository, and ":latest" where it names nothing else."""
    head, _, rest = reference.partition("/")
    if not rest or not (head == "localhost" or "." in head or ":" in head):
        reference = f"docker.io/{'library/' if not rest else ''}{reference}"
    last = reference.rpartition("/")[2]
    if "@" in last:
        name, _, digest = last.partition("@")
        return f"{reference[:-len(last)]}{name.partition(':')[0]}@{digest}"
    return reference if ":" in last else f"{reference}:latest"


def is_local(reference: str) -> bool:
    """Whether its registry is on this machine."""
    host = qualified(reference).partition("/")[0]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class PodmanImages:
    """Images in this installation's own storage."""

    def __init__(self, podman: Podman) -> None:
        self._podman = podman
        self._list = ImageList(podman.storage)
        self._pulls: dict[ImageSpec, asyncio.Task[Image]] = {}
        self._places = asyncio.Semaphore(_PULLS)

    async def ensure(self, spec: ImageSpec) -> Image:
        """Pulled and complete. From our own registry, with a digest, it is pulled once and for all; any other is asked
        for each time, as Fargate does, because a tag may have moved, and a registry must see who asks. Whoever wants
        the same image with the same credentials meanwhile waits for the same pull.

        Raises Refused ("CannotPullContainerError: …") for what the registry refuses or has not, for registries outside
        this machine while egress is off, and for a full disk; Busy where the registry cannot answer now.
        """
        if spec.plain_http and "@" in spec.reference and (found := self._list.find(spec.reference)) is not None:
            return self._image(spec.reference, found)
        if not is_local(spec.reference) and not self._podman.site.egress:
            raise Refused(f"CannotPullContainerError: {spec.reference} is in a registry outside this machine, and "
                          "egress is off: push the image to a repository of this installation's ECR")
        pull = self._pulls.get(spec)
        if pull is None:
            pull = self._pulls[spec] = asyncio.create_task(self._pull(spec))
            pull.add_done_callback(lambda done: self._pulled(spec, done))
        return await asyncio.shield(pull)

    def _image(self, reference: str, found: Stored) -> Image:
        return Image(reference, found.id, found.digest, self._list.volumes(found))

    def _pulled(self, spec: ImageSpec, pull: asyncio.Task[Image]) -> None:
        self._pulls.pop(spec, None)
        if not pull.cancelled():
            pull.exception()  # somebody may still wait for it, or nobody: both are fine

    async def _pull(self, spec: ImageSpec) -> Image:
        reference = qualified(spec.reference)
        headers = {}
        if spec.username:
            credentials = json.dumps({"username": spec.username, "password": spec.password})
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(credentials.encode()).decode()
        # As Docker does, a registry on this machine is asked by HTTP where it does not speak HTTPS.
        query = urlencode({"reference": reference, "policy": "always", "quiet": "true",
                           "tlsVerify": "false" if spec.plain_http or is_local(reference) else "true"})
        async with self._places:
            answer = await self._podman.ask("POST", f"/images/pull?{query}", headers=headers, timeout_s=PULL_S,
                                            queued=False)
        problem = answer.complaint if answer.status >= 400 else _pull_error(answer.body)
        if problem:
            raise _pull_failure(spec.reference, problem)
        found = self._list.find(spec.reference)
        if found is None:
            raise Busy(f"{spec.reference} was pulled and is not here")
        return self._image(spec.reference, found)

    async def observe(self, reference: str) -> Image | None:
        """The image, if it is here. Reads a file; no process is started."""
        found = self._list.find(reference)
        return None if found is None else self._image(reference, found)

    async def destroy(self, reference: str) -> None:
        """Removes that name, and the image with its last name. Raises Conflict while a container uses it."""
        found = self._list.find(reference)
        if found is None:
            return
        name = qualified(reference)
        target = name if name in found.names else found.id
        if target == found.id and found.names:
            return  # here only under names that others gave it
        answer = await self._podman.ask("DELETE", f"/images/{quote(target, safe='')}?force=false")
        if answer.status == 409 or (answer.status >= 400 and "in use" in answer.complaint):
            raise Conflict(f"{reference} is used by a container")
        if answer.status >= 400 and answer.status != 404:
            raise Busy(f"{reference} could not be removed: {answer.complaint}")

    async def owned(self) -> tuple[str, ...]:
        """The references of all images here; the id of one that lost its last name to a newer image."""
        return tuple(name for image in self._list.all() for name in image.names or (image.id,))


def _pull_error(body: bytes) -> str:
    """The last complaint in the stream that a pull answers with, "" where there is none."""
    problem = ""
    for line in body.splitlines():
        try:
            said = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        if isinstance(said, dict) and said.get("error"):
            problem = str(said["error"])
    return problem


def _pull_failure(reference: str, problem: str) -> Busy | Refused:
    said = problem.lower()
    if "no space left on device" in said:
        return Refused(f"CannotPullContainerError: failed to pull {reference}: no space left on device")
    if any(sign in said for sign in _PASSING):
        return Busy(f"{reference} cannot be pulled now: {problem}")
    if "manifest unknown" in said or "name unknown" in said or "not found" in said:
        return Refused(f"CannotPullContainerError: failed to resolve ref {reference}: {reference}: not found")
    if any(sign in said for sign in ("unauthorized", "authentication required", "denied", "forbidden")):
        return Refused(f"CannotPullContainerError: failed to resolve ref {reference}: pull access denied, repository "
                       "does not exist or may require authorization: authorization failed")
    return Refused(f"CannotPullContainerError: failed to pull {reference}: {problem}")
