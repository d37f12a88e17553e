"""What tasks ask of the ECS agent at $ECS_AGENT_URI: their own protection, with the rights of the task's role.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

from typing import Any

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import BodyTooLarge, BodyTruncated, Request
from cloudlet.kernel.identity import Identities
from cloudlet.services.ecs.api import AccessDeniedException, InvalidParameterException, ecs
from cloudlet.services.ecs.credentials import TaskCredentials
from cloudlet.services.ecs.records import Task
from cloudlet.store.db import Store, Tx

BODY_MAX = 1 << 10


class _Wish(msgspec.Struct, forbid_unknown_fields=True, rename="pascal"):
    protection_enabled: bool
    expires_in_minutes: int | None = None


class Agent:
    """Answers for the task that asks."""

    def __init__(self, store: Store, identities: Identities, credentials: TaskCredentials) -> None:
        self._store, self._identities, self._credentials = store, identities, credentials

    async def protection(self, request: Request, task: Task) -> tuple[int, dict[str, Any]]:
        """GET or PUT of /task-protection/v1/state: status and answer."""
        given: dict[str, Any] = {"cluster": task.cluster, "tasks": [task.id]}
        operation = "GetTaskProtection"
        try:
            if request.method == "PUT":
                wish = await _wish(request)
                operation = "UpdateTaskProtection"
                given |= {"protectionEnabled": wish.protection_enabled}
                if wish.expires_in_minutes is not None:
                    given["expiresInMinutes"] = wish.expires_in_minutes
            with self._store.tx() as tx:
                answer = self._ask(tx, task, operation, given)
        except AwsError as error:
            return error.status, {"error": {"Arn": task.arn, "Code": error.code, "Message": error.message}}
        if answer["failures"]:
            return 200, {"failure": {"Arn": task.arn, "Detail": None, "Reason": answer["failures"][0]["reason"]}}
        return 200, {"protection": answer["protectedTasks"][0]}

    def _ask(self, tx: Tx, task: Task, operation: str, given: dict[str, Any]) -> Any:
        """An operation of ECS, as the task's role. Raises AwsError."""
        if not task.credentials:
            raise AccessDeniedException("Invalid Request: no task IAM role credentials available for task")
        current = self._credentials.of(tx, task)
        credential = self._identities.credential(tx, current.access_key_id)
        if credential is None:
            raise AccessDeniedException("Invalid Request: no task IAM role credentials available for task")
        call = Call(tx.token(32), task.account, task.region, credential.principal, tx.now, "http://169.254.170.2",
                    access_key_id=current.access_key_id)
        declared = ecs.operations[operation]
        refusal = self._identities.refuses(tx, call, declared.action_of(call, given), (task.arn,))
        if refusal is not None:
            raise AccessDeniedException(refusal.message)
        return declared.run(call, tx, given)


async def _wish(request: Request) -> _Wish:
    try:
        return msgspec.json.decode(await request.body.read(BODY_MAX), type=_Wish)
    except (msgspec.DecodeError, BodyTooLarge, BodyTruncated) as wrong:
        raise InvalidParameterException(f"UpdateTaskProtection: failed to decode request: {wrong}") from None
