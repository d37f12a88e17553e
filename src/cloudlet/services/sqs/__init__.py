"""SQS: queues and their messages; the front door for what sends to queues of its own accord."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from cloudlet.control.controller import Controller
from cloudlet.control.rounds import every
from cloudlet.kernel.site import Site
from cloudlet.services.sqs import (
    attributes,
    messages,
    moves,
    permissions,
    queues,
    receiving,
    sending,
    settling,
    tags,
)
from cloudlet.services.sqs.expiry import LOOK_S, Expiry
from cloudlet.services.sqs.peeking import page
from cloudlet.services.sqs.queues import set_keeping_of_names
from cloudlet.services.sqs.records import Queue, find_by_arn
from cloudlet.services.sqs.service import sqs
from cloudlet.store.db import Store, Tx

__all__ = ["TABLES", "Queue", "attributes", "controller", "find_by_arn", "moves", "page", "permissions", "queues",
           "receiving", "send", "sending", "set_keeping_of_names", "settling", "sqs", "tags"]

TABLES = resources.files("cloudlet.services.sqs").joinpath("tables.sql").read_text()


def controller(store: Store, engines: Any, site: Site) -> Controller:
    """The loops of SQS: what moves dead letters, and what makes space."""
    expiry = Expiry(store)
    return Controller({"sqs.move": moves.Moving(store).reconcile, queues.DROP: expiry.drop},
                      workers={"sqs.expiry": every(LOOK_S, expiry.look, store.clock, at_once=False)})


def send(tx: Tx, queue: Queue, sender: str, entry: Mapping[str, Any]) -> str:
    """Puts a message into a queue within the sender's transaction; its MessageId. `entry` has the members of a
    SendMessage request. Raises AWS's errors, and then nothing was put in."""
    message_id = sending.put(tx, queue, sender, entry)[1]
    messages.arouse(tx, queue)
    return message_id
