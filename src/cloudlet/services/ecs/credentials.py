"""The credentials of task roles: minted when asked for, and renewed well before they end."""

from weakref import WeakKeyDictionary

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ecs.records import Task
from cloudlet.services.sts import TemporaryCredentials, role_credentials
from cloudlet.store.db import Store, Tx

DURATION_S = 6 * 3600  # as the ECS agent gets them
RENEW_S = 2 * 3600  # before they end; SDKs ask again 15 minutes before


class TaskCredentials:
    """The current credentials by task. After a restart new ones are minted; the old stay good until they end."""

    def __init__(self) -> None:
        self._current: dict[str, TemporaryCredentials] = {}

    def of(self, tx: Tx, task: Task) -> TemporaryCredentials:
        """Credentials of the task's role with more than two hours to live. Raises AwsError where there are none."""
        current = self._current.get(task.key)
        if current is None or current.expires - tx.now < RENEW_S:
            self._current[task.key] = current = role_credentials(
                tx, task.task_role, task.id, DURATION_S, task.arn)
        return current

    def forget(self, task: Task) -> None:
        """The task has stopped: nobody asks any more."""
        self._current.pop(task.key, None)


_of_store: WeakKeyDictionary[Store, TaskCredentials] = WeakKeyDictionary()


def task_credentials(store: Store) -> TaskCredentials:
    """The one cache over a store: what the loop minted to see that the role is there, the task then reads."""
    return _of_store.setdefault(store, TaskCredentials())


def refusal(task: Task, error: AwsError) -> str:
    """The stoppedReason of a task whose role cannot be assumed, in AWS's words."""
    return (f"ECS was unable to assume the role '{task.task_role}' that was provided for this task. Please verify that"
            " the role being passed has the proper trust relationship and permissions and that your IAM user has"
            f" permissions to pass this role. ({error.code})")
