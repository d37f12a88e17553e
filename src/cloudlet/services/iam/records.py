"""IAM's records: who there is, with which keys and policies. Global: their keys begin with the account."""

from dataclasses import dataclass, field

from cloudlet.store.records import record


@dataclass(frozen=True, slots=True)
class Password:
    """A login profile: `digest` is scrypt's of the password with `salt`, both in hex; `stale`: it must be changed."""

    salt: str
    digest: str
    created: float
    stale: bool


@record("iam.user", indexes={"policy": lambda user: user.attached, "group": lambda user: user.groups,
                             "boundary": lambda user: user.boundary or None})
class User:
    """`inline` maps a policy's name to its document; `attached` lists managed policies' ARNs in order of attachment;
    `groups` are keys of groups; `boundary` is a managed policy's ARN, "" for none."""

    key: str
    account: str
    id: str
    name: str
    path: str
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    inline: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    boundary: str = ""
    password: Password | None = None

    @property
    def arn(self) -> str:
        """`arn:aws:iam::ACCOUNT:user/path/name`."""
        return f"arn:aws:iam::{self.account}:user{self.path}{self.name}"


@record("iam.group", indexes={"policy": lambda group: group.attached})
class Group:
    """A set of users (`User.groups`) who share its policies."""

    key: str
    account: str
    id: str
    name: str
    path: str
    created: float
    inline: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()

    @property
    def arn(self) -> str:
        """`arn:aws:iam::ACCOUNT:group/path/name`."""
        return f"arn:aws:iam::{self.account}:group{self.path}{self.name}"


@record("iam.role", indexes={"policy": lambda role: role.attached, "boundary": lambda role: role.boundary or None})
class Role:
    """`trust` is the document that says who may assume it; `max_session_s` bounds a session's duration."""

    key: str
    account: str
    id: str
    name: str
    path: str
    created: float
    trust: str
    description: str = ""
    max_session_s: int = 3600
    tags: dict[str, str] = field(default_factory=dict)
    inline: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    boundary: str = ""

    @property
    def arn(self) -> str:
        """`arn:aws:iam::ACCOUNT:role/path/name`."""
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"


@record("iam.access_key", indexes={"user": lambda key: key.user})
class AccessKey:
    """A user's long-term key; `user` is the user's key in this store."""

    id: str
    secret: str
    user: str
    created: float
    active: bool = True


@record("iam.mfa_device", indexes={"account": lambda device: device.account,
                                   "user": lambda device: device.user or None})
class MfaDevice:
    """A virtual device. `user` is the key of whose it is, "" while it is nobody's; `drift` is how many steps its clock
    is ahead; a code is taken once: `last` is the step of the latest that was taken."""

    serial: str
    account: str
    seed: str
    created: float
    user: str = ""
    enabled: float = 0.0
    drift: int = 0
    last: int = 0
    tags: dict[str, str] = field(default_factory=dict)


@record("iam.usage")
class Usage:
    """When, where and for which service an access key (by its id) or a role (by its key) was last used."""

    key: str
    used: float
    region: str
    service: str


@record("iam.session")
class Session:
    """Temporary credentials: of an assumed role, of a user or root itself, or of somebody federated by one of them.

    `role` is the key of the role or user ("" for root) and `role_id` its unique id: one deleted and made again under
    the same name does not revive its sessions. `policy` and `policy_arns` are the session policies, which narrow what
    it may do; `facts` are condition keys and values that hold for the session, such as its tags.
    """

    access_key_id: str
    secret: str
    token: str
    role: str
    role_id: str
    name: str
    expires: float
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    kind: str = "role"  # "role", "user", "federated"
    account: str = ""
    facts: tuple[tuple[str, str], ...] = ()


@record("iam.policy", indexes={"account": lambda policy: policy.account})
class ManagedPolicy:
    """A customer managed policy. `versions` maps "v1" … to (document, created); `last_version` never goes back."""

    arn: str
    account: str
    id: str
    name: str
    path: str
    created: float
    updated: float
    default: str
    last_version: int
    versions: dict[str, tuple[str, float]]
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def document(self) -> str:
        """The document of the default version: the one that counts."""
        return self.versions[self.default][0]


@record("iam.instance_profile", indexes={"role": lambda profile: profile.role or None})
class InstanceProfile:
    """What hands a role to an instance; `role` is the role's key, "" while there is none."""

    key: str
    account: str
    id: str
    name: str
    path: str
    created: float
    role: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """`arn:aws:iam::ACCOUNT:instance-profile/path/name`."""
        return f"arn:aws:iam::{self.account}:instance-profile{self.path}{self.name}"


@record("iam.role_deletion")
class RoleDeletion:
    """The deletion of a service-linked role, which has succeeded; `key` is the account and the task's id."""

    key: str


@record("iam.oidc_keys")
class OidcKeys:
    """The keys with which a provider signs, as it published them when it was last asked: at `asked` (epoch seconds),
    for the `tries`th time. `keys` is "" where it never did; `problem` says why it did not answer the last time."""

    provider: str
    asked: float
    tries: int
    keys: str = ""
    problem: str = ""


@record("iam.oidc_provider", reconciled=True, indexes={"account": lambda provider: provider.account})
class OidcProvider:
    """An OpenID Connect provider whose tokens may be exchanged for a role's credentials; `url` without its scheme."""

    arn: str
    account: str
    url: str
    created: float
    client_ids: tuple[str, ...] = ()
    thumbprints: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


@record("iam.account", indexes={"alias": lambda account: account.alias or None})
class Account:
    """What is set for a whole account. `passwords` is the policy for passwords by the API's member names."""

    id: str
    alias: str = ""
    passwords: dict[str, int | bool] | None = None


def entity_key(account: str, name: str) -> str:
    """The key of a user or role. IAM's names are unique whatever their case."""
    return f"{account}/{name.lower()}"


def key_of_arn(arn: str) -> str:
    """The key of the user or role that an ARN names."""
    parts = arn.split(":", 5)
    return entity_key(parts[4], parts[5].rpartition("/")[2]) if len(parts) == 6 else ""
