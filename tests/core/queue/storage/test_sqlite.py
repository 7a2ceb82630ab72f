"""The queue over SQLite: the contract, and the worker that runs on it."""

from tests.contracts.queue import QueueContract


class TestOverSqlite(QueueContract):
    """The fixture `database` is a SQLite file."""
