"""The queue over a real PostgreSQL."""

import pytest

from recado.core.database.postgres import PostgresDatabase
from tests.contracts.queue import QueueContract


class TestOverPostgres(QueueContract):
    """What the contract says."""

    @pytest.fixture
    def database(self, postgres_database: PostgresDatabase) -> PostgresDatabase:
        return postgres_database
