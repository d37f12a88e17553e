"""Which new versions of a bucket are to be copied to others, and the queue of those.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-what-is-isnt-replicated.html
"""

from collections.abc import Mapping
from typing import Any

from cloudlet.services.s3 import versions
from cloudlet.services.s3.records import About, Bucket
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import REPLICATION
from cloudlet.services.s3.versions import Version
from cloudlet.store.db import Tx

WORK = "s3.replication"  # kind of work: a bucket's new versions are to be copied
PENDING, COMPLETED, FAILED, REPLICA = "PENDING", "COMPLETED", "FAILED", "REPLICA"
THRESHOLD_MIN = 15  # after which a copy comes late, where its rule promises that it does not
THRESHOLD_S = THRESHOLD_MIN * 60
Rule = Mapping[str, Any]


def enqueue(tx: Tx, bucket: Bucket, version: Version) -> None:
    """Has a version copied that is new, or has changed, where a rule of its bucket wants that."""
    if REPLICATION not in bucket.acts:
        return
    about = version.about
    rules = rules_for(rules_of(tx, bucket), version, about)
    if not rules:
        return
    measured = {rule["ID"]: rule["Destination"]["Bucket"] for rule in rules if is_measured(rule)}
    versions.set_about(tx, version, about.replace(
        replication=REPLICA if about.replication == REPLICA else PENDING, tracked={**about.tracked, **measured}))
    tx.execute("insert into s3_replication (id, bucket) values (?,?) on conflict do nothing", (version.id, bucket.id))
    tx.enqueue(WORK, bucket.name)


def rules_of(tx: Tx, bucket: Bucket) -> list[Rule]:
    """The rules of a bucket."""
    found: list[Rule] = (kept.get(tx, bucket, REPLICATION) or {"Rules": []})["Rules"]
    return found


def rules_for(rules: list[Rule], version: Version, about: About) -> list[Rule]:
    """The rules by which a version is copied: of those that fit, for each destination the one of highest priority.
    Of replicas only changes are, by rules that say so.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-for-metadata-changes.html
    """
    chosen: dict[str, Rule] = {}
    for rule in sorted(rules, key=lambda rule: -rule.get("Priority", 0)):
        if rule["Status"] == "Enabled" and fits(rule, version.key, about.tags) and (
                not version.marker or copies_markers(rule)) and (
                about.replication != REPLICA or copies_changes(rule)):
            chosen.setdefault(rule["Destination"]["Bucket"], rule)
    return list(chosen.values())


def fits(rule: Rule, key: str, tags: Mapping[str, str]) -> bool:
    """Whether a rule is about a key with such tags."""
    only: Mapping[str, Any] = rule.get("Filter") or {}
    both: Mapping[str, Any] = only.get("And") or {}
    wanted = both.get("Tags") or ([only["Tag"]] if "Tag" in only else [])
    prefix: str = rule.get("Prefix") or only.get("Prefix") or both.get("Prefix") or ""
    return key.startswith(prefix) and all(tags.get(tag["Key"]) == tag["Value"] for tag in wanted)


def copies_changes(rule: Rule) -> bool:
    """Whether it copies what changes of replicas, back to what they are one of."""
    said = (rule.get("SourceSelectionCriteria") or {}).get("ReplicaModifications") or {}
    return bool(said.get("Status") == "Enabled")


def is_measured(rule: Rule) -> bool:
    """Whether its copies that fail are told of."""
    return bool((rule["Destination"].get("Metrics") or {}).get("Status") == "Enabled")


def is_timed(rule: Rule) -> bool:
    """Whether its copies that come late are."""
    return bool((rule["Destination"].get("ReplicationTime") or {}).get("Status") == "Enabled")


def copies_markers(rule: Rule) -> bool:
    """Whether a rule copies delete markers: one without a filter, of the old kind, always does."""
    if "Filter" not in rule:
        return True
    return bool((rule.get("DeleteMarkerReplication") or {}).get("Status") == "Enabled")
