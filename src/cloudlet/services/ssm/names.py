"""What a parameter may be called, and the ways in which a request names one: a name or an ARN, a version or a label."""

import re
from dataclasses import dataclass

from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import Input
from cloudlet.services.ssm.service import AccessDenied, HierarchyLevelLimitExceeded, ValidationException

LEVELS_MAX, NAME_MAX = 15, 1011
PUBLIC = "/aws/"  # AWS's own parameters are below it
_NAME = re.compile(r"/?[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*", re.ASCII)
_RESERVED = ("aws", "ssm")
_GRAMMAR = (" If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as"
            " a mix of letters, numbers and the following 3 symbols .-_")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parameter as a request names it. `text` is the request's own; `names` are what the parameter may be called
    (an ARN does not tell `/x` from `x`); `selector` is a version or a label, without its colon."""

    text: str
    account: str
    region: str
    names: tuple[str, ...]
    selector: str | None = None

    @property
    def arn(self) -> str:
        """What policies know it by: no version, no label."""
        return parameter_arn(self.account, self.region, self.names[0])


def parameter_arn(account: str, region: str, name: str) -> str:
    """`arn:aws:ssm:REGION:ACCOUNT:parameter/NAME`; AWS's own parameters belong to no account."""
    owner = "" if name.startswith(PUBLIC) else account
    return f"arn:aws:ssm:{region}:{owner}:parameter/{name.removeprefix('/')}"


def refer(account: str, region: str, text: str) -> Reference:
    """What `NAME`, `NAME:SELECTOR`, an ARN or `ARN:SELECTOR` names; what is no name at all names nothing."""
    arn = Arn.parse(text)
    if arn is not None and arn.service == "ssm" and arn.resource.startswith("parameter/"):
        name, colon, selector = arn.resource.removeprefix("parameter").partition(":")
        names = (name,) if "/" in name[1:] else (name[1:], name)
        return Reference(text, arn.account or account, arn.region, names, selector if colon else None)
    name, colon, selector = text.partition(":")
    return Reference(text, account, region, (name,), selector if colon else None)


def the_parameter(call: Call, request: Input) -> list[str]:
    """The resource of operations on one parameter."""
    return [refer(call.account, call.region, request["Name"]).arn]


def the_parameters(call: Call, request: Input) -> list[str]:
    """The resources of operations on several."""
    return [refer(call.account, call.region, name).arn for name in request["Names"]]


def check_name(name: str) -> None:
    """Raises AWS's error for a name that no parameter of a customer may have:
    https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html."""
    first = name.removeprefix("/").lower()
    if name.startswith("/") and first.startswith("aws"):
        raise AccessDenied(f"No access to reserved parameter name: {name}.")
    if first.startswith(_RESERVED) and "/" not in name:
        raise ValidationException("Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).")
    if "/" in name and not name.startswith("/"):
        raise ValidationException("Parameter name must be a fully qualified name.")
    if not _NAME.fullmatch(name) or first.startswith(_RESERVED):
        raise ValidationException("Parameter name: can't be prefixed with \"ssm\" (case-insensitive)." + _GRAMMAR)
    if len(name) > NAME_MAX:
        raise ValidationException(f"Parameter name: can have at most {NAME_MAX} characters.")
    if name.count("/") > LEVELS_MAX:
        raise HierarchyLevelLimitExceeded()


def is_path(text: str) -> bool:
    """Whether it is the path of a hierarchy, `/` among them, with or without the slash at its end."""
    return text == "/" or (text.startswith("/") and _NAME.fullmatch(text.removesuffix("/")) is not None)


def is_below(name: str, path: str, recursive: bool) -> bool:
    """Whether a parameter is in a hierarchy; not recursive: on its next level. Names without a slash are below `/`."""
    full, start = name if name.startswith("/") else f"/{name}", path.rstrip("/") + "/"
    return full.startswith(start) and (recursive or "/" not in full[len(start):])
