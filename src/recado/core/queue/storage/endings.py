"""End jobs: as done, discarded, dead or waiting again."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Integer, bindparam, func, text, update

from recado.core.database.prepared import Prepared, param
from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.event_log.models import DELIVER, NewEvent
from recado.core.event_log.repository import append
from recado.core.ids import SYSTEM_OWNER
from recado.core.metrics import DEAD
from recado.core.queue.job import Claim, Status, StoredJob
from recado.core.queue.lane import HeldLanes, reply_lane
from recado.core.queue.storage import lanes
from recado.core.queue.storage.leases import LEASE_HELD
from recado.core.queue.storage.tables import message_queue


def _setting(*names: str) -> Prepared:
    """Return a statement that sets columns of one job, also while a worker runs it."""
    values = {name: param(message_queue.c[name]) for name in names}
    return Prepared(update(message_queue).where(message_queue.c.id == bindparam("of_id")).values(values))


_SET_TURN = _setting("turn_id", "payload")
_SET_PAYLOAD = _setting("payload")
_SET_STATUS = _setting("status")
_SET_REPLAYED = _setting("replayed_by", "handled_by")


def set_turn(held: HeldLanes, job: StoredJob, turn_id: UUID, payload: Mapping[str, JsonValue]) -> None:
    """Store the turn that a job carries and name it in the payload; a retry keeps both."""
    held.require(job.lane)
    held.uow.run(_SET_TURN, of_id=job.id, turn_id=turn_id, payload=payload)


def complete(
    held: HeldLanes, claim: Claim, now: datetime, *, status: Status = "done", error: str | None = None, **counted: int
) -> bool:
    """End a claimed job. Return False when the lease is lost; nothing was changed then.

    This is the fence: a handler calls it first in the transaction that stores its result, and stops when it is False.
    `counted` sets attempts, faults or crashes_alone.
    """
    job = claim.job
    held.require(job.lane)
    ended = {
        "job": job.id,
        "token": claim.token,
        "status": status,
        "at": now,
        "error": error,
        "attempts": counted.get("attempts", job.attempts),
        "crashes_alone": counted.get("crashes_alone", job.crashes_alone),
        "faults": counted.get("faults", job.faults),
    }
    if held.uow.run_many(_COMPLETE, [ended]) != 1:
        return False
    if status == "dead":
        _tell_dead(held, job, now)
    lanes.refresh_after(held, [job])
    return True


def complete_all(held: HeldLanes, claims: Sequence[Claim], now: datetime) -> bool:
    """End many claimed jobs as done. Return False when a lease among them is lost; then the caller must roll back.

    It ends them one by one afterwards: one lost lease among sixty is rare.
    """
    ended = held.uow.rows_of_many(_DONE, [{"job": each.job.id, "token": each.token, "at": now} for each in claims])
    if len(ended) != len(claims):  # Counted by RETURNING: the standard driver counts no changes after WITH.
        return False
    lanes.refresh_after(held, [each.job for each in claims])
    return True


_COMPLETE = Prepared(
    text(
        """
UPDATE message_queue SET status = :status, lease_token = NULL, leased_until = NULL, finished_at = :at,
    last_error = coalesce(:error, last_error), attempts = :attempts, crashes_alone = :crashes_alone,
    faults = :faults
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
    held: HeldLanes, claim: Claim, now: datetime, wait: timedelta = timedelta(), *, error: str | None, **counted: int
) -> bool:
    """Let a claimed job wait again, at its place in the lane. `counted` sets attempts, faults or crashes_alone."""
    job = claim.job
    held.require(job.lane)
    values = {"attempts": job.attempts, "crashes_alone": job.crashes_alone, "faults": job.faults, **counted}
    due_at = now + wait
    if held.uow.run(_REQUEUE, of_id=job.id, token=claim.token, now=now, due_at=due_at, error=error, **values) != 1:
        return False
    lanes.refresh_after(held, [job])
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
        faults=param(message_queue.c.faults),
    )
)


def dead_letter(held: HeldLanes, claim: Claim, now: datetime, error: str, **counted: int) -> bool:
    """Make a dead letter of a claimed job; `counted` sets attempts, faults or crashes_alone."""
    return complete(held, claim, now, status="dead", error=error, **counted)


def force_dead(held: HeldLanes, job: StoredJob, now: datetime, error: str) -> None:
    """Make a dead letter of a job even while a worker runs it. That worker's fence refuses its result then."""
    held.require(job.lane)
    values: dict[str, object] = {
        "status": "dead",
        "lease_token": None,
        "leased_until": None,
        "finished_at": now,
        "last_error": error,
    }
    held.uow.execute(update(message_queue).where(message_queue.c.id == job.id).values(**values))
    _tell_dead(held, job, now)
    lanes.refresh_after(held, [job])


def _tell_dead(held: HeldLanes, job: StoredJob, now: datetime) -> None:
    """Count a dead letter, and tell its owner. A job dies once, so its id names the event too."""
    held.uow.count(DEAD, job.name)
    if job.owner_id == SYSTEM_OWNER or job.name == DELIVER:  # An event about an event would have its own, for ever.
        return
    turn_id = {} if job.turn_id is None else {"turn_id": str(job.turn_id)}
    data = {"job_id": str(job.id), "name": job.name, **turn_id}
    append(held.uow, [NewEvent(job.id, job.owner_id, "dead_letter.created", reply_lane(job.lane), now, data=data)])


def prune(uow: UnitOfWork, before: datetime) -> int:
    """Delete up to `STEP` jobs that ended well before a moment. Return their number.

    What they did is stored in messages, turns and answers.
    """
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


def set_payload(held: HeldLanes, job: StoredJob, payload: Mapping[str, JsonValue]) -> None:
    """Replace a job's payload (a dead letter keeps its own list of messages)."""
    held.require(job.lane)
    held.uow.run(_SET_PAYLOAD, of_id=job.id, payload=payload)


def mark_done(held: HeldLanes, job: StoredJob) -> None:
    """Turn a dead letter into a done job, because its work has succeeded after all."""
    held.require(job.lane)
    held.uow.run(_SET_STATUS, of_id=job.id, status="done")


def mark_replayed(held: HeldLanes, job: StoredJob, replayed_by: UUID, handled_by: str | None) -> None:
    """Store which new job replays a dead letter, and whose deed that was."""
    held.require(job.lane)
    held.uow.run(_SET_REPLAYED, of_id=job.id, replayed_by=replayed_by, handled_by=handled_by)


def mark_discarded(held: HeldLanes, job: StoredJob, now: datetime, handled_by: str | None) -> None:
    """Take a dead letter off the list (it stays dead), or discard a waiting job. Store whose deed that was."""
    held.require(job.lane)
    values: dict[str, object] = {"discarded_at": now, "handled_by": handled_by}
    if job.status != "dead":
        values |= {"status": "discarded", "finished_at": now}
    held.uow.execute(update(message_queue).where(message_queue.c.id == job.id).values(**values))
    lanes.refresh_after(held, [job])
