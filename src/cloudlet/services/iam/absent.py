"""Credentials of users that nobody can make here: their lists are empty. Tools read them before they delete a user."""

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.service import iam
from cloudlet.services.iam.users import named_or_calling_user, the_user
from cloudlet.store.db import Tx


@iam.read(resources=the_user)
def list_ssh_public_keys(call: Call, tx: Tx, request: Input) -> Output:
    """A user's keys for CodeCommit."""
    named_or_calling_user(tx, call, request)
    return {"SSHPublicKeys": []}


@iam.read(resources=the_user)
def list_signing_certificates(call: Call, tx: Tx, request: Input) -> Output:
    """A user's certificates for requests to SOAP."""
    named_or_calling_user(tx, call, request)
    return {"Certificates": []}


@iam.read(resources=the_user)
def list_service_specific_credentials(call: Call, tx: Tx, request: Input) -> Output:
    """A user's passwords for CodeCommit, Keyspaces and the like."""
    named_or_calling_user(tx, call, request)
    return {"ServiceSpecificCredentials": []}
