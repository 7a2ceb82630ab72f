"""Statements about an owner's dead letters and bulk operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Integer, Select, bindparam, func, select, text

from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import OwnedRepository, of_owner, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.storage.inspection import LISTED
from recado.core.queue.storage.tables import message_queue
from recado.operations.dead_letters.models import BulkOperation
from recado.operations.dead_letters.tables import bulk_operations

_HELD = Prepared(owned(bulk_operations, BulkOperation).where(bulk_operations.c.id == bindparam("id")).with_for_update())


class BulkOperations(OwnedRepository[BulkOperation]):
    """The bulk operations of one owner."""

    table, entity, noun = bulk_operations, BulkOperation, "bulk operation"

    def held(self, id_: UUID) -> BulkOperation | None:
        """Return an operation, locked until this transaction ends."""
        return self._one(_HELD, id=id_)


@dataclass(frozen=True, slots=True)
class Listed:
    """How many dead letters are on an owner's list, and the newest of them if there is one."""

    count: int
    newest: UUID | None


def listed(uow: UnitOfWork, owner_id: UUID, job_name: str | None) -> Listed:
    """Return how many dead letters of an owner were neither retried nor discarded, and the newest of them."""
    [(count, newest)] = uow.rows(_count(job_name is not None), owner=owner_id, name=job_name)
    return Listed(int(count), newest)


def next_letters(uow: UnitOfWork, operation: BulkOperation, after: UUID, most: int) -> Sequence[UUID]:
    """Return the next dead letters of a bulk operation, in the order of their ids."""
    named = operation.named_after(after, most)
    if named is not None:
        return named
    page = _page(operation.job_name is not None)
    values = {"owner": operation.owner_id, "after": after, "until": operation.until, "most": most}
    return [id_ for (id_,) in uow.rows(page, name=operation.job_name, **values)]


@cache
def _count(of_name: bool) -> Prepared:
    # The newest is the end of the index: a maximum over UUIDs is what PostgreSQL before 18 does not know.
    newest = _narrowed(select(message_queue.c.id), of_name).order_by(message_queue.c.id.desc()).limit(1)
    counted = _narrowed(select(func.count()), of_name)
    return Prepared(select(counted.scalar_subquery(), newest.scalar_subquery()))


@cache
def _page(of_name: bool) -> Prepared:
    between = (
        message_queue.c.id > param(message_queue.c.id, "after"),
        message_queue.c.id <= param(message_queue.c.id, "until"),
    )
    narrowed = _narrowed(select(message_queue.c.id), of_name).where(*between)
    return Prepared(narrowed.order_by(message_queue.c.id).limit(bindparam("most")))


def _narrowed(statement: Select[*tuple[Any, ...]], of_name: bool) -> Select[*tuple[Any, ...]]:
    narrowed = statement.where(of_owner(message_queue), LISTED)
    return narrowed.where(message_queue.c.name == param(message_queue.c.name, "name")) if of_name else narrowed


_FINISHED_BEFORE: Final = """SELECT id FROM bulk_operations WHERE finished_at < :before
    ORDER BY finished_at LIMIT :most"""
_TYPES = (param(bulk_operations.c.finished_at, "before"), bindparam("most", type_=Integer))
_PRUNE = Prepared(
    text(f"DELETE FROM bulk_operations WHERE id IN ({_FINISHED_BEFORE})").bindparams(*_TYPES),
    on_postgresql=text(f"DELETE FROM bulk_operations WHERE id = ANY (ARRAY({_FINISHED_BEFORE}))").bindparams(*_TYPES),
)


def prune(uow: UnitOfWork, before: datetime, most: int) -> int:
    """Delete up to `most` bulk operations that were finished before a moment. Return their number."""
    return uow.run(_PRUNE, before=before, most=most)
