"""Queries for agents and knowledge, always of one owner."""

from collections.abc import Sequence
from dataclasses import fields
from uuid import UUID

from sqlalchemy import bindparam, delete, func, select, text, update

from recado.agents.models import AgentSettings, Chunk, Hit, KnowledgeDocument
from recado.agents.tables import agent_settings, knowledge_chunks, knowledge_documents
from recado.core.database.prepared import Prepared, inserting
from recado.core.database.repository import OwnedRepository, of_owner, owned
from recado.core.database.types import Id

_AGENTS = owned(agent_settings, AgentSettings)
_NAMED = Prepared(_AGENTS.where(agent_settings.c.agent == bindparam("agent")))
_ACTIVE = Prepared(_AGENTS.where(agent_settings.c.active))
_IN_ORDER = Prepared(_AGENTS.order_by(agent_settings.c.agent))
_DEACTIVATE = Prepared(update(agent_settings).where(of_owner(agent_settings)).values(active=False))
_REMOVE = Prepared(delete(agent_settings).where(of_owner(agent_settings), agent_settings.c.agent == bindparam("agent")))


class AgentSettingsRepository(OwnedRepository[AgentSettings]):
    """An owner's agents. They have no id: an owner has each agent at most once."""

    table = agent_settings
    entity = AgentSettings
    noun = "agent"

    def hold(self) -> None:
        """Let other changes of the owner's agents wait until this transaction ends. Call it before they are read."""
        self._uow.lock_by_name(f"agents of {self.owner}")

    def named(self, agent: str) -> AgentSettings | None:
        return self._one(_NAMED, agent=agent)

    def active(self) -> AgentSettings | None:
        """Return the agent that answers turns."""
        return self._one(_ACTIVE)

    def everything(self) -> Sequence[AgentSettings]:
        return self._many(_IN_ORDER)

    def deactivate_all(self) -> None:
        self._run(_DEACTIVATE)

    def put(self, settings: AgentSettings) -> None:
        """Insert or update an agent of the owner."""
        self._run(_REMOVE, agent=settings.agent)
        self.add(settings)


_DOCUMENTS = owned(knowledge_documents, KnowledgeDocument)
_DOCUMENT = Prepared(_DOCUMENTS.where(knowledge_documents.c.name == bindparam("name")))
_DOCUMENTS_IN_ORDER = Prepared(_DOCUMENTS.order_by(knowledge_documents.c.name))
_REMOVE_DOCUMENT = Prepared(
    delete(knowledge_documents).where(of_owner(knowledge_documents), knowledge_documents.c.id == bindparam("id"))
)


class DocumentRepository(OwnedRepository[KnowledgeDocument]):
    """An owner's documents."""

    table = knowledge_documents
    entity = KnowledgeDocument
    noun = "document"

    def found_or_added(self, fresh: KnowledgeDocument) -> KnowledgeDocument:
        """Return the document of that name, or `fresh`, which has no passages yet."""
        self._uow.lock_by_name(f"document {self.owner} {fresh.name}")
        return self._named(fresh.name) or self.add(fresh)

    def everything(self) -> Sequence[KnowledgeDocument]:
        return self._many(_DOCUMENTS_IN_ORDER)

    def show(self, document: KnowledgeDocument) -> bool:
        """Change the visible revision. Return False if the document was removed meanwhile."""
        return self.change(
            document.id,
            sha=document.sha,
            revision=document.revision,
            chunks=document.chunks,
            added_at=document.added_at,
        )

    def remove(self, document: UUID | str) -> UUID | None:
        """Remove a document, named by its id or its name, and return its id."""
        found = self._named(document) if isinstance(document, str) else self.get(document)
        if found is not None:
            self._run(_REMOVE_DOCUMENT, id=found.id)
        return None if found is None else found.id

    def _named(self, name: str) -> KnowledgeDocument | None:
        return self._one(_DOCUMENT, name=name)


