"""Policy documents as IAM takes and gives them: checked when they come, percent-encoded when they go."""

import re
from urllib.parse import quote

from cloudlet.kernel import policy_grammar
from cloudlet.kernel.policy_grammar import Malformed
from cloudlet.services.iam.service import LimitExceeded, MalformedPolicyDocument, ValidationError

# Without white space:
MANAGED_SIZE_MAX, ROLE_SIZE_MAX, GROUP_SIZE_MAX, USER_SIZE_MAX, TRUST_SIZE_MAX = 6144, 10240, 5120, 2048, 2048
_LETTERS = re.compile(r"[\t\n\r\x20-\xff]+")
_SPACE = re.compile(r"\s+")


def check(document: str, kind: policy_grammar.Kind) -> str:
    """A document that may be stored; else MalformedPolicyDocument in AWS's words."""
    if not _LETTERS.fullmatch(document):
        raise ValidationError("The specified value for policyDocument is invalid. It must contain only printable ASCII"
                              " characters ranging from the space character (\\u0020) through end of the ASCII"
                              " character range, printable characters in the Basic Latin and Latin-1 Supplement"
                              " character set, and the special characters tab, line feed, and carriage return.")
    try:
        policy_grammar.check(document, kind)
    except Malformed as error:
        raise MalformedPolicyDocument(str(error)) from None
    return document


def check_managed(document: str) -> str:
    """A managed policy's document."""
    check(document, "identity")
    if size(document) > MANAGED_SIZE_MAX:
        raise LimitExceeded(f"Cannot exceed quota for PolicySize: {MANAGED_SIZE_MAX}")
    return document


def check_trust(document: str) -> str:
    """A role's trust policy."""
    check(document, "trust")
    if size(document) > TRUST_SIZE_MAX:
        raise LimitExceeded(f"Cannot exceed quota for ACLSizePerRole: {TRUST_SIZE_MAX}")
    return document


def size(document: str) -> int:
    """What counts against IAM's limits: the characters that are not white space."""
    return len(_SPACE.sub("", document))


def encoded(document: str) -> str:
    """As answers carry it (RFC 3986)."""
    return quote(document, safe="~")
