"""The queue over SQLite."""

from tests.contracts.queue import QueueContract


class TestOverSqlite(QueueContract):
    """The fixture `database` is a SQLite file."""
