"""Append events in the transaction of what they tell, and number them after its commit.

A reader goes on after the last number that it has seen, so no number may become visible after a higher one. SQLite has
one writer: the order of storing is the order of the commits, and an event gets its number at once. On PostgreSQL
transactions commit in any order. An event is stored without a number there, and `number_new` numbers what is committed,
one transaction at a time.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Integer, bindparam, text

from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.event_log.models import NewEvent
from recado.core.event_log.tables import event_numbers, events

_COLUMNS: Final = ("id", "owner_id", "type", "lane", "conversation_id", "data", "at")
_NAMES: Final = ", ".join(_COLUMNS)
_APPEND = Prepared(
    # After the newest row, or after one that was newer and is deleted, so that no number is given twice.
    text(
        f"WITH given (place, {_NAMES}) AS (VALUES (:place, {', '.join(f':{name}' for name in _COLUMNS)})) "
        f"INSERT INTO events (seq, number, {_NAMES}) SELECT last + place, last + place, {_NAMES} "
        "FROM given, (SELECT max(coalesce((SELECT seq FROM events ORDER BY seq DESC LIMIT 1), 0),"
        " coalesce((SELECT last FROM event_numbers WHERE id = 1), 0)) AS last) "
        "WHERE true ORDER BY place "
        "ON CONFLICT (id) DO NOTHING"
    ).bindparams(bindparam("place", type_=Integer), *(param(events.c[name]) for name in _COLUMNS)),
    on_postgresql=inserting(events, *_COLUMNS).on_conflict_do_nothing(index_elements=[events.c.id]),
)


def append(uow: UnitOfWork, new: Sequence[NewEvent]) -> None:
    """Store events in the transaction of what they tell, and have the readers told after its commit.

    The transaction holds the lanes of the events, so those of one lane are stored in the order in which they happened.
    An id that is stored already is left as it is.
    """
    if not new:
        return
    uow.run_many(_APPEND, [asdict(event) | {"place": place} for place, event in enumerate(new, 1)])
    for owner_id in {event.owner_id for event in new}:
        uow.tell("events", owner_id)


_LAST = Prepared(
    text(
        "INSERT INTO event_numbers (id, last) VALUES (1, 0) "
        "ON CONFLICT (id) DO UPDATE SET last = event_numbers.last RETURNING last"
    ).columns(event_numbers.c.last)
)
_NUMBER = Prepared(
    text(
        """
UPDATE events SET number = CAST(:last AS bigint) + new.place
FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS place
    FROM (SELECT seq FROM events WHERE number IS NULL ORDER BY seq LIMIT :most) AS head) AS new
WHERE events.seq = new.seq
RETURNING events.owner_id
"""
    )
    .bindparams(bindparam("last", type_=Integer), bindparam("most", type_=Integer))
    .columns(events.c.owner_id)
)
_SET_LAST = Prepared(text("UPDATE event_numbers SET last = :last WHERE id = 1").bindparams(param(event_numbers.c.last)))
_KEEP_LAST = (
    "INSERT INTO event_numbers (id, last) SELECT 1, coalesce(max(seq), 0) FROM events "
    "WHERE true ON CONFLICT (id) DO UPDATE SET last = max(event_numbers.last, excluded.last)"
)
_UNNUMBERED = Prepared(text("SELECT 1 FROM events WHERE number IS NULL LIMIT 1"))


def has_unnumbered(uow: UnitOfWork) -> bool:
    """Return whether events wait for their number."""
    return bool(uow.rows(_UNNUMBERED))


def number_new(uow: UnitOfWork, most: int = STEP) -> Sequence[UUID]:
    """Number up to `most` committed events, in the order in which they were stored. Return their owners.

    The row of the last number is locked first. The next statement then sees all that the holder before has numbered,
    and until this transaction ends nobody gives a higher number. SQLite has nothing to number.
    """
    if uow.dialect == "sqlite":
        return []
    [(last,)] = uow.rows(_LAST)
    owners = [owner_id for (owner_id,) in uow.rows(_NUMBER, last=last, most=most)]
    if owners:
        uow.run(_SET_LAST, last=last + len(owners))
        uow.notify("recado_events")
    return owners


def keep_last_number(uow: UnitOfWork) -> None:
    """Remember the newest number, in a transaction that may delete its event. PostgreSQL remembers it anyway."""
    if uow.dialect == "sqlite":
        uow.execute_raw(_KEEP_LAST)


_PRUNE_TYPES = (param(events.c.at, "before"), bindparam("most", type_=Integer))
_OLDEST: Final = """SELECT seq FROM (SELECT seq, at FROM events ORDER BY seq LIMIT :most) AS oldest
    WHERE at < :before AND seq < (SELECT seq FROM events ORDER BY seq DESC LIMIT 1)"""
_PRUNE = Prepared(
    text(f"DELETE FROM events WHERE seq IN ({_OLDEST})").bindparams(*_PRUNE_TYPES),
    on_postgresql=text(f"DELETE FROM events WHERE seq = ANY (ARRAY({_OLDEST})) AND number IS NOT NULL").bindparams(
        *_PRUNE_TYPES
    ),
)


def prune(uow: UnitOfWork, before: datetime, most: int = STEP) -> int:
    """Delete up to `most` of the oldest events from before a moment, but never the newest of all. Return their number.

    SQLite numbers the next event after the newest.
    """
    return uow.run(_PRUNE, before=before, most=most)
