"""AWS's public parameters that name the newest image of a distribution, where such an image is here.

https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-ami.html,
https://wiki.debian.org/Cloud/AmazonEC2Image, https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
"""

import re
from collections.abc import Iterator

from cloudlet.services.ec2.storage.records import StockImage
from cloudlet.services.ssm import PublicParameter
from cloudlet.store.db import Tx

_UBUNTU = {"bionic": "18.04", "focal": "20.04", "jammy": "22.04", "noble": "24.04"}
_AMAZON = "/aws/service/ami-amazon-linux-latest"


def machine_images(tx: Tx, region: str) -> list[PublicParameter]:
    """Each parameter with the newest image that it may name; every region has the same."""
    found: dict[str, StockImage] = {}
    for stock in tx.find(StockImage):
        if stock.size_gib and not stock.withdrawn:
            for name in _names(stock):
                if name not in found or found[name].created < stock.created:
                    found[name] = stock
    return [PublicParameter(name, stock.key, stock.created, data_type="aws:ec2:image") for name, stock in found.items()]


def _names(stock: StockImage) -> Iterator[str]:
    """The parameters that an image's name makes it a candidate for."""
    name = stock.name.lower()
    if match := re.match(r"debian-(\d+)\b", name):
        yield f"/aws/service/debian/release/{match[1]}/latest/amd64"
    elif name.startswith("al2023"):
        yield f"{_AMAZON}/al2023-ami-kernel-default-x86_64"
    elif name.startswith("amzn2-"):
        yield f"{_AMAZON}/amzn2-ami-hvm-x86_64-gp2"
    elif stock.owner == "099720109477":
        for codename, version in _UBUNTU.items():
            if codename in name or version in name:
                store = "ebs-gp3" if version >= "24.04" else "ebs-gp2"
                for known in (codename, version):
                    yield f"/aws/service/canonical/ubuntu/server/{known}/stable/current/amd64/hvm/{store}/ami-id"
