"""Units of work of the conversation, with the time and the ids handed to them.

A unit of work may run twice. It writes the same rows both times, because the clock and the id maker are asked once,
before it begins.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids, IdSource

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Transaction:
    """A unit of work, the time it happens at and the ids it may use."""

    uow: UnitOfWork
    now: datetime
    ids: Ids

    def of_owner(self, owner_id: UUID) -> "Transaction":
        """Return the same transaction, narrowed to the rows of one owner."""
        return replace(self, uow=self.uow.for_owner(owner_id))


@dataclass(frozen=True, slots=True)
class _Handed(Generic[T]):
    """A function of a transaction as the database wants it: as a function of a unit of work."""

    func: Callable[[Transaction], T]
    now: datetime
    first_id: UUID

    def __call__(self, uow: UnitOfWork) -> T:
        return self.func(Transaction(uow, self.now, IdSource(self.first_id)))


class Transactions:
    """Runs functions of a transaction in the database, one transaction each."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    async def write(self, work: Callable[[Transaction], T], *, owner: UUID | None, urgent: bool = False) -> T:
        """Run `work` in one transaction and return what it returns, once that is durable."""
        handed = _Handed(work, self._clock.now(), self._ids.new())
        return await self._database.write(handed, owner=owner, urgent=urgent)

    def within(self, uow: UnitOfWork) -> Transaction:
        """Return the transaction of a unit of work that somebody else has begun."""
        return Transaction(uow, self._clock.now(), IdSource(self._ids.new()))
