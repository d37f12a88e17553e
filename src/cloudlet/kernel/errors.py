"""The three families of errors, which never mix: the customer's, the world's, and mistakes in our declarations.

Anything else that escapes is a bug of ours: the gateway answers it with 500, the loop backs off and records it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self


class AwsError(Exception):
    """What a customer sees. Declared once per code with `Service.error`, then raised by class.

    `message` is the sentence the customer reads; `members` are further members of the modelled error shape.
    """

    code: ClassVar[str] = "InternalFailure"
    status: ClassVar[int] = 500
    sender_fault: ClassVar[bool] = False
    shape_name: ClassVar[str | None] = None
    default_message: ClassVar[str] = "The request processing has failed because of an unknown error."

    def __init__(self, message: str | None = None, **members: Any) -> None:
        self.message = self.default_message if message is None else message
        self.members = members
        self.headers: Mapping[str, str] = {}
        super().__init__(self.message)

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Itself, with headers that its answer has (S3's)."""
        self.headers = {**self.headers, **headers}
        return self


class EngineError(Exception):
    """The world below did not do what was asked. Only its subclasses are raised."""


class Busy(EngineError):
    """The engine cannot answer now (a time-out, a lock, a restart): ask again later."""


class Conflict(EngineError):
    """Something else stands where this object should be: observe and plan again."""


class Refused(EngineError):
    """The engine will never do this as asked; the text says why, in words a customer may read."""


class Unavailable(Refused):
    """The engine's program or privilege is missing on this machine; the text says what installs it."""


class Full(Refused):
    """The host's disk has no space for it; later there may be some."""


class DeclarationError(Exception):
    """Raised at import: a declaration and AWS's service model disagree."""


def declare(code: str, message: str = "", *, status: int = 400, sender: bool | None = None,
            shape_name: str | None = None) -> type[AwsError]:
    """A class for an error that belongs to no single service (signatures, routing, validation). `shape_name`: what JSON
    calls it, where that is not its code."""
    return type(code, (AwsError,), {
        "code": code, "status": status, "sender_fault": status < 500 if sender is None else sender,
        "shape_name": shape_name, "default_message": message or code,
    })
