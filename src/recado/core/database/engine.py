"""The one interface to the database: functions go in, and return when their transaction is durable.

    result = await database.write(lambda uow: ..., owner=owner_id)     # one transaction
    rows = await database.read(lambda uow: ..., owner=owner_id)        # one snapshot
    accept = database.batched(accept_many)                             # calls that wait together share one commit
    accepted = await accept(inbound)

`sqlite` and `postgres` implement it. Results are returned only after COMMIT.
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
    """A database, SQLite or PostgreSQL: the same functions on both."""

    @property
    def url(self) -> str:
        """The URL; it may contain a password."""
        ...

    @property
    def last_failure(self) -> str | None:
        """Why the last write of this process could not be stored, as a sentence; None when it was stored.

        An error that a unit of work raises does not count: the database was ready to store it.
        """
        ...

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:
        """Run `work` in one transaction; it is durable when this returns. Urgent writes go before others.

        Raises what `work` raises (then nothing of it is stored), `Busy` when too many writes wait or another process
        holds the lock too long, and `StorageUnavailable` when the database cannot store.
        """
        ...

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        """Run `work` on a snapshot, in which it cannot write."""
        ...

    def batched(
        self, work: Callable[[UnitOfWork, Sequence[I]], Sequence[O]], *, refusable: bool = False
    ) -> Callable[[I], Awaitable[O]]:
        """Turn a function over many inputs into an awaitable one over a single input. Inputs that wait together share a
        commit.

        If `work` raises for several inputs, they are bisected so that only the bad one fails. `refusable` inputs come
        from outside and can be sent again: only they are refused with `Busy` when too many writes wait.
        """
        ...

    def write_from_thread(self, work: Callable[[UnitOfWork], T]) -> "Future[T]":
        """Like `write`, for threads of ours without an event loop (the heartbeat)."""
        ...

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` from the writer's thread after each commit of this process that changed a row."""
        ...

    async def close(self) -> None:
        """Finish waiting writes and close every connection."""
        ...


def on_postgresql(database_url: str) -> bool:
    """Return whether a URL names a PostgreSQL database."""
    return database_url.startswith(("postgresql:", "postgresql+"))
