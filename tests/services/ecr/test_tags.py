"""Tags on repositories."""

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ecr.service import (
    InvalidParameter,
    InvalidTagParameter,
    RepositoryNotFound,
    TooManyTags,
)
from tests.services.desk import ACCOUNT
from tests.services.ecr.counter import Counter

ARN = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/app"


def tags(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs]


def test_tags_come_and_go(counter: Counter) -> None:
    counter("TagResource", resourceArn=ARN, tags=tags(("a", "1"), ("b", "2")))
    counter("TagResource", resourceArn=ARN, tags=tags(("b", "3")))
    assert counter("ListTagsForResource", resourceArn=ARN) == {"tags": tags(("a", "1"), ("b", "3"))}
    counter("UntagResource", resourceArn=ARN, tagKeys=["a", "nosuch"])
    assert counter("ListTagsForResource", resourceArn=ARN) == {"tags": tags(("b", "3"))}


@pytest.mark.parametrize(("pairs", "error"), [
    ([("", "v")], InvalidTagParameter), ([("k" * 129, "v")], InvalidTagParameter),
    ([("k", "v" * 257)], InvalidTagParameter), ([("aws:k", "v")], InvalidTagParameter),
    ([(f"k{n}", "v") for n in range(51)], TooManyTags)])
def test_tags_that_are_refused(counter: Counter, pairs: list[tuple[str, str]], error: type[AwsError]) -> None:
    with pytest.raises(error):
        counter("TagResource", resourceArn=ARN, tags=tags(*pairs))
    with pytest.raises(error):
        counter("CreateRepository", repositoryName="other", tags=tags(*pairs))
    assert counter("ListTagsForResource", resourceArn=ARN) == {"tags": []}


@pytest.mark.parametrize(("arn", "error"), [
    ("nonsense", InvalidParameter), (f"arn:aws:s3:us-east-1:{ACCOUNT}:repository/app", InvalidParameter),
    (f"arn:aws:ecr:us-east-1:{ACCOUNT}:app", InvalidParameter),
    (ARN.replace("us-east-1", "eu-west-1"), InvalidParameter),
    (ARN.replace(ACCOUNT, "999999999999"), RepositoryNotFound), (ARN + "x", RepositoryNotFound)])
def test_resources_that_are_none(counter: Counter, arn: str, error: type[AwsError]) -> None:
    with pytest.raises(error):
        counter("ListTagsForResource", resourceArn=arn)
