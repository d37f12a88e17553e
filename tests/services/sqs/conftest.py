"""What tests of SQS share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.sqs.clerk import Clerk


@pytest.fixture
def clerk(tmp_path: Path) -> Iterator[Clerk]:
    made = Clerk(tmp_path)
    yield made
    made.store.close()
