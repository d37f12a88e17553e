"""Secrets Manager; the front door for whoever reads a secret for a workload."""

from typing import Any

from cloudlet.control.controller import Controller
from cloudlet.kernel.site import Site
from cloudlet.services.secretsmanager import listing, passwords, policies, reading, secrets, versions
from cloudlet.services.secretsmanager.deletion import KIND, Deletion
from cloudlet.services.secretsmanager.reading import permission, read_value
from cloudlet.services.secretsmanager.service import secretsmanager
from cloudlet.store.db import Store

__all__ = ["controller", "listing", "passwords", "permission", "policies", "read_value", "reading", "secrets",
           "secretsmanager", "versions"]


def controller(store: Store, engines: Any, site: Site) -> Controller:
    """The one loop of Secrets Manager: what was marked for deletion is deleted when its time has come."""
    return Controller({KIND: Deletion(store).reconcile})
