"""What is kept free on a disk, and what a file has of it in advance."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlet.store import space

MIB = 1 << 20
pytestmark = pytest.mark.root


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def grow(path: Path, size: int) -> None:
    with open(path, "ab", buffering=0) as file:
        while size and (written := file.write(bytes(min(size, 4096)))):
            size -= written


def test_a_twentieth_of_a_small_disk_is_left(small: Path) -> None:
    assert not space.is_full(small)
    grow(small / "ballast", 7 * MIB)
    assert not space.is_full(small)
    grow(small / "ballast", 700_000)
    assert space.is_full(small)


def test_a_file_that_has_space_can_be_written_on_a_full_disk(small: Path) -> None:
    with open(small / "log", "wb", buffering=0) as file:
        file.write(b"before")
        for size, more in ((MIB + 6, True), (2 * MIB, True), (2 * MIB, False)):
            assert space.lengthen(file.fileno(), 2 * MIB, MIB) is more
            assert os.fstat(file.fileno()).st_size == size
        with pytest.raises(OSError, match="No space"):
            grow(small / "ballast", 8 * MIB)
        file.write(bytes(2 * MIB - 6))
        with pytest.raises(OSError, match="No space") as caught:
            grow(small / "log", 8192)
        assert caught.value.errno == errno.ENOSPC
        space.lengthen(file.fileno(), 16 * MIB, 16 * MIB)  # as far as there is space
    assert not space.is_plenty(small)
