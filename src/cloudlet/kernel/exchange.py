"""One request and what came of it, for a service that keeps a record of its requests."""

from collections.abc import Mapping
from typing import Any

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Request


class Exchange(msgspec.Struct):
    """`path` is as the protocol's templates speak of it, and `began` when the request was read by `clock`. The rest
    stands here as soon as it is known, so that of a failure the last parts are missing: who calls, what is asked,
    what the service's admission found, and what the operation answered or raised."""

    request: Request
    path: str
    request_id: str
    clock: Clock
    began: float
    call: Call | None = None
    members: Mapping[str, Any] = msgspec.field(default_factory=dict)
    admitted: Any = None
    output: Any = None
    error: AwsError | None = None
