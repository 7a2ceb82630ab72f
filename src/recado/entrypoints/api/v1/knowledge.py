"""Knowledge: the documents that agents answer from."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from recado.agents.knowledge.service import MAX_QUERY, KnowledgeService
from recado.agents.reading import AgentsReading
from recado.core.errors import NotFound
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Input, Limit, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.identity.principal import Principal

Question = Annotated[
    str,
    Query(max_length=MAX_QUERY, description="A question, as a customer would ask it.", examples=["Vocês entregam?"]),
]


class DocumentView(Output):
    """A document. Agents answer from its passages."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["cardapio.md"])
    chunks: int = Field(description="The number of its passages.", examples=[12])
    added_at: datetime


class NewDocument(Input):
    """A document to add. One of the same name is replaced."""

    name: str = Field(examples=["cardapio.md"], max_length=200)
    text: str = Field(
        examples=["# Horário\n\nAbrimos às seis."],
        description="Plain text or Markdown. A request has at most 256 KiB; `recado knowledge add` takes up to 2 MB.",
    )


class PassageView(Output):
    """A passage that an agent would find."""

    document: str = Field(examples=["cardapio.md"])
    heading: str
    text: str
    score: float
    coverage: float = Field(description="The share of the question that it covers.")


def knowledge_router(door: Door, knowledge: KnowledgeService, reading: AgentsReading) -> APIRouter:
    router = door.router("knowledge")

    @router.get("/knowledge", summary="List the documents")
    async def list_documents(
        principal: Annotated[Principal, door.allows("knowledge.read")],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> PageOf[DocumentView]:
        page = await reading.documents(principal.owner_id, cursor, limit=limit)
        return PageOf(items=[DocumentView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    @router.get("/knowledge/search", summary="Find passages")
    async def search_knowledge(
        principal: Annotated[Principal, door.allows("knowledge.read")],
        query: Question,
        limit: Annotated[int, Query(ge=1, le=50)] = 5,
    ) -> PageOf[PassageView]:
        found = await knowledge.search(principal.owner_id, query, limit)
        return PageOf(items=[PassageView.model_validate(each) for each in found], next_cursor=None)

    @router.post("/knowledge", summary="Add or replace a document", status_code=201, responses=problems(409))
    async def add_document(
        principal: Annotated[Principal, door.allows("knowledge.write")], body: NewDocument
    ) -> DocumentView:
        added = await knowledge.add(principal, body.name, body.text)
        return DocumentView.model_validate(await knowledge.document(principal.owner_id, added.document_id))

    @router.get("/knowledge/{document_id}", summary="Read what is known of a document")
    async def read_document(
        principal: Annotated[Principal, door.allows("knowledge.read")], document_id: UUID
    ) -> DocumentView:
        return DocumentView.model_validate(await knowledge.document(principal.owner_id, document_id))

    @router.delete("/knowledge/{document_id}", summary="Delete a document", status_code=204)
    async def remove_document(
        principal: Annotated[Principal, door.allows("knowledge.write")], document_id: UUID
    ) -> None:
        if not await knowledge.remove(principal, document_id):
            raise NotFound(f"there is no document {document_id}")

    return router
