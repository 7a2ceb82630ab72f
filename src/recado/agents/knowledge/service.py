"""The knowledge of an owner's agents: documents in, passages out.

A large document is thousands of rows, and no write may hold the database that long. So its passages are written in
small steps under a new, invisible revision, and the change of one row publishes them all at once. A crash half-way
leaves the old document in place.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from recado.agents.errors import DocumentContended, DocumentRefused
from recado.agents.knowledge.documents import readable, split_document
from recado.agents.knowledge.words import INDEX_VERSION, content_words, coverage, terms
from recado.agents.models import Chunk, KnowledgeDocument, Passage
from recado.agents.repository import ChunkRepository, DocumentRepository
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids
from recado.core.queue.transactions import Transactions, UnlockedTransaction
from recado.identity import audit
from recado.identity.principal import Principal

STEP_ROWS = 200
"""The number of rows of one write: with the index, about ten milliseconds."""

MAX_QUERY = 2_000
_MAX_QUERY_WORDS = 24


@dataclass(frozen=True, slots=True)
class Added:
    """What was added."""

    documents: int
    chunks: int
    document_id: UUID


class KnowledgeService:
    """Documents of owners, and search in them. Every query is about one owner."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._clock = clock
        self._ids = ids

    async def add(self, principal: Principal, name: str, content: str | bytes) -> Added:
        """Add a document or replace the one of that name. Raises `DocumentRefused` with the reason."""
        name, owner_id = _checked_name(name), principal.owner_id
        revision = self._ids.new()
        chunks, sha = await asyncio.to_thread(_prepared, owner_id, revision, name, content)
        fresh = KnowledgeDocument(self._ids.new(), owner_id, name, b"", self._ids.new(), 0, self._clock.now())
        document = await self._database.write(lambda uow: DocumentRepository(uow).found_or_added(fresh), owner=owner_id)
        if document.sha == sha:
            return Added(1, document.chunks, document.id)
        for start in range(0, len(chunks), STEP_ROWS):
            step = chunks[start : start + STEP_ROWS]
            await self._database.write(partial(_stage, document_id=document.id, chunks=step), owner=owner_id)
        shown = KnowledgeDocument(document.id, owner_id, name, sha, revision, len(chunks), self._clock.now())
        complete = await self._transactions.write(partial(_show, principal=principal, document=shown), owner=owner_id)
        await self._sweep(
            owner_id, document.id, keep=revision if complete else None, only=None if complete else revision
        )
        if not complete:
            raise DocumentContended(name)
        return Added(1, len(chunks), document.id)

    async def check(self, name: str, content: str | bytes) -> None:
        """Raise the `DocumentRefused` that adding the document would raise, for callers that add many or none."""
        name = _checked_name(name)
        await asyncio.to_thread(lambda: split_document(name, readable(name, content)))

    async def search(self, owner_id: UUID, query: str, limit: int = 5) -> list[Passage]:
        """Return the passages that cover most of `query`, best first;

        none for a query without words that carry meaning.
        """
        wanted = content_words(query[:MAX_QUERY])[:_MAX_QUERY_WORDS]
        if not wanted or limit < 1:
            return []
        exact = sorted({form for word in wanted for form in word.forms})
        loose = sorted({form for word in wanted for form in word.loose})
        found = await self._database.read(
            lambda uow: ChunkRepository(uow).matching(exact, loose, limit), owner=owner_id
        )
        return [
            Passage(hit.document, hit.heading, hit.body, hit.score, coverage(wanted, f"{hit.heading}\n{hit.body}"))
            for hit in found
        ]

    async def documents(self, owner_id: UUID) -> Sequence[KnowledgeDocument]:
        """Return the owner's documents by name."""
        return await self._database.read(lambda uow: DocumentRepository(uow).everything(), owner=owner_id)

    async def document(self, owner_id: UUID, document_id: UUID) -> KnowledgeDocument:
        """Return a document. Raises `NotFound`."""
        return await self._database.read(lambda uow: DocumentRepository(uow).require(document_id), owner=owner_id)

    async def remove(self, principal: Principal, document: UUID | str) -> bool:
        """Delete a document, named by its id or its name, and return whether it existed."""
        document_id = await self._transactions.write(partial(_remove, principal, document), owner=principal.owner_id)
        if document_id is None:
            return False
        await self._sweep(principal.owner_id, document_id)
        return True

    async def _sweep(
        self, owner_id: UUID, document_id: UUID, *, keep: UUID | None = None, only: UUID | None = None
    ) -> None:
        """Delete a document's passages of other revisions than `keep`, or of `only` one, in small steps."""
        removed = STEP_ROWS
        while removed == STEP_ROWS:
            removed = await self._database.write(
                lambda uow: ChunkRepository(uow).remove_some(document_id, keep=keep, only=only, most=STEP_ROWS),
                owner=owner_id,
            )


def _prepared(owner_id: UUID, revision: UUID, name: str, content: str | bytes) -> tuple[list[Chunk], bytes]:
    text = readable(name, content)
    chunks = []
    for position, piece in enumerate(split_document(name, text)):
        heading_terms, heading_loose = terms(piece.heading)
        body_terms, body_loose = terms(piece.body)
        loose = f"{heading_loose} {body_loose}".strip()
        chunks.append(
            Chunk(owner_id, revision, position, piece.heading, piece.body, heading_terms, body_terms, loose_terms=loose)
        )
    return chunks, hashlib.sha256(f"{INDEX_VERSION}\n{text}".encode()).digest()


def _stage(uow: UnitOfWork, document_id: UUID, chunks: Sequence[Chunk]) -> None:
    ChunkRepository(uow).stage(document_id, chunks)


def _remove(principal: Principal, document: UUID | str, tx: UnlockedTransaction) -> UUID | None:
    removed = DocumentRepository(tx.uow).remove(document)
    if removed is not None:
        audit.record(tx, principal, "document.removed", "document", removed)
    return removed


def _show(tx: UnlockedTransaction, principal: Principal, document: KnowledgeDocument) -> bool:
    """Publish a staged revision. Return False if the cleaning of another upload deleted some of it."""
    passages = ChunkRepository(tx.uow)
    passages.hold(document.id)
    if passages.count(document.id, document.revision) != document.chunks:
        return False
    shown = DocumentRepository(tx.uow).show(document)
    if shown:
        audit.record(tx, principal, "document.added", "document", document.id)
    return shown


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 200 or not name.isprintable():
        raise DocumentRefused("a document needs a name of 1 to 200 printable characters")
    return name
