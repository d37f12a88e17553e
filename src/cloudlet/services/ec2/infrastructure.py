"""AWS's public parameters about the world, `/aws/service/global-infrastructure/…`: regions, zones and services.

https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-global-infrastructure.html
"""

from collections.abc import Iterator, Sequence

from cloudlet.kernel.model import PARTITION, region_description, regions_as_of
from cloudlet.services.ec2.regions import regions, zones
from cloudlet.services.ssm import PublicParameter, Publisher
from cloudlet.store.db import Tx

ROOT = "/aws/service/global-infrastructure"


def infrastructure(services: Sequence[str]) -> Publisher:
    """Publishes what there is where those services are served; every region has them all."""
    known = [PublicParameter(f"{ROOT}/{name}", value, regions_as_of()) for name, value in _known(services)]

    def publish(tx: Tx, region: str) -> list[PublicParameter]:
        return known
    return publish


def _known(services: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names below the root, and values. Where a parameter stands for a thing, its value is the thing's name."""
    for region in regions():
        here = f"regions/{region}"
        yield here, region
        yield f"{here}/longName", region_description(region)
        yield f"{here}/partition", PARTITION
        for zone in zones(region):
            yield f"availability-zones/{zone.id}", zone.id
            yield f"{here}/availability-zones/{zone.id}", zone.id
        for service in services:
            yield f"{here}/services/{service}", service
            yield f"services/{service}/regions/{region}", region
    for service in services:
        yield f"services/{service}", service
