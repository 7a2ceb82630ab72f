"""Read models of conversations, for the lists and pages that people and programs see.

A page reads an index from where the last page ended, so its cost does not grow with the depth. One condition chooses
the index; every other one is asked of the rows that the index gives, of a bounded number of them for a page. Where few
rows meet them a page may therefore be short, or empty, and have a next one all the same.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Subquery, Table, bindparam, exists, func, select, text, tuple_

from recado.conversation.models import Actor, ConversationStatus, Holder
from recado.conversation.reading.filters import ConversationFilters
from recado.conversation.reading.search import Found, found_in, search_query
from recado.conversation.tables import contact_addresses, contacts, conversations, inbox_items
from recado.conversation.values import Address
from recado.core.database.engine import Database
from recado.core.database.pages import (
    FIRST_PLACE,
    LAST_PLACE,
    PAGE_SIZE,
    Page,
    every,
    page_of,
    read_cursor,
    read_numbers,
    write_cursor,
    write_numbers,
)
from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import column_names, of_owner
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput, NotFound
from recado.core.queue.lane import Lane
from recado.identity.tables import users

WINDOW: Final = 2_000
"""The most rows of an index that one page reads."""

_ACTIVE = text("conversations.status<>'closed'")
_SINCE = inbox_items.c.created_at


@dataclass(frozen=True, slots=True)
class ConversationItem:
    """A conversation as a list shows it."""

    id: UUID
    lane: Lane
    contact_id: UUID
    number_id: UUID
    status: ConversationStatus
    held_by: Holder
    holder_name: str | None
    held_since: datetime
    assignee_id: UUID | None
    assignee_name: str | None
    opened_at: datetime
    last_activity_at: datetime
    closed_at: datetime | None
    closed_by: Actor | None
    closed_reason: str | None
    version: int
    previous_id: UUID | None
    contact_name: str | None
    address: str | None
    """The address that the contact wrote from first."""
    waiting_since: datetime | None
    """Since when the oldest open inbox item waits for a person."""

    @property
    def contact(self) -> str | None:
        """The customer's address with most of its digits hidden."""
        return None if self.address is None else Address(self.address).masked


# --- Statements -------------------------------------------------------------------------------------------------------

_FIELDS = column_names(ConversationItem)
_FOUND_ELSEWHERE = ("number_id", "assignee_name", "contact_name", "address", "waiting_since")
_COLUMNS = ("address_id", *(name for name in _FIELDS if name not in _FOUND_ELSEWHERE))
_Shape: TypeAlias = tuple[str, ...]
"""The names of the conditions of a list, the one that chooses the index first."""


def _item(source: Subquery) -> list[ColumnElement[Any]]:
    """Return the fields of the items, in their order, for the conversations of a subquery."""
    c = source.c
    assignee = select(func.coalesce(users.c.name, users.c.email)).where(users.c.id == c.assignee_id).scalar_subquery()
    name = select(contacts.c.name).where(contacts.c.id == c.contact_id).scalar_subquery()
    address = (
        select(contact_addresses.c.address)
        .where(contact_addresses.c.contact_id == c.contact_id)
        .order_by(contact_addresses.c.id)
        .limit(1)
        .scalar_subquery()
    )
    waiting = select(func.min(_SINCE)).where(inbox_items.c.conversation_id == c.id, _OPEN_ITEM).scalar_subquery()
    found = dict(zip(_FOUND_ELSEWHERE, (c.address_id, assignee, name, address, waiting), strict=True))
    return [found[field].label(field) if field in found else c[field] for field in _FIELDS]


_OPEN_ITEM = inbox_items.c.resolved_at.is_(None)
_CONVERSATION = select(*(conversations.c[name] for name in _COLUMNS)).where(of_owner(conversations))


def _asked(source: Table | Subquery, name: str) -> ColumnElement[bool]:
    """Return the condition of a filter, on the table or on a subquery of it."""
    column = source.c[_OF[name]]
    if name == "active":
        return column != text("'closed'")
    return column == bindparam(f"is_{name}", type_=column.type)


_OF = {
    "active": "status",
    "status": "status",
    "held_by": "held_by",
    "assignee": "assignee_id",
    "contact": "contact_id",
    "number": "address_id",
}


def _window(driving: _Shape, most: str) -> Select[*tuple[Any, ...]]:
    """Return the next rows of the index that the first condition chooses, latest activity first."""
    conditions: list[Any] = []
    for name in driving:
        if name == "active":
            conditions.append(_ACTIVE)
        elif name == "held_by":
            conditions += [text("conversations.held_by<>'agent'"), _asked(conversations, name)]
        elif name == "assignee":
            conditions += [conversations.c.assignee_id.is_not(None), _asked(conversations, name)]
        else:
            conditions.append(_asked(conversations, name))
    return (
        _CONVERSATION.where(
            *conditions,
            tuple_(conversations.c.last_activity_at, conversations.c.id)
            < tuple_(param(conversations.c.last_activity_at, "at"), param(conversations.c.id, "before")),
        )
        .order_by(conversations.c.last_activity_at.desc(), conversations.c.id.desc())
        .limit(bindparam(most))
    )


