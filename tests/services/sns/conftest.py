"""What tests of SNS share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.sns.newsroom import Newsroom


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Newsroom]:
    made = Newsroom(tmp_path)
    yield made
    made.store.close()
