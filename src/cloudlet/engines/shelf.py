"""Where finished machine images wait to be taken in: a directory each, whose `image.json` is there when it is whole."""

import logging
import os
import shutil
from pathlib import Path

import msgspec

from cloudlet.engines.ports import Card, LayerSource, Shelved

log = logging.getLogger(__name__)

CARD, PROBLEM, REMOVED = "image.json", "problem", "removed"


def place_of(images: Path, name: str) -> Path:
    """The directory of an image; names may have slashes (`ubuntu/images/…`), and none has a tilde."""
    return images / name.replace("/", "~")


class Shelf:
    """One installation's; `guests.shelf` is the side from which it is filled."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def images(self) -> tuple[Shelved, ...]:
        """All that lie there, in order of name; a card that cannot be read is none."""
        return tuple(image for card in sorted(self._directory.glob("*/" + CARD)) if (image := read_card(card)))

    def empty(self, image: str, problem: str) -> None:
        """Removes an image's files, but for its card (that too, if it was removed); what is gone already is fine."""
        place = place_of(self._directory, image)
        card = read_card(place / CARD)
        if card is None:
            return
        if card.removed:
            shutil.rmtree(place, ignore_errors=True)
            return
        if problem:
            draft = place / f".{PROBLEM}"
            draft.write_text(problem + "\n")
            os.replace(draft, place / PROBLEM)
        for file in (card.card.kernel, card.card.ramdisk, card.card.disk):  # the disk last: it says that it waits
            if file:
                (place / file).unlink(missing_ok=True)


def read_card(path: Path) -> Shelved | None:
    """The image of that card; None where there is none, or none that can be read."""
    try:
        card = msgspec.json.decode(path.read_bytes(), type=Card)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.DecodeError as error:
        log.warning("%s: not an image's card: %s", path, error)
        return None
    files = (card.disk, card.kernel, card.ramdisk)
    misplaced = path.parent != place_of(path.parent.parent, card.name)
    if path.parent.name.startswith(".") or misplaced or any("/" in file for file in files):
        return None
    place = path.parent
    source = LayerSource(str(place / card.disk), card.format, str(place / card.kernel) if card.kernel else None,
                         str(place / card.ramdisk) if card.ramdisk else None)
    return Shelved(card, source if (place / card.disk).is_file() else None, (place / REMOVED).exists())
