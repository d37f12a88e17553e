"""Clusters and capacity providers."""

import pytest

from cloudlet.services.ecs import ecs
from cloudlet.services.ecs.api import ClusterNotFoundException, InvalidParameterException
from tests.services.desk import Desk

ARN = "arn:aws:ecs:us-east-1:123456789012:cluster/"


def test_create_describe_list_delete(desk: Desk) -> None:
    made = desk(ecs, "CreateCluster", clusterName="c", tags=[{"key": "k", "value": "v"}])["cluster"]
    assert made["clusterArn"] == ARN + "c"
    assert made["status"] == "ACTIVE"
    assert made["settings"] == [{"name": "containerInsights", "value": "disabled"}]
    assert made["tags"] == [{"key": "k", "value": "v"}]
    assert desk(ecs, "CreateCluster")["cluster"]["clusterName"] == "default"
    assert desk(ecs, "ListClusters")["clusterArns"] == [ARN + "c", ARN + "default"]
    answer = desk(ecs, "DescribeClusters", clusters=["c", "d", ARN + "default"], include=["STATISTICS"])
    assert [c["clusterName"] for c in answer["clusters"]] == ["c", "default"]
    assert answer["failures"] == [{"arn": ARN + "d", "reason": "MISSING"}]
    assert {"name": "runningFargateTasksCount", "value": "0"} in answer["clusters"][0]["statistics"]
    assert answer["clusters"][0]["tags"] == []
    assert desk(ecs, "DeleteCluster", cluster="c")["cluster"]["status"] == "INACTIVE"
    assert desk(ecs, "ListClusters")["clusterArns"] == [ARN + "default"]
    assert desk(ecs, "DescribeClusters", clusters=["c"])["clusters"][0]["status"] == "INACTIVE"
    with pytest.raises(ClusterNotFoundException, match="The referenced cluster was inactive"):
        desk(ecs, "ListTasks", cluster="c")


def test_the_default_cluster_is_there_once_it_is_made(desk: Desk) -> None:
    with pytest.raises(ClusterNotFoundException, match="Cluster not found"):
        desk(ecs, "ListServices")
    desk(ecs, "CreateCluster")
    assert desk(ecs, "ListServices")["serviceArns"] == []


def test_creating_again_answers_what_is_there_and_revives_what_was_deleted(desk: Desk) -> None:
    desk(ecs, "CreateCluster", clusterName="c", tags=[{"key": "k", "value": "v"}])
    assert desk(ecs, "CreateCluster", clusterName="c")["cluster"]["tags"] == [{"key": "k", "value": "v"}]
    desk(ecs, "DeleteCluster", cluster="c")
    assert desk(ecs, "CreateCluster", clusterName="c")["cluster"]["tags"] == []


