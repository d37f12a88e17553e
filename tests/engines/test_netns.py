"""Names of network namespaces, beside other programs that make some."""

import subprocess
import sys

import pytest

# In a mount namespace of its own, whose /run/netns is as on a machine that never had a network namespace.
_BESIDE_IP_NETNS = """
import subprocess
from cloudlet.engines import netns
subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
netns.create("cloudlet-first")
subprocess.run(["ip", "netns", "add", "cloudlet-second"], check=True)
netns.create("cloudlet-third")
for name in ("cloudlet-first", "cloudlet-third"):
    netns.remove(name)
assert netns.names("cloudlet-") == ("cloudlet-second",), netns.names("")
subprocess.run(["ip", "netns", "delete", "cloudlet-second"], check=True)
assert netns.names("") == ()
"""


@pytest.mark.root
@pytest.mark.engine("ip")
@pytest.mark.engine("unshare")
def test_a_name_can_go_although_somebody_else_added_one_since() -> None:
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", sys.executable, "-c", _BESIDE_IP_NETNS],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
