"""What conditions see of a request's tags, in each of AWS's shapes."""

from typing import Any

import pytest

from cloudlet.kernel.condition_keys import keys_of, tag_keys

SEEN = {"aws:requesttag/team": ("Red",), "aws:tagkeys": ("Team",)}


@pytest.mark.parametrize(("request_", "keys"), [
    ({}, {}),
    ({"tags": []}, {}),
    ({"tags": [{"key": "Team", "value": "Red"}]}, SEEN),
    ({"Tags": [{"Key": "Team", "Value": "Red"}]}, SEEN),
    ({"tags": {"Team": "Red"}}, SEEN),
    ({"TagSpecifications": [{"ResourceType": "vpc", "Tags": [{"Key": "Team", "Value": "Red"}]}]}, SEEN),
    ({"Tags": [{"Key": "Team"}]}, {"aws:requesttag/team": ("",), "aws:tagkeys": ("Team",)}),
    ({"TagKeys": ["Team"]}, {"aws:tagkeys": ("Team",)}),
    ({"tagKeys": ["a", "b"]}, {"aws:tagkeys": ("a", "b")}),
    ({"tags": ["Team"]}, {}), ({"tags": None, "TagSpecifications": None, "TagKeys": None}, {}),
])
def test_tags_in_every_shape(request_: dict[str, Any], keys: dict[str, Any]) -> None:
    assert tag_keys(request_) == keys


def test_keys_of_a_services_own() -> None:
    assert keys_of({"ecs:Cluster": "arn", "sts:TransitiveTagKeys": ["a", "b"], "sts:ExternalId": None}) == {
        "ecs:cluster": ("arn",), "sts:transitivetagkeys": ("a", "b")}
