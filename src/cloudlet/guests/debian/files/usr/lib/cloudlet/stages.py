#!/usr/bin/python3
"""Runs cloud-init's stages in children of one process that has loaded it once.

An emulated processor takes seconds to load Python and cloud-init, and each stage would do so anew. The stages are
unchanged; a service says which one by a line on one pipe, and reads its exit status from another.
"""

import contextlib
import gc
import importlib
import os
import pickle
import pkgutil
import random
import sys

ASK, ANSWER = "/run/cloudlet-ask", "/run/cloudlet-answer"


def preload() -> None:
    """Everything that a stage may need."""
    import cloudinit.cmd.main
    import cloudinit.config
    import cloudinit.sources.DataSourceEc2
    import cloudinit.stages
    for found in pkgutil.iter_modules(cloudinit.config.__path__, "cloudinit.config."):
        try:
            importlib.import_module(found.name)
        except ImportError:
            pass  # what it needs is not installed: then nobody configured it
    remember()
    with contextlib.suppress(Exception):  # it is done again by whoever needs it
        cloudinit.stages.fetch_base_config()
    settle()


def settle() -> None:
    """What is there now stays: or each stage would copy all of it, only to see that it is still needed."""
    gc.collect()
    gc.freeze()


def remember() -> None:
    """Text that was parsed once is not parsed again. A stage reads the configuration five times and more, which takes
    an emulated processor a second."""
    import yaml
    parse, known = yaml.load, {}

    def load(stream, Loader):
        if not isinstance(stream, (str, bytes)):
            return parse(stream, Loader)
        key = Loader, stream
        if key not in known:
            value = parse(stream, Loader)
            try:
                known[key] = pickle.dumps(value)
            except Exception:
                return value
        return pickle.loads(known[key])
    yaml.load = load


def look() -> None:
    """What cloud-init asks programs about the image and keeps."""
    from cloudinit import util
    for name in ("is_container", "get_linux_distro", "lsb_release", "get_dpkg_architecture"):
        with contextlib.suppress(Exception):  # it is done again by whoever needs it
            getattr(util, name)()
    settle()


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
            look()
            status = hold()
        else:
            status = run(words)
        with open(ANSWER, "w") as answer:
            answer.write(f"{status}\n")


serve()
