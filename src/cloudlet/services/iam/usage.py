"""When access keys and roles were last used: noted in the transactions of the requests themselves, once a minute."""

from cloudlet.kernel.call import Call
from cloudlet.services.iam.records import Usage, key_of_arn
from cloudlet.store.db import Tx

EVERY_S = 60.0
NOTES_MAX = 10_000  # users of which the last note is remembered


class UsageNotes:
    """What was noted last. A use within a minute of one with the same service and region is not written again, so
    that a request hardly ever writes on this account; none needs a commit of its own."""

    def __init__(self) -> None:
        self._noted: dict[str, tuple[float, str, str]] = {}

    def note(self, tx: Tx, call: Call, action: str) -> None:
        """The caller of a request has used its key, or its role."""
        if call.principal.kind == "role":
            key = key_of_arn(call.principal.policy_arn)
        elif call.access_key_id.startswith("AKIA"):
            key = call.access_key_id
        else:
            return
        service = action.partition(":")[0]
        before = self._noted.get(key)
        if before is not None and before[1:] == (call.region, service) and 0 <= call.now - before[0] < EVERY_S:
            return
        if len(self._noted) >= NOTES_MAX:
            self._noted.clear()
        self._noted[key] = (call.now, call.region, service)
        tx.put(Usage(key, call.now, call.region, service))
