"""Images brought to the shelf: from files, from a server that breaks off, and what is refused."""

import hashlib
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from cloudlet.cli import image_files, main
from cloudlet.engines.shelf import Shelf as Seen
from cloudlet.guests.shelf import Shelf
from cloudlet.kernel.names import derived_id

BOOTABLE = b"\0" * 510 + b"\x55\xaa" + b"grub" * (1 << 20) + b"\0" * (3 << 20)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A disk that could be started from, by its first sector's word."""
    path = tmp_path / "debian-12-generic-ec2-amd64.raw"
    path.write_bytes(BOOTABLE)
    return path


def take(shelf: Shelf, source: object, **given: str) -> str:
    card = image_files.take(image_files.Order(str(source), **given), shelf, Console(quiet=True))
    return card.name


def test_a_file_is_on_the_shelf_as_its_distribution_calls_it(tmp_path: Path, file: Path) -> None:
    shelf = Shelf(tmp_path / "data")
    name = take(shelf, file, sha256=hashlib.sha256(BOOTABLE).hexdigest())
    found = shelf.find(name)
    assert found is not None and found.source is not None
    card = found.card
    assert (card.name, card.owner, card.user, card.root_device, card.format, card.kernel) == (
        "debian-12-generic-ec2-amd64", "136693071363", "admin", "/dev/xvda", "raw", "")
    assert Path(found.source.path).read_bytes() == BOOTABLE
    assert Seen(shelf.directory).images() == (found,), "the control plane sees the same"


def test_a_name_with_slashes_and_what_a_person_says(tmp_path: Path, file: Path) -> None:
    shelf = Shelf(tmp_path / "data")
    name = take(shelf, file, name="ubuntu/images/jammy-22.04", user="me", root_device="/dev/sda1")
    (found,) = Seen(shelf.directory).images()
    assert (found.card.name, found.card.user, found.card.root_device, found.card.owner) == (
        name, "me", "/dev/sda1", "099720109477")
    Seen(shelf.directory).empty(name, "it does not start")
    assert shelf.problem(name) == "it does not start"
    again = shelf.find(name)
    assert again is not None and again.source is None
    shelf.remove(name)
    assert shelf.find(name) is None and Seen(shelf.directory).images()[0].removed
    Seen(shelf.directory).empty(name, "")
    assert Seen(shelf.directory).images() == ()


@pytest.mark.parametrize(("content", "given", "words"), [
    (BOOTABLE, {"sha256": "0" * 64}, "its SHA-256 is"), (b"#!/bin/sh", {}, "neither a qcow2 file nor"),
    (b"", {}, "empty"), (BOOTABLE, {"name": "a"}, "no name"), (BOOTABLE, {"name": "../../etc"}, "no name")])
def test_what_is_refused_leaves_nothing(tmp_path: Path, content: bytes, given: dict[str, str], words: str) -> None:
    path, shelf = tmp_path / "image.img", Shelf(tmp_path / "data")
    path.write_bytes(content)
    with pytest.raises(image_files.Failed, match=words):
        take(shelf, path, **given)
    with pytest.raises(image_files.Failed, match="no such file"):
        take(shelf, tmp_path / "nothing")
    assert not shelf.directory.exists() or list(shelf.directory.iterdir()) == []


@pytest.mark.engine("qemu-img")
def test_a_file_on_top_of_another_is_refused(tmp_path: Path, file: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(file), "-F", "raw", str(overlay)], check=True)
    with pytest.raises(image_files.Failed, match="refers to another file"):
        take(Shelf(tmp_path / "data"), overlay)


# ── From a server ────────────────────────────────────────────────────────────────────────────────────────────────────


class Server(ThreadingHTTPServer):
    """Serves one file, breaks off after `limit` bytes of each answer, and notes the ranges it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content, self.version, self.limit = BOOTABLE, '"one"', 1 << 40
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/images/fedora-41.raw"


class _Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        same = asked is not None and self.headers.get("If-Range") == self.server.version
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and same else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if same else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.version)
        self.end_headers()
        self.wfile.write(body[:self.server.limit])

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_a_download_goes_on_where_it_was_cut_off(tmp_path: Path, server: Server) -> None:
    shelf = Shelf(tmp_path / "data")
    server.limit = 3 << 20
    with pytest.raises(image_files.Failed, match="cut off"):
        take(shelf, server.url)
    assert shelf.images() == []
    server.limit = 1 << 40
    name = take(shelf, server.url, sha256=hashlib.sha256(BOOTABLE).hexdigest())
    assert server.asked == [None, f"bytes={3 << 20}-"]
    (found,) = shelf.images()
    assert (found.card.name, found.card.user) == (name, "fedora")
    assert found.source is not None and Path(found.source.path).read_bytes() == BOOTABLE
    assert list((shelf.directory / ".downloads").iterdir()) == []


def test_a_file_that_changed_meanwhile_is_begun_anew(tmp_path: Path, server: Server) -> None:
    shelf = Shelf(tmp_path / "data")
    server.limit = 3 << 20
    with pytest.raises(image_files.Failed, match="cut off"):
        take(shelf, server.url)
    server.limit, server.version, server.content = 1 << 40, '"two"', BOOTABLE + b"more"
    take(shelf, server.url)
    (found,) = shelf.images()
    assert found.source is not None and Path(found.source.path).read_bytes() == BOOTABLE + b"more"


def test_what_does_not_match_is_fetched_again_next_time(tmp_path: Path, server: Server) -> None:
    shelf = Shelf(tmp_path / "data")
    for _ in range(2):
        with pytest.raises(image_files.Failed, match="SHA-256"):
            take(shelf, server.url, sha256="0" * 64)
    assert server.asked == [None, None]


# ── As typed ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_import_list_and_remove_without_a_control_plane(tmp_path: Path, file: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--data-dir", str(tmp_path / "data")]
    id = derived_id("ami", "mine")
    assert main(["images", "import", str(file), "--name", "mine", *place]) == 0
    assert f"{id}  mine: available as soon as Cloudlet runs" in capsys.readouterr().out
    assert main(["images", "import", str(file), "--name", "mine", *place]) == 1
    assert "there is an image mine already" in capsys.readouterr().err
    assert main(["images", "list", *place]) == 0
    assert "waits for Cloudlet" in capsys.readouterr().out
    assert main(["images", "remove", id, *place]) == 0
    assert main(["images", "remove", id, *place]) == 1
    assert main(["images", "build", "windows", *place]) == 1
