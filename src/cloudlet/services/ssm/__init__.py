"""Systems Manager's Parameter Store; the front door for whoever reads a parameter for a workload, or publishes some."""

from cloudlet.services.ssm import describing, labels, parameters, reading, tags
from cloudlet.services.ssm.public import PublicParameter, Publisher, public_parameters
from cloudlet.services.ssm.reading import permission, read_value
from cloudlet.services.ssm.service import ssm

__all__ = ["PublicParameter", "Publisher", "describing", "labels", "parameters", "permission", "public_parameters",
           "read_value", "reading", "ssm", "tags"]
