"""Read models of conversations, for the lists and pages that people and programs see."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, exists, func, or_, select, text, tuple_

from recado.conversation.tables import contact_addresses, conversations, inbox_items
from recado.conversation.values import Address
from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page, page_of, read_cursor
from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import of_owner
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import NotFound
from recado.core.queue.lane import Lane

_WAITS = exists().where(inbox_items.c.conversation_id == conversations.c.id, inbox_items.c.resolved_at.is_(None))
_ADDRESS = (
    select(contact_addresses.c.address)
    .where(contact_addresses.c.contact_id == conversations.c.contact_id)
    .order_by(contact_addresses.c.id)
    .limit(1)
    .scalar_subquery()
)
_WAITING_SINCE = (
    select(func.min(inbox_items.c.created_at))
    .where(inbox_items.c.conversation_id == conversations.c.id, inbox_items.c.resolved_at.is_(None))
    .scalar_subquery()
)
_ITEM = select(
    conversations.c.id,
    conversations.c.lane,
    conversations.c.held_by,
    conversations.c.status,
    conversations.c.last_activity_at,
    _ADDRESS.label("address"),
    _WAITING_SINCE.label("waiting_since"),
).where(of_owner(conversations))
_ONE = Prepared(_ITEM.where(conversations.c.id == bindparam("id")))
_LATEST_FIRST = Prepared(
    _ITEM.where(
        or_(conversations.c.status != text("'closed'"), _WAITS),
        tuple_(conversations.c.last_activity_at, conversations.c.id)
        < tuple_(param(conversations.c.last_activity_at, "at"), param(conversations.c.id, "before")),
    )
    .order_by(conversations.c.last_activity_at.desc(), conversations.c.id.desc())
    .limit(bindparam("most"))
)
_OWNER = Prepared(select(conversations.c.owner_id).where(conversations.c.id == bindparam("id")))
_BEGINNING: Final = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))


@dataclass(frozen=True, slots=True)
class ConversationItem:
    """A conversation as a list shows it."""

    id: UUID
    lane: Lane
    held_by: str
    status: str
    last_activity_at: datetime
    contact: str | None
    """The customer's address with most of its digits hidden."""
    waiting_since: datetime | None
    """Since when the oldest open inbox item waits for a person."""


class ConversationReading:
    """Reads conversations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE
    ) -> Page[ConversationItem]:
        """Return a page of the owner's conversations that are open or wait for a person, latest activity first."""
        position = _BEGINNING if cursor is None else read_cursor(cursor)
        return await self._database.read(lambda uow: _page(uow, position, limit), owner=owner_id)

    async def every(self, owner_id: UUID) -> AsyncIterator[ConversationItem]:
        """Yield the items of all pages."""
        cursor: str | None = None
        while True:
            page = await self.page(owner_id, cursor)
            for item in page.items:
                yield item
            if (cursor := page.next_cursor) is None:
                return

    async def one(self, owner_id: UUID, conversation_id: UUID) -> ConversationItem:
        """Return one conversation of an owner. Raises `NotFound`."""
        found = await self._database.read(lambda uow: _items(uow, _ONE, id=conversation_id), owner=owner_id)
        if not found:
            raise _not_found(conversation_id)
        return found[0]

    async def owner_of(self, conversation_id: UUID) -> UUID:
        """Return the owner of a conversation, for operators who may see every owner's. Raises `NotFound`."""
        rows = await self._database.read(lambda uow: uow.rows(_OWNER, id=conversation_id), owner=None)
        if not rows:
            raise _not_found(conversation_id)
        owner_id: UUID = rows[0][0]
        return owner_id


def _page(uow: UnitOfWork, after: tuple[datetime, UUID], limit: int) -> Page[ConversationItem]:
    at, before = after
    found = _items(uow, _LATEST_FIRST, at=at, before=before, most=limit + 1)
    return page_of(found, limit, lambda item: (item.last_activity_at, item.id))


def _items(uow: UnitOfWork, query: Prepared, **values: object) -> list[ConversationItem]:
    return [
        ConversationItem(id_, lane, held_by, status, at, None if address is None else Address(address).masked, since)
        for id_, lane, held_by, status, at, address, since in uow.rows(query, owner=uow.owner, **values)
    ]


def _not_found(conversation_id: UUID) -> NotFound:
    return NotFound(f"there is no conversation {conversation_id}; `recado conversations list` shows them")
