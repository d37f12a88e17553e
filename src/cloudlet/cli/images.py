"""`cloudlet images`: machine images made from a distribution's packages, or taken from a file."""

import argparse
import os
import time

from rich.console import Console
from rich.table import Table

from cloudlet.cli import Complaint, endpoint, image_files
from cloudlet.config import Config
from cloudlet.engines.ports import Shelved
from cloudlet.guests import debian
from cloudlet.guests.shelf import Shelf
from cloudlet.kernel.names import derived_id

_POLL_S = 0.5
_WIDTH = 240


def images(config: Config, arguments: argparse.Namespace) -> int:
    """Runs one of its verbs."""
    match arguments.verb:
        case "build":
            return build(config, arguments.recipe)
        case "import":
            return take(config, arguments)
        case "list":
            return show(config)
        case _:
            return remove(config, arguments.image)


def build(config: Config, recipe: str) -> int:
    """Makes an image, and waits until a control plane that runs has taken it in."""
    console = Console(highlight=False, soft_wrap=True)
    if os.geteuid() != 0:
        raise Complaint("making an image needs root: sudo cloudlet images build")
    if recipe not in debian.SUITES:
        raise Complaint(f"there is no recipe {recipe}: choose one of {', '.join(debian.SUITES)}")
    with console.status(f"making {recipe}") as status:
        def say(text: str) -> None:
            status.update(text)
            console.print(f"  {text}")
        try:
            card = debian.build(recipe, Shelf(config.data_dir), say)
        except debian.Failed as failed:
            raise Complaint(f"{recipe} could not be made: {failed}") from None
    return _finish(config, console, card.name)


def take(config: Config, arguments: argparse.Namespace) -> int:
    """Puts a file, or what lies at a URL, on the shelf, and waits as `build` does."""
    console, shelf = Console(highlight=False, soft_wrap=True), Shelf(config.data_dir)
    order = image_files.Order(arguments.source, arguments.name, arguments.sha256, arguments.user,
                              arguments.root_device)
    try:
        name = image_files.name_of(order)
        if shelf.find(name) is not None:
            raise Complaint(f"there is an image {name} already; give this one another --name")
        card = image_files.take(order, shelf, console)
    except image_files.Failed as failed:
        raise Complaint(f"{arguments.source} was not imported: {failed}") from None
    return _finish(config, console, card.name)


def _finish(config: Config, console: Console, name: str) -> int:
    """Says what became of an image that was put on the shelf."""
    shelf, id = Shelf(config.data_dir), derived_id("ami", name)
    if endpoint.find(config) is None:
        console.print(f"{id}  {name}: available as soon as Cloudlet runs")
        return 0
    with console.status(f"taking in {name}"):
        while (image := shelf.find(name)) is not None and image.source is not None:
            if endpoint.find(config) is None:
                raise Complaint(f"Cloudlet has stopped; {id} is available some time after its next start")
            time.sleep(_POLL_S)
    if problem := shelf.problem(name):
        raise Complaint(f"{name} cannot be used: {problem}")
    console.print(f"{id}  {name}: available")
    return 0


def show(config: Config) -> int:
    """Lists the images, and what is the matter with each."""
    shelf = Shelf(config.data_dir)
    table = Table(box=None, pad_edge=False)
    for heading in ("IMAGE", "NAME", "USER", "STATE"):
        table.add_column(heading, no_wrap=True)
    for image in shelf.images():
        table.add_row(derived_id("ami", image.card.name), image.card.name, image.card.user or "-", _state(shelf, image))
    Console(highlight=False, width=_WIDTH).print(table, crop=False)  # a line an image, whatever the terminal's width
    return 0


def _state(shelf: Shelf, image: Shelved) -> str:
    if image.source is not None:
        return "waits for Cloudlet to take it in"
    problem = shelf.problem(image.card.name)
    return f"cannot be used: {problem}" if problem else "available"


def remove(config: Config, image: str) -> int:
    """Removes an image by name or id."""
    shelf = Shelf(config.data_dir)
    found = next((each.card.name for each in shelf.images()
                  if image in (each.card.name, derived_id("ami", each.card.name))), None)
    if found is None:
        raise Complaint(f"there is no image {image} (cloudlet images list)")
    shelf.remove(found)
    return 0
