"""`make bench`: every measurement, or those named: `python -m bench requests startup`."""

import importlib
import sys

ALL = ("startup", "store", "requests", "tasks", "scale", "registry", "containers", "networks", "logs", "machines",
       "instances", "listings", "objects", "queues", "backlogs")


def main() -> int:
    """Runs them one after the other; each prints its own table."""
    names = sys.argv[1:] or ALL
    for name in names:
        if name not in ALL:
            print(f"no measurement is called {name}; there are {', '.join(ALL)}")
            return 2
    for name in names:
        print(f"\n== {name} ==", flush=True)
        importlib.import_module(f"bench.{name}").main()
    return 0


sys.exit(main())
