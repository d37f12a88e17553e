"""Runs operations on a store without the wire, as one caller or another."""

from pathlib import Path
from typing import Any

from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.identity import Refusal
from cloudlet.kernel.names import Installation
from cloudlet.kernel.service import Service
from cloudlet.kernel.site import Site
from cloudlet.services.iam import identities
from cloudlet.store.db import Store

ACCOUNT = "123456789012"


def root(account: str = ACCOUNT) -> Principal:
    return Principal("root", account, f"arn:aws:iam::{account}:root", account)


class Clock(SystemClock):
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time


class Desk:
    """A store, a clock to turn, and whoever is calling."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.store = Store(str(directory / "cloudlet.db"), self.clock)
        self.site = Site(Installation("abcdef"), directory)
        self.identities = identities(self.site)

    def call(self, principal: Principal | None = None, region: str = "us-east-1") -> Call:
        who = principal or root()
        return Call("request", who.account, region, who, self.clock.now(), "http://localhost:4566")

    def __call__(self, service: Service, operation: str, principal: Principal | None = None, region: str = "us-east-1",
                 **request: Any) -> Any:
        """Runs one operation in a transaction, permissions unasked."""
        with self.store.tx() as tx:
            return service.operations[operation].run(self.call(principal, region), tx, request)

    def principal(self, access_key_id: str) -> Principal | None:
        """Who has that access key now."""
        with self.store.tx() as tx:
            credential = self.identities.credential(tx, access_key_id)
        return credential.principal if credential else None

    def refuses(self, principal: Principal, action: str, *resources: str) -> Refusal | None:
        with self.store.tx() as tx:
            return self.identities.refuses(tx, self.call(principal), action, resources)
