"""Whose an access key is, and what its owner may do now."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.services.iam import identities
from cloudlet.store.db import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path / "cloudlet.db"), SystemClock())
    yield made
    made.close()


def site(tmp_path: Path, *, development_key: bool = True) -> Site:
    return Site(Installation("abcdef"), tmp_path, development_key=development_key)


@pytest.mark.parametrize(("key", "account"), [("test", "000000000000"), ("123456789012", "123456789012")])
def test_a_development_key_is_root_of_its_account(store: Store, tmp_path: Path, key: str, account: str) -> None:
    with store.tx() as tx:
        credential = identities(site(tmp_path)).credential(tx, key)
    assert credential is not None
    assert credential.secret == "test"
    assert credential.principal == Principal("root", account, f"arn:aws:iam::{account}:root", account)


@pytest.mark.parametrize("key", ["", "tests", "12345678901", "1234567890123", "１２３４５６７８９０１２",
                                 "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"])
def test_nobody_has_another_key(store: Store, tmp_path: Path, key: str) -> None:
    with store.tx() as tx:
        assert identities(site(tmp_path)).credential(tx, key) is None


@pytest.mark.parametrize("key", ["test", "123456789012"])
def test_the_development_keys_can_be_switched_off(store: Store, tmp_path: Path, key: str) -> None:
    with store.tx() as tx:
        assert identities(site(tmp_path, development_key=False)).credential(tx, key) is None


def test_root_may_do_everything(store: Store, tmp_path: Path) -> None:
    root = Principal("root", "1" * 12, "arn:aws:iam::111111111111:root", "1" * 12)
    call = Call("r", "1" * 12, "us-east-1", root, 0.0, "http://localhost")
    with store.tx() as tx:
        assert identities(site(tmp_path)).refuses(tx, call, "ecs:RunTask", ("*",)) is None
