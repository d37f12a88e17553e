"""Account settings: what principals of an account chose for a region, the account's defaults, and ECS's own.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html
"""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.condition_keys import tag_keys
from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import Input, any_resource
from cloudlet.services.ecs.api import AccessDeniedException, InvalidParameterException, ecs, unsupported
from cloudlet.services.iam import Permissions
from cloudlet.store.db import Tx
from cloudlet.store.records import record

_LONG = ("serviceLongArnFormat", "taskLongArnFormat", "containerInstanceLongArnFormat")
# name -> the values it may have here; the first is what an account begins with
_VALUES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_LONG, ("enabled",)),
    "awsvpcTrunking": ("disabled", "enabled"),
    "containerInsights": ("disabled", "enabled", "enhanced"),
    "fargateFIPSMode": ("disabled",),
    "tagResourceAuthorization": ("on", "off"),
    "fargateTaskRetirementWaitPeriod": ("7", "0", "14"),
    "guardDutyActivate": ("off",),
    "defaultLogDriverMode": ("non-blocking", "blocking"),
    "fargateEventWindows": ("disabled",),
}
_UNAVAILABLE = {**dict.fromkeys(_LONG, ("disabled",)), "fargateFIPSMode": ("enabled",),
                "fargateEventWindows": ("enabled",)}
_PERMISSIONS = Permissions((ecs,))
_MANAGED, _ROOT_ONLY = "guardDutyActivate", "fargateTaskRetirementWaitPeriod"


@record("ecs.account-setting")
class Setting:
    """What a principal chose. Key: account/region, "/", the principal's ARN, "/", the setting's name."""

    key: str
    value: str


def root_of(account: str) -> str:
    """The principal whose settings are the account's defaults."""
    return f"arn:aws:iam::{account}:root"


def effective(call: Call, tx: Tx, name: str, principal: str | None = None) -> str:
    """The value that counts for a principal (the caller, where none is given)."""
    for one in (principal or own(call), root_of(call.account)):
        found = tx.get(Setting, _key(call, one, name))
        if found is not None:
            return found.value
    return _VALUES[name][0]


def check_tagging(call: Call, tx: Tx, request: Input, arn: str, action: str) -> None:
    """Raises AccessDeniedException where something is made with tags (by `action`) by somebody who may not tag it: the
    account setting tagResourceAuthorization."""
    if not request.get("tags") or effective(call, tx, "tagResourceAuthorization") == "off":
        return
    refusal = _PERMISSIONS.refusal(tx, call, "ecs:TagResource", (arn,),
                                   lambda: {**tag_keys(request), "ecs:createaction": (action,)})
    if refusal is not None:
        raise AccessDeniedException(refusal.message)


def own(call: Call) -> str:
    """The principal whose settings are the caller's: a user or role; federated users have the root user's."""
    if call.principal.kind in ("user", "role"):
        return call.principal.policy_arn or call.principal.arn
    return root_of(call.account)


def _key(call: Call, principal: str, name: str) -> str:
    return f"{call.scope}/{principal}/{name}"


def _principal(call: Call, request: Input) -> str:
    """Whose setting is meant. Only the root user may name somebody else."""
    asked, caller = request.get("principalArn"), own(call)
    if not asked or asked == caller:
        return caller
    arn = Arn.parse(asked)
    if arn is None or arn.service != "iam" or not arn.resource.startswith(("user/", "role/", "root")):
        raise InvalidParameterException(f"Invalid principal ARN: {asked}")
    if arn.account != call.account or call.principal.kind != "root":
        raise AccessDeniedException("You are not authorized to change or list the account settings of this principal.")
    return str(asked)


def _checked(name: str, value: str) -> str:
    if name == _MANAGED:
        raise InvalidParameterException("You cannot modify the guardDutyActivate account setting: AWS manages it.")
    value = value.lower()
    if value in _UNAVAILABLE.get(name, ()):
        raise unsupported(f"The value {value} of the account setting {name}")
    if value not in _VALUES[name]:
        raise InvalidParameterException(f"Invalid value for account setting {name}: {value}")
    return value


def _view(call: Call, name: str, value: str, principal: str) -> dict[str, str]:
    return {"name": name, "value": value, "principalArn": principal,
            "type": "aws_managed" if name == _MANAGED else "user"}


@ecs.write(resources=any_resource)
def put_account_setting(call: Call, tx: Tx, request: Input) -> Any:
    """Sets one of the caller's settings, or for the root user somebody else's."""
    return _put(call, tx, request["name"], request["value"], _principal(call, request))


@ecs.write(resources=any_resource)
def put_account_setting_default(call: Call, tx: Tx, request: Input) -> Any:
    """Sets what counts for all who have chosen nothing themselves."""
    return _put(call, tx, request["name"], request["value"], root_of(call.account))


def _put(call: Call, tx: Tx, name: str, value: str, principal: str) -> Any:
    if name == _ROOT_ONLY and principal != root_of(call.account):
        raise InvalidParameterException(f"The account setting {name} can only be set for the root user.")
    value = _checked(name, value)
    tx.put(Setting(_key(call, principal, name), value))
    return {"setting": _view(call, name, value, principal)}


@ecs.write(resources=any_resource)
def delete_account_setting(call: Call, tx: Tx, request: Input) -> Any:
    """Forgets one of the caller's settings, or for the root user somebody else's: the default counts again."""
    name, principal = request["name"], _principal(call, request)
    if name == _MANAGED:
        raise InvalidParameterException("You cannot modify the guardDutyActivate account setting: AWS manages it.")
    tx.delete(Setting, _key(call, principal, name))
    return {"setting": _view(call, name, effective(call, tx, name, principal), principal)}


@ecs.read(resources=any_resource)
def list_account_settings(call: Call, tx: Tx, request: Input) -> Any:
    """What a principal chose, or (effectiveSettings) what counts for it."""
    principal, wanted = _principal(call, request), request.get("value")
    if wanted and not request.get("name"):
        raise InvalidParameterException("You must specify an account setting name to filter by value.")
    settings = []
    for name in sorted([request["name"]] if request.get("name") else _VALUES):
        chosen = tx.get(Setting, _key(call, principal, name))
        if request.get("effectiveSettings"):
            value = effective(call, tx, name, principal)
        elif chosen is not None:
            value = chosen.value
        else:
            continue
        if not wanted or value == wanted:
            settings.append(_view(call, name, value, principal))
    return {"settings": settings}
