"""Secrets listed by filters: https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_search-secret.html."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.secretsmanager.records import Secret
from cloudlet.services.secretsmanager.secrets import described
from cloudlet.services.secretsmanager.service import InvalidParameter, secretsmanager
from cloudlet.store.db import Tx

Test = Callable[[Secret], bool]
_ORDERS: Mapping[str, Callable[[Secret], Any]] = {
    "created-date": lambda secret: secret.created, "last-accessed-date": lambda secret: secret.accessed or 0.0,
    "last-changed-date": lambda secret: secret.changed, "name": lambda secret: secret.name}
_WORD = re.compile(r"[^ /_+=.@!-]+")


@secretsmanager.read(resources=any_resource)
def list_secrets(call: Call, tx: Tx, request: Input) -> Output:
    """The account's secrets, the newest first unless another order is asked for; without those marked for deletion."""
    secrets = [secret for secret in matching(call, tx, request.get("Filters") or ())
               if secret.deleted is None or request.get("IncludePlannedDeletion")]
    secrets.sort(key=_ORDERS[request.get("SortBy", "created-date")], reverse=request.get("SortOrder", "desc") == "desc")
    return {"SecretList": [described(secret) for secret in secrets]}


def matching(call: Call, tx: Tx, filters: Sequence[Mapping[str, Any]]) -> list[Secret]:
    """The account's secrets that meet every filter, in order of name."""
    tests = [_test(one) for one in filters]
    return [secret for secret in tx.find(Secret, f"{call.scope}/") if all(test(secret) for test in tests)]


def _test(one: Mapping[str, Any]) -> Test:
    key, values = one.get("Key"), one.get("Values")
    if not key:
        raise InvalidParameter("Invalid filter key")
    if not values:
        raise InvalidParameter(f"Invalid filter values for key: {key}")
    return lambda secret: any(_meets(secret, key, value) for value in values)


def _meets(secret: Secret, key: str, value: str) -> bool:
    """One value of one filter; a value that begins with `!` is met by what the rest of it does not meet."""
    negated = value.startswith("!")
    wanted = value[1:] if negated else value
    return _holds(secret, key, wanted) != negated


def _holds(secret: Secret, key: str, wanted: str) -> bool:
    if key == "all":
        texts = (secret.name, secret.description, *secret.tags, *secret.tags.values())
        words = [word.lower() for text in texts for word in _WORD.findall(text)]
        return any(word.startswith(each.lower()) for each in _WORD.findall(wanted) for word in words)
    if key == "description":
        return all(any(word.lower().startswith(each.lower()) for word in _WORD.findall(secret.description))
                   for each in _WORD.findall(wanted))
    return any(text.startswith(wanted) for text in _texts(secret, key))


def _texts(secret: Secret, key: str) -> Iterable[str]:
    """What the filters that compare beginnings, case and all, compare; no secret is a replica or another service's."""
    return {"name": (secret.name,), "tag-key": secret.tags.keys(), "tag-value": secret.tags.values()}.get(key, ())
