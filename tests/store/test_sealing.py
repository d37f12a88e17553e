"""What is sealed: opened by its owner with the same key, and by nothing else."""

import stat
from pathlib import Path

import pytest

from cloudlet.kernel.clock import SystemClock
from cloudlet.store.db import Store
from cloudlet.store.sealing import Seal, SealFailure


def seal_in(directory: Path) -> Seal:
    return Seal(directory / "seal.key", SystemClock().token)


def test_what_was_sealed_is_opened_again_by_a_later_process(tmp_path: Path) -> None:
    sealed = seal_in(tmp_path).close(b"\0secret\xff", "owner")
    assert seal_in(tmp_path).open(sealed, "owner") == b"\0secret\xff"
    assert b"secret" not in sealed.encode()


def test_the_same_data_is_sealed_differently_each_time(tmp_path: Path) -> None:
    seal = seal_in(tmp_path)
    assert len({seal.close(b"x", "owner") for _ in range(20)}) == 20


def test_only_its_owner_opens_it(tmp_path: Path) -> None:
    seal = seal_in(tmp_path)
    sealed = seal.close(b"x", "one")
    with pytest.raises(SealFailure):
        seal.open(sealed, "another")


@pytest.mark.parametrize("sealed", ["", "!", "AAAA", "A" * 64])
def test_nonsense_is_not_opened(tmp_path: Path, sealed: str) -> None:
    with pytest.raises(SealFailure):
        seal_in(tmp_path).open(sealed, "owner")


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    sealed = seal_in(tmp_path).close(b"x", "owner")
    with pytest.raises(SealFailure):
        seal_in(tmp_path / "other").open(sealed, "owner")


def test_the_key_is_its_owners_alone_and_drawn_only_when_needed(tmp_path: Path) -> None:
    (tmp_path / "seal.new").write_text("left behind by a crash")
    seal = seal_in(tmp_path)
    assert not (tmp_path / "seal.key").exists()
    seal.close(b"x", "owner")
    assert stat.S_IMODE((tmp_path / "seal.key").stat().st_mode) == 0o600
    assert not (tmp_path / "seal.new").exists()


@pytest.mark.parametrize("content", ["", "abc", "00" * 31, "\xff"])
def test_a_damaged_key_file_is_said_and_never_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "seal.key").write_text(content, "latin-1")
    with pytest.raises(SealFailure, match="64 hex digits"):
        seal_in(tmp_path).close(b"x", "owner")
    assert (tmp_path / "seal.key").read_text("latin-1") == content


def test_a_key_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SealFailure, match="No such file"):
        seal_in(tmp_path / "gone").close(b"x", "owner")


def test_a_store_seals_with_a_key_beside_its_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cloudlet.db"), SystemClock())
    with store.tx() as tx:
        assert tx.seal.open(tx.seal.close(b"x", "owner"), "owner") == b"x"
    store.close()
    assert (tmp_path / "seal.key").exists()
