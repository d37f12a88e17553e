"""What ECR keeps: repositories, and in each its images, tags, layers and uploads under way.

The manifest of an image is a record of its own, so that listing images does not read them.
"""

from dataclasses import field
from typing import Any

from cloudlet.kernel.names import Arn
from cloudlet.kernel.policy_match import glob_one
from cloudlet.services.ecr.service import repository_arn
from cloudlet.store.db import Tx
from cloudlet.store.records import record


@record("ecr.repository")
class Repository:
    """`key` is account/region/name. `immutable`: a tag, once set, stays on its image; for tags that match one of
    `exclusions` the opposite holds. `policy` is a document, as it was set.
    """

    key: str
    account: str
    region: str
    name: str
    created_at: float
    immutable: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    exclusions: tuple[str, ...] = ()
    scan_on_push: bool = False
    policy: str | None = None

    def pins(self, tag: str) -> bool:
        """Whether that tag, once set, stays on its image."""
        return self.immutable != any(glob_one(text)(tag) for text in self.exclusions)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return repository_arn(self.account, self.region, self.name)


@record("ecr.image", indexes={
    "blob": lambda image: [f"{image.repository}@{digest}" for digest in image.blobs],
    "child": lambda image: [f"{image.repository}@{digest}" for digest in image.children],
    "subject": lambda image: f"{image.repository}@{image.subject}" if image.subject else None})
class Image:
    """An image or a list of images. `key` is `<repository's key>@<digest of the manifest>`.

    `blobs` are the digests of config and layers (without those kept elsewhere), `children` the images of a list;
    `size` in bytes, that of the largest child for a list.
    """

    key: str
    repository: str
    digest: str
    media_type: str
    artifact_media_type: str | None
    size: int
    blobs: tuple[str, ...]
    children: tuple[str, ...]
    subject: str | None
    pushed_at: float
    pulled_at: float | None = None


@record("ecr.manifest")
class Manifest:
    """The bytes of an image's manifest, exactly as pushed; same key as the image."""

    key: str
    text: str


@record("ecr.tag", indexes={"image": lambda tag: tag.image})
class Tag:
    """`key` is `<repository's key>:<tag>`; `image` the key of the image it is on.

    `checked_at` is when the registry that it was pulled through from was last asked for it; None for a tag that was
    pushed.
    """

    key: str
    image: str
    checked_at: float | None = None

    @property
    def name(self) -> str:
        """The tag itself."""
        return self.key.rpartition(":")[2]

    @property
    def digest(self) -> str:
        """The digest of its image."""
        return self.image.rpartition("@")[2]


@record("ecr.layer", indexes={"digest": lambda layer: layer.digest})
class Layer:
    """A blob that this repository may use: it was pushed or mounted here. `key` is `<repository's key>@<digest>`.

    `touched` is when a client last relied on it; one that no image uses is collected some time after that.
    """

    key: str
    repository: str
    digest: str
    size: int
    touched: float


@record("ecr.upload", indexes={"repository": lambda upload: upload.repository})
class Upload:
    """An upload under way; `key` is its id and names the file in the blob store.

    Of parts that the API uploaded: `ends_short`, the last one was below the minimum; `too_small`, so was one before it.
    """

    key: str
    repository: str
    touched: float
    ends_short: bool = False
    too_small: bool = False


@record("ecr.registry_policy")
class RegistryPolicy:
    """The policy of a whole registry, as it was put. `key` is account/region."""

    key: str
    policy: str


@record("ecr.lifecycle_policy")
class LifecyclePolicy:
    """A repository's lifecycle policy, as it was put; same key as the repository. `evaluated_at`: last applied."""

    key: str
    text: str
    evaluated_at: float = 0.0


@record("ecr.lifecycle_preview")
class Preview:
    """What a lifecycle policy would do to a repository, of the same key; `expired` as it is answered, oldest first."""

    key: str
    text: str
    complete: bool = False
    expired: list[dict[str, Any]] = field(default_factory=list)


@record("ecr.replication_rules")
class ReplicationRules:
    """The rules by which a registry replicates, as they were put. `key` is account/region."""

    key: str
    rules: list[dict[str, Any]]

    def destinations(self, repository: str) -> list[str]:
        """The account/region of everywhere that a repository is replicated to."""
        found: dict[str, None] = {}
        for rule in self.rules:
            filters = rule.get("repositoryFilters")
            if not filters or any(repository.startswith(each["filter"]) for each in filters):
                found |= {f"{each['registryId']}/{each['region']}": None for each in rule["destinations"]}
        return list(found)


@record("ecr.replica")
class Replica:
    """How far an image got on its way to one destination. `key` is `<the image's key>><account>/<region>`."""

    key: str
    status: str = "IN_PROGRESS"
    failure: str | None = None

    @property
    def image(self) -> str:
        """The key of the image that is replicated."""
        return self.key.rpartition(">")[0]

    @property
    def account(self) -> str:
        """The account to which it goes."""
        return self.key.rpartition(">")[2].partition("/")[0]

    @property
    def region(self) -> str:
        """The region to which it goes."""
        return self.key.rpartition("/")[2]


@record("ecr.creation_template")
class Template:
    """A repository creation template. `key` is account/region/prefix; `settings` as requests have them."""

    key: str
    settings: dict[str, Any]
    created_at: float
    updated_at: float

    @property
    def prefix(self) -> str:
        """What the names of its repositories begin with; ROOT for all."""
        return self.key.split("/", 2)[2]


@record("ecr.account_setting")
class AccountSetting:
    """A setting of a registry, where it was put. `key` is account/region/name."""

    key: str
    value: str


@record("ecr.scan_rules")
class ScanRules:
    """The rules of a registry's scanning configuration, as they were put. `key` is account/region."""

    key: str
    rules: list[dict[str, Any]]


def repository_key(account: str, region: str, name: str) -> str:
    """The key of a repository's record."""
    return f"{account}/{region}/{name}"


def repository_at(tx: Tx, arn: str) -> Repository | None:
    """The repository of an ARN, or None."""
    parsed = Arn.parse(arn)
    if parsed is None or not parsed.resource.startswith("repository/"):
        return None
    name = parsed.resource.removeprefix("repository/")
    return tx.get(Repository, repository_key(parsed.account, parsed.region, name))
