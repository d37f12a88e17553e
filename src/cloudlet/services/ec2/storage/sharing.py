"""Snapshots and images across accounts: whose they are, who may use them, and finding them where they may be used."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.storage.performance import order
from cloudlet.services.ec2.storage.records import Image, Snapshot, StockImage
from cloudlet.services.ec2.storage.records import Mapping as Device
from cloudlet.store.db import Tx

T = TypeVar("T", Image, Snapshot)

EVERYBODY = "all"


# ── The installation's own images, as if their owner had made them in every region ───────────────────────────────────


def stock_image(stock: StockImage, region: str) -> Image:
    """An image of the installation as others see it in a region."""
    size_gib = stock.size_gib or 1
    mappings = (Device(stock.root_device, order(size_gib, "gp3", None, None), stock.snapshot_id),)
    state: Any = "failed" if stock.problem else "available" if stock.size_gib else "pending"
    return Image(stock.key, stock.key, stock.owner, region, stock.name, stock.created, stock.root_device, mappings,
                 stock.description, stock.user, state, stock.problem, public=True, owner_alias=stock.alias,
                 tags=stock.tags)


def stock_snapshot(stock: StockImage, region: str) -> Snapshot:
    """The snapshot below it."""
    return Snapshot(stock.snapshot_id, stock.snapshot_id, stock.owner, region, "vol-ffffffff", stock.size_gib or 1,
                    stock.created, stock.layer, kernel=stock.layer if stock.kernel else None,
                    description=f"Root of {stock.name}", state="completed" if stock.size_gib else "pending",
                    completed=stock.created, public=True, owner_alias=stock.alias)


def stock_images(tx: Tx, region: str) -> list[Image]:
    """All of them that may be seen."""
    return [stock_image(stock, region) for stock in tx.find(StockImage) if not stock.withdrawn and not stock.problem]


# ── Permissions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def is_usable(call: Call, found: Image | Snapshot) -> bool:
    """Whether the caller may launch the image, or make volumes of the snapshot."""
    return found.account == call.account or found.public or call.account in found.shared_with


def changed(found: T, request: Mapping[str, Any], members: str) -> T:
    """An image or snapshot with other permissions: `members` is the request's, of two lists `Add` and `Remove`; or the
    request has the operation, accounts and groups of its own."""
    given = request.get(members) or {}
    add: list[dict[str, str]] = list(given.get("Add") or ())
    remove: list[dict[str, str]] = list(given.get("Remove") or ())
    flat: list[dict[str, str]] = ([{"UserId": id} for id in request.get("UserIds") or ()]
            + [{"Group": name} for name in (*(request.get("UserGroups") or ()), *(request.get("GroupNames") or ()))])
    if flat:
        (remove if request.get("OperationType") == "remove" else add).extend(flat)
    accounts = dict.fromkeys(found.shared_with)
    public = found.public
    for item in (*add, *remove):
        _check(item)
    for item in add:
        public = public or item.get("Group") == EVERYBODY
        accounts |= {item["UserId"]: None} if item.get("UserId") else {}
    for item in remove:
        public = public and item.get("Group") != EVERYBODY
        accounts.pop(item.get("UserId") or "", None)
    if public and not found.public and _is_encrypted(found):
        raise api.OperationNotPermitted("Encrypted snapshots cannot be public.")
    return replace(found, shared_with=tuple(accounts), public=public)


def _is_encrypted(found: Image | Snapshot) -> bool:
    """Whether anything of it is."""
    return found.encrypted if isinstance(found, Snapshot) else any(m.encrypted for m in found.mappings)


def _check(item: Mapping[str, Any]) -> None:
    if item.get("OrganizationArn") or item.get("OrganizationalUnitArn"):
        raise api.UnsupportedOperation("There are no organizations to share with.")
    user, group = item.get("UserId"), item.get("Group")
    if group and group != EVERYBODY:
        raise api.InvalidParameterValue(f'Value ({group}) for parameter group is invalid. The only group is "all".')
    if user and not re.fullmatch(r"\d{12}", user):
        raise api.InvalidUserIdMalformed(f"Invalid user id: \"{user}\"")
    if not user and not group:
        raise api.MissingParameter("A permission needs a UserId or a Group.")


def permissions(found: Image | Snapshot) -> list[dict[str, str]]:
    """As answers list them."""
    return ([{"Group": EVERYBODY}] if found.public else []) + [{"UserId": account} for account in found.shared_with]


# ── Finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_snapshot(tx: Tx, call: Call, id: str) -> Snapshot:
    """A snapshot that the caller may restore. Raises InvalidSnapshot.NotFound or …Malformed."""
    found = next((s for s in _snapshots(tx, call.region, id) if is_usable(call, s)), None)
    if found is None:
        raise no_snapshot(id)
    return found


def any_snapshot(tx: Tx, call: Call, id: str) -> Snapshot:
    """A snapshot of the region, whosever it is: for what names it on behalf of its owner. Raises as above."""
    found = any_snapshot_in(tx, call.region, id)
    if found is None:
        raise no_snapshot(id)
    return found


def any_snapshot_in(tx: Tx, region: str, id: str) -> Snapshot | None:
    """The same, or None."""
    return next(iter(_snapshots(tx, region, id)), None)


def _snapshots(tx: Tx, region: str, id: str) -> list[Snapshot]:
    return [*(s for s in tx.find(Snapshot, id=id) if s.region == region and not s.releasing),
            *(stock_snapshot(stock, region) for stock in tx.find(StockImage, snapshot=id) if not stock.withdrawn)]


def no_snapshot(id: str) -> AwsError:
    """AWS's word about an id that stands for no snapshot."""
    if not re.fullmatch(r"snap-[0-9a-f]+", id):
        return api.InvalidSnapshotMalformed(f'Invalid id: "{id}" (expecting "snap-...")')
    return api.InvalidSnapshotNotFound(f"The snapshot '{id}' does not exist.")


