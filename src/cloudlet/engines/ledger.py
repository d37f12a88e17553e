"""Which networks and interfaces this installation has, or began to make: files under /run, written before the first
effect and removed after the last, so that a crash at any instruction leaves nothing that cannot be found."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from cloudlet.engines.ports import InterfaceSpec


class Ledger:
    """A directory for each network, in it a file for each interface, which holds its spec. All calls are brief."""

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
        path = self._file(spec.network, spec.name)
        draft = path.with_name("." + path.name)
        draft.write_text(json.dumps(asdict(spec)))
        os.replace(draft, path)

    def interface(self, name: str) -> InterfaceSpec | None:
        """What is noted of an interface, in whichever network."""
        return next((spec for network in self.networks() if (spec := self.read(network, name))), None)

    def read(self, network: str, name: str) -> InterfaceSpec | None:
        """What is noted of an interface of that network."""
        try:
            return InterfaceSpec(**json.loads(self._file(network, name).read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):  # not ours, or of another version: it is made anew
            return None

    def interfaces(self, network: str) -> tuple[str, ...]:
        """The names of a network's interfaces."""
        return _listed(self.network(network) / "interfaces")

    def remove_interface(self, name: str) -> None:
        """Forgets an interface."""
        for network in self.networks():
            self._file(network, name).unlink(missing_ok=True)

    def _file(self, network: str, name: str) -> Path:
        return self.network(network) / "interfaces" / name


def _listed(directory: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(name for name in os.listdir(directory) if not name.startswith(".")))
    except (FileNotFoundError, NotADirectoryError):
        return ()
