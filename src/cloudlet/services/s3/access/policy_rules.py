"""What a bucket's policy may say, in AWS's words for what it may not."""

import re
from collections.abc import Callable, Mapping, Set
from ipaddress import ip_network
from typing import Any

import msgspec

from cloudlet.kernel import policy_grammar
from cloudlet.kernel.policy import listed
from cloudlet.services.s3.access.actions import BUCKET, OBJECT, done_to, is_condition_key
from cloudlet.services.s3.owners import account_of
from cloudlet.services.s3.service import MalformedPolicy, bucket_arn

BYTES_MAX = 20 * 1024
_ACCOUNT = re.compile(r"\d{12}")
_IAM = re.compile(r"arn:aws:iam::(\d{12}):(root|user/.+|role/.+)")
_STS = re.compile(r"arn:aws:sts::(\d{12}):(assumed-role/[^/]+/[^/]+|federated-user/.+)")
_KEY = re.compile(r"[A-Za-z0-9-]+:\S.*", re.DOTALL)
_SERVICE = re.compile(r"[a-z0-9.-]+\.amazonaws\.com|s3express|[a-z0-9.-]+\.aws\.internal")

Exists = Callable[[str], bool]  # whether an IAM user or role of that ARN is there


def check(document: str, bucket: str, exists: Exists) -> str:
    """The document as it is kept, with accounts in the place of canonical user ids. Raises MalformedPolicy."""
    if not document.startswith("{"):
        raise MalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
    if len(document.encode()) > BYTES_MAX:
        raise MalformedPolicy(f"Policy exceeds the maximum allowed document size of {BYTES_MAX} bytes.")
    content = _read(document)
    for statement in listed(content["Statement"]):
        _check_statement(statement, bucket, exists)
    try:
        policy_grammar.check(document, "resource")
    except policy_grammar.Malformed as error:
        raise MalformedPolicy(str(error)) from None
    return _with_accounts(document, content)


def _read(document: str) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(document)
    except (ValueError, RecursionError):
        raise MalformedPolicy("This policy contains invalid Json") from None
    if not isinstance(content, dict):
        raise MalformedPolicy("Missing required field Statement")
    _check_members(content, policy_grammar.TOP)
    if "Statement" not in content:
        raise MalformedPolicy("Missing required field Statement")
    if content.get("Version", policy_grammar.VERSIONS[0]) not in policy_grammar.VERSIONS:
        raise MalformedPolicy("The policy must contain a valid version string")
    statements = listed(content["Statement"])
    if not statements:
        raise MalformedPolicy("Could not parse the policy: Statement is empty!")
    if not all(isinstance(statement, dict) for statement in statements):
        raise MalformedPolicy("Invalid policy syntax.")
    return content


def _check_members(element: Mapping[str, Any], known: Set[str]) -> None:
    for member in element:
        if member not in known:
            raise MalformedPolicy(f"Unknown field {member[:256]}")


