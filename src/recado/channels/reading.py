"""Read models of accounts, for the lists and pages that people and programs see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Select, bindparam, select

from recado.channels.tables import channel_accounts, channel_addresses, orphan_signers, orphans
from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page, after_id, page_by_id
from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import of_owner
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import NotFound

_NEWEST = Prepared(
    select(
        channel_accounts.c.id,
        channel_accounts.c.owner_id,
        channel_accounts.c.provider,
        channel_accounts.c.account_ref,
        channel_accounts.c.paused_until,
        channel_accounts.c.paused_why,
    )
    .order_by(channel_accounts.c.id.desc())
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class AccountItem:
    """An account of an owner at a provider. It sends nothing before `paused_until`."""

    id: UUID
    owner_id: UUID
    provider: str
    account_ref: str
    paused_until: datetime | None
    paused_why: str | None

    def is_paused(self, now: datetime) -> bool:
        """Return whether the account may not send now."""
        return self.paused_until is not None and self.paused_until > now


def newest_accounts(uow: UnitOfWork, limit: int) -> Sequence[AccountItem]:
    """Return the accounts of all owners, the newest first."""
    return [AccountItem(*row) for row in uow.rows(_NEWEST, most=limit)]


# --- What an owner has ------------------------------------------------------------------------------------------------

_NUMBER = (
    select(
        channel_addresses.c.id,
        channel_addresses.c.address,
        channel_accounts.c.provider,
        channel_accounts.c.account_ref,
        channel_addresses.c.created_at,
        channel_addresses.c.first_webhook_at,
        channel_accounts.c.paused_until,
        channel_accounts.c.paused_why,
    )
    .join(channel_accounts, channel_accounts.c.id == channel_addresses.c.account_id)
    .where(of_owner(channel_addresses), channel_addresses.c.removed_at.is_(None))
)
_ONE_NUMBER = Prepared(_NUMBER.where(channel_addresses.c.id == bindparam("id")))
# An owner has a message signed by one account of its own at most, so this shows no orphan twice.
_ORPHAN = (
    select(
        orphans.c.id,
        orphans.c.provider,
        orphans.c.account_ref,
        orphans.c.provider_message_id,
        orphans.c.to_address,
        orphans.c.received_at,
    )
    .join(orphan_signers, orphan_signers.c.orphan_id == orphans.c.id)
    .where(of_owner(orphan_signers), orphans.c.assigned_at.is_(None))
)


def _paged(query: Select[*tuple[Any, ...]], id_: Column[Any]) -> Prepared:
    """Return a page of a query in the order of ids, which is that of their making."""
    return Prepared(query.where(id_ > param(id_, "after")).order_by(id_).limit(bindparam("most")))


_NUMBERS = _paged(_NUMBER, channel_addresses.c.id)
_ORPHANS = _paged(_ORPHAN, orphan_signers.c.orphan_id)


@dataclass(frozen=True, slots=True)
class NumberItem:
    """A number of an owner, and its account at the provider."""

    id: UUID
    address: str
    provider: str
    account_ref: str
    created_at: datetime
    first_webhook_at: datetime | None
    paused_until: datetime | None
    paused_why: str | None


@dataclass(frozen=True, slots=True)
class OrphanItem:
    """An orphan that waits, as those see it whose account signed it."""

    id: UUID
    provider: str
    account_ref: str
    provider_message_id: str
    to: str
    received_at: datetime


class ChannelsReading:
    """Reads the numbers and the orphans of one owner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def numbers(self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE) -> Page[NumberItem]:
        """Return a page of an owner's numbers, the oldest first."""
        after = after_id(cursor)
        rows = await self._database.read(
            lambda uow: uow.rows(_NUMBERS, owner=owner_id, after=after, most=limit + 1), owner=owner_id
        )
        return page_by_id([NumberItem(*row) for row in rows], limit)

    async def number(self, owner_id: UUID, number_id: UUID) -> NumberItem:
        """Return a number of an owner. Raises `NotFound`."""
        rows = await self._database.read(
            lambda uow: uow.rows(_ONE_NUMBER, owner=owner_id, id=number_id), owner=owner_id
        )
        if not rows:
            raise NotFound(f"there is no number {number_id}")
        return NumberItem(*rows[0])

    async def orphans(self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE) -> Page[OrphanItem]:
        """Return a page of the orphans that wait and that an account of the owner signed, the oldest first."""
        after = after_id(cursor)
        # As the system: an orphan belongs to nobody yet.
        rows = await self._database.read(
            lambda uow: uow.rows(_ORPHANS, owner=owner_id, after=after, most=limit + 1), owner=None
        )
        return page_by_id([OrphanItem(*row) for row in rows], limit)
