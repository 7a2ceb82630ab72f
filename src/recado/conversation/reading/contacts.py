"""Read models of contacts, for the lists and pages that people and programs see."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from recado.conversation.tables import contact_addresses, contacts
from recado.conversation.values import Address
from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page, before_id, every, page_by_id
from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import of_owner
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import NotFound

_COLUMNS = ("id", "name", "named_by", "opted_out_at", "opted_out_by", "blocked_at", "blocked_by", "created_at")
_CONTACT = select(*(contacts.c[name] for name in _COLUMNS)).where(of_owner(contacts))
_ONE = Prepared(_CONTACT.where(contacts.c.id == bindparam("id")))
_ADDRESSES = (
    select(contact_addresses.c.contact_id, contact_addresses.c.address)
    .where(contact_addresses.c.contact_id.in_(bindparam("ids", expanding=True)))
    .order_by(contact_addresses.c.id)
)
_OWNER = Prepared(select(contacts.c.owner_id).where(contacts.c.id == bindparam("id")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactFilters:
    """Which contacts a list shows; False is any."""

    address: Address | None = None
    """Only the contact of this address, in any of its spellings."""
    blocked: bool = False
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class ContactItem:
    """A contact as a list shows it, with every spelling of its addresses."""

    id: UUID
    name: str | None
    named_by: str | None
    opted_out_at: datetime | None
    opted_out_by: str | None
    blocked_at: datetime | None
    blocked_by: str | None
    created_at: datetime
    addresses: Sequence[str]


@cache
def _newest_first(filters: tuple[str, ...]) -> Prepared:
    conditions: list[Any] = []
    if "blocked" in filters:
        conditions.append(contacts.c.blocked_at.is_not(None))
    if "opted_out" in filters:
        conditions.append(contacts.c.opted_out_at.is_not(None))
    if "address" in filters:
        of_address = (
            select(contact_addresses.c.contact_id)
            .where(of_owner(contact_addresses), contact_addresses.c.match_key == bindparam("match_key"))
            .scalar_subquery()
        )
        conditions.append(contacts.c.id.in_(of_address))
    return Prepared(
        _CONTACT.where(*conditions, contacts.c.id < param(contacts.c.id, "before"))
        .order_by(contacts.c.id.desc())
        .limit(bindparam("most"))
    )


class ContactReading:
    """Reads contacts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        owner_id: UUID,
        cursor: str | None = None,
        *,
        limit: int = PAGE_SIZE,
        filters: ContactFilters | None = None,
    ) -> Page[ContactItem]:
        """Return a page of the owner's contacts, the newest first."""
        before, chosen = before_id(cursor), filters or ContactFilters()
        return await self._database.read(lambda uow: _page(uow, before, limit, chosen), owner=owner_id)

    def every(self, owner_id: UUID, filters: ContactFilters | None = None) -> AsyncIterator[ContactItem]:
        """Yield the items of all pages."""
        return every(lambda cursor: self.page(owner_id, cursor, filters=filters))

    async def one(self, owner_id: UUID, contact_id: UUID) -> ContactItem:
        """Return one contact of an owner. Raises `NotFound`."""

        return await self._database.read(lambda uow: contact_in(uow, contact_id), owner=owner_id)

    async def owner_of(self, contact_id: UUID) -> UUID:
        """Return the owner of a contact, for operators who may see every owner's. Raises `NotFound`."""
        rows = await self._database.read(lambda uow: uow.rows(_OWNER, id=contact_id), owner=None)
        if not rows:
            raise _not_found(contact_id)
        owner_id: UUID = rows[0][0]
        return owner_id


def contact_in(uow: UnitOfWork, contact_id: UUID) -> ContactItem:
    """Return one contact of the owner of a unit of work. Raises `NotFound`."""
    found = _items(uow, uow.rows(_ONE, owner=uow.owner, id=contact_id))
    if not found:
        raise _not_found(contact_id)
    return found[0]


def _page(uow: UnitOfWork, before: UUID, limit: int, filters: ContactFilters) -> Page[ContactItem]:
    given = {"blocked": filters.blocked, "opted_out": filters.opted_out, "address": filters.address is not None}
    statement = _newest_first(tuple(name for name, is_given in given.items() if is_given))
    key = None if filters.address is None else filters.address.match_key
    rows = uow.rows(statement, owner=uow.owner, before=before, most=limit + 1, match_key=key)
    return page_by_id(_items(uow, rows), limit)


def _items(uow: UnitOfWork, rows: Sequence[tuple[Any, ...]]) -> list[ContactItem]:
    addresses = _addresses(uow, [row[0] for row in rows])
    return [ContactItem(*(*row, addresses.get(row[0], ()))) for row in rows]


def _addresses(uow: UnitOfWork, ids: Sequence[UUID]) -> Mapping[UUID, Sequence[str]]:
    if not ids:
        return {}
    found: dict[UUID, list[str]] = {}
    for contact_id, address in uow.execute(_ADDRESSES, {"ids": ids}):
        found.setdefault(contact_id, []).append(address)
    return found


def _not_found(contact_id: UUID) -> NotFound:
    return NotFound(f"there is no contact {contact_id}; `recado contacts list` shows them")
