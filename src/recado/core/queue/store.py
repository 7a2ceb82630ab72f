"""What the queue says to the database; every function runs inside somebody's unit of work.

Two rules hold everywhere. The lane row is touched before its jobs are looked at, so two claims can never take one lane;
and whoever changes a lane's jobs calls `refresh_lanes` in the same transaction, so its head is never stale.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Integer, and_, bindparam, case, delete, func, literal_column, select, text, update

from recado.core.database.prepared import Prepared, Row, given, inserting
from recado.core.database.types import JsonValue, earlier
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.metrics import DEAD
from recado.core.queue.claiming import LEEWAY, Head
from recado.core.queue.job import Job, NewJob
from recado.core.queue.tables import UNFINISHED, lanes, message_queue, queue_owners

STEP = 500
"""The most rows one write touches, so that nobody waits long for the lock."""

_UNFINISHED = literal_column("status").in_([literal_column(f"'{status}'") for status in UNFINISHED])
_JOB_COLUMNS = [message_queue.c[name] for name in Job.__dataclass_fields__ if name in message_queue.c]


# --- Storing ----------------------------------------------------------------------------------------------------------


def add(uow: UnitOfWork, jobs: Sequence[NewJob]) -> None:
    """Store jobs that wait for their due time, each behind the older jobs of its lane."""
    if not jobs:
        return
    owners = {_lane(job): job.owner_id for job in jobs}
    make_lanes(uow, owners)
    uow.run_many(_ADD, [_row(job) for job in jobs])
    touch_lanes(uow, owners)


def collect(
    uow: UnitOfWork, jobs: Sequence[NewJob], *, due_at_once: frozenset[str] = frozenset(), held: bool = False
) -> None:
    """Open or extend the burst windows of some lanes, at most one job a lane given.

    A window that is open already moves its due time to `min(new due, window's end)`; the end is set only once, at
    insert, and comes nearer only when a clock was set back. The lanes in `due_at_once` (a button was tapped) close
    their window now. `held`: the caller has held the lanes with `make_lanes`.
    """
    if not jobs:
        return
    owners = {_lane(job): job.owner_id for job in jobs}
    if not held:
        make_lanes(uow, owners)
    uow.run_many(_COLLECT, [_row(job) for job in jobs])
    if due_at_once:
        now = max(job.created_at for job in jobs)
        at_once = and_(message_queue.c.lane.in_(sorted(due_at_once)), message_queue.c.status == text("'collecting'"))
        uow.execute(update(message_queue).where(at_once).values(due_at=now, window_ends_at=now, timed_at=now))
    touch_lanes(uow, owners)


_new = inserting(
    message_queue, "id", "name", "message_sid", "payload", "status", "attempts", "created_at", "owner_id", "lane",
    "priority", "due_at", "window_ends_at", "timed_at", "turn_id", "max_attempts", "crashes", "crashes_alone",
    "dispatches", "trace",
)  # fmt: skip
_ADD = Prepared(_new)
_COLLECT = Prepared(
    _new.on_conflict_do_update(
        index_elements=["lane"],
        index_where=text("status='collecting'"),
        set_={
            "due_at": earlier(_new.excluded.due_at, message_queue.c.window_ends_at),
            "window_ends_at": earlier(_new.excluded.window_ends_at, message_queue.c.window_ends_at),
            "timed_at": _new.excluded.timed_at,
            "message_sid": _new.excluded.message_sid,
            "trace": _new.excluded.trace,
        },
    )
)


def _lane(job: NewJob) -> str:
    return job.lane if job.lane is not None else f"job:{job.id.hex}"


def _row(job: NewJob) -> dict[str, object]:
    return {
        "id": job.id,
        "name": job.name,
        "message_sid": job.message_sid,
        "payload": job.payload,
        "status": "collecting" if job.collecting else "waiting",
        "attempts": 0,
        "created_at": job.created_at,
        "owner_id": job.owner_id,
        "lane": _lane(job),
        "priority": job.priority,
        "due_at": job.due_at,
        "window_ends_at": job.window_ends_at,
        "timed_at": job.created_at,
        "turn_id": job.turn_id,
        "max_attempts": job.max_attempts,
        "crashes": 0,
        "crashes_alone": 0,
        "dispatches": 0,
        "trace": job.trace,
    }


# --- Lanes ------------------------------------------------------------------------------------------------------------


def make_lanes(uow: UnitOfWork, owners: Mapping[str, UUID]) -> None:
    """Make the lanes that are new, and hold all of them: what changes in them meanwhile must wait."""
    if uow.dialect == "postgresql":
        # Those that are there, before new ones: whoever holds one may be making its neighbour.
        held = {lane for (lane,) in uow.rows_of_many(_HOLD, _in_order(owners))}
        new = sorted((lane, owner) for lane, owner in owners.items() if lane not in held)
        if new:
            uow.run_many(_MAKE, [{"lane": lane, "owner_id": owner} for lane, owner in new])
            lock_lanes(uow, owners)


def lock_lanes(uow: UnitOfWork, names: Iterable[str]) -> None:
    """Hold some lanes until the transaction ends, before anything in them is looked at.

    A lane of sends is held together with the lane it sends for, whose turns and outcomes it changes. SQLite has one
    writer, so there is nothing to do; on PostgreSQL each later statement sees what earlier holders have stored. In
    lane order, so that two cannot wait for each other.
    """
    if uow.dialect == "postgresql":
        uow.run_many(_HOLD, _in_order(names))


def _in_order(names: Iterable[str]) -> list[dict[str, object]]:
    wanted = {each for name in names for each in (name, name.removeprefix("send:"))}
    return [{"lane": lane} for lane in sorted(wanted)]


def _lock_free_lanes(uow: UnitOfWork, names: Iterable[str]) -> set[str]:
    """Hold those of some lanes that nobody holds: what a frozen process has hold of must not stop everybody else."""
    wanted = set(names)
    if uow.dialect != "postgresql":
        return wanted
    return {lane for (lane,) in uow.rows_of_many(_HOLD_FREE, [{"lane": lane} for lane in sorted(wanted)])}


_make = inserting(lanes, "lane", "owner_id")
_MAKE = Prepared(_make.on_conflict_do_nothing())
_HOLD_FREE = Prepared(text("SELECT lane FROM lanes WHERE lane IN (VALUES (:lane)) FOR UPDATE SKIP LOCKED"))
_HOLD = Prepared(text('SELECT lane FROM lanes WHERE lane IN (VALUES (:lane)) ORDER BY lane COLLATE "C" FOR UPDATE'))


def touch_lanes(uow: UnitOfWork, owners: Mapping[str, UUID]) -> None:
    """Make the lanes that are new, then refresh their heads. In lane order, so that two writers cannot deadlock."""
    uow.run_many(_TOUCH, [{"lane": lane, "owner_id": owner} for lane, owner in sorted(owners.items())])
    uow.ring()


_TOUCH = Prepared(
    text(
        """
