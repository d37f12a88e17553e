"""Bringing a cloud image to the shelf: from a file, or from a URL, where a download that was cut off goes on."""

import hashlib
import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cloudlet.engines import qcow2
from cloudlet.engines.ports import Card
from cloudlet.guests.shelf import Shelf

CHUNK = 1 << 20
TIMEOUT_S = 60.0
GIB = 1 << 30
NOBODY = "000000000000"  # the account of the development key: what is imported is, first of all, one's own
_NAME = re.compile(r"[A-Za-z0-9()\[\]][A-Za-z0-9()\[\] ./\-'@_]{2,127}")


class Failed(Exception):
    """The image cannot be had; the text says why."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asked for; None leaves it to what is known of the distribution."""

    source: str
    name: str | None = None
    sha256: str | None = None
    user: str | None = None
    root_device: str | None = None


@dataclass(frozen=True, slots=True)
class Distribution:
    """What AWS's users know of one's images: the owner's account, its alias, the user, the root device's name."""

    owner: str
    user: str
    root_device: str
    alias: str = ""


# By how their files are called. https://cloud.debian.org/images/cloud/, https://cloud-images.ubuntu.com,
# https://docs.aws.amazon.com/linux/al2023/ug/outside-ec2-download.html, https://fedoraproject.org/cloud/
_KNOWN = (
    (r"debian-.*ec2", Distribution("136693071363", "admin", "/dev/xvda")),
    (r"debian", Distribution("136693071363", "debian", "/dev/xvda")),
    (r"ubuntu|(bionic|focal|jammy|noble)-", Distribution("099720109477", "ubuntu", "/dev/sda1")),
    (r"al20\d\d|amzn", Distribution("137112412989", "ec2-user", "/dev/xvda", "amazon")),
    (r"fedora", Distribution("125523088429", "fedora", "/dev/sda1")),
)
_UNKNOWN = Distribution(NOBODY, "", "/dev/xvda")


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _file_name(source: str) -> str:
    return Path(urlsplit(source).path if _is_url(source) else source).name


def name_of(order: Order) -> str:
    """The name that the image will have. Raises Failed for one that no AMI may have."""
    name = order.name or re.sub(r"\.(qcow2|raw|img|vmdk)$", "", _file_name(order.source))
    if not _NAME.fullmatch(name):
        raise Failed(f"{name!r} is no name for an image: from 3 to 128 letters, digits and ()[] ./-\'@_ (--name)")
    return name


def take(order: Order, shelf: Shelf, console: Console) -> Card:
    """Brings the file and puts it on the shelf, whole or not at all. Raises Failed."""
    name = name_of(order)
    place = shelf.place(name)
    disk = place / "disk"
    try:
        if _is_url(order.source):
            _download(order, shelf.directory / ".downloads", disk, console)
        else:
            _copy(order, disk, console)
        card = _card(order, name, disk)
        shelf.put(place, card)
        return card
    except OSError as error:
        raise Failed(f"{error.strerror or error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _card(order: Order, name: str, disk: Path) -> Card:
    found = qcow2.header(disk)
    if found is not None and (found.backing is not None or found.external_data):
        raise Failed("it refers to another file; flatten it first (qemu-img convert)")
    size = found.size_bytes if found else disk.stat().st_size
    if size == 0:
        raise Failed("it is empty")
    kind: Literal["raw", "qcow2"] = "qcow2" if found else "raw"
    if kind == "raw" and not _has_boot_sector(disk):
        raise Failed("it is neither a qcow2 file nor a disk that can be started from")
    known = _distribution(name) or _distribution(_file_name(order.source)) or _UNKNOWN
    user = known.user if order.user is None else order.user
    return Card(name, f"Imported from {_file_name(order.source)}", known.owner, order.root_device or known.root_device,
                user, disk.name, kind, -(-size // GIB), time.time(), known.alias, tags={"imported": "true"})


def _distribution(name: str) -> Distribution | None:
    return next((known for pattern, known in _KNOWN if re.search(pattern, name.lower())), None)


def _has_boot_sector(disk: Path) -> bool:
    with disk.open("rb") as file:
        return file.read(512)[510:] == b"\x55\xaa"


# ── From a file ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _progress(console: Console) -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                    TimeRemainingColumn(), console=console, transient=True)


def _copy(order: Order, disk: Path, console: Console) -> None:
    source, digest = Path(order.source), hashlib.sha256()
    if not source.is_file():
        raise Failed("there is no such file")
    _require_space(disk.parent, source.stat().st_blocks * 512)
    with source.open("rb") as file, disk.open("wb") as copy, _progress(console) as progress:
        task = progress.add_task("copying", total=source.stat().st_size)
        for chunk in _chunks(file.read):
            digest.update(chunk)
            if chunk.count(0) == len(chunk):
                copy.seek(len(chunk), 1)  # a hole stays one
            else:
                copy.write(chunk)
            progress.advance(task, len(chunk))
        copy.truncate()
    _require_digest(order, digest.hexdigest())


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while chunk := read(CHUNK):
        yield chunk


def _require_digest(order: Order, found: str) -> None:
    if order.sha256 is not None and order.sha256.lower().removeprefix("sha256:") != found:
        raise Failed(f"its SHA-256 is {found}, not {order.sha256}")


def _require_space(place: Path, wanted: int) -> None:
    free = shutil.disk_usage(place).free
    if free < wanted + GIB:
        raise Failed(f"it takes {wanted / GIB:.1f} GiB, and {place} has {free / GIB:.1f} GiB left")


# ── From a URL ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _download(order: Order, downloads: Path, disk: Path, console: Console) -> None:
    """Goes on where an earlier attempt was cut off, if the server says that the file is still the same."""
    downloads.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = downloads / hashlib.sha256(order.source.encode()).hexdigest()[:20]
    mark = part.with_suffix(".version")
    try:
        _fetch(order.source, part, mark, console)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise Failed(f"the download was cut off, and goes on where it was when this is run again: {error}") from None
    digest = hashlib.sha256()
    with part.open("rb") as file:
        for chunk in _chunks(file.read):
            digest.update(chunk)
    mark.unlink(missing_ok=True)
    try:
        _require_digest(order, digest.hexdigest())
    except Failed:
        part.unlink()
        raise
    part.rename(disk)


def _fetch(url: str, part: Path, mark: Path, console: Console) -> None:
    have = part.stat().st_size if part.exists() and mark.exists() else 0
    headers = {"Range": f"bytes={have}-", "If-Range": mark.read_text()} if have else {}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing
            return
        raise Failed(f"{error.code} {error.reason}") from None
    with answer:
        have = have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        _require_space(part.parent, (total or have) - have)
        if version := answer.headers.get("ETag") or answer.headers.get("Last-Modified"):
            mark.write_text(version)
        with part.open("ab" if have else "wb") as file, _progress(console) as progress:
            task = progress.add_task("downloading", total=total, completed=have)
            for chunk in _chunks(answer.read):
                file.write(chunk)
                progress.advance(task, len(chunk))
    if total is not None and part.stat().st_size != total:
        raise ConnectionError(f"{part.stat().st_size} of {total} bytes came")
