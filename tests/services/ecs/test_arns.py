"""How customers may name things."""

import pytest

from cloudlet.services.ecs import arns
from cloudlet.services.ecs.api import ClientException, InvalidParameterException
from tests.services.desk import Desk

CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/c"


def test_a_cluster_by_name_by_arn_or_not_at_all(desk: Desk) -> None:
    call = desk.call()
    assert arns.cluster_name(call, None) == arns.cluster_name(call, "") == "default"
    assert arns.cluster_name(call, "c") == arns.cluster_name(call, CLUSTER) == "c"
    assert arns.cluster_arn(call, "c") == arns.cluster_arn(call, CLUSTER) == CLUSTER


@pytest.mark.parametrize("elsewhere", ["arn:aws:ecs:eu-west-1:123456789012:cluster/c",
                                       "arn:aws:ecs:us-east-1:210987654321:cluster/c"])
def test_nobody_sees_another_accounts_or_regions_clusters(desk: Desk, elsewhere: str) -> None:
    assert arns.cluster_name(desk.call(), elsewhere) is None


@pytest.mark.parametrize("text", ["arn:aws:ecs:us-east-1:123456789012:task/c", "arn:aws:s3:::c", "arn:"])
def test_an_arn_of_another_kind_is_no_cluster(desk: Desk, text: str) -> None:
    with pytest.raises(InvalidParameterException, match="Invalid identifier"):
        arns.cluster_name(desk.call(), text)


def test_revisions(desk: Desk) -> None:
    call = desk.call()
    assert arns.revision(call, "web") == ("web", None)
    assert arns.revision(call, "web:3") == ("web", 3)
    assert arns.revision(call, "arn:aws:ecs:us-east-1:123456789012:task-definition/web:12") == ("web", 12)
    for text in ("web:x", "web:", "web:1:2", "web:٣", "web:" + "9" * 40):
        with pytest.raises(ClientException, match="Invalid revision number"):
            arns.revision(call, text)
