"""Subscription filters: where a group's events are to be sent; none of the services they can be sent to is here yet."""

from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import Input, Output
from cloudlet.services.logs import pattern
from cloudlet.services.logs.groups import of_standard_class, requested_group, the_group
from cloudlet.services.logs.metric_filters import refuse_unsupported
from cloudlet.services.logs.service import InvalidParameter, ResourceNotFound, logs
from cloudlet.store.db import Tx

_MISSING = {  # in AWS's words, by the service of a destination
    "lambda": "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute"
              " your function.",
    "kinesis": "Could not deliver test message to specified Kinesis stream. Check if the given kinesis stream is in"
               " ACTIVE state.",
    "firehose": "Could not deliver test message to specified Firehose stream. Check if the given Firehose stream is in"
                " ACTIVE state."}


@logs.write(resources=the_group)
def put_subscription_filter(call: Call, tx: Tx, request: Input) -> Output:
    """Refused in the end: AWS sends a test message to a destination first, and there is none that could take it."""
    of_standard_class(requested_group(call, tx, request), "Subscription filters")
    refuse_unsupported(request)
    pattern.compiled(request["filterPattern"])
    arn = Arn.parse(request["destinationArn"])
    if arn is not None and arn.service == "logs":
        raise ResourceNotFound("The specified destination does not exist.")
    if arn is None or arn.service not in _MISSING:
        raise InvalidParameter("destinationArn for vendor " + (arn.service if arn else "") + " cannot be used.")
    raise InvalidParameter(_MISSING[arn.service])


@logs.read(resources=the_group)
def describe_subscription_filters(call: Call, tx: Tx, request: Input) -> Output:
    """The subscription filters of a group: none, as none could be made."""
    requested_group(call, tx, request)
    return {"subscriptionFilters": []}


@logs.write(resources=the_group)
def delete_subscription_filter(call: Call, tx: Tx, request: Input) -> Output:
    """There is none to delete."""
    requested_group(call, tx, request)
    raise ResourceNotFound("The specified subscription filter does not exist.")
