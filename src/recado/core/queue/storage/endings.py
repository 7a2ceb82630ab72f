"""End jobs: as done, discarded, dead or waiting again."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Integer, bindparam, func, text, update

from recado.core.database.prepared import Prepared, param
from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.metrics import DEAD
from recado.core.queue.job import Job
from recado.core.queue.storage.lanes import lock_lanes, refresh_lanes
from recado.core.queue.storage.leases import LEASE_HELD
from recado.core.queue.storage.tables import STEP, message_queue


def _setting(*names: str) -> Prepared:
    """Set columns of one job, whoever holds it."""
    values = {name: param(message_queue.c[name]) for name in names}
    return Prepared(update(message_queue).where(message_queue.c.id == bindparam("of_id")).values(values))


_SET_TURN = _setting("turn_id")
_SET_PAYLOAD = _setting("payload")
_SET_STATUS = _setting("status")
_SET_REPLAYED = _setting("replayed_by")


def set_turn(uow: UnitOfWork, job: Job, turn_id: UUID) -> None:
    """Remember whose turn the job carries; a retry keeps it."""
    uow.run(_SET_TURN, of_id=job.id, turn_id=turn_id)


def complete(
    uow: UnitOfWork, job: Job, now: datetime, *, status: str = "done", error: str | None = None, **counted: int
) -> bool:
    """End a held job; False when the lease is lost, and then nothing was changed.

    This is the fence: a handler calls it first in the transaction that stores its result, and stops when it is False.
    """
    lock_lanes(uow, [job.lane])
    ended = {
        "job": job.id,
        "token": job.lease_token,
        "status": status,
        "at": now,
        "error": error,
        "attempts": counted.get("attempts", job.attempts),
        "crashes_alone": counted.get("crashes_alone", job.crashes_alone),
    }
    if uow.run_many(_COMPLETE, [ended]) != 1:
        return False
    if status == "dead":
        uow.count(DEAD, job.name)
    refresh_lanes(uow, [job.lane])
    return True


def complete_all(uow: UnitOfWork, jobs: Sequence[Job], now: datetime) -> bool:
    """End many held jobs as done; False when a lease among them is lost, and then nothing may be kept of it.

    The caller ends them one by one instead, after undoing this: one lost lease among sixty is rare.
    """
    lock_lanes(uow, [job.lane for job in jobs])
    ended = uow.rows_of_many(_DONE, [{"job": job.id, "token": job.lease_token, "at": now} for job in jobs])
    if len(ended) != len(jobs):  # Told by RETURNING: the standard driver counts no changes of what begins with WITH.
        return False
    refresh_lanes(uow, [job.lane for job in jobs])
    return True


_COMPLETE = Prepared(
    text(
        """
UPDATE message_queue SET status = :status, lease_token = NULL, leased_until = NULL, finished_at = :at,
    last_error = coalesce(:error, last_error), attempts = :attempts, crashes_alone = :crashes_alone
WHERE id = :job AND lease_token = :token AND status = 'running'
"""
    ).bindparams(
        bindparam("job", type_=message_queue.c.id.type),
        bindparam("token", type_=message_queue.c.id.type),
        bindparam("at", type_=message_queue.c.due_at.type),
    )
)


_DONE = Prepared(
    text(
        """
