"""`python -m cloudlet` is the command `cloudlet`."""

import sys

from cloudlet.cli import main

if __name__ == "__main__":
    sys.exit(main())
