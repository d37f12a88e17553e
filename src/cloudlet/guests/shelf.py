"""Where finished images wait for the control plane to take them in: a directory each, complete once it has its card."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

CARD = "image.json"


@dataclass(frozen=True, slots=True)
class Card:
    """What the control plane must know of an image. Files are named within its directory. `owner` is the account that
    people know the distribution's images by, `alias` its name where it has one; `user` is whom one logs in as."""

    name: str
    description: str
    owner: str
    root_device: str
    user: str
    disk: str
    format: str
    size_gib: int
    created: float
    alias: str = ""
    kernel: str = ""
    ramdisk: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class Shelf:
    """The directory `images` of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.directory = data_dir / "images"

    def place(self, name: str) -> Path:
        """An empty directory in which an image may be made; whatever was begun there is removed."""
        place = self.directory / f".{name}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700, parents=True)
        return place

    def put(self, place: Path, card: Card) -> Path:
        """The image in `place` is complete: from now on it is on the shelf."""
        text = json.dumps({**asdict(card), "tags": dict(card.tags)}, indent=2)
        (place / CARD).write_text(text + "\n")
        for path in place.iterdir():
            _sync(path)
        final = self.directory / card.name
        shutil.rmtree(final, ignore_errors=True)
        os.replace(place, final)
        _sync(self.directory)
        return final


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
