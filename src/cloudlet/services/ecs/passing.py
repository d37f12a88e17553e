"""iam:PassRole: whoever names a role for tasks to act with must be allowed to hand it to them.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/security_iam_id-based-policy-examples.html
"""

from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.ecs.api import AccessDeniedException
from cloudlet.services.iam import pass_role_refusal
from cloudlet.store.db import Tx

TASKS = "ecs-tasks.amazonaws.com"


def check_roles(call: Call, tx: Tx, *documents: Mapping[str, Any]) -> None:
    """Raises AccessDeniedException unless the caller may pass every role that a definition, or overrides, name."""
    for role in dict.fromkeys(document.get(member) for document in documents
                              for member in ("taskRoleArn", "executionRoleArn")):
        refusal = pass_role_refusal(tx, call, role, TASKS) if role else None
        if refusal is not None:
            raise AccessDeniedException(refusal.message)