_MATCHING = Prepared(
    text(
        """
    SELECT d.name AS document, c.heading, c.body, -bm25(knowledge_fts, 0.0, 2.0, 1.0, 0.5) AS score
    FROM knowledge_fts
    JOIN knowledge_chunks c ON c.number = knowledge_fts.rowid
    JOIN knowledge_documents d ON d.id = c.document_id AND d.revision = c.revision
    WHERE knowledge_fts MATCH :match AND c.owner_id = :owner AND d.owner_id = :owner
    ORDER BY score DESC, c.number
    LIMIT :most
    """
    ).bindparams(bindparam("owner", type_=Id)),
    on_postgresql=text(
        """
    SELECT d.name AS document, c.heading, c.body,
        ts_rank('{0.25, 0, 0.5, 1}', c.search, query)::float8 AS score
    FROM knowledge_chunks c
    JOIN knowledge_documents d ON d.id = c.document_id AND d.revision = c.revision
    CROSS JOIN to_tsquery('simple', :match) AS query
    WHERE c.search @@ query AND c.owner_id = :owner AND d.owner_id = :owner
    ORDER BY score DESC, c.number
    LIMIT :most
    """
    ).bindparams(bindparam("owner", type_=Id)),
)
_PREFIX_LETTERS = 4
"""From this length on a form also finds words that begin with it."""
_STAGE = Prepared(inserting(knowledge_chunks, "document_id", *(field.name for field in fields(Chunk))))


class ChunkRepository(OwnedRepository[Chunk]):
    """The passages of an owner's documents, and the index over them (SQLite's FTS5, PostgreSQL's tsvector)."""

    table = knowledge_chunks
    entity = Chunk
    noun = "passage"

    def matching(self, exact: Sequence[str], loose: Sequence[str], most: int) -> Sequence[Hit]:
        """Return passages with any of the forms, the best first. Forms are folded words of letters and digits only."""
        on_sqlite = self._uow.dialect == "sqlite"
        match = self._in_fts5(exact, loose) if on_sqlite else self._in_tsquery(exact, loose)
        return [Hit(*row) for row in self._uow.rows(_MATCHING, match=match, owner=self.owner, most=most)]

    def _in_fts5(self, exact: Sequence[str], loose: Sequence[str]) -> str:
        close = " OR ".join(f'"{form}"' + "*" * _finds_longer(form) for form in exact)
        wide = " OR ".join(f'"{form}"' for form in loose) or close
        return f'owner : "o{self.owner.hex}" AND ({{heading body}} : ({close}) OR loose : ({wide}))'

    def _in_tsquery(self, exact: Sequence[str], loose: Sequence[str]) -> str:
        close = [f"'{form}':" + "*" * _finds_longer(form) + "AB" for form in exact]
        return " | ".join(close + [f"'{form}':D" for form in loose])

    def stage(self, document_id: UUID, chunks: Sequence[Chunk]) -> None:
        """Store passages of a revision that is not visible yet."""
        self._uow.run_many(_STAGE, [{**self._values(chunk), "document_id": document_id} for chunk in chunks])

    def hold(self, document_id: UUID) -> None:
        """Keep other transactions from deleting passages of the document until this one ends."""
        self._uow.lock_by_name(f"passages {document_id}")

    def count(self, document_id: UUID, revision: UUID) -> int:
        statement = select(func.count()).where(
            knowledge_chunks.c.owner_id == self.owner,
            knowledge_chunks.c.document_id == document_id,
            knowledge_chunks.c.revision == revision,
        )
        return int(self._uow.execute(statement).scalar_one())

    def remove_some(self, document_id: UUID, *, keep: UUID | None, only: UUID | None, most: int) -> int:
        """Delete up to `most` passages of a document and return their number."""
        self.hold(document_id)
        condition = [knowledge_chunks.c.owner_id == self.owner, knowledge_chunks.c.document_id == document_id]
        if keep is not None:
            condition.append(knowledge_chunks.c.revision != keep)
        if only is not None:
            condition.append(knowledge_chunks.c.revision == only)
        some = select(knowledge_chunks.c.number).where(*condition).limit(most)
        return self._uow.changed(delete(knowledge_chunks).where(knowledge_chunks.c.number.in_(some)))


def _finds_longer(form: str) -> bool:
    return len(form) >= _PREFIX_LETTERS
