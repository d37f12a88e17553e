"""Which log drivers a container may name on Fargate, and with which options."""

import re
from typing import Any

from cloudlet.kernel import pattern
from cloudlet.kernel.service import Input
from cloudlet.services.ecs.api import ClientException, unsupported
from cloudlet.services.ecs.log_events import beginning

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html
_AWSLOGS_OPTIONS = ("awslogs-group", "awslogs-region", "awslogs-stream-prefix", "awslogs-create-group",
                    "awslogs-datetime-format", "awslogs-multiline-pattern", "mode", "max-buffer-size")
_UNKEPT = ("json-file", "none")  # which Fargate does not know; of CloudWatch Logs they ask nothing
_SIZE = re.compile(r"[0-9]+(\.[0-9]+)? ?[kmgtKMGT]?[iI]?[bB]?")  # Docker's units.RAMInBytes


def log_configuration(given: Input) -> dict[str, Any]:
    """A container's logConfiguration, checked. Raises ClientException."""
    driver, options = given["logDriver"], given.get("options") or {}
    if driver not in ("awslogs", "splunk", "awsfirelens", *_UNKEPT):
        raise ClientException(f"{driver} is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]")
    if driver in ("splunk", "awsfirelens"):
        raise unsupported(f"The log driver {driver}", ClientException)
    if given.get("secretOptions"):
        raise unsupported(f"secretOptions of the log driver {driver}, none of whose options is secret,",
                          ClientException)
    if driver == "awslogs":
        _check_awslogs(options)
    elif options:
        raise ClientException(f"Log driver {driver} disallows options: {', '.join(options)}")
    return dict(given)


def _check_awslogs(options: dict[str, str]) -> None:
    strange = [option for option in options if option not in _AWSLOGS_OPTIONS]
    if strange:
        raise ClientException(f"Log driver awslogs disallows options: {', '.join(strange)}")
    if not options.get("awslogs-group") or not options.get("awslogs-region"):
        raise ClientException("Log driver awslogs requires options: awslogs-region, awslogs-group")
    if not options.get("awslogs-stream-prefix"):
        raise ClientException("Log driver awslogs requires the option awslogs-stream-prefix on Fargate.")
    if options.get("awslogs-create-group") not in (None, "true"):
        raise ClientException("Log driver awslogs option 'awslogs-create-group' should only be set to 'true', else omit"
                              " option.")
    if options.get("mode") not in (None, "blocking", "non-blocking"):
        raise ClientException("Log driver awslogs option 'mode' should be 'blocking' or 'non-blocking'.")
    if "max-buffer-size" in options and not _SIZE.fullmatch(options["max-buffer-size"]):
        raise ClientException("Log driver awslogs option 'max-buffer-size' should be a size such as '10m'.")
    if "max-buffer-size" in options and options.get("mode") == "blocking":
        raise ClientException("Log driver awslogs option 'max-buffer-size' is only supported with the mode"
                              " 'non-blocking'.")
    if "awslogs-datetime-format" in options and "awslogs-multiline-pattern" in options:
        raise ClientException("Log driver awslogs options 'awslogs-datetime-format' and 'awslogs-multiline-pattern'"
                              " cannot be used together.")
    try:
        pattern.occurs(beginning(options), "")
    except pattern.Unusable as error:
        raise ClientException(f"Log driver awslogs cannot use the pattern of multi-line messages: {error}.") from None
