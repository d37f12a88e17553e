"""What tests of S3 share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.s3.counter import Counter


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    made = Counter(tmp_path)
    made.ask("PUT", "/bkt")
    yield made
    made.close()
    made.store.close()
