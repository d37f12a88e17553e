"""What no bucket has here: configurations of analytics, metrics and archive tiers.

Nothing would act on them, so that they cannot be put. That there are none is true, and what many clients ask first.
"""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.service import NoSuchConfiguration, bucket_arns, s3
from cloudlet.store.db import Tx


def _none(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    require_bucket(tx, call, request)
    return {"IsTruncated": False}


def _missing(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    require_bucket(tx, call, request)
    raise NoSuchConfiguration()


@s3.read(resources=bucket_arns, action="s3:GetAnalyticsConfiguration")
def list_bucket_analytics_configurations(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """None."""
    return _none(call, tx, request)


@s3.read(resources=bucket_arns, action="s3:GetMetricsConfiguration")
def list_bucket_metrics_configurations(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """None."""
    return _none(call, tx, request)


@s3.read(resources=bucket_arns, action="s3:GetIntelligentTieringConfiguration")
def list_bucket_intelligent_tiering_configurations(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """None."""
    return _none(call, tx, request)


@s3.read(resources=bucket_arns, action="s3:GetAnalyticsConfiguration")
def get_bucket_analytics_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """Raises NoSuchConfiguration."""
    return _missing(call, tx, request)


@s3.read(resources=bucket_arns, action="s3:GetMetricsConfiguration")
def get_bucket_metrics_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """Raises NoSuchConfiguration."""
    return _missing(call, tx, request)


@s3.read(resources=bucket_arns, action="s3:GetIntelligentTieringConfiguration")
def get_bucket_intelligent_tiering_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """Raises NoSuchConfiguration."""
    return _missing(call, tx, request)


@s3.write(resources=bucket_arns, action="s3:PutAnalyticsConfiguration")
def delete_bucket_analytics_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """Raises NoSuchConfiguration."""
    return _missing(call, tx, request)


@s3.write(resources=bucket_arns, action="s3:PutMetricsConfiguration")
def delete_bucket_metrics_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """Raises NoSuchConfiguration."""
    return _missing(call, tx, request)


@s3.write(resources=bucket_arns, action="s3:PutIntelligentTieringConfiguration")
def delete_bucket_intelligent_tiering_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """Raises NoSuchConfiguration."""
    return _missing(call, tx, request)
