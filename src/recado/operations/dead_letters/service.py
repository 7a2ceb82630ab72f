"""What people do with dead letters, one at a time or many by a job.

Each deed leaves the person's name on the dead letter and a line in the audit, in the transaction of the deed. What a
retry of a reply does, and when it is refused, is decided by the handler of the job: no customer is answered twice.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.pages import FIRST_ID
from recado.core.database.types import JsonValue
from recado.core.errors import Busy, Conflict, DomainError, StorageUnavailable
from recado.core.ids import SYSTEM_OWNER, Ids
from recado.core.queue import handling
from recado.core.queue.job import BACKGROUND_PRIORITY, NewJob, Replayed, ReplayRefused
from recado.core.queue.service import QueueService
from recado.core.queue.storage import enqueue, lanes
from recado.core.queue.transactions import Transaction, Transactions, UnlockedTransaction
from recado.identity import audit
from recado.identity.audit import AuditAction
from recado.identity.principal import Principal
from recado.operations.dead_letters.models import BulkOperation, BulkOrder
from recado.operations.dead_letters.repository import BulkOperations, Listed, listed

BULK: Final = "dead_letters.bulk"
BULK_ATTEMPTS: Final = 10


def _nothing_more(_tx: Transaction, _begun: BulkOperation) -> None:
    """Do nothing at the end of a transaction."""


class DeadLetterService:
    """One method for each thing that a person can do."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, queue: QueueService) -> None:
        self._transactions = Transactions(database, clock, ids)
        self._queue = queue

    async def retry(
        self, principal: Principal, dead_letter_id: UUID, *, force: bool = False
    ) -> Replayed | ReplayRefused:
        """Start a dead letter again. Raises `NotFound`, and `Conflict` for a job that is no dead letter."""

        def work(tx: UnlockedTransaction) -> Replayed | ReplayRefused:
            return retry_in(tx, principal, dead_letter_id, self._queue.handlers, force=force)

        return await self._transactions.write(work, owner=_scope(principal))

    async def discard(self, principal: Principal, dead_letter_id: UUID) -> None:
        """Take a dead letter off the list, or a waiting job out of the queue. Done twice, nothing more happens.

        Raises `NotFound`, and `Conflict` for a job that has begun or ended otherwise.
        """

        def work(tx: UnlockedTransaction) -> None:
            discard_in(tx, principal, dead_letter_id, self._queue.handlers)

        await self._transactions.write(work, owner=_scope(principal))

    async def retry_all(
        self, acting_for: Callable[[UUID], Principal], *, force: bool = False
    ) -> AsyncIterator[Replayed | ReplayRefused]:
        """Start every owner's dead letters of now again. Yield the result of each once it is stored.

        Later dead letters are left: a replay that fails at once would be replayed for ever. Raises `Busy` and
        `StorageUnavailable`; the results that were yielded before are stored.
        """
        newest = (await self._queue.dead_summary()).newest
        if newest is None:
            return
        async for page in self._queue.dead_pages(last=newest):
            for job in page:
                yield await self._retry_or_refuse(acting_for(job.owner_id), job.id, force=force)

    async def _retry_or_refuse(self, principal: Principal, job_id: UUID, *, force: bool) -> Replayed | ReplayRefused:
        """Retry one of many. An error of one job, or a change by another process, refuses only that job."""
        try:
            return await self.retry(principal, job_id, force=force)
        except (Busy, StorageUnavailable):
            raise
        except DomainError as error:
            return ReplayRefused(job_id, str(error))

    async def begin(
        self,
        principal: Principal,
        order: BulkOrder,
        *,
        then: Callable[[Transaction, BulkOperation], None] = _nothing_more,
    ) -> BulkOperation:
        """Have many dead letters handled by a job. Raises `InvalidInput`.

        `then` is called at the end of the transaction.
        """
        checked = order.checked()

        def work(tx: UnlockedTransaction) -> BulkOperation:
            operation = _begin(tx, principal, checked)
            then(tx, operation)
            return operation

        return await self._transactions.write(work, owner=principal.owner_id)