WITH given (lane, owner_id) AS (VALUES (:lane, :owner_id))
INSERT INTO lanes (lane, owner_id, head_job, next_due_at, next_priority, suspect)
SELECT given.lane, given.owner_id, head.id,
    CASE WHEN EXISTS (SELECT 1 FROM message_queue r WHERE r.lane = given.lane AND r.status = 'running')
        THEN NULL ELSE head.due_at END,
    head.priority, head.crashes > 0
FROM given CROSS JOIN message_queue AS head ON head.id = (
    SELECT id FROM message_queue
    WHERE lane = given.lane AND status IN ('collecting', 'waiting', 'running') AND status <> 'running'
    ORDER BY id LIMIT 1)
WHERE true
ON CONFLICT (lane) DO UPDATE SET head_job = excluded.head_job, next_due_at = excluded.next_due_at,
    next_priority = excluded.next_priority, suspect = excluded.suspect
"""
    ).bindparams(bindparam("owner_id", type_=lanes.c.owner_id.type)),
    on_postgresql=text(
        """
WITH given (lane, owner_id) AS (VALUES (:lane, :owner_id))
INSERT INTO lanes (lane, owner_id, head_job, next_due_at, next_priority, suspect)
SELECT given.lane, given.owner_id, head.id,
    CASE WHEN EXISTS (SELECT 1 FROM message_queue r WHERE r.lane = given.lane AND r.status = 'running')
        THEN NULL ELSE head.due_at END,
    head.priority, head.crashes > 0
FROM given JOIN LATERAL (
    SELECT id, due_at, priority, crashes FROM message_queue
    WHERE lane = given.lane AND status IN ('collecting', 'waiting', 'running') AND status <> 'running'
    ORDER BY id LIMIT 1) AS head ON true
