"""What a task takes from Parameter Store and Secrets Manager as it starts, with its execution role and no more.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specifying-sensitive-data.html
"""

from collections.abc import Iterable

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.services import secretsmanager, ssm
from cloudlet.services.ecs.api import AccessDeniedException
from cloudlet.services.ecs.records import Definition, Task
from cloudlet.services.ecs.secret_rules import is_secret
from cloudlet.services.iam import Permissions
from cloudlet.services.sts import role_principal
from cloudlet.store.db import OutOfSpace, Tx

_PERMISSIONS = Permissions((secretsmanager.secretsmanager, ssm.ssm))
_WHAT = "ResourceInitializationError: unable to pull secrets or registry auth: "
_RETRIEVAL = f"{_WHAT}execution resource retrieval failed: "
_RETRIED = "service call has been retried 1 time(s): "

Secrets = tuple[tuple[str, str], ...]  # name and value


class Unreadable(Exception):
    """A value cannot be had; the text is the stoppedReason that AWS would show."""


def read_secrets(tx: Tx, task: Task, definition: Definition, positions: Iterable[int]) -> dict[int, Secrets]:
    """The secrets of the containers at these positions. Raises Unreadable."""
    wanted = {position: definition.containers[position].get("secrets") or () for position in positions}
    if not any(wanted.values()):
        return {}
    reader = _Reader(tx, task)
    return {position: tuple((secret["name"], reader.value(secret["valueFrom"])) for secret in secrets)
            for position, secrets in wanted.items()}


def registry_login(tx: Tx, task: Task, definition: Definition, position: int) -> tuple[str, str] | None:
    """The user name and password for a container's registry, if its definition says where they are. Raises Unreadable.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/private-auth.html"""
    given = definition.containers[position].get("repositoryCredentials")
    if not given:
        return None
    text = _Reader(tx, task).login(given["credentialsParameter"])
    try:
        login = msgspec.json.decode(text, type=dict[str, str])
        return login["username"], login["password"]
    except (msgspec.DecodeError, KeyError):
        raise Unreadable(f"{_WHAT}unable to get registry credentials: the secret {given['credentialsParameter']} is not"
                         " a JSON object with a username and a password") from None


class _Reader:
    """Acts with a task's execution role, which it assumes first. Raises Unreadable."""

    def __init__(self, tx: Tx, task: Task) -> None:
        self._tx, self._task = tx, task
        if not task.execution_role:
            raise Unreadable(f"{_RETRIEVAL}the task has no execution role")
        try:
            principal = role_principal(tx, task.execution_role, task.id, task.arn)
        except OutOfSpace:
            raise
        except AwsError as error:
            raise Unreadable(f"{_RETRIEVAL}{error.message}") from None
        self._call = Call(tx.token(32), principal.account, task.region, principal, tx.now, "")

    def value(self, reference: str) -> str:
        """The value that a definition refers to."""
        if is_secret(reference):
            return self._secret(f"{_RETRIEVAL}unable to retrieve secret from asm: ", reference)
        said, account = f"{_RETRIEVAL}unable to retrieve secrets from ssm: {_RETRIED}", self._task.account
        try:
            self._check(ssm.permission(account, self._task.region, reference), said)
            return ssm.read_value(self._tx, account, self._task.region, reference)
        except OutOfSpace:
            raise
        except AwsError as error:
            missing = error.code in ("ParameterNotFound", "ParameterVersionNotFound")
            raise Unreadable(f"{said}invalid parameters: {reference}" if missing else self._answered(said, error)
                             ) from None

    def login(self, reference: str) -> str:
        """The secret with a registry's credentials."""
        return self._secret(f"{_WHAT}unable to get registry credentials: ", reference)

    def _secret(self, what: str, reference: str) -> str:
        said, account = f"{what}{_RETRIED}failed to fetch secret {reference} from secrets manager: ", self._task.account
        try:
            self._check(secretsmanager.permission(self._tx, account, self._task.region, reference), said)
            return secretsmanager.read_value(self._tx, account, self._task.region, reference)
        except OutOfSpace:
            raise
        except AwsError as error:
            asked = error.code != "InvalidParameterException"  # which is what we made of the answer
            raise Unreadable(self._answered(said, error) if asked else f"{what}{error.message}") from None

    def _check(self, needed: tuple[str, str], said: str) -> None:
        action, resource = needed
        refused = _PERMISSIONS.refusal(self._tx, self._call, action, (resource,))
        if refused is not None:
            raise Unreadable(self._answered(said, AccessDeniedException(refused.message)))

    def _answered(self, said: str, error: AwsError) -> str:
        return f"{said}{error.code}: {error.message} status code: {error.status}, request id: {self._call.request_id}"
