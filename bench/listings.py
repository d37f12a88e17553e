"""ListObjectsV2 of a thousand keys in a bucket of ten thousand and in one of a million, beside botocore's parsing."""

import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from botocore.parsers import create_parser

from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.services import s3
from cloudlet.services.iam import identities
from cloudlet.services.s3 import versions
from cloudlet.services.s3.records import About, Bucket
from cloudlet.services.s3.versions import Draft
from cloudlet.store.blobs import Blobs
from cloudlet.store.db import Store
from cloudlet.wire.gateway import Gateway
from tests.wire.exchange import HOST, signed

SIZES, PAGE, ROUNDS, BATCH = (10_000, 1_000_000), 1000, 40, 20_000
LOOP = asyncio.new_event_loop()
ABOUT = About(content_type="image/jpeg", checksums={"crc32": "AAAAAA=="})


def key_of(number: int) -> str:
    return f"photos/{number // 1000:04d}/IMG_{number:07d}.jpg"


def fill(store: Store, name: str, size: int) -> None:
    """A bucket of that many objects, put in any order."""
    with store.tx() as tx:
        bucket = Bucket(name, size, "000000000000", "us-east-1", tx.now)
        tx.put(bucket)
    numbers = list(range(size))
    random.Random(size).shuffle(numbers)
    for at in range(0, size, BATCH):
        with store.tx() as tx:
            for number in numbers[at:at + BATCH]:
                versions.put_version(tx, bucket, key_of(number), Draft(number, f"{number:032x}", "", ABOUT, content=1))
        store.checkpoint()


def listed(gateway: Gateway, bucket: str, after: str, delimiter: str = "") -> tuple[float, bytes]:
    """Seconds, from bytes to bytes without HTTP, and the answer."""
    query = {"list-type": "2", "encoding-type": "url", "start-after": after, "delimiter": delimiter}
    request = signed("s3", method="GET", url=f"http://{HOST}/{bucket}?{urlencode(query)}")
    start = time.perf_counter()
    response = LOOP.run_until_complete(gateway.handle(request))
    took = time.perf_counter() - start
    assert response.status == 200 and isinstance(response.body, bytes), response.body
    return took, response.body


def main() -> None:
    """Medians, in turn, so that noise falls on both buckets."""
    with tempfile.TemporaryDirectory(prefix="cloudlet-bench-") as directory:
        root, clock = Path(directory), SystemClock()
        store, blobs = Store(str(root / "cloudlet.db"), clock), Blobs(root / "objects", hashed=False)
        store.create_tables(s3.TABLES)
        store.blobs["s3"] = blobs
        gateway = Gateway((s3.s3,), store, clock, identities(Site(Installation("bench1"), root), (s3.s3,)))
        for size in SIZES:
            fill(store, f"of-{size}", size)
        plain: dict[int, list[float]] = {size: [] for size in SIZES}
        rolled: dict[int, list[float]] = {size: [] for size in SIZES}
        parsing, drawn = [], random.Random(1)
        parser, shape = create_parser("rest-xml"), s3.s3.model.operation_model("ListObjectsV2").output_shape
        for _ in range(ROUNDS):
            for size in SIZES:
                took, body = listed(gateway, f"of-{size}", key_of(drawn.randrange(size - PAGE - 1)))
                assert body.count(b"<Contents>") == PAGE
                plain[size].append(took)
                rolled[size].append(listed(gateway, f"of-{size}", "", "/")[0])
            start = time.perf_counter()
            parser.parse({"body": body, "headers": {}, "status_code": 200}, shape)
            parsing.append(time.perf_counter() - start)
        blobs.close()
        store.close()
    for what, found in (("1,000 keys", plain), ("with a delimiter", rolled)):
        few, many = (statistics.median(found[size]) * 1000 for size in SIZES)
        print(f"ListObjectsV2, {what}, p50: of 10,000 {few:.1f} ms, of 1,000,000 {many:.1f} ms ({many / few:.2f} ×;"
              " wanted at most 1.2 ×, under 30 ms)")
    print(f"botocore parses such an answer in {statistics.median(parsing) * 1000:.1f} ms")
