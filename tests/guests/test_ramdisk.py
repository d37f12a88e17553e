"""The ramdisk, read again as the kernel reads it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlet.guests.ramdisk import MODULES, ramdisk


def entries(archive: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Name, mode and body of each entry of a "newc" archive."""
    place = 0
    while True:
        assert archive[place:place + 6] == b"070701" and place % 4 == 0
        fields = [int(archive[place + 6 + 8 * n:place + 14 + 8 * n], 16) for n in range(13)]
        name = archive[place + 110:place + 110 + fields[11] - 1].decode()
        body = place + 110 + fields[11]
        body += -body % 4
        if name == "TRAILER!!!":
            return
        yield name, fields[1], archive[body:body + fields[6]]
        place = body + fields[6]
        place += -place % 4


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A kernel's modules, one of them built in."""
    (tmp_path / "kernel/drivers").mkdir(parents=True)
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio_ring.ko\n")
    for name in MODULES[1:]:
        (tmp_path / f"kernel/drivers/{name}.ko").write_text(f"{name}!")
    return tmp_path


def test_it_holds_what_the_first_program_needs(kernel: Path, tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(b"program")
    found = {name: (mode, body) for name, mode, body in entries(ramdisk(tmp_path / "busybox", kernel))}
    assert found["bin/busybox"] == (0o100755, b"program")
    assert found["dev/console"][0] == 0o20600
    assert {name for name in found if name.endswith(".ko")} == {f"modules/{name}.ko" for name in MODULES[1:]}
    init = found["init"][1].decode()
    assert f"for module in {' '.join(MODULES[1:])};" in init and found["init"][0] & 0o111


def test_a_kernel_without_a_driver_is_refused(kernel: Path, tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(b"program")
    (kernel / "kernel/drivers/virtio_blk.ko").unlink()
    with pytest.raises(FileNotFoundError, match="virtio_blk"):
        ramdisk(tmp_path / "busybox", kernel)
