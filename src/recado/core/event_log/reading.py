"""Read an owner's events from a cursor on. The cursor is the id of the last event that was read.

A number counts the events of all owners and would tell one how much the others do; an id tells nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Integer, bindparam, select

from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page
from recado.core.database.prepared import Prepared
from recado.core.database.repository import OwnedRepository, of_owner, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.event_log.models import CursorUnknown, Event
from recado.core.event_log.tables import event_numbers, events

MOST: Final = 500
"""The most events that are read at a time."""

_NUMBERED = events.c.number.is_not(None)
_AFTER = Prepared(
    owned(events, Event)
    .where(_NUMBERED, events.c.number > bindparam("after"))
    .order_by(events.c.number)
    .limit(bindparam("most", type_=Integer))
)
_BETWEEN = Prepared(
    owned(events, Event)
    .where(_NUMBERED, events.c.number > bindparam("after"), events.c.number <= bindparam("last"))
    .order_by(events.c.number)
)
_NUMBER_OF = Prepared(select(events.c.number).where(of_owner(events), events.c.id == bindparam("id"), _NUMBERED))
_NEWEST = Prepared(select(events.c.number).where(of_owner(events), _NUMBERED).order_by(events.c.number.desc()).limit(1))
_FROM = Prepared(
    select(events.c.number, events.c.at)
    .where(of_owner(events), _NUMBERED, events.c.number >= bindparam("least"))
    .order_by(events.c.number)
    .limit(1)
)
_NUMBERS = (events.c.number, events.c.owner_id)
_NUMBERS_AFTER = Prepared(  # On SQLite the number is the key of the row.
    select(*_NUMBERS)
    .where(events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("most", type_=Integer)),
    on_postgresql=select(*_NUMBERS)
    .where(_NUMBERED, events.c.number > bindparam("after"))
    .order_by(events.c.number)
    .limit(bindparam("most", type_=Integer)),
)
_NEWEST_OF_ALL = Prepared(
    select(events.c.seq).order_by(events.c.seq.desc()).limit(1), on_postgresql=select(event_numbers.c.last)
)
_BY_ID = Prepared(owned(events, Event).where(events.c.id == bindparam("id"), _NUMBERED))


class Events(OwnedRepository[Event]):
    """One owner's numbered events."""

    table, entity, noun = events, Event, "event"

    def after(self, number: int, limit: int) -> Sequence[Event]:
        """Return the events after a number, by rising numbers."""
        return self._many(_AFTER, after=number, most=limit)

    def between(self, after: int, last: int) -> Sequence[Event]:
        """Return the events after a number up to another, by rising numbers."""
        return self._many(_BETWEEN, after=after, last=last)

    def number_of(self, id_: UUID) -> int:
        """Return the number of an event. Raises `CursorUnknown`."""
        found = self._uow.rows(_NUMBER_OF, owner=self.owner, id=id_)
        if not found:
            raise CursorUnknown(
                f"there is no event {id_} in the log (events are kept for 30 days); read from its start"
            )
        number: int = found[0][0]
        return number

    def newest_number(self) -> int:
        """Return the highest number, 0 without events."""
        for (number,) in self._uow.rows(_NEWEST, owner=self.owner):
            return int(number)
        return 0

    def last_before(self, at: datetime) -> int:
        """Return the number of the last event that was told before a moment, 0 without one.

        Times rise with the numbers, so it halves what is left: thirty looks into the index, and not a walk through it.
        """
        least, most = 0, self.newest_number()
        while least < most:
            middle = (least + most + 1) // 2
            [(number, told_at)] = self._uow.rows(_FROM, owner=self.owner, least=middle)
            if told_at < at:
                least = number
            else:
                most = middle - 1
        return least

    def numbered(self, id_: UUID) -> Event | None:
        """Return an event."""
        return self._one(_BY_ID, id=id_)


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event's number, and whose event it is."""

    number: int
    owner_id: UUID


class EventReading:
    """Pages of the log, for people and programs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, owner_id: UUID, *, after: str | None = None, limit: int = PAGE_SIZE) -> Page[Event]:
        """Return the events after a cursor, oldest first; without one from the log's start.

        `next_cursor` is None at the end of the log for now; go on later after the id of the last event of all.
        """
        most = max(1, min(limit, MOST))
        cursor = None if after is None else read_cursor(after)

        def work(uow: UnitOfWork) -> Page[Event]:
            log = Events(uow)
            found = log.after(0 if cursor is None else log.number_of(cursor), most + 1)
            items = found[:most]
            return Page(items, str(items[-1].id) if len(found) > most else None)

        return await self._database.read(work, owner=owner_id)

    async def number_of(self, owner_id: UUID, cursor: str) -> int:
        """Return the number behind a cursor. Raises `InvalidInput` and `CursorUnknown`."""
        id_ = read_cursor(cursor)
        return await self._database.read(lambda uow: Events(uow).number_of(id_), owner=owner_id)

    async def newest_of_all(self) -> int:
        """Return the number of the newest event of all owners, 0 without events."""
        found = await self._database.read(lambda uow: uow.rows(_NEWEST_OF_ALL), owner=None)
        return int(found[0][0]) if found else 0

    async def numbers_after(self, number: int) -> Sequence[Numbered]:
        """Return the numbers after one, of all owners, by rising numbers; `MOST` at a time."""
        found = await self._database.read(lambda uow: uow.rows(_NUMBERS_AFTER, after=number, most=MOST), owner=None)
        return [Numbered(int(number), owner_id) for number, owner_id in found]

    async def after(self, owner_id: UUID, number: int, limit: int = MOST) -> Sequence[Event]:
        """Return the events after a number."""
        return await self._database.read(lambda uow: Events(uow).after(number, limit), owner=owner_id)

    async def between(self, owner_ids: Collection[UUID], after: int, last: int) -> Mapping[UUID, Sequence[Event]]:
        """Return the events of some owners after a number up to another."""

        def work(uow: UnitOfWork) -> Mapping[UUID, Sequence[Event]]:
            return {owner_id: Events(uow.for_owner(owner_id)).between(after, last) for owner_id in owner_ids}

        return await self._database.read(work, owner=None)


def read_cursor(cursor: str) -> UUID:
    """Return the event that a cursor names. Raises `InvalidInput` for a text that is no cursor of ours."""
    try:
        return UUID(cursor)
    except ValueError:
        raise InvalidInput("this is not a cursor of ours: take the id of the last event that you have") from None
