"""Every operation has a test, and docs/coverage.md says which operations there are.

`python -m tests.test_coverage` writes the page anew.
"""

import importlib
import pkgutil
import re
from pathlib import Path

import cloudlet.services
from cloudlet.kernel.service import Service

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "coverage.md"


def services() -> list[Service]:
    found = []
    for module in pkgutil.iter_modules(cloudlet.services.__path__):
        package = importlib.import_module(f"cloudlet.services.{module.name}")
        found += [value for value in vars(package).values() if isinstance(value, Service)]
    return sorted(found, key=lambda service: service.name)


def page() -> str:
    lines = ["# Operations", "",
             "Generated: `python -m tests.test_coverage`. What is not listed answers 501; differences from AWS are in",
             "[limits.md](limits.md).", ""]
    for service in services():
        names = sorted(service.operations)
        lines += [f"## {service.name} ({len(names)} of {len(service.model.operation_names)})", "", ", ".join(names), ""]
    return "\n".join(lines)


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.test_coverage"


def test_every_operation_has_a_test() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    words = set(re.findall(r"[A-Za-z_]\w*", text)) | set(re.findall(r"aws_[a-z_]+", text))
    untested = [f"{service.name}.{operation}" for service in services() for operation, declared
                in service.operations.items() if not {operation, declared.run.__name__} & words]
    assert not untested, f"no test names {untested}"


if __name__ == "__main__":
    PAGE.write_text(page())