@cache
def _latest_first(driving: _Shape, others: _Shape) -> Prepared:
    """Return the statement of a page. Without other conditions it reads no more rows than it returns."""
    window = _window(driving, "window" if others else "most").subquery("w")
    page = select(*_item(window)).where(*(_asked(window, name) for name in others))
    ordered = page.order_by(window.c.last_activity_at.desc(), window.c.id.desc())
    return Prepared(ordered.limit(bindparam("most")))


@cache
def _end_of_window(driving: _Shape) -> Prepared:
    return Prepared(
        _window(driving, "one")
        .with_only_columns(conversations.c.last_activity_at, conversations.c.id)
        .offset(bindparam("skipped"))
    )


_ITEMS = (
    select(inbox_items.c.created_at, inbox_items.c.id, inbox_items.c.conversation_id)
    .where(
        of_owner(inbox_items),
        _OPEN_ITEM,
        tuple_(inbox_items.c.created_at, inbox_items.c.id)
        > tuple_(param(inbox_items.c.created_at, "at"), param(inbox_items.c.id, "after")),
    )
    .order_by(inbox_items.c.created_at, inbox_items.c.id)
)
_END_OF_ITEMS = Prepared(
    _ITEMS.with_only_columns(inbox_items.c.created_at, inbox_items.c.id)
    .limit(bindparam("one"))
    .offset(bindparam("skipped"))
)


@cache
def _longest_wait_first(others: _Shape) -> Prepared:
    """Return the statement of a page of those that wait. A conversation stands where its oldest item does."""
    window = _ITEMS.limit(bindparam("window")).subquery("i")
    older = inbox_items.alias("older")
    is_oldest = ~exists().where(
        older.c.conversation_id == window.c.conversation_id,
        older.c.resolved_at.is_(None),
        tuple_(older.c.created_at, older.c.id) < tuple_(window.c.created_at, window.c.id),
    )
    found = (
        select(
            *(conversations.c[name] for name in _COLUMNS), window.c.created_at.label("at"), window.c.id.label("item")
        )
        .join_from(window, conversations, conversations.c.id == window.c.conversation_id)
        .where(of_owner(conversations), is_oldest, *(_asked(conversations, name) for name in others))
        .subquery("w")
    )
    page = select(*_item(found), found.c.at, found.c.item).order_by(found.c.at, found.c.item)
    return Prepared(page.limit(bindparam("most")))


_ONE = _CONVERSATION.where(conversations.c.id == bindparam("id")).subquery("w")
_BY_ID = Prepared(select(*_item(_ONE)))


@cache
def _of_ids(others: _Shape) -> Select[*tuple[Any, ...]]:
    """Return the statement for conversations that are known to be the owner's, whose `ids` are given.

    It does not name the owner: SQLite would read all of the owner's conversations to find these.
    """
    asked = [_asked(conversations, name) for name in others]
    known = conversations.c.id.in_(bindparam("ids", expanding=True))
    some = select(*(conversations.c[name] for name in _COLUMNS)).where(known, *asked)
    return select(*_item(some.subquery("w")))


_OWNER = Prepared(select(conversations.c.owner_id).where(conversations.c.id == bindparam("id")))


# --- Reading ----------------------------------------------------------------------------------------------------------


class ConversationReading:
    """Reads conversations."""

    def __init__(self, database: Database, window: int = WINDOW) -> None:
        self._database = database
        self._window = window

    async def page(
        self,
        owner_id: UUID,
        cursor: str | None = None,
        *,
        limit: int = PAGE_SIZE,
        filters: ConversationFilters | None = None,
    ) -> Page[ConversationItem]:
        """Return a page of the owner's conversations, by default of those that are not closed."""
        chosen = filters or ConversationFilters()
        if chosen.text is not None:
            return await self._page_with_text(owner_id, chosen, chosen.text, cursor, limit)
        position = None if cursor is None else read_cursor(cursor)
        read = _waiting if chosen.waiting else _latest
        return await self._database.read(lambda uow: read(uow, chosen, position, limit, self._window), owner=owner_id)

    def every(self, owner_id: UUID, filters: ConversationFilters | None = None) -> AsyncIterator[ConversationItem]:
        """Yield the items of all pages."""
        return every(lambda cursor: self.page(owner_id, cursor, filters=filters))

    async def one(self, owner_id: UUID, conversation_id: UUID) -> ConversationItem:
        """Return one conversation of an owner. Raises `NotFound`."""
        return await self._database.read(lambda uow: conversation_in(uow, conversation_id), owner=owner_id)

    async def owner_of(self, conversation_id: UUID) -> UUID:
        """Return the owner of a conversation, for operators who may see every owner's. Raises `NotFound`."""
        rows = await self._database.read(lambda uow: uow.rows(_OWNER, id=conversation_id), owner=None)
        if not rows:
            raise _not_found(conversation_id)
        owner_id: UUID = rows[0][0]
        return owner_id

    async def _page_with_text(
        self, owner_id: UUID, filters: ConversationFilters, words: str, cursor: str | None, limit: int
    ) -> Page[ConversationItem]:
        query = search_query(words)
        if filters.waiting:
            raise InvalidInput("a list is either of those that wait for a person or of those that a text is found in")
        until, below = (None, None) if cursor is None else read_numbers(cursor, 2)
        return await self._database.read(
            lambda uow: _with_text(uow, filters, found_in(uow, query, until, below, limit)), owner=owner_id
        )


