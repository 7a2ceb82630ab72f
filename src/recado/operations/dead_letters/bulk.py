"""The job that handles many dead letters: one transaction for each, which also stores how far the operation has come.

A worker that is killed loses nothing and repeats nothing. Two workers, of which one has lost its lease, do not handle a
dead letter twice either: each locks the operation first, and passes over what the other has handled.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, DomainError, StorageUnavailable
from recado.core.ids import Ids
from recado.core.queue.handling import Handlers
from recado.core.queue.job import Claim, Discard, Done, Handler, JobResult, Replayed, ReplayRefused, RetryIn, StoredJob
from recado.core.queue.lane import HeldLanes
from recado.core.queue.storage import enqueue
from recado.core.queue.transactions import LaneTransaction, Transaction, Transactions, UnlockedTransaction
from recado.operations.dead_letters.models import MAX_REFUSALS, BulkOperation
from recado.operations.dead_letters.repository import BulkOperations, next_letters
from recado.operations.dead_letters.service import BULK, bulk_job, discard_in, retry_in

log = structlog.get_logger(__name__)

PAGE: Final = 100
"""So many dead letters are looked up at a time."""
_RUN: Final = timedelta(seconds=30)
"""After this a run gives the job back, and a new lease goes on."""


class BulkHandler:
    """Carries out bulk operations. `others` are the handlers of all other jobs, which may become dead letters."""

    name = BULK
    time_limit = timedelta(minutes=2)

    def __init__(self, database: Database, clock: Clock, ids: Ids, others: Sequence[Handler]) -> None:
        self._database = database
        self._clock = clock
        self._transactions = Transactions(database, clock, ids)
        self._handlers = Handlers([*others, self])

    async def run(self, claim: Claim) -> JobResult:
        owner_id, operation_id = claim.job.owner_id, _operation_of(claim.job)
        end = self._clock.now() + _RUN
        operation = await self._transactions.write(partial(_start, operation_id=operation_id), owner=owner_id)
        if operation is None:
            return Discard("its operation is gone")
        after = operation.position
        while page := await self._database.read(partial(_page, operation=operation, after=after), owner=owner_id):
            for letter in page:
                if claim.is_lost or self._clock.now() >= end:
                    return RetryIn(timedelta(), counts=False)
                await self.handle(operation, letter)
            after = page[-1]
        await self._transactions.write(partial(_finish, operation_id=operation_id), owner=owner_id)
        return Done()

    async def handle(self, operation: BulkOperation, letter: UUID) -> None:
        """Handle one dead letter. An error that only it has refuses it, and the others go on."""
        deed = partial(_do, operation_id=operation.id, letter=letter, handlers=self._handlers)
        try:
            await self._transactions.write(deed, owner=operation.owner_id)
        except (Busy, StorageUnavailable):
            raise
        except DomainError as error:
            refuse = partial(_refuse, operation_id=operation.id, letter=letter, why=str(error))
            await self._transactions.write(refuse, owner=operation.owner_id)

    # --- In transactions of the queue ---------------------------------------------------------------------------------

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:  # noqa: ARG002
        """Store that the operation has failed. A retry of this dead letter goes on where it ended."""
        _end(BulkOperations(held.uow.for_owner(job.owner_id)), _operation_of(job), now, error)

    def replay(
        self,
        held: HeldLanes,
        job: StoredJob,
        *,
        force: bool,  # noqa: ARG002 - the operation says whether its retries are forced
        now: datetime,
        ids: Ids,
    ) -> Replayed | ReplayRefused:
        """Go on with the operation, in a new job."""
        tx = LaneTransaction.of_queue(held, job.owner_id, now, ids)
        operations = BulkOperations(tx.uow)
        operation = operations.get(_operation_of(job))
        if operation is None:
            return ReplayRefused(job.id, "its operation was deleted")
        operations.change(operation.id, finished_at=None, error=None)
        again = bulk_job(tx, operation)
        enqueue.add_alone(held, [again])
        return Replayed(job.id, again.id)

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:  # noqa: ARG002
        """End the operation where it is."""
        _end(BulkOperations(held.uow.for_owner(job.owner_id)), _operation_of(job), now, "it was discarded")
        return None


def _operation_of(job: StoredJob) -> UUID:
    return UUID(str(job.payload["operation_id"]))


def _start(tx: Transaction, operation_id: UUID) -> BulkOperation | None:
    operations = BulkOperations(tx.uow)
    found = operations.get(operation_id)
    if found is not None and found.started_at is None:
        operations.change(operation_id, started_at=tx.now)
    return found


def _page(uow: UnitOfWork, operation: BulkOperation, after: UUID) -> list[UUID]:
    return list(next_letters(uow, operation, after, PAGE))


def _do(tx: UnlockedTransaction, operation_id: UUID, letter: UUID, handlers: Handlers) -> None:
    """Handle a dead letter and count it, unless another worker has."""
    operation = _ahead(tx, operation_id, letter)
    if operation is None:
        return
    if operation.kind == "discard":
        discard_in(tx, operation.principal, letter, handlers, only_dead=True)
        _count(tx, operation, letter, None)
        return
    result = retry_in(tx, operation.principal, letter, handlers, force=operation.force)
    _count(tx, operation, letter, result.why if isinstance(result, ReplayRefused) else None)


def _refuse(tx: UnlockedTransaction, operation_id: UUID, letter: UUID, why: str) -> None:
    operation = _ahead(tx, operation_id, letter)
    if operation is not None:
        _count(tx, operation, letter, why)


def _ahead(tx: Transaction, operation_id: UUID, letter: UUID) -> BulkOperation | None:
    """Return the operation, locked, if this dead letter is still to be handled."""
    operation = BulkOperations(tx.uow).held(operation_id)
    return operation if operation is not None and operation.position < letter else None


def _count(tx: Transaction, operation: BulkOperation, letter: UUID, why: str | None) -> None:
    operations = BulkOperations(tx.uow)
    if why is None:
        operations.change(operation.id, position=letter, succeeded=operation.succeeded + 1)
        return
    refusals = list(operation.refusals)
    if len(refusals) < MAX_REFUSALS:
        refusals.append({"id": str(letter), "why": why})
    operations.change(operation.id, position=letter, refused=operation.refused + 1, refusals=refusals)


def _finish(tx: Transaction, operation_id: UUID) -> None:
    operation = BulkOperations(tx.uow).held(operation_id)
    if operation is not None and operation.finished_at is None:
        _end(BulkOperations(tx.uow), operation_id, tx.now, None)
        log.info("dead_letters.bulk_done", succeeded=operation.succeeded, refused=operation.refused)


def _end(operations: BulkOperations, operation_id: UUID, now: datetime, error: str | None) -> None:
    operations.change(operation_id, finished_at=now, error=error)
