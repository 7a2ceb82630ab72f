"""One door to the database: functions go in, and come back when their transaction is durable.

    result = await database.write(lambda uow: ..., owner=owner_id)     # one transaction
    rows = await database.read(lambda uow: ..., owner=owner_id)        # one snapshot
    accept = database.batched(accept_many)                             # what waits together shares one commit
    accepted = await accept(inbound)

How each of the two stores is in `sqlite` and `postgres`. Results are handed out only after COMMIT.
"""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar
from uuid import UUID

from recado.core.database.unit_of_work import UnitOfWork

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output


class Database(Protocol):
    """Where everything is stored: SQLite or PostgreSQL, the same functions on both."""

    @property
    def url(self) -> str:
        """Where it is; may hold a password."""
        ...

    @property
    def last_failure(self) -> str | None:
        """Why the last write of this process could not be stored, in a sentence; None when the last one was.

        What a unit of work raises of its own does not count: the database was ready to store it.
        """
        ...

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:
        """Run `work` in one transaction; it is durable when this returns. Urgent ones go before the rest.

        Raises what `work` raises (nothing of it is stored then), `Busy` when too much waits or another process holds
        the lock too long, `StorageUnavailable` when the database cannot store.
        """
        ...

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        """Run `work` on a snapshot; it can write nothing."""
        ...

    def batched(
        self, work: Callable[[UnitOfWork, Sequence[I]], Sequence[O]], *, refusable: bool = False
    ) -> Callable[[I], Awaitable[O]]:
        """Turn a function over many inputs into an awaitable one over a single input; those that wait share a commit.

        If `work` raises for several inputs they are bisected, so that only the bad one fails. `refusable` inputs come
        from outside and can be sent again: they alone are refused with `Busy` when too much waits already.
        """
        ...

    def write_from_thread(self, work: Callable[[UnitOfWork], T]) -> "Future[T]":
        """For threads of ours that have no event loop (the heartbeat)."""
        ...

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit of this process that changed a row, from the writer's thread."""
        ...

    async def close(self) -> None:
        """Finish what waits and close every connection."""
        ...


def on_postgresql(database_url: str) -> bool:
    """Which of the two databases a URL names."""
    return database_url.startswith(("postgresql:", "postgresql+"))