ON CONFLICT (lane) DO UPDATE SET head_job = excluded.head_job, next_due_at = excluded.next_due_at,
    next_priority = excluded.next_priority, suspect = excluded.suspect
"""
    ).bindparams(bindparam("owner_id", type_=lanes.c.owner_id.type)),
)


_REFRESH = Prepared(
    text(
        """
UPDATE lanes SET (head_job, next_due_at, next_priority, suspect) = (
    SELECT id,
        CASE WHEN EXISTS (SELECT 1 FROM message_queue r WHERE r.lane = lanes.lane AND r.status = 'running')
            THEN NULL ELSE due_at END,
        priority, crashes > 0
    FROM message_queue AS head
    WHERE head.lane = lanes.lane AND head.status IN ('collecting', 'waiting', 'running') AND head.status <> 'running'
    ORDER BY head.id LIMIT 1)
WHERE lane IN (VALUES (:lane))
"""
    )
)
_FORGET = Prepared(
    text(
        """
DELETE FROM lanes WHERE lane IN (VALUES (:lane)) AND head_job IS NULL
    AND NOT EXISTS (SELECT 1 FROM message_queue r WHERE r.lane = lanes.lane AND r.status = 'running')
"""
    )
)


def refresh_lanes(uow: UnitOfWork, names: Iterable[str]) -> None:
    """Point each lane at the oldest job of its line; a lane made for one job goes with it."""
    ordered = sorted(set(names))
    if not ordered:
        return
    uow.run_many(_REFRESH, [{"lane": lane} for lane in ordered])
    uow.ring()
    uow.run_many(_FORGET, [{"lane": lane} for lane in ordered if lane.startswith("job:")])


# --- Claiming: what `claiming` has found and holds --------------------------------------------------------------------


def lease(uow: UnitOfWork, heads: Sequence[Head], token: UUID, now: datetime, until: datetime) -> list[Job]:
    """Take the lanes: their heads run from now on under `token`."""
    if not heads:
        return []
    rows = uow.rows_of_many(_LEASE, [{"job": head.job_id, "token": token, "until": until} for head in heads])
    order = {head.job_id: n for n, head in enumerate(heads)}
    jobs = sorted((Job(*row) for row in rows), key=lambda job: order[job.id])
    uow.run_many(_LOCK, [{"lane": job.lane} for job in jobs])
    served = {owner: now + timedelta(microseconds=n) for n, owner in enumerate(job.owner_id for job in jobs)}
    _serve(uow, served)
    return jobs


def _serve(uow: UnitOfWork, served: Mapping[UUID, datetime]) -> None:
    """Remember who was served: only for fairness, so nobody waits, and a row that others hold is passed over."""
    rows = [{"owner_id": owner, "served_at": at} for owner, at in sorted(served.items())]
    known = {owner for (owner,) in uow.rows_of_many(_SERVED, rows)}
    if len(known) < len(rows):
        uow.run_many(_FIRST_SERVED, [row for row in rows if row["owner_id"] not in known])


_LEASE = Prepared(
    text(
        f"""
WITH given (job, token, until) AS (VALUES (:job, :token, :until))
UPDATE message_queue SET status = 'running', lease_token = given.token, leased_until = given.until,
    dispatched_at = NULL
FROM given WHERE message_queue.id = given.job AND status IN ('collecting', 'waiting')
RETURNING {", ".join(column.name for column in _JOB_COLUMNS)}
"""
    )
    .bindparams(
        given(message_queue.c.id, "job"),
        given(message_queue.c.lease_token, "token"),
        given(message_queue.c.leased_until, "until"),
    )
    .columns(*_JOB_COLUMNS)
)
_LOCK = Prepared(text("UPDATE lanes SET next_due_at = NULL WHERE lane IN (VALUES (:lane))"))
# On PostgreSQL an array, for which the planner looks into the index; with a join it reads all owners.
_SERVED = Prepared(
    text(
        """