def _check_statement(statement: Mapping[str, Any], bucket: str, exists: Exists) -> None:
    _check_members(statement, policy_grammar.STATEMENT)
    for member in ("Effect", "Principal", "Action", "Resource"):
        if member not in statement and f"Not{member}" not in statement:
            raise MalformedPolicy(f"Missing required field {member}")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicy(f"Invalid effect: {statement.get('Effect')}")
    for member in ("Principal", "NotPrincipal"):
        if member in statement and not _is_principal(statement[member], exists):
            raise MalformedPolicy("Invalid principal in policy")
    if "NotPrincipal" in statement and statement["Effect"] == "Allow":
        raise MalformedPolicy("Allow with NotPrincipal is not allowed.")
    said = statement.get("Condition")
    for operator, keys in said.items() if isinstance(said, dict) else ():
        if not policy_grammar.is_operator(operator):
            raise MalformedPolicy(f"Invalid Condition type : {operator[:256]}")
        if isinstance(keys, dict) and not all(_KEY.fullmatch(key) and is_condition_key(key) for key in keys):
            raise MalformedPolicy("Policy has an invalid condition key")
        _check_addresses(operator, keys)
    actions = _texts(statement, "Action", "Policy has invalid action")
    resources = _texts(statement, "Resource", "Policy has invalid resource")
    for action in actions:
        if not done_to(action):
            raise MalformedPolicy("Policy has invalid action")
    arn = bucket_arn(bucket)
    for resource in resources:
        if not (resource == arn or resource.startswith(f"{arn}/") or _could_be(resource, arn)):
            raise MalformedPolicy("Policy has invalid resource")
    if "Action" in statement and "Resource" in statement:
        of_objects = [resource for resource in resources if "/" in resource or resource.endswith("*")]
        of_bucket = [resource for resource in resources if "/" not in resource]
        meant = {kind for kind, names in ((OBJECT, of_objects), (BUCKET, of_bucket)) if names}
        if not all(done_to(action) & meant for action in actions):
            raise MalformedPolicy("Action does not apply to any resource(s) in statement")


def _check_addresses(operator: str, keys: Any) -> None:
    """Raises MalformedPolicy where an address is compared with what can be none: such a condition would be true of all
    addresses, or of none."""
    if operator.rpartition(":")[2].removesuffix("IfExists") not in ("IpAddress", "NotIpAddress"):
        return
    for values in keys.values() if isinstance(keys, dict) else ():
        for value in listed(values):
            try:
                ip_network(value if isinstance(value, str) else "", strict=False)
            except ValueError:
                raise MalformedPolicy("Invalid IP address in Conditions") from None


def _texts(statement: Mapping[str, Any], member: str, says: str) -> list[str]:
    found = listed(statement.get(member, statement.get(f"Not{member}")))
    if not found or not all(isinstance(each, str) and each for each in found):
        raise MalformedPolicy(says)
    return found


def _could_be(resource: str, arn: str) -> bool:
    """Whether a pattern with wildcards might mean the bucket or something in it."""
    wild = min((resource.find(mark) for mark in ("*", "?", "${") if mark in resource), default=-1)
    return wild >= len("arn:aws:s3:::") and f"{arn}/".startswith(resource[:wild])


def _is_principal(element: Any, exists: Exists) -> bool:
    if not isinstance(element, dict):
        return bool(element == "*")
    return bool(element) and all(_names(kind, names, exists) for kind, names in element.items())


def _names(kind: str, names: Any, exists: Exists) -> bool:
    said = listed(names)
    if not said or not all(isinstance(name, str) for name in said):
        return False
    if kind == "AWS":
        return all(_is_aws(name, exists) for name in said)
    if kind == "CanonicalUser":
        return all(account_of(name) is not None for name in said)
    if kind == "Service":
        return all(name == "*" or _SERVICE.fullmatch(name) for name in said)
    return kind == "Federated"


def _is_aws(name: str, exists: Exists) -> bool:
    if name == "*" or _ACCOUNT.fullmatch(name) or _STS.fullmatch(name):
        return True
    found = _IAM.fullmatch(name)
    return found is not None and (found[2] == "root" or exists(name))


def _with_accounts(document: str, content: dict[str, Any]) -> str:
    """AWS keeps a canonical user id in a policy as its account's ARN."""
    if '"CanonicalUser"' not in document:
        return document
    for statement in listed(content["Statement"]):
        for member in ("Principal", "NotPrincipal"):
            element = statement.get(member)
            if isinstance(element, dict) and "CanonicalUser" in element:
                ids = listed(element.pop("CanonicalUser"))
                arns = [f"arn:aws:iam::{account_of(each)}:root" for each in ids]
                named = [*listed(element.get("AWS", [])), *arns]
                element["AWS"] = named[0] if len(named) == 1 else named
    return msgspec.json.encode(content).decode()
