"""Random passwords."""

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.secretsmanager.service import InvalidParameter, InvalidRequest, secretsmanager
from cloudlet.store.db import Tx

LENGTH = 32
KINDS = {"ExcludeLowercase": "abcdefghijklmnopqrstuvwxyz", "ExcludeUppercase": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
         "ExcludeNumbers": "0123456789", "ExcludePunctuation": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"}
DRAWN_DIGITS = 24  # hex digits for one choice: so many that no choice is likelier than another by more than 2^-80


@secretsmanager.read(resources=any_resource)
def get_random_password(call: Call, tx: Tx, request: Input) -> Output:
    """A password of 32 characters, or so many as asked for, with one of each kind unless that is not required."""
    length, excluded = request.get("PasswordLength", LENGTH), set(request.get("ExcludeCharacters", ""))
    kinds = [characters for member, characters in KINDS.items() if not request.get(member)]
    if request.get("IncludeSpace"):
        kinds.append(" ")
    kinds = ["".join(character for character in kind if character not in excluded) for kind in kinds]
    required = request.get("RequireEachIncludedType", True)
    if required and not all(kinds):
        raise InvalidParameter("At least one of the required character types has all of its characters excluded.")
    alphabet = "".join(kinds)
    if not alphabet:
        raise InvalidParameter("You excluded all characters that a password could be made of.")
    if required and length < len(kinds):
        raise InvalidRequest("Password length is too short based on the required types.")
    password = [_choice(tx, kind) for kind in kinds] if required else []
    password += [_choice(tx, alphabet) for _ in range(length - len(password))]
    for last in range(len(password) - 1, 0, -1):  # Fisher and Yates, so that no kind has a place of its own
        other = _below(tx, last + 1)
        password[last], password[other] = password[other], password[last]
    return {"RandomPassword": "".join(password)}


def _choice(tx: Tx, characters: str) -> str:
    return characters[_below(tx, len(characters))]


def _below(tx: Tx, limit: int) -> int:
    return int(tx.token(DRAWN_DIGITS), 16) % limit
