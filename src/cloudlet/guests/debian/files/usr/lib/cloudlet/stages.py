#!/usr/bin/python3
"""Runs cloud-init's stages in children of one process that has loaded it once.

An emulated processor takes seconds to load Python and cloud-init, and each stage would do so anew. The stages are
unchanged; a service says which one by a line on one pipe, and reads its exit status from another.
"""

import importlib
import os
import pkgutil
import random
import sys

ASK, ANSWER = "/run/cloudlet-ask", "/run/cloudlet-answer"


def preload() -> None:
    """Everything that a stage may need."""
    import cloudinit.cmd.main
    import cloudinit.config
    import cloudinit.sources.DataSourceEc2
    for found in pkgutil.iter_modules(cloudinit.config.__path__, "cloudinit.config."):
        try:
            importlib.import_module(found.name)
        except ImportError:
            pass  # what it needs is not installed: then nobody configured it


def run(words: list[str]) -> int:
    """One stage, in a child that has its output; its exit status."""
    child = os.fork()
    if child == 0:
        from cloudinit.cmd import main
        random.seed()  # many machines may have begun as copies of this process
        sys.argv = ["/usr/bin/cloud-init", *words]
        os._exit(main.main(sys.argv) or 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def serve() -> None:
    """Answers one service after another; `hold` is no stage, and done by whoever has everything loaded."""
    for path in (ASK, ANSWER):
        os.mkfifo(path, 0o600)
    preload()
    while True:
        with open(ASK) as asked:
            words = asked.readline().split()
        if words == ["hold"]:
            from hold import hold
            status = hold()
        else:
            status = run(words)
        with open(ANSWER, "w") as answer:
            answer.write(f"{status}\n")


serve()
