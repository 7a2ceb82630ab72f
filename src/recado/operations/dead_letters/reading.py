"""Read models of dead letters, for the lists and pages that people and programs see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, select, text

from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page, after_id, page_by_id
from recado.core.database.prepared import Prepared, Row, param
from recado.core.database.repository import of_owner
from recado.core.database.types import JsonValue
from recado.core.errors import NotFound
from recado.core.queue.storage.inspection import LISTED
from recado.core.queue.storage.tables import message_queue
from recado.operations.dead_letters.models import BulkOperation
from recado.operations.dead_letters.repository import BulkOperations

_COLUMNS: Final = (
    "id", "name", "message_sid", "attempts", "last_error", "created_at", "finished_at", "replayed_by", "discarded_at",
    "handled_by", "payload",
)  # fmt: skip
_LETTER = select(*(message_queue.c[name] for name in _COLUMNS)).where(of_owner(message_queue))
_ONE = Prepared(_LETTER.where(message_queue.c.id == bindparam("id"), message_queue.c.status == text("'dead'")))
_OWNER = Prepared(select(message_queue.c.owner_id).where(message_queue.c.id == bindparam("id")))


@dataclass(frozen=True, slots=True)
class DeadLetterItem:
    """A job that was given up, what it was about, and what a person did with it."""

    id: UUID
    name: str
    message_sid: str | None
    attempts: int
    error: str | None
    created_at: datetime
    died_at: datetime | None
    replayed_by: UUID | None
    discarded_at: datetime | None
    handled_by: str | None
    conversation_id: UUID | None
    message_ids: Sequence[UUID]
    answer_id: UUID | None
    arrived_parts: Sequence[int] | None
    """Of a send: the numbers of the parts that the provider accepted."""
    parts: int | None


class DeadLetterReading:
    """Reads dead letters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE, name: str | None = None
    ) -> Page[DeadLetterItem]:
        """Return a page of an owner's dead letters that were neither retried nor discarded, the oldest first.

        `name` chooses those of one job name.
        """
        after, statement = after_id(cursor), _oldest_first(name is not None)
        rows = await self._database.read(
            lambda uow: uow.rows(statement, owner=owner_id, after=after, most=limit + 1, name=name), owner=owner_id
        )
        return page_by_id([_item(row) for row in rows], limit)

    async def one(self, owner_id: UUID, dead_letter_id: UUID) -> DeadLetterItem:
        """Return a dead letter of an owner, whatever a person did with it. Raises `NotFound`."""
        rows = await self._database.read(lambda uow: uow.rows(_ONE, owner=owner_id, id=dead_letter_id), owner=owner_id)
        if not rows:
            raise NotFound(f"there is no dead letter {dead_letter_id}")
        return _item(rows[0])

    async def operation(self, owner_id: UUID, operation_id: UUID) -> BulkOperation:
        """Return a bulk operation of an owner, as far as it has come. Raises `NotFound`."""
        return await self._database.read(lambda uow: BulkOperations(uow).require(operation_id), owner=owner_id)

    async def owner_of(self, job_id: UUID) -> UUID:
        """Return the owner of any job, for operators who may handle every owner's. Raises `NotFound`."""
        rows = await self._database.read(lambda uow: uow.rows(_OWNER, id=job_id), owner=None)
        if not rows:
            raise NotFound(f"there is no job {job_id}; `recado queue dead` lists the dead letters")
        owner_id: UUID = rows[0][0]
        return owner_id


@cache
def _oldest_first(of_name: bool) -> Prepared:
    found = _LETTER.where(LISTED, message_queue.c.id > param(message_queue.c.id, "after"))
    if of_name:
        found = found.where(message_queue.c.name == param(message_queue.c.name, "name"))
    return Prepared(found.order_by(message_queue.c.id).limit(bindparam("most")))


def _item(row: Row) -> DeadLetterItem:
    *columns, payload = row
    about = (
        _id_in(payload.get("conversation_id")),
        [UUID(str(each)) for each in _list_in(payload.get("message_ids"))],
        _id_in(payload.get("answer_id")),
        _numbers_in(payload.get("arrived")),
        _number_in(payload.get("parts")),
    )
    return DeadLetterItem(*(*columns, *about))


def _id_in(value: JsonValue) -> UUID | None:
    return UUID(value) if isinstance(value, str) else None


def _list_in(value: JsonValue) -> Sequence[JsonValue]:
    return value if isinstance(value, list) else []


def _number_in(value: JsonValue) -> int | None:
    return value if isinstance(value, int) else None


def _numbers_in(value: JsonValue) -> Sequence[int] | None:
    return None if value is None else [each for each in _list_in(value) if isinstance(each, int)]
