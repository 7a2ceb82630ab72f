"""Read models of users, their sessions, API keys and the audit, for the lists and pages that people and programs see.

Secrets and hashes are in none of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import Select, Table, bindparam, select

from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page, after_id, before_id, page_by_id
from recado.core.database.prepared import Prepared, Row, param
from recado.core.database.repository import of_owner
from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput, NotFound
from recado.identity.models import Role
from recado.identity.principal import PrincipalKind
from recado.identity.tables import api_keys, audit_entries, sessions, users

T = TypeVar("T")


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
class SessionItem:
    """A session of a user as the user sees it. `current` is that of the request."""

    id: UUID
    source: str | None
    """The network address of the sign-in."""
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class SessionFilters:
    """Whose sessions a list shows, which have not ended at `now`, and the hash of the token of the current one."""

    user_id: UUID
    now: datetime
    idle_since: datetime
    """A session that was last used before this has ended."""
    token_hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuditFilters:
    """Which entries a list shows: all, those about one kind of thing, or those about one thing."""

    object_kind: str | None = None
    object_id: str | None = None

    def __post_init__(self) -> None:
        if self.object_id is not None and self.object_kind is None:
            raise InvalidInput("say of which kind the object is: an id alone names none")


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
_SESSION: Final = select(
    sessions.c.id,
    sessions.c.source,
    sessions.c.created_at,
    sessions.c.last_used_at,
    sessions.c.expires_at,
    (sessions.c.token_hash == bindparam("token_hash")).label("current"),
).where(
    of_owner(sessions),
    sessions.c.user_id == bindparam("user_id"),
    sessions.c.expires_at > param(sessions.c.expires_at, "now"),
    sessions.c.last_used_at > param(sessions.c.last_used_at, "idle_since"),
)
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
_SESSION_PAGE = _newest_first(_SESSION, sessions)
_ENTRY_PAGE = _newest_first(_ENTRY, audit_entries)
_OF_KIND = _ENTRY.where(audit_entries.c.object_kind == bindparam("object_kind"))
_KIND_PAGE = _newest_first(_OF_KIND, audit_entries)
_OBJECT_PAGE = _newest_first(_OF_KIND.where(audit_entries.c.object_id == bindparam("object_id")), audit_entries)


class IdentityReading:
    """Reads users, sessions, API keys and the audit of one owner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def users(self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE) -> Page[UserItem]:
        """Return a page of the owner's users, the oldest first."""
        found = await self._rows(owner_id, _USER_PAGE, _user, after=after_id(cursor), most=limit + 1)
        return page_by_id(found, limit)

    async def user(self, owner_id: UUID, user_id: UUID) -> UserItem:
        """Return one user. Raises `NotFound`."""
        return await self._one(owner_id, _ONE_USER, _user, user_id, "user")

    async def keys(self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE) -> Page[KeyItem]:
        """Return a page of the owner's API keys, the oldest first, revoked ones too."""
        found = await self._rows(owner_id, _KEY_PAGE, _key, after=after_id(cursor), most=limit + 1)
        return page_by_id(found, limit)

    async def key(self, owner_id: UUID, key_id: UUID) -> KeyItem:
        """Return one API key. Raises `NotFound`."""
        return await self._one(owner_id, _ONE_KEY, _key, key_id, "API key")

    async def sessions(
        self, owner_id: UUID, asked: SessionFilters, cursor: str | None = None, *, limit: int = PAGE_SIZE
    ) -> Page[SessionItem]:
        """Return a page of a user's sessions that have not ended, the newest first."""
        values = {**asdict(asked), "after": before_id(cursor), "most": limit + 1}
        return page_by_id(await self._rows(owner_id, _SESSION_PAGE, _session, **values), limit)

    async def audit(
        self,
        owner_id: UUID,
        cursor: str | None = None,
        *,
        limit: int = PAGE_SIZE,
        filters: AuditFilters = AuditFilters(),
    ) -> Page[AuditItem]:
        """Return a page of the owner's audit, the newest entry first."""
        query, about = _audit_query(filters)
        found = await self._rows(owner_id, query, _entry, **about, after=before_id(cursor), most=limit + 1)
        return page_by_id(found, limit)

    async def _one(self, owner_id: UUID, query: Prepared, item: Callable[[Row], T], id_: UUID, noun: str) -> T:
        found = await self._rows(owner_id, query, item, id=id_)
        if not found:
            raise NotFound(f"there is no {noun} {id_}")
        return found[0]

    async def _rows(self, owner_id: UUID, query: Prepared, item: Callable[[Row], T], **values: object) -> list[T]:
        def read(uow: UnitOfWork) -> list[T]:
            return [item(row) for row in uow.rows(query, owner=owner_id, **values)]

        return await self._database.read(read, owner=owner_id)


def _audit_query(filters: AuditFilters) -> tuple[Prepared, Mapping[str, str]]:
    """Return the statement that reads these entries, and what it asks for. Each has an index."""
    if filters.object_kind is None:
        return _ENTRY_PAGE, {}
    if filters.object_id is None:
        return _KIND_PAGE, {"object_kind": filters.object_kind}
    return _OBJECT_PAGE, {"object_kind": filters.object_kind, "object_id": filters.object_id}


def _session(row: Row) -> SessionItem:
    id_, source, created_at, last_used_at, expires_at, current = row
    return SessionItem(id_, source, created_at, last_used_at, expires_at, bool(current))


def _user(row: Row) -> UserItem:
    id_, email, name, role, active, invited, created_at, last_login_at = row
    return UserItem(id_, email, name, role, bool(active), bool(invited), created_at, last_login_at)


def _key(row: Row) -> KeyItem:
    return KeyItem(*row)


def _entry(row: Row) -> AuditItem:
    return AuditItem(*row)
