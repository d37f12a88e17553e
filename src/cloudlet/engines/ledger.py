"""Which networks and interfaces this installation has, or began to make: files under /run, written before the first
effect and removed after the last, so that a crash at any instruction leaves nothing that cannot be found."""

import os
import shutil
from pathlib import Path
from typing import TypeVar

import msgspec

from cloudlet.engines.ports import Fabric, InterfaceSpec

T = TypeVar("T")


class Ledger:
    """A directory for each network, in it a file for each interface, which holds its spec, and the fabric that was last
    applied. All calls are brief."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add_network(self, name: str) -> Path:
        """The network's own directory, where its other files live too."""
        path = self.network(name)
        (path / "interfaces").mkdir(mode=0o755, parents=True, exist_ok=True)
        return path

    def network(self, name: str) -> Path:
        """Where a network's files are."""
        return self.directory / name

    def networks(self) -> tuple[str, ...]:
        """All networks."""
        return _listed(self.directory)

    def remove_network(self, name: str) -> None:
        """Forgets a network, and the installation's directory with the last of them."""
        shutil.rmtree(self.network(name), ignore_errors=True)
        try:
            self.directory.rmdir()
        except OSError:
            pass  # not the last

    def add_interface(self, spec: InterfaceSpec) -> None:
        """Notes an interface that is about to be made. Raises FileNotFoundError where its network is unknown."""
        _write(self._file(spec.network, spec.name), spec)

    def interface(self, name: str) -> InterfaceSpec | None:
        """What is noted of an interface, in whichever network."""
        return next((spec for network in self.networks() if (spec := self.read(network, name))), None)

    def read(self, network: str, name: str) -> InterfaceSpec | None:
        """What is noted of an interface of that network."""
        return _read(self._file(network, name), InterfaceSpec)

    def interfaces(self, network: str) -> tuple[str, ...]:
        """The names of a network's interfaces."""
        return _listed(self.network(network) / "interfaces")

    def remove_interface(self, name: str) -> None:
        """Forgets an interface."""
        for network in self.networks():
            self._file(network, name).unlink(missing_ok=True)

    def write_fabric(self, fabric: Fabric) -> None:
        """Notes what was applied to a network."""
        _write(self.network(fabric.network) / "fabric", fabric)

    def fabric(self, network: str) -> Fabric | None:
        """What was last applied to a network."""
        return _read(self.network(network) / "fabric", Fabric)

    def _file(self, network: str, name: str) -> Path:
        return self.network(network) / "interfaces" / name


def _write(path: Path, content: object) -> None:
    draft = path.with_name("." + path.name)
    draft.write_bytes(msgspec.json.encode(content))
    os.replace(draft, path)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):  # or written by another version: it is made anew
        return None


def _listed(directory: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(name for name in os.listdir(directory) if not name.startswith(".")))
    except (FileNotFoundError, NotADirectoryError):
        return ()
