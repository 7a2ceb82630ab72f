"""Counting commits: a database tells its listeners after those who waited for the commit, from a thread of its own."""

import asyncio
import threading
from collections.abc import Callable

from recado.core.database.engine import Database
from recado.core.database.postgres.database import WRITERS, PostgresDatabase
from recado.core.database.unit_of_work import UnitOfWork
from tests.support.patience import PATIENCE


async def all_listeners_called(database: Database) -> None:
    """Wait until every writer has called its listeners for all that it committed.

    PostgreSQL has several writers. They meet at one moment, and none comes to it before it has called them.
    """
    count = WRITERS if isinstance(database, PostgresDatabase) else 1
    meeting = threading.Barrier(count, timeout=PATIENCE)
    await asyncio.gather(*[database.write(_met(meeting), owner=None) for _ in range(count)])


def _met(meeting: threading.Barrier) -> Callable[[UnitOfWork], None]:
    met = threading.Event()

    def meet(_uow: UnitOfWork) -> None:
        if not met.is_set():  # A unit of work may run twice.
            met.set()
            meeting.wait()

    return meet