def retry_in(
    tx: UnlockedTransaction, principal: Principal, job_id: UUID, handlers: handling.Handlers, *, force: bool
) -> Replayed | ReplayRefused:
    """Start a dead letter again in a transaction, and write down who did it. A refusal changes nothing."""
    lane, job = handling.hold(tx, job_id, principal.owner_id)
    result = handling.retry(lane, job, handlers, force=force, by=principal.name)
    if isinstance(result, Replayed):
        _record(tx, principal, "dead_letter.retried", job_id, str(result.by))
    return result


def discard_in(
    tx: UnlockedTransaction,
    principal: Principal,
    job_id: UUID,
    handlers: handling.Handlers,
    *,
    only_dead: bool = False,
) -> None:
    """Discard a dead letter or, unless `only_dead`, a waiting job in a transaction, and write down who did it."""
    lane, job = handling.hold(tx, job_id, principal.owner_id)
    if only_dead and job.status != "dead":
        raise Conflict(f"job {job_id} is {job.status}, not dead; only dead letters can be discarded here")
    if handling.discard(lane, job, handlers, by=principal.name):
        _record(tx, principal, "dead_letter.discarded" if job.status == "dead" else "job.discarded", job_id)


def bulk_job(tx: Transaction, operation: BulkOperation) -> NewJob:
    """Return a job that carries out a bulk operation."""
    return NewJob(
        id=tx.ids.new(),
        name=BULK,
        owner_id=operation.owner_id,
        created_at=tx.now,
        due_at=tx.now,
        payload={"operation_id": str(operation.id)},
        priority=BACKGROUND_PRIORITY,
        max_attempts=BULK_ATTEMPTS,
    )


def _begin(tx: UnlockedTransaction, principal: Principal, order: BulkOrder) -> BulkOperation:
    found = listed(tx.uow, principal.owner_id, order.job_name) if order.letters is None else _named(order.letters)
    operation = BulkOperations(tx.uow).add(_operation(tx, principal, order, found))
    job = bulk_job(tx, operation)
    enqueue.add(lanes.hold_for(tx.uow, [job]), [job])
    detail: dict[str, JsonValue] = {"dead_letters": operation.total, "force": order.force}
    action: AuditAction = "dead_letters.retry_ordered" if order.kind == "retry" else "dead_letters.discard_ordered"
    audit.record(tx, principal, action, "bulk_operation", operation.id, detail)
    return operation


def _named(letters: Sequence[UUID]) -> Listed:
    return Listed(len(letters), letters[-1])


def _operation(tx: Transaction, principal: Principal, order: BulkOrder, found: Listed) -> BulkOperation:
    return BulkOperation(
        id=tx.ids.new(),
        owner_id=principal.owner_id,
        kind=order.kind,
        force=order.force,
        letters=None if order.letters is None else [str(each) for each in order.letters],
        job_name=order.job_name,
        until=found.newest or FIRST_ID,
        position=FIRST_ID,
        total=found.count,
        succeeded=0,
        refused=0,
        refusals=[],
        actor_kind=principal.kind,
        actor_id=principal.id,
        actor_name=principal.name,
        source=principal.source,
        created_at=tx.now,
    )


def _record(
    tx: Transaction, principal: Principal, action: AuditAction, job_id: UUID, retried_as: str | None = None
) -> None:
    if principal.owner_id != SYSTEM_OWNER:  # The installation's own jobs have no owner whose audit it could be.
        audit.record(tx, principal, action, "job", job_id, None if retried_as is None else {"job_id": retried_as})


def _scope(principal: Principal) -> UUID | None:
    """Return the owner of the transaction. The installation's own jobs are seen by the system only."""
    return None if principal.owner_id == SYSTEM_OWNER else principal.owner_id
