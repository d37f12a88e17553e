"""The walk-through: what a person does with AWS, done for real, every step checked."""

import time

from cloudlet.demo import containers, machines, objects, queues
from cloudlet.demo.stage import Failed, Stage

CHAPTERS = (containers.chapter, machines.chapter, objects.chapter, queues.chapter)


def walk(url: str, aws: str, data_dir: str) -> int:
    """Plays every chapter on the Cloudlet at `url`, which keeps its things in `data_dir`, with the aws CLI `aws`; 1
    where a step did not do what it says."""
    stage = Stage(url, aws, data_dir)
    started = time.monotonic()
    try:
        for chapter in CHAPTERS:
            chapter(stage)
    except Failed as failed:
        stage.console.print(f"\n[bold red]This step did not do what it says:[/] {failed}", highlight=False)
        return 1
    finally:
        stage.clean_up()
    stage.console.print(f"\n[bold green]Everything did what it says[/] ({time.monotonic() - started:.1f} s).")
    return 0
