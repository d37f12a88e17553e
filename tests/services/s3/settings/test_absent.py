"""What no bucket has: ListBucketAnalyticsConfigurations, GetBucketAnalyticsConfiguration and
DeleteBucketAnalyticsConfiguration; ListBucketMetricsConfigurations, GetBucketMetricsConfiguration and
DeleteBucketMetricsConfiguration; ListBucketIntelligentTieringConfigurations, GetBucketIntelligentTieringConfiguration
and DeleteBucketIntelligentTieringConfiguration."""

import pytest

from tests.services.s3.counter import Counter


@pytest.mark.parametrize("kind", ["analytics", "metrics", "intelligent_tiering"])
def test_there_are_no_such_configurations(counter: Counter, kind: str) -> None:
    assert counter.ask("GET", "/bkt", **{kind: ""}).xml.findtext("IsTruncated") == "false"
    assert counter.ask("GET", "/bkt", **{kind: "", "id": "x"}).code == "NoSuchConfiguration"
    assert counter.ask("DELETE", "/bkt", **{kind: "", "id": "x"}).code == "NoSuchConfiguration"
    assert counter.ask("PUT", "/bkt", b"<a/>", **{kind: "", "id": "x"}).status == 501
    assert counter.ask("GET", "/missing", **{kind: ""}).code == "NoSuchBucket"
