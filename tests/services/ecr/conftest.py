"""What ECR's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.ecr.counter import Counter


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    made = Counter(tmp_path)
    yield made
    made.close()
