"""Where finished images wait for the control plane to take them in: a directory each, complete once it has its card."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from cloudlet.engines.ports import Card

CARD = "image.json"


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
