"""Receipt handles: which receive of which message of which queue."""

import base64
import binascii
import struct
from typing import NamedTuple

from cloudlet.services.sqs.records import Queue
from cloudlet.services.sqs.service import ReceiptHandleIsInvalid

_FORM = struct.Struct(">QQI")
_MARK = b"clq1"


class Receipt(NamedTuple):
    """A message's id, and the how-manieth receive of it."""

    id: int
    receives: int


def issue(queue: Queue, number: int, receives: int) -> str:
    """The handle of one receive."""
    return base64.b64encode(_MARK + _FORM.pack(queue.id, number, receives)).decode()


def read(queue: Queue, handle: str) -> Receipt:
    """What a handle says. Raises ReceiptHandleIsInvalid for what was never one of this queue."""
    try:
        data = base64.b64decode(handle, validate=True)
        if data[:4] != _MARK:
            raise ValueError
        queue_id, number, receives = _FORM.unpack(data[4:])
    except (ValueError, struct.error, binascii.Error):
        queue_id = number = receives = 0
    if queue_id != queue.id:
        raise ReceiptHandleIsInvalid(f'The input receipt handle "{handle[:1024]}" is not a valid receipt handle.')
    return Receipt(number, receives)
