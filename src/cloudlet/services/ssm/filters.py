"""ParameterFilters, and the older Filters: which parameters a list has.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ParameterStringFilter.html
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cloudlet.services.ssm.names import is_below, is_path
from cloudlet.services.ssm.records import Parameter, Version, versions
from cloudlet.services.ssm.service import (
    InvalidFilterKey,
    InvalidFilterOption,
    InvalidFilterValue,
    ValidationException,
)
from cloudlet.store.db import Tx

Test = Callable[[Parameter], bool]
VALUES = {"Tier": ("Standard", "Advanced", "Intelligent-Tiering"), "Type": ("String", "StringList", "SecureString")}
_LISTED, _HIERARCHY = ("Path", "Name", "Type", "KeyId", "Tier", "DataType"), ("Type", "KeyId", "Label")
_FIELDS: Mapping[str, Callable[[Parameter], str]] = {
    "Type": lambda parameter: parameter.current.type, "KeyId": lambda parameter: parameter.current.key_id,
    "Tier": lambda parameter: parameter.current.tier, "DataType": lambda parameter: parameter.current.data_type}
BAD_PATH = ('The parameter doesn\'t meet the parameter name requirements. The parameter name must begin with a forward'
            ' slash "/". It can\'t be prefixed with "aws" or "ssm" (case-insensitive). It must use only letters,'
            ' numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special characters are not'
            ' allowed. All sub-paths, if specified, must use the forward slash symbol "/". Valid example:'
            ' /get/parameters2-/by1./path0_.')


def listed(filters: Sequence[Mapping[str, Any]]) -> Test:
    """The test of DescribeParameters' filters, all of which a parameter must meet."""
    tests = [_test(one) for one in _checked(filters, _LISTED, tags=True)]
    return lambda parameter: all(test(parameter) for test in tests)


def older(filters: Sequence[Mapping[str, Any]]) -> Test:
    """The test of DescribeParameters' older filters: the beginning of a name, or one of several types or keys."""
    return listed([{"Key": one["Key"], "Values": one["Values"],
                    "Option": "BeginsWith" if one["Key"] == "Name" else "Equals"} for one in filters])


def by_path(filters: Sequence[Mapping[str, Any]]) -> Callable[[Tx, Parameter], Iterable[Version]]:
    """Which version of a parameter GetParametersByPath shows: the current one, or with a filter for labels that which
    has one of them; none where a filter is not met."""
    checked = _checked(filters, _HIERARCHY, tags=False)
    tests = [_test(one) for one in checked if one["Key"] != "Label"]
    labels = {value for one in checked if one["Key"] == "Label" for value in one["Values"]}

    def chosen(tx: Tx, parameter: Parameter) -> Iterable[Version]:
        if not all(test(parameter) for test in tests):
            return ()
        if not labels:
            return (parameter.current,)
        return [version for version in versions(tx, parameter) if not labels.isdisjoint(version.labels)]
    return chosen


def _checked(filters: Sequence[Mapping[str, Any]], keys: tuple[str, ...], *, tags: bool) -> list[dict[str, Any]]:
    """Filters with their option filled in. Raises AWS's errors for what they may not say."""
    checked: list[dict[str, Any]] = []
    for one in filters:
        key, values = one["Key"], one.get("Values") or []
        is_tag = key.startswith("tag:")
        if key not in keys and not (is_tag and tags):
            raise InvalidFilterKey(f"The following filter key is not valid: {key}. Valid filter keys include:"
                                   f" [{', '.join(keys)}].")
        if any(key == other["Key"] for other in checked):
            raise InvalidFilterKey(f"The following filter is duplicated in the request: {key}. A request can contain"
                                   " only one occurrence of a specific filter.")
        if not values and not is_tag:
            raise InvalidFilterValue(f"The following filter values are missing : null for filter key {key}.")
        option = one.get("Option") or ("OneLevel" if key == "Path" else "Equals")
        _check_option(key, option)
        _check_values(key, values)
        checked.append({"Key": key, "Option": option, "Values": values})
    return checked


def _check_option(key: str, option: str) -> None:
    valid = ("Recursive", "OneLevel") if key == "Path" else ("BeginsWith", "Equals")
    also = {"Name": ("Contains",), "Label": ()}.get(key, ())
    if option not in (*valid, *also) or (key == "Label" and option != "Equals"):
        raise InvalidFilterOption(f"The following filter option is not valid: {option}. Valid options include:"
                                  f" [{', '.join(valid if key != 'Label' else ('Equals',))}].")


def _check_values(key: str, values: Sequence[str]) -> None:
    for value in values:
        if key in VALUES and value not in VALUES[key]:
            raise InvalidFilterOption(f"The following filter value is not valid: {value}. Valid values include:"
                                      f" [{', '.join(VALUES[key])}].")
        if key == "Path" and value.lower().startswith(("/aws", "/ssm")):
            raise ValidationException(
                'Filters for common parameters can\'t be prefixed with "aws" or "ssm" (case-insensitive). When using'
                " global parameters, please specify within a global namespace.")
        if key == "Path" and not is_path(value):
            raise ValidationException(BAD_PATH)


def _test(one: Mapping[str, Any]) -> Test:
    key, option, values = one["Key"], one["Option"], one["Values"]
    if key == "Path":
        return lambda parameter: any(is_below(parameter.name, value, option == "Recursive") for value in values)
    if key == "Name" and option == "Contains":
        return lambda parameter: any(value in _full(parameter.name) for value in values)
    if key == "Name":
        return _compare(option, lambda parameter: _full(parameter.name), [_full(value) for value in values])
    if key.startswith("tag:"):
        tag = key[len("tag:"):]
        met = _compare(option, lambda parameter: parameter.tags[tag], values)
        return lambda parameter: tag in parameter.tags and (not values or met(parameter))
    return _compare(option, _FIELDS[key], values)


def _compare(option: str, field: Callable[[Parameter], str], values: Sequence[str]) -> Test:
    if option == "Equals":
        return lambda parameter: field(parameter) in values
    return lambda parameter: field(parameter).startswith(tuple(values))


def _full(name: str) -> str:
    """Filters know no difference between `x` and `/x`."""
    return name if name.startswith("/") else f"/{name}"
