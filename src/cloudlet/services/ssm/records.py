"""What Parameter Store remembers: parameters with their current version, and the versions before it."""

from dataclasses import dataclass, field, replace

from cloudlet.services.ssm.names import Reference, parameter_arn
from cloudlet.services.ssm.service import ParameterNotFound
from cloudlet.store.db import Tx
from cloudlet.store.records import record


@dataclass(frozen=True, slots=True)
class Version:
    """One version: the value (sealed for a SecureString) and everything that was said with it."""

    number: int
    type: str
    value: str
    modified: float
    modified_by: str
    tier: str
    data_type: str
    description: str = ""
    allowed_pattern: str = ""
    key_id: str = ""
    labels: tuple[str, ...] = ()


@record("ssm.parameter", indexes={"scope": lambda parameter: f"{parameter.account}/{parameter.region}"})
class Parameter:
    """A parameter. Its key is `account/region/name`, so that a hierarchy is a run of keys."""

    key: str
    account: str
    region: str
    name: str
    current: Version
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its ARN, of which the name's first slash is part."""
        return parameter_arn(self.account, self.region, self.name)


@record("ssm.version")
class Former:
    """A version that was overwritten. Its key is the parameter's, and the number in ten digits."""

    key: str
    version: Version


def parameter_key(account: str, region: str, name: str) -> str:
    """The key of a parameter's record."""
    return f"{account}/{region}/{name}"


def sealed_for(key: str, number: int) -> str:
    """Whom the value of a SecureString is sealed for: one version of one parameter."""
    return f"ssm/{key}:{number}"


def find(tx: Tx, reference: Reference, *, any_version: bool = False) -> Parameter:
    """The parameter itself; with `any_version` also where one of its versions is named. Raises ParameterNotFound."""
    for name in reference.names if any_version or reference.selector is None else ():
        found = tx.get(Parameter, parameter_key(reference.account, reference.region, name))
        if found is not None:
            return found
    raise ParameterNotFound(f"Parameter {reference.text} not found.")


def versions(tx: Tx, parameter: Parameter) -> list[Version]:
    """All its versions that are kept, the oldest first."""
    return [*(former.version for former in tx.find(Former, f"{parameter.key}:")), parameter.current]


def put_version(tx: Tx, parameter: Parameter, version: Version) -> None:
    """Writes a version that is there already, with other labels."""
    if version.number == parameter.current.number:
        tx.put(replace(parameter, current=version))
    else:
        tx.put(Former(former_key(parameter, version.number), version))


def former_key(parameter: Parameter, number: int) -> str:
    """The key of a former version's record."""
    return f"{parameter.key}:{number:010}"
