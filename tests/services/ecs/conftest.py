"""What tests of ECS share."""

from pathlib import Path

import pytest

from tests.services.ecs.plane import Plane


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    made = Plane(tmp_path)
    return made