def conversation_in(uow: UnitOfWork, conversation_id: UUID) -> ConversationItem:
    """Return one conversation of the owner of a unit of work. Raises `NotFound`."""
    found = uow.rows(_BY_ID, owner=uow.owner, id=conversation_id)
    if not found:
        raise _not_found(conversation_id)
    return ConversationItem(*found[0])


def _latest(
    uow: UnitOfWork, filters: ConversationFilters, position: tuple[datetime, UUID] | None, limit: int, window: int
) -> Page[ConversationItem]:
    at, before = position or LAST_PLACE
    driving, others = _plan(filters)
    values = {**_values(filters), "owner": uow.owner, "at": at, "before": before}
    rows = uow.rows(_latest_first(driving, others), **values, most=limit + 1, window=window)
    page = page_of([ConversationItem(*row) for row in rows], limit, lambda item: (item.last_activity_at, item.id))
    if page.next_cursor is not None or not others:
        return page
    end = uow.rows(_end_of_window(driving), **values, one=1, skipped=window - 1)
    return Page(page.items, write_cursor(*end[0]) if end else None)


def _waiting(
    uow: UnitOfWork, filters: ConversationFilters, position: tuple[datetime, UUID] | None, limit: int, window: int
) -> Page[ConversationItem]:
    at, after = position or FIRST_PLACE
    values = {**_values(filters), "owner": uow.owner, "at": at, "after": after}
    rows = uow.rows(_longest_wait_first(_others(filters)), **values, most=limit + 1, window=window)
    items = [ConversationItem(*row[:-2]) for row in rows[:limit]]
    if len(rows) > limit:
        return Page(items, write_cursor(*rows[limit - 1][-2:]))
    end = uow.rows(_END_OF_ITEMS, **values, one=1, skipped=window - 1)
    return Page(items, write_cursor(*end[0]) if end else None)


def _with_text(uow: UnitOfWork, filters: ConversationFilters, found: Found) -> Page[ConversationItem]:
    values = {**_values(filters), "ids": list(found.conversations)}
    rows = uow.execute(_of_ids(_others(filters)), values).all() if found.conversations else []
    items = {item.id: item for item in (ConversationItem(*row) for row in rows)}
    after = None if found.below is None else write_numbers(found.until, found.below)
    return Page([items[id_] for id_ in found.conversations if id_ in items], after)


def _plan(filters: ConversationFilters) -> tuple[_Shape, _Shape]:
    """Return the conditions that an index answers, and the others."""
    others = list(_others(filters))
    active = filters.effective_status in ("active", "open", "idle")
    driving = ["active"] if active else []
    by_index = ["contact", "assignee", "held_by", "number"] if active else ["contact"]
    for name in by_index:
        if name in others and not (name == "held_by" and filters.held_by == "agent"):
            driving.append(name)
            others.remove(name)
            break
    if "active" in others:
        others.remove("active")
    return tuple(driving), tuple(others)


def _others(filters: ConversationFilters) -> _Shape:
    """Return the names of all conditions."""
    status = filters.effective_status
    named = {
        "active": status == "active",
        "status": status in ("open", "idle", "closed"),
        "held_by": filters.held_by is not None,
        "assignee": filters.assignee_id is not None,
        "contact": filters.contact_id is not None,
        "number": filters.number_id is not None,
    }
    return tuple(name for name, given in named.items() if given)


def _values(filters: ConversationFilters) -> dict[str, object]:
    return {
        "is_status": filters.effective_status,
        "is_held_by": filters.held_by,
        "is_assignee": filters.assignee_id,
        "is_contact": filters.contact_id,
        "is_number": filters.number_id,
    }


def _not_found(conversation_id: UUID) -> NotFound:
    return NotFound(f"there is no conversation {conversation_id}; `recado conversations list` shows them")
