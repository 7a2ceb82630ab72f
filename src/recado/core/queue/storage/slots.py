"""Slots of schedules: the primary key of `cron_slots` decides which transaction makes a slot into a job."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Select, bindparam, delete, func, select

from recado.core.database.prepared import Prepared, inserting
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.storage.tables import cron_slots

_INSERT = Prepared(inserting(cron_slots).on_conflict_do_nothing().returning(cron_slots.c.name))
_FORGET_AHEAD = Prepared(
    delete(cron_slots).where(cron_slots.c.name == bindparam("name"), cron_slots.c.slot > bindparam("ahead"))
)
_LAST = Prepared(
    select(func.max(cron_slots.c.slot)).where(
        cron_slots.c.name == bindparam("name"), cron_slots.c.slot <= bindparam("until")
    )
)
_others = cron_slots.alias("others")


def insert(uow: UnitOfWork, slots: Mapping[str, datetime]) -> set[str]:
    """Store one slot for each schedule named. Return the names whose slot is new."""
    rows = [{"name": name, "slot": slot} for name, slot in slots.items()]
    return {name for (name,) in uow.rows_of_many(_INSERT, rows)}


def forget_ahead(uow: UnitOfWork, name: str, ahead: datetime) -> None:
    """Delete a schedule's slots behind a moment: a clock that was ahead has made them."""
    uow.run(_FORGET_AHEAD, name=name, ahead=ahead)


def last(uow: UnitOfWork, names: Sequence[str], until: datetime) -> Mapping[str, datetime]:
    """Return the latest slot of each schedule up to a moment; schedules without one are left out."""
    found = {name: uow.rows(_LAST, name=name, until=until)[0][0] for name in names}
    return {name: slot for name, slot in found.items() if slot is not None}


def forget_old(uow: UnitOfWork, before: datetime) -> None:
    """Delete old slots, but keep each schedule's last one: no earlier slot of it may be stored after that."""
    latest: Select[datetime] = (
        select(func.max(_others.c.slot)).where(_others.c.name == cron_slots.c.name).correlate(cron_slots)
    )
    uow.execute(delete(cron_slots).where(cron_slots.c.slot < before, cron_slots.c.slot < latest.scalar_subquery()))
