"""Which log drivers a container may name on Fargate, and with which options."""

from typing import Any

from cloudlet.kernel.service import Input
from cloudlet.services.ecs.api import ClientException, unsupported

_AWSLOGS_OPTIONS = {"awslogs-group", "awslogs-region", "awslogs-stream-prefix", "awslogs-create-group", "mode",
                    "max-buffer-size"}


def log_configuration(given: Input) -> dict[str, Any]:
    """A container's logConfiguration, checked. Raises ClientException."""
    driver, options = given["logDriver"], given.get("options") or {}
    if given.get("secretOptions"):
        raise unsupported("The log configuration's secretOptions", ClientException)
    if driver == "json-file" and not options:
        return dict(given)
    if driver not in ("awslogs", "splunk", "awsfirelens"):
        raise ClientException(f"{driver} is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]")
    if driver != "awslogs":
        raise unsupported(f"The log driver {driver}", ClientException)
    if not options.get("awslogs-group") or not options.get("awslogs-region"):
        raise ClientException("Log driver awslogs requires options: awslogs-region, awslogs-group")
    if not options.get("awslogs-stream-prefix"):
        raise ClientException("Log driver awslogs requires the option awslogs-stream-prefix on Fargate.")
    for option in options:
        if option not in _AWSLOGS_OPTIONS:
            raise unsupported(f"The awslogs option {option}", ClientException)
    return dict(given)