WITH given (owner_id, served_at) AS (VALUES (:owner_id, :served_at))
UPDATE queue_owners SET served_at = given.served_at FROM given WHERE queue_owners.owner_id = given.owner_id
RETURNING queue_owners.owner_id
"""
    )
    .bindparams(given(queue_owners.c.owner_id), given(queue_owners.c.served_at))
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
    .bindparams(given(queue_owners.c.owner_id), given(queue_owners.c.served_at))
    .columns(queue_owners.c.owner_id),
)
_first = inserting(queue_owners, "owner_id", "served_at").on_conflict_do_nothing()
_FIRST_SERVED = Prepared(
    _first,
    # Two who insert one key wait for each other, even to do nothing: only who gets the name at once tries.
    on_postgresql=text(
        """
WITH given (owner_id, served_at) AS (VALUES (:owner_id, :served_at))
INSERT INTO queue_owners (owner_id, served_at) SELECT owner_id, served_at FROM given
WHERE pg_try_advisory_xact_lock(hashtextextended('queue owner ' || owner_id, 0))
ON CONFLICT DO NOTHING
"""
    ).bindparams(given(queue_owners.c.owner_id), given(queue_owners.c.served_at)),
)


# --- While it runs ----------------------------------------------------------------------------------------------------


_HELD = and_(
    message_queue.c.id == bindparam("of_id"),
    message_queue.c.lease_token == bindparam("token"),
    message_queue.c.status == text("'running'"),
)
_HOLDS = Prepared(select(message_queue.c.id).where(_HELD))
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
        given(message_queue.c.id, "job"),
        given(message_queue.c.lease_token, "token"),
        given(message_queue.c.leased_until, "until"),
    )
    .columns(message_queue.c.id, literal_column("extended", Integer)),
    # A row that somebody is ending at this moment is left to them, so nothing waits here and nothing can deadlock;
    # whether it is lost the next beat will see.
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
        given(message_queue.c.id, "job"),
        given(message_queue.c.lease_token, "token"),
        given(message_queue.c.leased_until, "until"),
    )
    .columns(message_queue.c.id, literal_column("extended", Integer)),
)
_COLLECTING = select(message_queue.c.id, message_queue.c.due_at).where(
    message_queue.c.lane == bindparam("lane"), message_queue.c.status == text("'collecting'")
)
_WINDOW = Prepared(_COLLECTING)
_REMOVE = Prepared(delete(message_queue).where(message_queue.c.id == bindparam("id")))
# The index's own condition, word for word, beside ours: without it SQLite reads the whole queue.
_HASTEN = Prepared(
    update(message_queue)
    .where(
        message_queue.c.lane == bindparam("of_lane"),
        _UNFINISHED,
        message_queue.c.status == text("'waiting'"),
        message_queue.c.due_at > bindparam("now"),
    )
    .values(due_at=given(message_queue.c.due_at, "now"), timed_at=given(message_queue.c.timed_at, "now"))
)


def _setting(*names: str) -> Prepared:
    """Set columns of one job, whoever holds it."""
    values = {name: given(message_queue.c[name]) for name in names}
    return Prepared(update(message_queue).where(message_queue.c.id == bindparam("of_id")).values(values))


_SET_TURN = _setting("turn_id")
_SET_PAYLOAD = _setting("payload")
_SET_STATUS = _setting("status")
_SET_REPLAYED = _setting("replayed_by")


def holds(uow: UnitOfWork, job: Job) -> bool:
    """Whether this claim still holds the row: the fence of every write a worker makes."""
    lock_lanes(uow, [job.lane])
    return bool(uow.rows(_HOLDS, of_id=job.id, token=job.lease_token))


def extend_leases(uow: UnitOfWork, leases: Sequence[tuple[UUID, UUID, datetime]]) -> dict[UUID, bool]:
    """One statement for all leases of a process: (job, token, until). The jobs still held, and whether it was extended.

    On PostgreSQL a row that somebody else has locked is passed over.
    """
    rows = [{"job": job_id, "token": token, "until": until} for job_id, token, until in sorted(leases)]
    return {job_id: bool(extended) for job_id, extended in uow.rows_of_many(_EXTEND, rows)}


def newcomers(uow: UnitOfWork, running: Sequence[str]) -> set[str]:
    """Of the lanes given, those with a burst window open."""
    return {lane for lane in running if uow.rows(_WINDOW, lane=lane)}


def collecting_in(uow: UnitOfWork, lane: str) -> tuple[UUID, datetime] | None:
    """The lane's open burst window: its job and its due time."""
    for job_id, due_at in uow.rows(_WINDOW, lane=lane):
        return job_id, due_at
    return None


