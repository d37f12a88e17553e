"""`python -m tests.simulation SEED [-v]` replays one seed; `python -m tests.simulation FIRST-LAST` plays many."""

import argparse
import logging
import sys
import time
from collections import Counter

from tests.simulation.scenario import CASTS, play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", help="a seed, or FIRST-LAST")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell everything that happens")
    parser.add_argument("--cast", choices=list(CASTS), default="tasks", help="what the stories are about")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    if arguments.verbose:
        logging.basicConfig(stream=sys.stdout, format="             ! %(levelname)s %(message)s")
    did: Counter[str] = Counter()
    failed, began, virtual = 0, time.monotonic(), 0.0
    for seed in range(int(first), int(last or first) + 1):
        report = play(seed, print if arguments.verbose else None, arguments.cast)
        did += report.did
        virtual += report.virtual_s
        if report.complaint:
            failed += 1
            print(f"seed {seed}: {report.complaint[-1500:]}")
    print(f"{failed} failed; {virtual:.0f} virtual seconds in {time.monotonic() - began:.1f} s; {dict(did)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
