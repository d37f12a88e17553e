"""A desk with the tables of Logs."""

import pytest

from cloudlet.services import logs
from tests.services.desk import Desk


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.store.create_tables(logs.TABLES)
    return desk
