"""Account settings of a registry: what may be chosen here, and what is as it is.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutAccountSetting.html
"""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import any_resource
from cloudlet.services.ecr.records import AccountSetting
from cloudlet.services.ecr.service import ecr, refused
from cloudlet.store.db import Tx

MOUNTING = "BLOB_MOUNTING"
# By name the values that can be put, the default first. Scans do not happen, so that their version is AWS's default;
# policies of registries count for every action.
_VALUES = {"BASIC_SCAN_TYPE_VERSION": ("AWS_NATIVE",), "REGISTRY_POLICY_SCOPE": ("V2",),
           MOUNTING: ("ENABLED", "DISABLED")}


def mounts(tx: Tx, account: str, region: str) -> bool:
    """Whether a push may mount a blob of another repository of the registry."""
    return _value(tx, f"{account}/{region}", MOUNTING) == "ENABLED"


@ecr.read(resources=any_resource)
def get_account_setting(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A setting of the caller's registry: what was put, or the default."""
    name = _name(request)
    return {"name": name, "value": _value(tx, call.scope, name)}


@ecr.write(resources=any_resource)
def put_account_setting(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Chooses a setting for the caller's registry; a value that nothing here would honour is refused."""
    name, value = _name(request), request["value"]
    if value not in _VALUES[name]:
        raise refused("value", f"the value of {name} must be {' or '.join(_VALUES[name])} here")
    tx.put(AccountSetting(f"{call.scope}/{name}", value))
    return {"name": name, "value": value}


def _name(request: dict[str, Any]) -> str:
    name: str = request["name"]
    if name not in _VALUES:
        raise refused("name", f"must be one of {', '.join(sorted(_VALUES))}")
    return name


def _value(tx: Tx, scope: str, name: str) -> str:
    found = tx.get(AccountSetting, f"{scope}/{name}")
    return found.value if found is not None else _VALUES[name][0]
