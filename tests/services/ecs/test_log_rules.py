"""Log drivers and their options in task definitions."""

from typing import Any

import pytest

from cloudlet.services.ecs.definition_rules import normalized
from tests.services.ecs.test_definition_rules import AWSLOGS, refusal, request


def logging(driver: str, **options: str) -> dict[str, Any]:
    return {"logConfiguration": {"logDriver": driver, **({"options": options} if options else {})}}


def awslogs(**more: str) -> dict[str, Any]:
    return logging("awslogs", **AWSLOGS, **{name.replace("_", "-"): value for name, value in more.items()})


@pytest.mark.parametrize("given", [
    logging("none"), logging("json-file"), awslogs(awslogs_create_group="true", mode="non-blocking"),
    awslogs(mode="blocking", awslogs_datetime_format=r"\[%b %d, %Y %H:%M:%S\]"), awslogs(max_buffer_size="25m"),
    awslogs(awslogs_multiline_pattern=r"^(INFO|ERROR) \d+")], ids=str)
def test_what_is_given_is_shown(given: dict[str, Any]) -> None:
    document = normalized(request(given))
    assert document["containerDefinitions"][0]["logConfiguration"] == given["logConfiguration"]


@pytest.mark.parametrize(("given", "words"), [
    (awslogs(awslogs_endpoint="http://x"), "Log driver awslogs disallows options: awslogs-endpoint"),
    (awslogs(tag="t", labels="l"), "Log driver awslogs disallows options: tag, labels"),
    (awslogs(awslogs_create_group="false"),
     "Log driver awslogs option 'awslogs-create-group' should only be set to 'true', else omit option."),
    (awslogs(mode="maybe"), "'mode' should be 'blocking' or 'non-blocking'"),
    (awslogs(max_buffer_size="much"), "'max-buffer-size' should be a size"),
    (awslogs(mode="blocking", max_buffer_size="1m"), "only supported with the mode 'non-blocking'"),
    (awslogs(awslogs_datetime_format="%d", awslogs_multiline_pattern="x"), "cannot be used together"),
    (awslogs(awslogs_multiline_pattern="("), "cannot use the pattern of multi-line messages: missing )"),
    (awslogs(awslogs_multiline_pattern=r"(a)\1"), "cannot use the pattern"),
    (logging("json-file", max_size="1m"), "Log driver json-file disallows options: max_size"),
    (logging("awslogs", **{"awslogs-group": "g", "awslogs-region": "r"}), "awslogs-stream-prefix on Fargate"),
    (logging("awsfirelens"), "awsfirelens is not supported by Cloudlet yet."),
    (logging("gelf"), "gelf is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]"),
    ({"logConfiguration": {"logDriver": "awslogs", "options": AWSLOGS,
                           "secretOptions": [{"name": "x", "valueFrom": "y"}]}}, "secretOptions of the log driver"),
])
def test_refused(given: dict[str, Any], words: str) -> None:
    assert words in refusal(request(given))
