"""The rules of the house, checked by reading the syntax tree. Each ban names what to use instead."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlet.app import SERVICES
from cloudlet.kernel.service import Service

ROOT = Path(__file__).parent.parent / "src" / "cloudlet"

MAY_IMPORT: dict[str, set[str]] = {  # part -> parts it may import (itself always)
    "__init__": set(),
    "kernel": set(),
    "config": {"kernel"},
    "wire": {"kernel"},
    "store": {"kernel"},
    "engines": {"kernel"},
    "control": {"kernel", "store"},
    "services": {"kernel", "store", "control", "engines.ports"},
    "app": {"*"},
    "admin": {"kernel", "store"},
    "cli": {"*"},
    "demo": set(),
    "guests": {"engines.ports", "engines.shelf"},
    "__main__": {"cli"},
}
# A service may use the front doors of those on lower floors only.
FLOOR = {"iam": 0, "sts": 1, "logs": 2, "sqs": 2, "secretsmanager": 2, "sns": 3, "ssm": 3,
         "cloudwatch": 4, "ecr": 4, "s3": 4, "ec2": 4, "ec2instanceconnect": 5,
         "elbv2": 5, "ecs": 5, "autoscaling": 5, "applicationautoscaling": 6, "rds": 5, "eks": 5}
BANNED = {  # (module, attribute) -> (the one door, what to use instead)
    ("time", "time"): ("kernel/clock.py", "Clock.now"),
    ("time", "sleep"): ("kernel/clock.py", "Clock.sleep"),
    ("datetime", "now"): ("kernel/clock.py", "Clock.now"),
    ("datetime", "utcnow"): ("kernel/clock.py", "Clock.now"),
    ("uuid", "uuid4"): ("kernel/clock.py", "Clock.token"),
    ("random", "random"): ("kernel/clock.py", "Clock.token"),
    ("secrets", "token_hex"): ("kernel/clock.py", "Clock.token"),
    ("asyncio", "sleep"): ("kernel/clock.py", "Clock.sleep"),
    ("subprocess", "run"): ("engines/process.py", "process.run"),
    ("subprocess", "Popen"): ("engines/process.py", "process.spawn"),
    ("asyncio", "create_subprocess_exec"): ("engines/process.py", "process.run"),
    ("os", "environ"): ("config.py", "Config"),
    ("os", "getenv"): ("config.py", "Config"),
    ("os", "system"): ("engines/process.py", "process.run"),
}
DOORS_TOO = {
    ("os", "environ"): {"engines/process.py"},  # a child inherits the environment
    ("secrets", "token_hex"): {"store/directory.py"},  # an installation is named before it has a clock
}
OUTSIDE = ("cli", "demo", "guests")  # programs a person runs, not the control plane: they may run commands and sleep
MAY_CATCH_ALL = {"wire/gateway.py", "control/loop.py"}
BAD_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
FILE_LINES_MAX, FUNCTION_LINES_MAX = 500, 70


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if "files" not in path.parts)  # those are programs of guests


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cloudlet":
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}".removeprefix("cloudlet.")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("cloudlet."):
                    yield node.lineno, alias.name.removeprefix("cloudlet.")


def layer_problems(rel: str, tree: ast.AST) -> Iterator[str]:
    part = rel.split("/")[0].removesuffix(".py")
    allowed = MAY_IMPORT.get(part)
    if allowed is None:
        yield f"{rel}: no such room in the plan (ARCHITECTURE.md); add it there first"
        return
    for line, target in imports(tree):
        top = target.split(".")[0]
        if top == "__version__":
            continue
        if top != part and "*" not in allowed and not any(f"{target}.".startswith(f"{a}.") for a in allowed):
            yield f"{rel}:{line}: {part} must not import {target}"
        if part == "services" and top == "services":
            yield from service_problems(rel, line, target)


def service_problems(rel: str, line: int, target: str) -> Iterator[str]:
    mine, names = rel.split("/")[1], target.split(".")
    other = names[1] if len(names) > 1 else ""
    if other == mine or not other:
        return
    if (ROOT / "services" / other / f"{names[2]}.py").exists() if len(names) > 2 else False:
        yield f"{rel}:{line}: reach {other} only through its front door (import from cloudlet.services.{other})"
    if FLOOR[other] >= FLOOR[mine]:
        yield f"{rel}:{line}: {mine} must not call {other}, which is not below it; news upwards is work (tx.enqueue)"


def style_problems(rel: str, tree: ast.AST) -> Iterator[str]:
    outside = rel.startswith(OUTSIDE)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{rel}:{node.lineno}: {node.name} has {length} lines (at most {FUNCTION_LINES_MAX})"
        if isinstance(node, ast.ExceptHandler) and rel not in MAY_CATCH_ALL:
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(c is None or getattr(c, "id", "") in ("Exception", "BaseException") for c in caught):
                reraises = any(isinstance(n, ast.Raise) and n.exc is None for n in ast.walk(node))
                if not reraises:
                    yield f"{rel}:{node.lineno}: only the gateway and the loop may catch everything"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and not outside:
            door = BANNED.get((node.value.id, node.attr))
            also = DOORS_TOO.get((node.value.id, node.attr), set())
            if door and rel != door[0] and rel not in also:
                yield f"{rel}:{node.lineno}: {node.value.id}.{node.attr} belongs to {door[0]}; use {door[1]}"


def file_problems(path: Path, rel: str, text: str, tree: ast.Module) -> Iterator[str]:
    lines = text.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{rel}: {lines} lines (at most {FILE_LINES_MAX}): which room does it want to become?"
    if path.stem in BAD_NAMES:
        yield f"{rel}: name it after what it holds"
    if text and not ast.get_docstring(tree):
        yield f"{rel}: open with one sentence that says what it is"


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module_keeps_the_rules(path: Path) -> None:
    rel, text = path.relative_to(ROOT).as_posix(), path.read_text()
    tree = ast.parse(text)
    problems = [*layer_problems(rel, tree), *style_problems(rel, tree), *file_problems(path, rel, text, tree)]
    assert not problems, "\n".join(problems)


def test_tests_and_benches_are_as_easy_to_find_and_to_read() -> None:
    top = ROOT.parent.parent
    problems = [problem for part in ("tests", "bench") for path in sorted((top / part).rglob("*.py"))
                for problem in file_problems(path, path.relative_to(top).as_posix(), path.read_text(),
                                             ast.parse(path.read_text()))]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_operation_says_what_permission_it_needs(service: Service) -> None:
    silent = [name for name, operation in service.operations.items() if operation.resources is None]
    assert not silent, f"{service.name}: say resources= (any_resource where AWS knows no single one) of {silent}"
