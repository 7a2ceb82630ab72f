"""The queries for requests that happen once."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, update

from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.repository import OwnedRepository, of_owner, owned
from recado.identity.tables import idempotency_keys as keys


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceRow:
    """A request as it is stored: its key, what it asked, and its answer once there is one."""

    owner_id: UUID
    key: str
    request_hash: bytes = field(repr=False)
    created_at: datetime
    status: int | None = None
    body: bytes | None = field(default=None, repr=False)


_THIS = and_(of_owner(keys), keys.c.key == bindparam("key"))
_UNANSWERED = and_(
    of_owner(keys),
    keys.c.key == param(keys.c.key, "of_key"),
    keys.c.created_at == param(keys.c.created_at, "began"),
    keys.c.status.is_(None),
)
_OF_KEY = Prepared(owned(keys, OnceRow).where(keys.c.key == bindparam("key")))
_NEW = Prepared(inserting(keys).on_conflict_do_nothing())
_FORGET = Prepared(delete(keys).where(_THIS))
_ANSWERED = Prepared(update(keys).where(_UNANSWERED).values(status=param(keys.c.status), body=param(keys.c.body)))
_ABANDONED = Prepared(delete(keys).where(_UNANSWERED))


class OnceRows(OwnedRepository[OnceRow]):
    """The requests of one owner."""

    table, entity, noun = keys, OnceRow, "request"

    def of_key(self, key: str) -> OnceRow | None:
        return self._one(_OF_KEY, key=key)

    def add_if_absent(self, row: OnceRow) -> bool:
        """Store a request; return False when another one with its key is there."""
        return self._uow.run(_NEW, **self._values(row)) == 1

    def forget(self, key: str) -> None:
        self._run(_FORGET, key=key)

    def answer(self, key: str, began: datetime, status: int, body: bytes) -> bool:
        """Store the answer; return whether the request that began then is still the one without an answer."""
        return self._run(_ANSWERED, of_key=key, began=began, status=status, body=body) == 1

    def abandon(self, key: str, began: datetime) -> None:
        """Delete the request that began then, unless it has its answer."""
        self._run(_ABANDONED, of_key=key, began=began)
