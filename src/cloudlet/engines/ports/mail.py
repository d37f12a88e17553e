"""The port to the server that takes mail."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail, in plain text. `sender` is a name (the address is the installation's), `to` an address, and `id` never
    that of another letter."""

    id: str
    sender: str
    to: str
    subject: str
    text: str


class Mail(Protocol):
    """The mail server of the installation."""

    async def send(self, letter: Letter) -> None:
        """The server has taken the letter.

        Raises Busy where it cannot be reached, does not let us in or wants to be asked later, Refused where it will
        never take this letter.
        """
        ...
