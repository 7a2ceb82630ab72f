"""Two transactions of which one holds its locks while the other comes: what each of them saw decides what is stored."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from tests.support.patience import PATIENCE

T = TypeVar("T")

_WAITING_FOR_ME: Final = (
    "SELECT count(*) FROM pg_locks AS lock "
    "WHERE NOT lock.granted AND pg_backend_pid() = ANY (pg_blocking_pids(lock.pid))"
)


class HoldingDatabase:
    """A database whose writes have done all that they do, and commit when another transaction waits for them.

    SQLite has one writer: there the other waits by itself.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self.holds = asyncio.Event()
        self.url = database.url
        self.last_failure = database.last_failure
        self.read = database.read
        self.batched = database.batched
        self.write_from_thread = database.write_from_thread
        self.on_commit = database.on_commit
        self.close = database.close

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:
        return await self._database.write(partial(self._held, work), owner=owner, urgent=urgent)

    def _held(self, work: Callable[[UnitOfWork], T], uow: UnitOfWork) -> T:
        result = work(uow)
        self._loop.call_soon_threadsafe(self.holds.set)
        if uow.dialect == "postgresql":
            give_up = time.monotonic() + PATIENCE
            while not uow.execute_raw(_WAITING_FOR_ME)[0][0]:
                assert time.monotonic() < give_up, "no transaction waits for this one"
        return result


async def crossing(
    database: Database, first: Callable[[Database], Awaitable[object]], second: Callable[[], Awaitable[object]]
) -> list[object]:
    """Run `second` while `first` holds what it has locked. Return what both ended with, errors too.

    `first` gets the database in which to make its one write.
    """
    holding = HoldingDatabase(database)
    ahead = asyncio.create_task(_ended(first(holding)))
    await asyncio.wait_for(holding.holds.wait(), PATIENCE)
    behind = asyncio.create_task(_ended(second()))
    return [await ahead, await behind]


async def _ended(awaited: Awaitable[object]) -> object:
    [result] = await asyncio.gather(awaited, return_exceptions=True)
    return result
