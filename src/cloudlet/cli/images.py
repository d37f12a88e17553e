"""`cloudlet images`: machine images made from a distribution's packages, or taken from a file."""

import argparse
import os

from rich.console import Console

from cloudlet.cli import Complaint
from cloudlet.config import Config
from cloudlet.guests import debian
from cloudlet.guests.shelf import Shelf


def images(config: Config, arguments: argparse.Namespace) -> int:
    """Runs one of its verbs."""
    if os.geteuid() != 0:
        raise Complaint("making an image needs root: sudo cloudlet images build")
    return build(config, arguments.recipe)


def build(config: Config, recipe: str) -> int:
    """Makes an image; the control plane, where one runs, takes it in by itself."""
    console = Console(highlight=False, soft_wrap=True)
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
    console.print(f"made {card.name}")
    return 0
