"""Read an owner's events from a cursor on. The cursor is the id of the last event that was read.

A number counts the events of all owners and would tell one how much the others do; an id tells nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Integer, bindparam, select

from recado.core.database.engine import Database
from recado.core.database.pages import Page
from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import OwnedRepository, of_owner, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.event_log.models import CursorUnknown, Event
from recado.core.event_log.tables import events

PAGE: Final = 100
MOST: Final = 500
"""The usual and the largest number of events of a page."""

_NUMBERED = events.c.number.is_not(None)
_AFTER = Prepared(
    owned(events, Event)
    .where(_NUMBERED, events.c.number > bindparam("after"))
    .order_by(events.c.number)
    .limit(bindparam("most", type_=Integer))
)
_NUMBER_OF = Prepared(select(events.c.number).where(of_owner(events), events.c.id == bindparam("id"), _NUMBERED))
_NEWEST = Prepared(select(events.c.number).where(of_owner(events), _NUMBERED).order_by(events.c.number.desc()).limit(1))
_LAST_BEFORE = Prepared(
    select(events.c.number)
    .where(of_owner(events), _NUMBERED, events.c.at < param(events.c.at, "before"))
    .order_by(events.c.number.desc())
    .limit(1)
)
_BY_ID = Prepared(owned(events, Event).where(events.c.id == bindparam("id"), _NUMBERED))


class Events(OwnedRepository[Event]):
    """One owner's numbered events."""

    table, entity, noun = events, Event, "event"

    def after(self, number: int, limit: int) -> Sequence[Event]:
        """Return the events after a number, by rising numbers."""
        return self._many(_AFTER, after=number, most=limit)

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
        """Return the number of the last event that was told before a moment, 0 without one."""
        for (number,) in self._uow.rows(_LAST_BEFORE, owner=self.owner, before=at):
            return int(number)
        return 0

    def numbered(self, id_: UUID) -> Event | None:
        """Return an event."""
        return self._one(_BY_ID, id=id_)


class EventReading:
    """Pages of the log, for people and programs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, owner_id: UUID, *, after: str | None = None, limit: int = PAGE) -> Page[Event]:
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

    async def newest_number(self, owner_id: UUID) -> int:
        """Return the number of the owner's newest event, 0 without events."""
        return await self._database.read(lambda uow: Events(uow).newest_number(), owner=owner_id)

    async def after(self, owner_id: UUID, number: int, limit: int = MOST) -> Sequence[Event]:
        """Return the events after a number."""
        return await self._database.read(lambda uow: Events(uow).after(number, limit), owner=owner_id)


def read_cursor(cursor: str) -> UUID:
    """Return the event that a cursor names. Raises `InvalidInput` for a text that is no cursor of ours."""
    try:
        return UUID(cursor)
    except ValueError:
        raise InvalidInput("this is not a cursor of ours: take the id of the last event that you have") from None
