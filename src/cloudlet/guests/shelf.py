"""Where finished images wait for the control plane to take them in: a directory each, complete once it has its card."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from cloudlet.engines.ports import Card, Shelved
from cloudlet.engines.shelf import CARD, PROBLEM, REMOVED, place_of, read_card


class Shelf:
    """The directory `images` of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.directory = data_dir / "images"

    def place(self, name: str) -> Path:
        """An empty directory in which an image may be made; whatever was begun there is removed."""
        place = self.directory / f".{place_of(self.directory, name).name}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700, parents=True)
        return place

    def put(self, place: Path, card: Card) -> Path:
        """The image in `place` is complete: from now on it is on the shelf."""
        text = json.dumps({**asdict(card), "tags": dict(card.tags)}, indent=2)
        (place / CARD).write_text(text + "\n")
        for path in place.iterdir():
            _sync(path)
        final = place_of(self.directory, card.name)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(place, final)
        _sync(self.directory)
        return final

    def images(self) -> list[Shelved]:
        """All that lie there, also those that have been taken in, in order of name."""
        found = (read_card(card) for card in sorted(self.directory.glob(f"*/{CARD}")))
        return [image for image in found if image is not None and not image.removed]

    def find(self, name: str) -> Shelved | None:
        """The image of that name."""
        found = read_card(place_of(self.directory, name) / CARD)
        return found if found is not None and not found.removed else None

    def problem(self, name: str) -> str:
        """Why an image could not be taken in; "" where nothing is wrong."""
        try:
            return (place_of(self.directory, name) / PROBLEM).read_text().strip()
        except FileNotFoundError:
            return ""

    def remove(self, name: str) -> None:
        """Nobody wants the image any more; the control plane removes it."""
        (place_of(self.directory, name) / REMOVED).touch()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
