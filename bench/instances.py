"""RunInstances, and DescribeInstances of a thousand, beside what botocore takes to parse such an answer."""

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from botocore.parsers import create_parser

from cloudlet.app import assemble
from cloudlet.engines.fake import World
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.services.ec2 import ec2
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.storage.records import StockImage, Volume
from cloudlet.store.blobs import Blobs
from cloudlet.store.db import Store
from cloudlet.wire.gateway import Gateway
from tests.wire.exchange import signed

INSTANCES, AT_ONCE, ROUNDS = 1000, 10, 30
LOOP = asyncio.new_event_loop()
IMAGE = "ami-0123456789abcdef0"
LAUNCH = {"ImageId": IMAGE, "InstanceType": "t2.nano", "TagSpecification.1.ResourceType": "instance",
          "TagSpecification.1.Tag.1.Key": "Name", "TagSpecification.1.Tag.1.Value": "web"}


def ask(gateway: Gateway, action: str, **given: Any) -> bytes:
    """The answer to a signed request, from bytes to bytes; everything but HTTP itself."""
    body = urlencode({"Action": action, "Version": "2016-11-15", **given}).encode()
    request = signed("ec2", body, headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
    response = LOOP.run_until_complete(gateway.handle(request))
    assert response.status == 200 and isinstance(response.body, bytes), response.body
    return response.body


def prepare(store: Store, gateway: Gateway) -> None:
    """An image that is there, and a thousand instances of it that run."""
    with store.tx() as tx:
        tx.put(StockImage(IMAGE, IMAGE.replace("ami", "snap"), "debian", "for the bench", "136693071363", "",
                          "/dev/xvda", "admin", tx.now, "layer", kernel=True, size_gib=8), wake=False)
    for _ in range(INSTANCES // AT_ONCE):
        ask(gateway, "RunInstances", MinCount=AT_ONCE, MaxCount=AT_ONCE, **LAUNCH)
    with store.tx() as tx:
        for instance in tx.find(Instance):
            tx.put(replace(instance, on=True, on_since=tx.now), wake=False)
        for volume in tx.find(Volume):
            tx.put(replace(volume, disk_ready=True, plugged=True), wake=False)


def main() -> None:
    """Medians, in turn, so that noise falls on all."""
    with tempfile.TemporaryDirectory() as name:
        directory, clock = Path(name), SystemClock()
        store, blobs = Store(str(directory / "db"), clock), Blobs(directory / "blobs")
        site = Site(Installation("be9c40"), directory, public_cidr="198.18.0.0/20")
        gateway = assemble(store, blobs, clock, World(clock).engines, site).gateway
        prepare(store, gateway)
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)  # as the app does
        body = ask(gateway, "DescribeInstances")
        answer = {"status_code": 200, "headers": {}, "body": body}
        assert body.count(b"<instanceId>") == INSTANCES
        shape = ec2.operations["DescribeInstances"].model.output_shape
        parser = create_parser("ec2")
        times: dict[Callable[[], object], list[float]] = {
            lambda: ask(gateway, "RunInstances", MinCount=1, MaxCount=1, **LAUNCH): [],
            lambda: ask(gateway, "DescribeInstances"): [], lambda: parser.parse(answer, shape): []}
        for _ in range(ROUNDS):
            for do, found in times.items():
                began = time.perf_counter()
                do()
                found.append(time.perf_counter() - began)
        run, describe, parse = (statistics.median(found) * 1e3 for found in times.values())
        worst = max(list(times.values())[1]) * 1e3
        print(f"RunInstances: p50 {run:.1f} ms; DescribeInstances of {INSTANCES} ({len(body) >> 10} KiB): p50"
              f" {describe:.1f} ms, at most {worst:.1f} ms; botocore parses it in {parse:.0f} ms,"
              f" {parse / describe:.1f} × as long")
        store.close()
        blobs.close()
