"""Read models of users, API keys and the audit, for the lists and pages that people and programs see.

Secrets and hashes are in none of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import Select, Table, bindparam, select

from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page, page_of, read_cursor
from recado.core.database.prepared import Prepared, Row
from recado.core.database.repository import of_owner
from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import NotFound
from recado.identity.models import Role
from recado.identity.principal import PrincipalKind
from recado.identity.tables import api_keys, audit_entries, users

T = TypeVar("T")

_FIRST: Final = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))
_LAST: Final = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))


@dataclass(frozen=True, slots=True)
class UserItem:
    """A user as a list shows it."""

    id: UUID
    email: str
    name: str | None
    role: Role
    active: bool
    invited: bool
    """Whether the user has still to choose a password."""
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyItem:
    """An API key as a list shows it. `scopes` is None for all that a key may have."""

    id: UUID
    name: str
    scopes: Sequence[str] | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditItem:
    """Who did or read what, from where."""

    id: UUID
    at: datetime
    actor_kind: PrincipalKind
    actor_id: UUID | None
    actor_name: str
    source: str | None
    action: str
    object_kind: str
    object_id: str
    detail: Mapping[str, JsonValue] | None


_USER: Final = select(
    users.c.id,
    users.c.email,
    users.c.name,
    users.c.role,
    users.c.active,
    users.c.password_hash.is_(None).label("invited"),
    users.c.created_at,
    users.c.last_login_at,
).where(of_owner(users))
_KEY: Final = select(
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.scopes,
    api_keys.c.created_at,
    api_keys.c.created_by,
    api_keys.c.expires_at,
    api_keys.c.last_used_at,
    api_keys.c.revoked_at,
).where(of_owner(api_keys))
_ENTRY: Final = select(
    audit_entries.c.id,
    audit_entries.c.at,
    audit_entries.c.actor_kind,
    audit_entries.c.actor_id,
    audit_entries.c.actor_name,
    audit_entries.c.source,
    audit_entries.c.action,
    audit_entries.c.object_kind,
    audit_entries.c.object_id,
    audit_entries.c.detail,
).where(of_owner(audit_entries))


def _oldest_first(statement: Select[*tuple[object, ...]], table: Table) -> Prepared:
    """Return the rows after one. Ids are in the order of their making, so they alone are the place in the list."""
    return Prepared(statement.where(table.c.id > bindparam("after")).order_by(table.c.id).limit(bindparam("most")))


def _newest_first(statement: Select[*tuple[object, ...]], table: Table) -> Prepared:
    before = statement.where(table.c.id < bindparam("after"))
    return Prepared(before.order_by(table.c.id.desc()).limit(bindparam("most")))


_USER_PAGE = _oldest_first(_USER, users)
_ONE_USER = Prepared(_USER.where(users.c.id == bindparam("id")))
_KEY_PAGE = _oldest_first(_KEY, api_keys)
_ONE_KEY = Prepared(_KEY.where(api_keys.c.id == bindparam("id")))
_ENTRY_PAGE = _newest_first(_ENTRY, audit_entries)


class IdentityReading:
    """Reads users, API keys and the audit of one owner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def users(self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE) -> Page[UserItem]:
        """Return a page of the owner's users, the oldest first."""
        after = _FIRST if cursor is None else read_cursor(cursor)
        found = await self._rows(owner_id, _USER_PAGE, _user, after=after[1], most=limit + 1)
        return page_of(found, limit, lambda item: (item.created_at, item.id))

    async def user(self, owner_id: UUID, user_id: UUID) -> UserItem:
        """Return one user. Raises `NotFound`."""
        found = await self._rows(owner_id, _ONE_USER, _user, id=user_id)
        if not found:
            raise NotFound(f"there is no user {user_id}")
        return found[0]

    async def keys(self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE) -> Page[KeyItem]:
        """Return a page of the owner's API keys, the oldest first, revoked ones too."""
        after = _FIRST if cursor is None else read_cursor(cursor)
        found = await self._rows(owner_id, _KEY_PAGE, _key, after=after[1], most=limit + 1)
        return page_of(found, limit, lambda item: (item.created_at, item.id))

    async def key(self, owner_id: UUID, key_id: UUID) -> KeyItem:
        """Return one API key. Raises `NotFound`."""
        found = await self._rows(owner_id, _ONE_KEY, _key, id=key_id)
        if not found:
            raise NotFound(f"there is no API key {key_id}")
        return found[0]

    async def audit(self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE) -> Page[AuditItem]:
        """Return a page of the owner's audit, the newest entry first."""
        before = _LAST if cursor is None else read_cursor(cursor)
        found = await self._rows(owner_id, _ENTRY_PAGE, _entry, after=before[1], most=limit + 1)
        return page_of(found, limit, lambda item: (item.at, item.id))

    async def _rows(self, owner_id: UUID, query: Prepared, item: Callable[[Row], T], **values: object) -> list[T]:
        def read(uow: UnitOfWork) -> list[T]:
            return [item(row) for row in uow.rows(query, owner=owner_id, **values)]

        return await self._database.read(read, owner=owner_id)


def _user(row: Row) -> UserItem:
    id_, email, name, role, active, invited, created_at, last_login_at = row
    return UserItem(id_, email, name, role, bool(active), bool(invited), created_at, last_login_at)


def _key(row: Row) -> KeyItem:
    return KeyItem(*row)


def _entry(row: Row) -> AuditItem:
    return AuditItem(*row)
