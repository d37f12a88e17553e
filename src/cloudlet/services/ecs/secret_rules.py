"""What a task definition may say of secrets: those of containers, and those that registries ask for."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import Input
from cloudlet.services.ecs.api import ClientException

SECRETS_MAX = 200
_NAME = re.compile(r"[^\x00=]+")


def secrets(given: Sequence[Input], environment: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """A container's secrets, each under a name that nothing else has. Raises ClientException."""
    if len(given) > SECRETS_MAX:
        raise ClientException(f"A container can have at most {SECRETS_MAX} secrets.")
    taken = {variable["name"] for variable in environment}
    for secret in given:
        name = secret["name"]
        if not _NAME.fullmatch(name):
            raise ClientException("The name of a secret must not be empty or contain '=' or null characters.")
        if name in taken:
            raise ClientException("The secret name must be unique and not shared with any new or existing environment"
                                  f" variables set on the container, such as '{name}'.")
        taken.add(name)
        check_reference(secret["valueFrom"])
    return [dict(secret) for secret in given]


def check_reference(reference: str) -> None:
    """Raises ClientException unless it can name a parameter or a secret."""
    known = is_secret(reference) or _is_parameter(reference)
    if not reference or (reference.startswith("arn:") and not known):
        raise ClientException(f"Invalid valueFrom '{reference}': the ARN of a secret in Secrets Manager, or the name or"
                              " the ARN of a parameter in the SSM Parameter Store, is needed.")


def is_secret(reference: str) -> bool:
    """Whether it is Secrets Manager that knows it, rather than Parameter Store."""
    arn = Arn.parse(reference)
    return arn is not None and arn.service == "secretsmanager" and arn.resource.startswith("secret:")


def _is_parameter(reference: str) -> bool:
    arn = Arn.parse(reference)
    return arn is not None and arn.service == "ssm" and arn.resource.startswith("parameter/")


def repository_credentials(given: Input) -> dict[str, str]:
    """Where the credentials of a private registry are: the ARN or the name of a secret. Raises ClientException."""
    reference = given["credentialsParameter"]
    if not reference or (reference.startswith("arn:") and not is_secret(reference)):
        raise ClientException("Invalid credentialsParameter: the ARN or the name of a secret in Secrets Manager is"
                              " needed.")
    return {"credentialsParameter": reference}


def check_execution_role(containers: Iterable[Mapping[str, Any]], role: str | None) -> None:
    """Raises ClientException where something is to be read with an execution role, and there is none."""
    for container in () if role else containers:
        if container.get("repositoryCredentials"):
            raise ClientException("Private repository authentication requires that the task definition specify a value"
                                  " for executionRoleArn.")
        if container.get("secrets"):
            raise ClientException("When you are specifying container secrets, you must also specify a value for"
                                  " 'executionRoleArn'.")


def attributes(container: Mapping[str, Any]) -> Iterator[str]:
    """The capabilities that a container instance would need for them, as AWS derives them."""
    if container.get("repositoryCredentials"):
        yield "ecs.capability.private-registry-authentication.secretsmanager"
    for secret in container.get("secrets") or ():
        store = "asm" if is_secret(secret["valueFrom"]) else "ssm"
        yield f"ecs.capability.secrets.{store}.environment-variables"