def remove(uow: UnitOfWork, job_id: UUID, lane: str) -> None:
    """Take away a job whose messages another job carries now."""
    lock_lanes(uow, [lane])
    uow.run(_REMOVE, id=job_id)
    refresh_lanes(uow, [lane])


def hasten(uow: UnitOfWork, lane: str, now: datetime) -> None:
    """What waits in a lane is due now: the news it waited for has come."""
    lock_lanes(uow, [lane])
    uow.run(_HASTEN, of_lane=lane, now=now)
    refresh_lanes(uow, [lane])


def set_turn(uow: UnitOfWork, job: Job, turn_id: UUID) -> None:
    """Remember whose turn the job carries; a retry keeps it."""
    uow.run(_SET_TURN, of_id=job.id, turn_id=turn_id)


# --- Endings ----------------------------------------------------------------------------------------------------------


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
        given(message_queue.c.id, "job"),
        given(message_queue.c.lease_token, "token"),
        given(message_queue.c.finished_at, "at"),
    )
)


def put_back(
    uow: UnitOfWork, job: Job, now: datetime, wait: timedelta = timedelta(), *, error: str | None, **counted: int
) -> bool:
    """Let a held job wait again, at its place in the line; `counted` sets attempts or crashes_alone."""
    lock_lanes(uow, [job.lane])
    values = {"attempts": job.attempts, "crashes_alone": job.crashes_alone, **counted}
    if uow.run(_PUT_BACK, of_id=job.id, token=job.lease_token, now=now, due_at=now + wait, error=error, **values) != 1:
        return False
    refresh_lanes(uow, [job.lane])
    return True


_PUT_BACK = Prepared(
    update(message_queue)
    .where(_HELD)
    .values(
        status="waiting",
        lease_token=None,
        leased_until=None,
        due_at=given(message_queue.c.due_at),
        timed_at=given(message_queue.c.timed_at, "now"),
        last_error=func.coalesce(given(message_queue.c.last_error, "error"), message_queue.c.last_error),
        attempts=given(message_queue.c.attempts),
        crashes_alone=given(message_queue.c.crashes_alone),
    )
)


def bury(uow: UnitOfWork, job: Job, now: datetime, error: str, **counted: int) -> bool:
    """Make a dead letter of a held job; `counted` sets attempts or crashes_alone."""
    return complete(uow, job, now, status="dead", error=error, **counted)


def kill(uow: UnitOfWork, job: Job, now: datetime, error: str) -> None:
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


_OLD = """SELECT id FROM message_queue WHERE status IN ('done','discarded') AND finished_at < :before
    ORDER BY finished_at LIMIT :most"""
_BEFORE = (given(message_queue.c.finished_at, "before"), bindparam("most", type_=Integer))
# On PostgreSQL an array, here and in `_FORGET_RINGS`: joined with a list, it reads all rows to find those on it.
_PRUNE = Prepared(
    text(f"DELETE FROM message_queue WHERE id IN ({_OLD})").bindparams(*_BEFORE),
    on_postgresql=text(f"DELETE FROM message_queue WHERE id = ANY (ARRAY({_OLD}))").bindparams(*_BEFORE),
)


def set_payload(uow: UnitOfWork, job_id: UUID, payload: Mapping[str, JsonValue]) -> None:
    """Replace what a job carries (a dead letter keeps its own list of messages)."""
    uow.run(_SET_PAYLOAD, of_id=job_id, payload=payload)


def free_ended_leases(uow: UnitOfWork, now: datetime, harmless: Collection[str] = ()) -> int:
    """Return the jobs of workers that died; each has one more crash to its name, unless its kind runs only our code."""
    over = and_(message_queue.c.status == text("'running'"), message_queue.c.leased_until < now)
    line = select(message_queue.c.id, message_queue.c.lane).where(over).order_by(message_queue.c.leased_until)
    ended = uow.all(line.limit(STEP))
    if not ended:
        return 0
    free = _lock_free_lanes(uow, [row["lane"] for row in ended])
    ended = [row for row in ended if row["lane"] in free]
    freed = (
        update(message_queue)
        .where(message_queue.c.id.in_([row["id"] for row in ended]), over)  # Another worker's relay may have been here.
        .values(
            status="waiting",
            lease_token=None,
            leased_until=None,
            timed_at=now,
            due_at=message_queue.c.leased_until,  # From then on it waits, however long nobody was there to free it.
            crashes=message_queue.c.crashes + case((message_queue.c.name.in_(harmless), 0), else_=1),
            last_error=case(
                (message_queue.c.last_error.is_(None), "its worker died"), else_=message_queue.c.last_error
            ),
        )
        .returning(message_queue.c.lane)
    )
    names = [row["lane"] for row in uow.execute(freed).mappings().all()]
    refresh_lanes(uow, names)
    return len(names)


