"""Repair due times and leases that were reckoned by a clock that has been set back since."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Integer, bindparam, select, text, update

from recado.core.database.prepared import Prepared, param
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.queue.lane import Lane
from recado.core.queue.storage import lanes
from recado.core.queue.storage.claiming import LEEWAY
from recado.core.queue.storage.tables import message_queue

SOON = timedelta(seconds=10)
"""Jobs due within this time are left alone: they hardly wait longer than planned."""


def lanes_ahead_of_clock(uow: UnitOfWork, now: datetime) -> list[Lane]:
    """Return up to `STEP` lanes with a job whose due time is of a clock that has been set back since."""
    rows = uow.rows(_AHEAD, near=now + SOON, ahead=now + LEEWAY, most=STEP)
    return [lane for (lane,) in rows]


def reset_times(uow: UnitOfWork, names: Collection[Lane], now: datetime) -> None:
    """Let the waiting jobs of these lanes wait as long as planned, from now on."""
    held = lanes.hold_free(uow, names)
    for lane in sorted(held.lanes):
        uow.run(_RESET_TIMES, lane=lane, now=now, ahead=now + LEEWAY)
    lanes.refresh(held, held.lanes)


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
        param(message_queue.c.timed_at, "near"),
        param(message_queue.c.timed_at, "ahead"),
        bindparam("most", type_=Integer),
    )
    .columns(message_queue.c.lane)
)
_RESET_TIMES = Prepared(
    text(
        f"""
UPDATE message_queue SET due_at = :now + (due_at - timed_at), window_ends_at = :now + (window_ends_at - timed_at),
    timed_at = :now
WHERE lane = :lane AND {_WAITING_IN.format(job="message_queue")}
"""
    ).bindparams(
        param(message_queue.c.timed_at, "now"), param(message_queue.c.timed_at, "ahead"), param(message_queue.c.lane)
    )
)


def future_leases(uow: UnitOfWork, after: datetime) -> dict[UUID, datetime]:
    """Return up to `STEP` leases that end after a moment."""
    return dict(uow.rows(_FUTURE_LEASES, after=after))


def end_leases(uow: UnitOfWork, unrenewed: Mapping[UUID, datetime], now: datetime) -> None:
    """End these leases now, except those that were renewed meanwhile."""
    for job_id, until in unrenewed.items():
        uow.run(_END_LEASE, of_id=job_id, until=until, now=now)


_FUTURE_LEASES = Prepared(
    select(message_queue.c.id, message_queue.c.leased_until)
    .where(message_queue.c.status == text("'running'"), message_queue.c.leased_until > bindparam("after"))
    .limit(STEP)
)
_END_LEASE = Prepared(
    update(message_queue)
    .where(
        message_queue.c.id == bindparam("of_id"),
        message_queue.c.status == text("'running'"),
        message_queue.c.leased_until == param(message_queue.c.leased_until, "until"),
    )
    .values(leased_until=param(message_queue.c.leased_until, "now"))
)
