"""STS: who is calling, and temporary credentials of roles."""

from cloudlet.services.sts import caller
from cloudlet.services.sts.service import sts

__all__ = ["caller", "sts"]
