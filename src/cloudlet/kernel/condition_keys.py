"""The condition keys that a request itself carries: its tags, and what its operation declares."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

RequestKeys = Callable[[], Mapping[str, tuple[str, ...]]]  # asked only where a policy has a condition or a variable

_TAGS, _TAG_KEYS = ("tags", "Tags"), ("tagKeys", "TagKeys", "resourceTagKeys")


def nothing_asked() -> Mapping[str, tuple[str, ...]]:
    """The keys of a request that carries none."""
    return {}


def keys_of(given: Mapping[str, str | Iterable[str] | None]) -> dict[str, tuple[str, ...]]:
    """Condition keys in the form in which they are looked up: lower case, without those that have no value."""
    return {key.lower(): (value,) if isinstance(value, str) else tuple(value)
            for key, value in given.items() if value is not None}


def tag_keys(request: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """aws:RequestTag/… and aws:TagKeys of a request, in whichever of AWS's shapes it gives or removes tags."""
    tags = dict(_tags(request))
    names = [*tags, *(name for member in _TAG_KEYS for name in request.get(member) or () if isinstance(name, str))]
    found: dict[str, tuple[str, ...]] = {f"aws:requesttag/{name.lower()}": (value,) for name, value in tags.items()}
    if names:
        found["aws:tagkeys"] = tuple(names)
    return found


def _tags(request: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    lists = [request.get(member) for member in _TAGS]
    lists += [each.get("Tags") for each in request.get("TagSpecifications") or () if isinstance(each, dict)]
    for tags in lists:
        if isinstance(tags, dict):
            yield from ((name, value) for name, value in tags.items() if isinstance(value, str))
        for tag in tags if isinstance(tags, list) else ():
            if isinstance(tag, dict):
                name = tag.get("key", tag.get("Key"))
                value = tag.get("value", tag.get("Value"))
                if isinstance(name, str):
                    yield name, value if isinstance(value, str) else ""
