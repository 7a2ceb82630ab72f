"""Read models of agents and their knowledge, for the lists that people and programs see."""

from uuid import UUID

from sqlalchemy import bindparam

from recado.agents.models import KnowledgeDocument
from recado.agents.tables import knowledge_documents
from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page, after_id, page_by_id
from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import owned
from recado.core.database.unit_of_work import UnitOfWork

_DOCUMENTS = owned(knowledge_documents, KnowledgeDocument)
_BY_ID = Prepared(
    _DOCUMENTS.where(knowledge_documents.c.id > param(knowledge_documents.c.id, "after"))
    .order_by(knowledge_documents.c.id)
    .limit(bindparam("most"))
)


class AgentsReading:
    """Reads what agents answer from."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def documents(
        self, owner_id: UUID, cursor: str | None = None, *, limit: int = PAGE_SIZE
    ) -> Page[KnowledgeDocument]:
        """Return a page of an owner's documents, the oldest first."""
        after = after_id(cursor)
        return await self._database.read(lambda uow: _documents(uow, after, limit), owner=owner_id)


def _documents(uow: UnitOfWork, after: UUID, limit: int) -> Page[KnowledgeDocument]:
    rows = uow.rows(_BY_ID, owner=uow.owner, after=after, most=limit + 1)
    return page_by_id([KnowledgeDocument(*row) for row in rows], limit)
