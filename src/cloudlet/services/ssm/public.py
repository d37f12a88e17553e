"""AWS's public parameters, `/aws/service/…`: what whoever has something to publish here publishes under AWS's names."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloudlet.kernel.names import Arn
from cloudlet.services.ssm.names import PUBLIC, Reference, parameter_arn
from cloudlet.store.db import Tx


@dataclass(frozen=True, slots=True)
class PublicParameter:
    """One of them, always a String; `modified` in epoch seconds."""

    name: str
    value: str
    modified: float
    version: int = 1
    data_type: str = "text"

    def arn(self, region: str) -> str:
        """Its ARN, which names no account."""
        return parameter_arn("", region, self.name)


Publisher = Callable[[Tx, str], Iterable[PublicParameter]]

_publishers: list[Publisher] = []


def public_parameters(publisher: Publisher) -> Publisher:
    """Decorator: `publisher(tx, region)` gives the public parameters of a region, asked for at each request, so that
    they name what exists at that moment."""
    _publishers.append(publisher)
    return publisher


def published(tx: Tx, region: str) -> list[PublicParameter]:
    """All of a region, in order of name."""
    return sorted((each for publisher in _publishers for each in publisher(tx, region)), key=lambda each: each.name)


def find_public(tx: Tx, reference: Reference) -> PublicParameter | None:
    """The public parameter that a request names, without a version or in the one that is there."""
    arn = Arn.parse(reference.text)
    if not reference.names[-1].startswith(PUBLIC) or (arn is not None and arn.account):
        return None
    for each in published(tx, reference.region):
        if each.name in reference.names:
            return each if reference.selector in (None, str(each.version)) else None
    return None
