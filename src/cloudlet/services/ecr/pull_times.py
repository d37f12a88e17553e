"""When images were last pulled: by the API or by a registry's client, to within a minute."""

import dataclasses
from collections.abc import Iterable
from contextlib import suppress

from cloudlet.services.ecr.records import Image
from cloudlet.store.db import OutOfSpace, Store

PULL_RECORDED_S = 60.0  # a pull is recorded if the last record is older


def record_pulls(store: Store, images: Iterable[Image], now: float) -> None:
    """Notes that images are pulled, unless that was noted a short time ago."""
    keys = [image.key for image in images if image.pulled_at is None or now - image.pulled_at > PULL_RECORDED_S]
    if keys:
        with suppress(OutOfSpace), store.tx() as tx:  # apart, because a disk that is full keeps nobody from pulling
            for key in keys:
                image = tx.get(Image, key)
                if image is not None:
                    tx.put(dataclasses.replace(image, pulled_at=tx.now))
