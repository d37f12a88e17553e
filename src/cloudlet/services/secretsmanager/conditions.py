"""What policies may ask of requests, and of secrets, by Secrets Manager's own condition keys and AWS's general ones.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html
"""

from collections.abc import Mapping

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.secretsmanager.records import lookup_arn
from cloudlet.services.secretsmanager.service import secretsmanager
from cloudlet.store.db import Tx

_MEMBERS = ("BlockPublicPolicy", "Description", "ForceDeleteWithoutRecovery", "KmsKeyId", "Name",
            "RecoveryWindowInDays", "ResourcePolicy", "SecretId", "VersionId", "VersionStage")


def asked(call: Call, request: Input) -> Mapping[str, str | None]:
    """The condition keys that are members of the request."""
    said = {member: request[member] for member in _MEMBERS if member in request}
    return {f"secretsmanager:{member}": str(value).lower() if isinstance(value, bool) else str(value)
            for member, value in said.items()}


@secretsmanager.resource_tags
def tags_of(tx: Tx, arn: str) -> Mapping[str, str]:
    """The tags of the secret that an ARN, in full or in part, names."""
    secret = lookup_arn(tx, arn)
    return secret.tags if secret is not None else {}


@secretsmanager.resource_arn
def full_arn(tx: Tx, arn: str) -> str:
    """The ARN with its six random characters, which requests may leave out and policies end with."""
    secret = lookup_arn(tx, arn)
    return secret.arn if secret is not None else arn
