"""What is told to an instance about itself, gathered from records in one transaction."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Card:
    """One of its interfaces; the first is its primary one. `public_name` is "" where the VPC gives none. `ranges` are
    the VPC's, the primary one first. `addresses` are its private ones, the primary one first, and `associations` the
    private addresses that public ones stand for, by these."""

    device_index: int
    id: str
    mac: str
    owner: str
    addresses: tuple[str, ...]
    name: str
    group_ids: tuple[str, ...]
    group_names: tuple[str, ...]
    subnet_id: str
    subnet_range: str
    vpc_id: str
    ranges: tuple[str, ...]
    associations: dict[str, str] = field(default_factory=dict)
    public_name: str = ""

    @property
    def public_ip(self) -> str:
        """The public address that stands for the primary one, "" where none does."""
        return next((public for public, private in self.associations.items() if private == self.addresses[0]), "")


@dataclass(frozen=True, slots=True)
class Facts:
    """An instance. `devices`: the names of its volumes other than the root, in the order of their attachment. `tags`
    is None where its metadata does not tell them; `user_data` None where there is none. `active_keys`: the public keys
    by user that EC2 Instance Connect was given in the last minute."""

    id: str
    account: str
    region: str
    zone: str
    zone_id: str
    type: str
    image_id: str
    root_device: str
    devices: tuple[str, ...]
    reservation_id: str
    launch_index: int
    launched: float
    cards: tuple[Card, ...]
    key_name: str = ""
    public_key: str = ""
    user_data: bytes | None = None
    tags: dict[str, str] | None = None
    active_keys: dict[str, str] = field(default_factory=dict)