# --- When a clock was set back ----------------------------------------------------------------------------------------

NEAR = timedelta(seconds=10)
"""What is due by then is not looked for: it hardly waits longer than it would."""


def ahead_of_time(uow: UnitOfWork, now: datetime) -> list[str]:
    """Some lanes in which something waits for a due time that was reckoned by a clock that has been set back since."""
    rows = uow.rows(_AHEAD, near=now + NEAR, ahead=now + LEEWAY, most=STEP)
    return [lane for (lane,) in rows]


def time_anew(uow: UnitOfWork, names: Collection[str], now: datetime) -> None:
    """Have what waits in these lanes wait as long as it should have, from now on."""
    free = sorted(_lock_free_lanes(uow, names))
    for lane in free:
        uow.run(_TIME_ANEW, lane=lane, now=now, ahead=now + LEEWAY)
    refresh_lanes(uow, free)


_WAITING_IN = "status IN ('collecting', 'waiting', 'running') AND {job}.status <> 'running' AND {job}.timed_at > :ahead"
_AHEAD = Prepared(
    text(
        f"""
SELECT j.lane FROM lanes l CROSS JOIN message_queue j
WHERE l.next_due_at > :near AND j.lane = l.lane AND j.{_WAITING_IN.format(job="j")}
UNION
SELECT j.lane FROM message_queue r CROSS JOIN message_queue j
WHERE r.status = 'running' AND j.lane = r.lane AND j.{_WAITING_IN.format(job="j")}
LIMIT :most
"""
    )
    .bindparams(
        given(message_queue.c.timed_at, "near"),
        given(message_queue.c.timed_at, "ahead"),
        bindparam("most", type_=Integer),
    )
    .columns(message_queue.c.lane)
)
_TIME_ANEW = Prepared(
    text(
        f"""
UPDATE message_queue SET due_at = :now + (due_at - timed_at), window_ends_at = :now + (window_ends_at - timed_at),
    timed_at = :now
WHERE lane = :lane AND {_WAITING_IN.format(job="message_queue")}
"""
    ).bindparams(given(message_queue.c.timed_at, "now"), given(message_queue.c.timed_at, "ahead"))
)


def far_leases(uow: UnitOfWork, after: datetime) -> dict[UUID, datetime]:
    """Leases that end after a moment."""
    return dict(uow.rows(_FAR, after=after))


def end_leases(uow: UnitOfWork, unrenewed: Mapping[UUID, datetime], now: datetime) -> None:
    """Have these leases end now, except those that were renewed meanwhile."""
    for job_id, until in unrenewed.items():
        uow.run(_END_LEASE, of_id=job_id, until=until, now=now)


_FAR = Prepared(
    select(message_queue.c.id, message_queue.c.leased_until)
    .where(message_queue.c.status == text("'running'"), message_queue.c.leased_until > bindparam("after"))
    .limit(STEP)
)
_END_LEASE = Prepared(
    update(message_queue)
    .where(
        message_queue.c.id == bindparam("of_id"),
        message_queue.c.status == text("'running'"),
        message_queue.c.leased_until == given(message_queue.c.leased_until, "until"),
    )
    .values(leased_until=given(message_queue.c.leased_until, "now"))
)


# --- For people -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How the line looks now."""

    waiting: int
    running: int
    dead: int
    oldest_due_seconds: float


def stats(uow: UnitOfWork, now: datetime) -> QueueStats:
    counted = uow.all(
        select(message_queue.c.status, func.count().label("n")).where(_UNFINISHED).group_by(message_queue.c.status)
    )
    by_status = {row["status"]: int(row["n"]) for row in counted}
    dead = uow.execute(select(func.count()).select_from(message_queue).where(_LISTED)).scalar_one()
    oldest = uow.execute(
        select(lanes.c.next_due_at).where(lanes.c.next_due_at.is_not(None)).order_by(lanes.c.next_due_at).limit(1)
    ).scalar()
    late = max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0
    return QueueStats(
        by_status.get("waiting", 0) + by_status.get("collecting", 0), by_status.get("running", 0), int(dead), late
    )


