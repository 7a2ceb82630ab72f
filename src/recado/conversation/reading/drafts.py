"""Read models of drafts: what agents wrote that came too late, and was never sent."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, select

from recado.conversation.tables import drafts, turns
from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page, before_id, page_by_id
from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import of_owner

_NEWEST_FIRST = Prepared(
    select(drafts.c.id, turns.c.conversation_id, drafts.c.text, drafts.c.why, drafts.c.created_at)
    .join_from(drafts, turns, turns.c.id == drafts.c.turn_id)
    .where(of_owner(drafts), drafts.c.id < param(drafts.c.id, "before"))
    .order_by(drafts.c.id.desc())
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class DraftItem:
    """A draft, and why it was not sent."""

    id: UUID
    conversation_id: UUID
    text: str
    why: str
    created_at: datetime


class DraftReading:
    """Reads drafts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE) -> Page[DraftItem]:
        """Return a page of the owner's drafts, the newest first."""
        before = before_id(cursor)
        rows = await self._database.read(
            lambda uow: uow.rows(_NEWEST_FIRST, owner=owner_id, before=before, most=limit + 1), owner=owner_id
        )
        return page_by_id([DraftItem(*row) for row in rows], limit)
