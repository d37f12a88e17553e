"""A root file system as an archive: what `docker import` and `podman import` make images of."""

import io
import tarfile
from pathlib import Path


def write_archive(path: Path, *files: tuple[str, bytes]) -> Path:
    """An archive of the named files."""
    with tarfile.open(path, mode="w") as archive:
        for name, body in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(body), 0o755
            archive.addfile(entry, io.BytesIO(body))
    return path
