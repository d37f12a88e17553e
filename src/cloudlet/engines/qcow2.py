"""What the head of a qcow2 file says, read without starting a process.

https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt
"""

import struct
from dataclasses import dataclass
from pathlib import Path

_MAGIC = 0x514649FB  # "QFI\xfb"
_HEAD = struct.Struct(">IIQIIQ")  # magic, version, where the backing file's name is and its length, cluster bits, size
_FEATURES = struct.Struct(">Q")
_FEATURES_AT, _EXTERNAL_DATA, _NAME_MAX = 72, 1 << 2, 1023
_TABLE, _TABLE_AT = struct.Struct(">IQ"), 36  # how many entries, each of 8 bytes, the table of clusters has, and where


@dataclass(frozen=True, slots=True)
class Header:
    """The virtual size in bytes, the name of the file below (None: it stands alone), and whether its data is kept in
    yet another file."""

    size_bytes: int
    backing: str | None
    external_data: bool


def header(path: Path) -> Header | None:
    """The head of a qcow2 file; None where the file is none, or is not there."""
    try:
        with path.open("rb") as file:
            head = file.read(_FEATURES_AT + _FEATURES.size)
            if len(head) < _HEAD.size:
                return None
            magic, version, name_at, name_length, _, size = _HEAD.unpack_from(head)
            if magic != _MAGIC or version not in (2, 3):
                return None
            features = _FEATURES.unpack_from(head, _FEATURES_AT)[0] if version == 3 and len(head) >= 80 else 0
            file.seek(name_at)
            name = file.read(min(name_length, _NAME_MAX)) if name_at else b""
    except (FileNotFoundError, IsADirectoryError):
        return None
    return Header(size, name.decode(errors="replace") or None, bool(features & _EXTERNAL_DATA))


def is_blank(path: Path) -> bool:
    """Whether nothing was ever written to it: all that it shows is in the file below."""
    with path.open("rb") as file:
        file.seek(_TABLE_AT)
        entries, place = _TABLE.unpack(file.read(_TABLE.size))
        file.seek(place)
        return not any(file.read(8 * entries))