WITH given (job, token, at) AS (VALUES (:job, :token, :at))
UPDATE message_queue SET status = 'done', lease_token = NULL, leased_until = NULL, finished_at = given.at
FROM given WHERE message_queue.id = given.job AND lease_token = given.token AND status = 'running'
RETURNING id
"""
    ).bindparams(
        param(message_queue.c.id, "job"),
        param(message_queue.c.lease_token, "token"),
        param(message_queue.c.finished_at, "at"),
    )
)


def requeue(
    uow: UnitOfWork, job: Job, now: datetime, wait: timedelta = timedelta(), *, error: str | None, **counted: int
) -> bool:
    """Let a held job wait again, at its place in the line; `counted` sets attempts or crashes_alone."""
    lock_lanes(uow, [job.lane])
    values = {"attempts": job.attempts, "crashes_alone": job.crashes_alone, **counted}
    if uow.run(_REQUEUE, of_id=job.id, token=job.lease_token, now=now, due_at=now + wait, error=error, **values) != 1:
        return False
    refresh_lanes(uow, [job.lane])
    return True


_REQUEUE = Prepared(
    update(message_queue)
    .where(LEASE_HELD)
    .values(
        status="waiting",
        lease_token=None,
        leased_until=None,
        due_at=param(message_queue.c.due_at),
        timed_at=param(message_queue.c.timed_at, "now"),
        last_error=func.coalesce(param(message_queue.c.last_error, "error"), message_queue.c.last_error),
        attempts=param(message_queue.c.attempts),
        crashes_alone=param(message_queue.c.crashes_alone),
    )
)


def dead_letter(uow: UnitOfWork, job: Job, now: datetime, error: str, **counted: int) -> bool:
    """Make a dead letter of a held job; `counted` sets attempts or crashes_alone."""
    return complete(uow, job, now, status="dead", error=error, **counted)


def force_dead(uow: UnitOfWork, job: Job, now: datetime, error: str) -> None:
    """Make a dead letter of a job whoever holds it: its worker's fence will not let it store anything any more."""
    lock_lanes(uow, [job.lane])
    values: dict[str, object] = {
        "status": "dead",
        "lease_token": None,
        "leased_until": None,
        "finished_at": now,
        "last_error": error,
    }
    uow.execute(update(message_queue).where(message_queue.c.id == job.id).values(**values))
    uow.count(DEAD, job.name)
    refresh_lanes(uow, [job.lane])


def prune(uow: UnitOfWork, before: datetime) -> int:
    """Forget some of the jobs that ended well before a moment; what they did is in messages, turns and answers."""
    return uow.run(_PRUNE, before=before, most=STEP)


_FINISHED_BEFORE = """SELECT id FROM message_queue WHERE status IN ('done','discarded') AND finished_at < :before
    ORDER BY finished_at LIMIT :most"""
_PRUNE_TYPES = (param(message_queue.c.finished_at, "before"), bindparam("most", type_=Integer))
# On PostgreSQL an array, here and in `_CLEAR_DISPATCHED`: joined with a list, it reads all rows to find those on it.
_PRUNE = Prepared(
    text(f"DELETE FROM message_queue WHERE id IN ({_FINISHED_BEFORE})").bindparams(*_PRUNE_TYPES),
    on_postgresql=text(f"DELETE FROM message_queue WHERE id = ANY (ARRAY({_FINISHED_BEFORE}))").bindparams(
        *_PRUNE_TYPES
    ),
)


def set_payload(uow: UnitOfWork, job_id: UUID, payload: Mapping[str, JsonValue]) -> None:
    """Replace what a job carries (a dead letter keeps its own list of messages)."""
    uow.run(_SET_PAYLOAD, of_id=job_id, payload=payload)


def mark_done(uow: UnitOfWork, job_id: UUID) -> None:
    """What was given up has turned out well."""
    uow.run(_SET_STATUS, of_id=job_id, status="done")


def mark_replayed(uow: UnitOfWork, job_id: UUID, by: UUID) -> None:
    uow.run(_SET_REPLAYED, of_id=job_id, replayed_by=by)


def mark_discarded(uow: UnitOfWork, job: Job, now: datetime) -> None:
    """A dead letter stays dead and leaves the list; a waiting job is discarded."""
    lock_lanes(uow, [job.lane])
    values: dict[str, object] = {"discarded_at": now}
    if job.status != "dead":
        values |= {"status": "discarded", "finished_at": now}
    uow.execute(update(message_queue).where(message_queue.c.id == job.id).values(**values))
    refresh_lanes(uow, [job.lane])
