"""Leases: take them for claimed jobs, check and extend them, and free those that have ended."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, and_, bindparam, case, literal_column, select, text, update
from sqlalchemy.sql.dml import ReturningUpdate

from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.queue.job import Claim, StoredJob
from recado.core.queue.lane import HeldLanes
from recado.core.queue.storage import lanes
from recado.core.queue.storage.claiming import Head
from recado.core.queue.storage.tables import lanes as lanes_table
from recado.core.queue.storage.tables import message_queue, queue_owners

JOB_COLUMNS = [message_queue.c[name] for name in StoredJob.__dataclass_fields__]


def lease(held: HeldLanes, heads: Sequence[Head], token: UUID, now: datetime, until: datetime) -> list[Claim]:
    """Lease the first job of each lane to this worker under `token`. The heads are those of `claiming.hold_heads`."""
    if not heads:
        return []
    for head in heads:
        held.require(head.lane)
    rows = held.uow.rows_of_many(_LEASE, [{"job": head.job_id, "token": token, "until": until} for head in heads])
    order = {head.job_id: n for n, head in enumerate(heads)}
    jobs = sorted((StoredJob(*row) for row in rows), key=lambda job: order[job.id])
    held.uow.run_many(_LOCK, [{"lane": job.lane} for job in jobs])
    served = {owner: now + timedelta(microseconds=n) for n, owner in enumerate(job.owner_id for job in jobs)}
    _record_served(held.uow, served)
    return [Claim.of(job, token, until) for job in jobs]


def find_claim(uow: UnitOfWork, job_id: UUID, token: UUID) -> Claim | None:
    """Return the claim that another process of this host has made under a token, or None when it has ended."""
    for *row, until in uow.rows(_CLAIMED, of_id=job_id, token=token):
        return Claim.of(StoredJob(*row), token, until)
    return None


def _record_served(uow: UnitOfWork, served: Mapping[UUID, datetime]) -> None:
    """Store when owners were served, for fairness only: a row that another transaction holds is skipped."""
    rows = [{"owner_id": owner, "served_at": at} for owner, at in sorted(served.items())]
    known = {owner for (owner,) in uow.rows_of_many(_UPDATE_SERVED, rows)}
    if len(known) < len(rows):
        uow.run_many(_INSERT_SERVED, [row for row in rows if row["owner_id"] not in known])


_LEASE = Prepared(
    text(
        f"""
WITH given (job, token, until) AS (VALUES (:job, :token, :until))
UPDATE message_queue SET status = 'running', lease_token = given.token, leased_until = given.until,
    dispatched_at = NULL
FROM given WHERE message_queue.id = given.job AND status IN ('collecting', 'waiting')
RETURNING {", ".join(column.name for column in JOB_COLUMNS)}
"""
    )
    .bindparams(
        param(message_queue.c.id, "job"),
        param(message_queue.c.lease_token, "token"),
        param(message_queue.c.leased_until, "until"),
    )
    .columns(*JOB_COLUMNS)
)
_LOCK = Prepared(
    text("UPDATE lanes SET next_due_at = NULL WHERE lane IN (VALUES (:lane))").bindparams(param(lanes_table.c.lane))
)
# On PostgreSQL an array, for which the planner looks into the index; with a join it reads all owners.
_UPDATE_SERVED = Prepared(
    text(
        """
WITH given (owner_id, served_at) AS (VALUES (:owner_id, :served_at))
UPDATE queue_owners SET served_at = given.served_at FROM given WHERE queue_owners.owner_id = given.owner_id
RETURNING queue_owners.owner_id
"""
    )
    .bindparams(param(queue_owners.c.owner_id), param(queue_owners.c.served_at))
    .columns(queue_owners.c.owner_id),
    on_postgresql=text(
        """
WITH given (owner_id, served_at) AS (VALUES (:owner_id, :served_at)),
held AS (SELECT owner_id FROM queue_owners WHERE owner_id = ANY (ARRAY(SELECT owner_id FROM given))
    FOR UPDATE SKIP LOCKED),
done AS (UPDATE queue_owners SET served_at = given.served_at FROM given
    WHERE queue_owners.owner_id = given.owner_id AND queue_owners.owner_id = ANY (ARRAY(SELECT owner_id FROM held)))
SELECT owner_id FROM queue_owners WHERE owner_id = ANY (ARRAY(SELECT owner_id FROM given))
"""
    )
    .bindparams(param(queue_owners.c.owner_id), param(queue_owners.c.served_at))
    .columns(queue_owners.c.owner_id),
)
_insert_served = inserting(queue_owners, "owner_id", "served_at").on_conflict_do_nothing()
_INSERT_SERVED = Prepared(
    _insert_served,
    # Two inserts of one key wait for each other, even to do nothing. Only the one that gets the lock at once tries.
    on_postgresql=text(
        """
