"""AWS's service models, read from botocore as data."""

import gzip
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import botocore
import msgspec
from botocore.model import ServiceModel

_DATA = Path(botocore.__file__).parent / "data"


def _strip(node: Any) -> None:
    """Drops the prose: four fifths of a model's memory, and nothing here reads it."""
    if isinstance(node, dict):
        if isinstance(node.get("documentation"), str):
            del node["documentation"]
        for value in node.values():
            _strip(value)
    elif isinstance(node, list):
        for value in node:
            _strip(value)


def _document(name: str, kind: str) -> dict[str, Any] | None:
    versions = sorted(path.name for path in (_DATA / name).iterdir() if path.is_dir())
    for version in reversed(versions):
        for suffix, unpack in ((".json.gz", gzip.decompress), (".json", bytes)):
            path = _DATA / name / version / (kind + suffix)
            if path.exists():
                document: dict[str, Any] = msgspec.json.decode(unpack(path.read_bytes()))
                return document
    return None


def _merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


@cache
def _patches() -> dict[str, Any]:
    text = resources.files("cloudlet.kernel").joinpath("patches.json").read_bytes()
    patches: dict[str, Any] = msgspec.json.decode(text)
    return patches


@cache
def service_model(name: str) -> ServiceModel:
    """The newest model of one service, e.g. "ecs", with our corrections (`patches.json`) merged in.

    Raises LookupError where botocore has no such service.
    """
    document = _document(name, "service-2") if (_DATA / name).is_dir() else None
    if document is None:
        raise LookupError(f"botocore has no model of {name}")
    _strip(document)
    _merge(document, _patches().get(name, {}))
    return ServiceModel(document, name)


@cache
def paginators(name: str) -> dict[str, dict[str, Any]]:
    """Per operation: `input_token`, `output_token`, `limit_key`, `result_key`, as botocore's paginators know them."""
    document = _document(name, "paginators-1") or {}
    pagination: dict[str, dict[str, Any]] = document.get("pagination", {})
    return pagination


PARTITION = "aws"
_ENDPOINTS = _DATA / "endpoints.json"


@cache
def _partition() -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(_ENDPOINTS.read_bytes())
    found: dict[str, Any] = next(part for part in document["partitions"] if part["partition"] == PARTITION)
    return {"regions": found["regions"], "services": {name: tuple(service.get("endpoints", ()))
                                                      for name, service in found["services"].items()}}


@cache
def region_names(service: str) -> tuple[str, ...]:
    """The regions in which a service has an endpoint, in order, by botocore's endpoint data."""
    found = _partition()
    return tuple(sorted(name for name in found["services"][service] if name in found["regions"]))


def region_description(region: str) -> str:
    """`US East (N. Virginia)`, by the same data."""
    description: str = _partition()["regions"][region]["description"]
    return description


def regions_as_of() -> float:
    """When this data came here, in epoch seconds."""
    return _ENDPOINTS.stat().st_mtime
