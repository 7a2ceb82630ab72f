"""Wake-ups from the databases themselves."""

import pytest

from recado.bootstrap import database_wakeups_of
from recado.core.clock import SystemClock
from recado.core.database.engine import Database
from recado.core.queue.wakeups.contract import Delivery
from tests.contracts.delivery import DeliveryContract

ON_BOTH_DATABASES = True


class DatabaseSource:
    """Makes the delivery of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def delivery(self) -> Delivery:
        return database_wakeups_of(self._database, SystemClock())


class TestDatabaseWakeups(DeliveryContract):
    """What the contract says."""

    @pytest.fixture
    def source(self, database: Database) -> DatabaseSource:
        return DatabaseSource(database)