WITH given (owner_id, served_at) AS (VALUES (:owner_id, :served_at))
INSERT INTO queue_owners (owner_id, served_at) SELECT owner_id, served_at FROM given
WHERE pg_try_advisory_xact_lock(hashtextextended('queue owner ' || owner_id, 0))
ON CONFLICT DO NOTHING
"""
    ).bindparams(param(queue_owners.c.owner_id), param(queue_owners.c.served_at)),
)


LEASE_HELD = and_(
    message_queue.c.id == bindparam("of_id"),
    message_queue.c.lease_token == bindparam("token"),
    message_queue.c.status == text("'running'"),
)
_HOLDS = Prepared(select(message_queue.c.id).where(LEASE_HELD))
_CLAIMED = Prepared(select(*JOB_COLUMNS, message_queue.c.leased_until).where(LEASE_HELD))
_EXTEND = Prepared(
    text(
        """
WITH given (job, token, until) AS (VALUES (:job, :token, :until))
UPDATE message_queue SET leased_until = given.until FROM given
WHERE message_queue.id = given.job AND status = 'running' AND lease_token = given.token
RETURNING message_queue.id, 1 AS extended
"""
    )
    .bindparams(
        param(message_queue.c.id, "job"),
        param(message_queue.c.lease_token, "token"),
        param(message_queue.c.leased_until, "until"),
    )
    .columns(message_queue.c.id, literal_column("extended", Integer)),
    # A row that another transaction is ending is skipped, so nothing waits here and nothing can deadlock. The next beat
    # finds out whether it is lost.
    on_postgresql=text(
        """
WITH given (job, token, until) AS (VALUES (:job, :token, :until)),
free AS (SELECT id FROM message_queue WHERE id IN (SELECT job FROM given) ORDER BY id FOR UPDATE SKIP LOCKED),
done AS (UPDATE message_queue SET leased_until = given.until FROM given JOIN free ON free.id = given.job
    WHERE message_queue.id = given.job AND status = 'running' AND lease_token = given.token RETURNING message_queue.id)
SELECT message_queue.id, (done.id IS NOT NULL)::int AS extended
FROM message_queue JOIN given ON message_queue.id = given.job LEFT JOIN done ON done.id = message_queue.id
WHERE status = 'running' AND lease_token = given.token
"""
    )
    .bindparams(
        param(message_queue.c.id, "job"),
        param(message_queue.c.lease_token, "token"),
        param(message_queue.c.leased_until, "until"),
    )
    .columns(message_queue.c.id, literal_column("extended", Integer)),
)


def holds(held: HeldLanes, claim: Claim) -> bool:
    """Return whether a claim still holds its row: the fence of every write a worker makes."""
    held.require(claim.job.lane)
    return bool(held.uow.rows(_HOLDS, of_id=claim.job.id, token=claim.token))


def extend_leases(uow: UnitOfWork, leases: Sequence[tuple[UUID, UUID, datetime]]) -> dict[UUID, bool]:
    """Extend all leases of a process, given as (job, token, until), with one statement.

    Return the jobs still held, with whether the lease was extended: on PostgreSQL a locked row is skipped.
    """
    rows = [{"job": job_id, "token": token, "until": until} for job_id, token, until in sorted(leases)]
    return {job_id: bool(extended) for job_id, extended in uow.rows_of_many(_EXTEND, rows)}


def free_ended_leases(uow: UnitOfWork, now: datetime, uncounted_crashes: Collection[str] = ()) -> int:
    """Requeue jobs whose lease has ended. Return their number.

    Each gets one more crash counted, except kinds that run only our own code (`uncounted_crashes`).
    """
    over = and_(message_queue.c.status == text("'running'"), message_queue.c.leased_until < now)
    oldest = select(message_queue.c.id, message_queue.c.lane).where(over).order_by(message_queue.c.leased_until)
    ended = uow.all(oldest.limit(STEP))
    if not ended:
        return 0
    held = lanes.hold_free(uow, [row["lane"] for row in ended])
    freed = [row["id"] for row in ended if row["lane"] in held.lanes]
    names = [row["lane"] for row in uow.execute(_freeing(freed, over, now, uncounted_crashes)).mappings().all()]
    lanes.refresh(held, names)
    return len(names)


def _freeing(
    ids: Sequence[UUID], over: ColumnElement[bool], now: datetime, uncounted_crashes: Collection[str]
) -> ReturningUpdate[str]:
    counted = case((message_queue.c.name.in_(uncounted_crashes), 0), else_=1)
    error = case((message_queue.c.last_error.is_(None), "its worker died"), else_=message_queue.c.last_error)
    return (
        update(message_queue)
        .where(message_queue.c.id.in_(ids), over)  # Another worker's maintenance may have freed some of them.
        .values(
            status="waiting",
            lease_token=None,
            leased_until=None,
            timed_at=now,
            due_at=message_queue.c.leased_until,  # It has waited since then, however late it is freed.
            crashes=message_queue.c.crashes + counted,
            last_error=error,
        )
        .returning(message_queue.c.lane)
    )