def test_settings_and_providers_change(desk: Desk) -> None:
    desk(ecs, "CreateCluster", clusterName="c")
    insights = [{"name": "containerInsights", "value": "enabled"}]
    assert desk(ecs, "UpdateClusterSettings", cluster="c", settings=insights)["cluster"]["settings"] == insights
    assert desk(ecs, "UpdateCluster", cluster="c")["cluster"]["settings"] == insights
    strategy = [{"capacityProvider": "FARGATE", "weight": 1, "base": 0}]
    put = desk(ecs, "PutClusterCapacityProviders", cluster="c", capacityProviders=["FARGATE", "FARGATE_SPOT"],
               defaultCapacityProviderStrategy=strategy)["cluster"]
    assert put["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    assert put["defaultCapacityProviderStrategy"] == strategy
    with pytest.raises(InvalidParameterException, match="not associated with the cluster"):
        desk(ecs, "PutClusterCapacityProviders", cluster="c", capacityProviders=[],
             defaultCapacityProviderStrategy=strategy)
    with pytest.raises(InvalidParameterException, match="not found"):
        desk(ecs, "CreateCluster", clusterName="d", capacityProviders=["mine"])
    found = desk(ecs, "DescribeCapacityProviders", capacityProviders=["FARGATE", "mine"])
    assert [p["name"] for p in found["capacityProviders"]] == ["FARGATE"]
    assert found["failures"][0]["reason"] == "MISSING"


def test_what_is_not_honoured_is_refused(desk: Desk) -> None:
    for given in ({"configuration": {"executeCommandConfiguration": {"kmsKeyId": "k"}}},
                  {"configuration": {"managedStorageConfiguration": {"fargateEphemeralStorageKmsKeyId": "k"}}},
                  {"serviceConnectDefaults": {"namespace": "n"}}):
        with pytest.raises(InvalidParameterException, match="not supported by Cloudlet yet"):
            desk(ecs, "CreateCluster", **given)
    with pytest.raises(InvalidParameterException, match="letters, numbers, hyphens"):
        desk(ecs, "CreateCluster", clusterName="a b")


def test_what_is_said_about_exec_is_kept(desk: Desk) -> None:
    kept = {"executeCommandConfiguration": {"logging": "OVERRIDE", "logConfiguration": {
        "cloudWatchLogGroupName": "/aws/ecs/c"}}}
    assert desk(ecs, "CreateCluster", clusterName="c", configuration=kept)["cluster"]["configuration"] == kept
    described = desk(ecs, "DescribeClusters", clusters=["c"], include=["CONFIGURATIONS"])["clusters"][0]
    assert described["configuration"] == kept
    assert "configuration" not in desk(ecs, "DescribeClusters", clusters=["c"])["clusters"][0]
    default = {"executeCommandConfiguration": {"logging": "DEFAULT"}}
    assert desk(ecs, "UpdateCluster", cluster="c", configuration=default)["cluster"]["configuration"] == default
    with pytest.raises(InvalidParameterException, match="must be specified when the logging is OVERRIDE"):
        desk(ecs, "UpdateCluster", cluster="c", configuration={"executeCommandConfiguration": {"logging": "OVERRIDE"}})


def test_capacity_providers_are_listed_in_pages(desk: Desk) -> None:
    first = desk(ecs, "DescribeCapacityProviders", maxResults=1)
    second = desk(ecs, "DescribeCapacityProviders", maxResults=1, nextToken=first["nextToken"])
    assert [page["capacityProviders"][0]["type"] for page in (first, second)] == ["FARGATE", "FARGATE_SPOT"]
    assert "nextToken" not in second
    desk(ecs, "CreateCluster", clusterName="c", capacityProviders=["FARGATE"])
    assert len(desk(ecs, "DescribeCapacityProviders", cluster="c")["capacityProviders"]) == 1


def test_tags_of_a_cluster(desk: Desk) -> None:
    desk(ecs, "CreateCluster", clusterName="c", tags=[{"key": "a", "value": "1"}])
    desk(ecs, "TagResource", resourceArn=ARN + "c", tags=[{"key": "a", "value": "2"}, {"key": "b"}])
    assert desk(ecs, "ListTagsForResource", resourceArn=ARN + "c")["tags"] == [
        {"key": "a", "value": "2"}, {"key": "b", "value": ""}]
    desk(ecs, "UntagResource", resourceArn=ARN + "c", tagKeys=["a", "z"])
    assert desk(ecs, "ListTagsForResource", resourceArn=ARN + "c")["tags"] == [{"key": "b", "value": ""}]
    for tags, words in (([{"key": "aws:x"}], "reserved"), ([{"key": "k"}, {"key": "k"}], "Duplicate"),
                        ([{"key": f"k{n}"} for n in range(51)], "maximum number of tags")):
        with pytest.raises(InvalidParameterException, match=words):
            desk(ecs, "TagResource", resourceArn=ARN + "c", tags=tags)
    for arn in (ARN + "d", "arn:aws:ecs:us-east-1:210987654321:cluster/c"):
        with pytest.raises(Exception, match="not found"):
            desk(ecs, "ListTagsForResource", resourceArn=arn)
