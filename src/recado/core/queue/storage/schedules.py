"""The schedules in force, as rows.

This release's own schedules are stored when a worker first reads the table. A row that a person has changed stays as
it is; the other rows follow the release.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy import select

from recado.core.database.prepared import Prepared, inserting
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.queue.schedules import At, Schedule, every
from recado.core.queue.storage.tables import schedules

log = structlog.get_logger(__name__)

_STORED = Prepared(select(schedules))
_put = inserting(schedules)
_values = {column.name: _put.excluded[column.name] for column in schedules.c if column.name != "name"}
_PUT = Prepared(_put.on_conflict_do_update(index_elements=["name"], set_=_values))
_UPDATE_OWN = Prepared(
    _put.on_conflict_do_update(index_elements=["name"], set_=_values, where=schedules.c.set_at.is_(None))
)


def in_force(uow: UnitOfWork, own: Sequence[Schedule]) -> list[Schedule]:
    """Return this release's schedules as they are stored; one that is not stored yet as the release has it."""
    stored = _stored(uow)
    return [stored.get(schedule.name, schedule) for schedule in own]


def update_own(uow: UnitOfWork, own: Sequence[Schedule]) -> list[Schedule]:
    """Store this release's schedules, except those that a person has set. Return what is in force then."""
    uow.run_many(_UPDATE_OWN, [_row(each) for each in sorted(own, key=lambda each: each.name)])
    return in_force(uow, own)


def differs_from_release(uow: UnitOfWork, own: Sequence[Schedule]) -> bool:
    """Return whether a stored schedule differs from this release's although no person has set it."""
    stored = _stored(uow)
    return any((found := stored.get(each.name)) is None or (found.set_at is None and found != each) for each in own)


def put(uow: UnitOfWork, schedule: Schedule, at: datetime) -> Schedule:
    """Store a schedule that a person has set. It counts from `at` on, not for slots before."""
    stored = replace(schedule, set_at=at)
    uow.run_many(_PUT, [_row(stored)])
    return stored


def _stored(uow: UnitOfWork) -> dict[str, Schedule]:
    found = {}
    for name, every_seconds, expression, time_zone, enabled, set_at in uow.rows(_STORED):
        try:
            when = At(expression, time_zone) if expression is not None else every(every_seconds or 0)
        except InvalidInput as error:  # A row written by hand. It must not stop the others.
            log.warning("queue.bad_schedule", name=name, error=str(error))
            continue
        found[name] = Schedule(name, when, enabled, set_at)
    return found


def _row(schedule: Schedule) -> dict[str, object]:
    when = schedule.when
    return {
        "name": schedule.name,
        "every_seconds": None if isinstance(when, At) else int(when.total_seconds()),
        "cron": when.expression if isinstance(when, At) else None,
        "time_zone": schedule.time_zone,
        "enabled": schedule.enabled,
        "set_at": schedule.set_at,
    }