def find_image(tx: Tx, call: Call, id: str) -> Image:
    """An image that the caller may see. Raises InvalidAMIID.NotFound or …Malformed."""
    stock = tx.get(StockImage, id)
    candidates = [i for i in tx.find(Image, id=id) if i.region == call.region]
    candidates += [stock_image(stock, call.region)] if stock and not stock.withdrawn else []
    found = next((i for i in candidates if is_usable(call, i)), None)
    if found is None:
        raise no_image(id)
    return found


def no_image(id: str) -> AwsError:
    """AWS's word about an id that stands for no image."""
    if not re.fullmatch(r"ami-[0-9a-f]+", id):
        return api.InvalidAmiMalformed(f'Invalid id: "{id}" (expecting "ami-...")')
    return api.InvalidAmiNotFound(f"The image id '[{id}]' does not exist")


def own_snapshot(tx: Tx, call: Call, id: str) -> Snapshot:
    """A snapshot that the caller may change. Raises AuthFailure for somebody else's."""
    found = find_snapshot(tx, call, id)
    if found.account != call.account or found.key != f"{call.scope}/{id}":
        raise api.AuthFailure("You do not own this snapshot.")
    return found


def own_image(tx: Tx, call: Call, id: str) -> Image:
    """An image that the caller may change. Raises AuthFailure for somebody else's."""
    found = find_image(tx, call, id)
    if found.account != call.account or found.key != f"{call.scope}/{id}":
        raise api.AuthFailure(f"Not authorized for image:{id}")
    return found


def of_owners(found: Iterable[T], owners: Iterable[str] | None, call: Call) -> list[T]:
    """Those that belong to one of the owners: account ids, `self`, or an alias such as `amazon`."""
    wanted = {call.account if owner == "self" else owner for owner in owners or ()}
    return [one for one in found if not wanted or one.account in wanted or one.owner_alias in wanted - {""}]


def open_to(found: Iterable[T], users: Iterable[str] | None, call: Call) -> list[T]:
    """Those that one of the users may use: account ids, `self` (by permission said, for images), or `all`."""
    wanted = {call.account if user == "self" else user for user in users or ()}
    return [one for one in found if not wanted or (EVERYBODY in wanted and one.public)
            or wanted.intersection(one.shared_with)]