@dataclass(frozen=True, slots=True)
class Due:
    """Lanes whose head is due and runs nowhere (10,000 at most are counted), and how long the oldest of them waits."""

    lanes: int
    oldest_seconds: float


def due(uow: UnitOfWork, now: datetime) -> Due:
    heads = select(lanes.c.next_due_at).where(lanes.c.next_due_at <= now).order_by(lanes.c.next_due_at)
    line = heads.limit(10_000).subquery()
    count, oldest = uow.execute(select(func.count(), func.min(line.c.next_due_at)).select_from(line)).one()
    return Due(int(count), (now - oldest).total_seconds() if oldest is not None else 0.0)


_NOT_REPLAYED = message_queue.c.replayed_by.is_(None)


PAGE = 500
"""How many dead letters are read at a time."""
_LISTED = and_(message_queue.c.status == text("'dead'"), message_queue.c.discarded_at.is_(None), _NOT_REPLAYED)
_DEAD = Prepared(
    select(*_JOB_COLUMNS)
    .where(
        _LISTED,
        message_queue.c.id > given(message_queue.c.id, "after"),
        message_queue.c.id <= given(message_queue.c.id, "last"),
    )
    .order_by(message_queue.c.id)
    .limit(bindparam("most"))
)
FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)


def dead_letters(uow: UnitOfWork, *, after: UUID = FIRST_ID, last: UUID = LAST_ID, limit: int = PAGE) -> list[Job]:
    """A page of what was given up and neither replayed nor discarded, oldest first: those after one, up to another."""
    return [_stored(row) for row in uow.rows(_DEAD, after=after, last=last, most=limit)]


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """How many are listed, and the newest of them; None when there are none."""

    count: int
    newest: UUID | None


def dead_now(uow: UnitOfWork) -> DeadLetters:
    (count,) = uow.execute(select(func.count()).select_from(message_queue).where(_LISTED)).one()
    newest = uow.first(select(message_queue.c.id).where(_LISTED).order_by(message_queue.c.id.desc()).limit(1))
    return DeadLetters(int(count), newest["id"] if newest is not None else None)


def find(uow: UnitOfWork, job_id: UUID) -> Job | None:
    """Any job by its id."""
    for row in uow.rows(_FIND, id=job_id):
        return _stored(row)
    return None


def find_held(uow: UnitOfWork, job_id: UUID) -> Job | None:
    """Any job by its id, as it is once nobody else can change its lane."""
    job = find(uow, job_id)
    if job is None or uow.dialect == "sqlite":
        return job
    lock_lanes(uow, [job.lane])
    return find(uow, job_id)


_FIND = Prepared(select(*_JOB_COLUMNS).where(message_queue.c.id == bindparam("id")))


def _stored(row: Row) -> Job:
    """A job that nobody may hold: it is given a lease that no claim can have made."""
    values = dict(zip((column.name for column in _JOB_COLUMNS), row, strict=True))
    values["lease_token"] = values["lease_token"] or UUID(int=0)
    values["leased_until"] = values["leased_until"] or values["created_at"]
    return Job(**values)


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


def forget_rings(uow: UnitOfWork) -> int:
    """As if no broker had been rung for some of the waiting jobs; how many they were."""
    return uow.run(_FORGET_RINGS, most=STEP)


_RUNG = f"""SELECT id FROM message_queue
    WHERE status IN ({", ".join(f"'{status}'" for status in UNFINISHED)}) AND status <> 'running'
    AND dispatched_at IS NOT NULL LIMIT :most"""
_MOST = bindparam("most", type_=Integer)
_UNRING = "UPDATE message_queue SET dispatched_at = NULL WHERE id"
_FORGET_RINGS = Prepared(
    text(f"{_UNRING} IN ({_RUNG})").bindparams(_MOST),
    on_postgresql=text(f"{_UNRING} = ANY (ARRAY({_RUNG} FOR UPDATE SKIP LOCKED))").bindparams(_MOST),
)


def unfinished(uow: UnitOfWork) -> int:
    """How many jobs are not finished (for --drain)."""
    return int(uow.execute(select(func.count()).select_from(message_queue).where(_UNFINISHED)).scalar_one())
