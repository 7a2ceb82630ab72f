"""Units of work with the time, the ids and the held lanes handed to them.

The ids are drawn before the unit of work begins, so one that runs twice writes the same ids. The time is read when it
has begun, and again when its lanes are held: what is stored later in a lane then bears a later time, however long a
transaction waited for the writer or for the lock.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, Self, TypeVar
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids, IdSource
from recado.core.queue.job import Claim
from recado.core.queue.lane import HeldLanes, Lane
from recado.core.queue.storage import lanes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Transaction:
    """A unit of work, the time it happens at and the ids it may use."""

    uow: UnitOfWork
    now: datetime
    ids: Ids

    def of_owner(self, owner_id: UUID) -> Self:
        """Return the same transaction, narrowed to the rows of one owner."""
        return replace(self, uow=self.uow.for_owner(owner_id))


@dataclass(frozen=True, slots=True)
class UnlockedTransaction(Transaction):
    """A transaction that holds no lane yet. Its time is that of its beginning."""

    clock: Clock

    def hold(self, *names: Lane) -> "LaneTransaction":
        """Hold some lanes until the transaction ends. Call it once, before anything in them is read."""
        return self.holding(lanes.hold(self.uow, names))

    def holding(self, held: HeldLanes) -> "LaneTransaction":
        """Return the same transaction with lanes that are held already. Its time is now, after the wait for them."""
        return LaneTransaction(self.uow, self.clock.now(), self.ids, held)


@dataclass(frozen=True, slots=True)
class LaneTransaction(Transaction):
    """A transaction that holds lanes. Functions that change a lane's jobs take one, so none can forget the lock."""

    held: HeldLanes

    @classmethod
    def of_queue(cls, held: HeldLanes, owner_id: UUID, now: datetime, ids: Ids) -> Self:
        """Return the transaction in which the queue calls a handler."""
        return cls(held.uow.for_owner(owner_id), now, ids, held)

    def hold_also(self, lane: Lane) -> Self:
        """Hold another lane that was found only now. See `lanes.hold_also`."""
        return replace(self, held=lanes.hold_also(self.held, [lane]))


@dataclass(frozen=True, slots=True)
class _Handed(Generic[T]):
    """A function of a transaction as the database wants it: as a function of a unit of work."""

    func: Callable[[UnlockedTransaction], T]
    clock: Clock
    first_id: UUID

    def __call__(self, uow: UnitOfWork) -> T:
        return self.func(UnlockedTransaction(uow, self.clock.now(), IdSource(self.first_id), self.clock))


@dataclass(frozen=True, slots=True)
class _Held(Generic[T]):
    """A function of a transaction that holds a lane, as a function of one that holds none yet."""

    func: Callable[[LaneTransaction], T]
    lane: Lane

    def __call__(self, tx: UnlockedTransaction) -> T:
        return self.func(tx.hold(self.lane))


class Transactions:
    """Runs functions of a transaction in the database, one transaction each."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    async def write(self, work: Callable[[UnlockedTransaction], T], *, owner: UUID | None, urgent: bool = False) -> T:
        """Run `work` in one transaction and return what it returns, once that is durable."""
        handed = _Handed(work, self._clock, self._ids.new())
        return await self._database.write(handed, owner=owner, urgent=urgent)

    async def write_job(self, claim: Claim, work: Callable[[LaneTransaction], T]) -> T:
        """Run `work` in one transaction that holds the lane of a job, for the owner of the job."""
        job = claim.job
        return await self.write(_Held(work, job.lane), owner=job.owner_id, urgent=True)
