"""Who is calling, for which account and region, and when: the first argument of every operation."""

from typing import Literal

import msgspec

PrincipalKind = Literal["root", "user", "role", "federated", "service", "anonymous"]


class Principal(msgspec.Struct, frozen=True):
    """The identity behind a signature.

    `arn` is what GetCallerIdentity answers; `policy_arn` is the IAM user or role whose policies count (for a session:
    the role, not the session); `session` is the session's policy document where one was passed; `facts` are condition
    keys (in lower case) and values that its credentials carry, such as session tags.
    """

    kind: PrincipalKind
    account: str
    arn: str
    user_id: str
    policy_arn: str = ""
    session: str | None = None
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def is_temporary(self) -> bool:
        """Whether its credentials are those of a session."""
        return bool(self.facts) and any(key == "aws:tokenissuetime" for key, _ in self.facts)


ANONYMOUS = Principal("anonymous", "", "anonymous", "anonymous")


class Call(msgspec.Struct, frozen=True):
    """One request, after its signature was verified. Times are seconds since the epoch."""

    request_id: str
    account: str
    region: str
    principal: Principal
    now: float
    endpoint: str  # scheme://host[:port] as the client addressed us; URLs in answers are built from it
    source_ip: str = "127.0.0.1"
    access_key_id: str = ""
    user_agent: str = ""
    referer: str = ""
    trace: str = ""  # its X-Amzn-Trace-Id
    names_region: bool = True  # whether its signature does; what has none, or S3's old one, counts as of the default
    is_form: bool = False  # whether a browser's form means it
    in_query: bool = False  # whether its signature stands in the query string
    stamp: str = ""  # when that says that it was made (`20260102T030405Z`), where it does
    payload: str = ""  # what it says of the body: a digest, or a marker in its place

    def arn(self, service: str, resource: str) -> str:
        """An ARN in the caller's account and region, e.g. `call.arn("ecs", "cluster/default")`."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    @property
    def scope(self) -> str:
        """`account/region`: the prefix of every regional record's key."""
        return f"{self.account}/{self.region}"
