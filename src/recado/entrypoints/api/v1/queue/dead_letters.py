"""Dead letters: jobs that were given up. A person, or a program, retries or discards them, one or many."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field

from recado.core.errors import InvalidInput
from recado.core.queue.job import ReplayRefused
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Input, Limit, Output, PageOf
from recado.entrypoints.api.door.once import Once
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.problems import for_programs
from recado.entrypoints.api.door.routes import Door
from recado.identity.principal import Principal
from recado.operations.dead_letters.models import MAX_LETTERS, BulkKind, BulkOperation, BulkOrder, RetryRefused
from recado.operations.dead_letters.reading import DeadLetterReading
from recado.operations.dead_letters.service import DeadLetterService

Name = Annotated[
    str | None,
    Query(max_length=64, description="Only those of jobs with this name.", examples=["conversation.reply"]),
]


class DeadLetterView(Output):
    """A job that was given up, what it was about, and what a person did with it."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["conversation.reply"], description="What the job did.")
    provider_message_id: str | None = Field(
        validation_alias="message_sid",
        description="The newest message that a reply was to answer, as its provider calls it.",
    )
    attempts: int = Field(description="How often it had failed.")
    error: str | None = Field(examples=["the agent's server could not be reached: the connection was refused"])
    created_at: datetime
    died_at: datetime | None
    conversation_id: UUID | None
    message_ids: list[UUID] = Field(description="Of a reply: the messages that got no answer.")
    answer_id: UUID | None = Field(description="Of a send: the message of ours.")
    arrived_parts: list[int] | None = Field(description="Of a send: the numbers of the parts that were accepted.")
    parts: int | None = Field(description="Of a send: how many parts there are.")
    replayed_by: UUID | None = Field(description="The job that a retry has made; null: it was not retried.")
    discarded_at: datetime | None
    handled_by: str | None = Field(description="Who retried or discarded it.")


class Retry(Input):
    """How a dead letter is to be retried."""

    force: bool = Field(False, description="Also if a later message of the same customer was answered meanwhile.")


class _Many(Input):
    ids: list[UUID] | None = Field(
        None, min_length=1, max_length=MAX_LETTERS, description="These dead letters.", examples=[[EXAMPLE_ID]]
    )
    all: Literal[True] | None = Field(None, description="Instead of `ids`: all that are listed now.")
    name: str | None = Field(None, max_length=64, description="Of all: only those of jobs with this name.")

    def order(self, kind: BulkKind, *, force: bool = False) -> BulkOrder:
        """Return what was asked. Raises `InvalidInput`."""
        if (self.ids is None) is (self.all is None):
            raise InvalidInput('give either "ids" or "all": true')
        return BulkOrder(kind, self.ids, self.name, force)


class ManyToDiscard(_Many):
    """Dead letters to discard."""


class ManyToRetry(_Many):
    """Dead letters to retry."""

    force: bool = Field(False, description="Also if a later message of the same customer was answered meanwhile.")


class RefusalView(Output):
    """A dead letter with which nothing was done."""

    id: UUID
    why: Annotated[str, AfterValidator(for_programs)] = Field(examples=["a person holds the conversation"])


class BulkOperationView(Output):
    """Many dead letters that a worker retries or discards, and how far it has come."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    kind: BulkKind
    state: Literal["waiting", "running", "done", "failed"]
    total: int = Field(description="How many there were when it was asked for.")
    succeeded: int
    refused: int = Field(description="With how many nothing was done.")
    refusals: list[RefusalView] = Field(
        validation_alias="first_refusals", description="The first hundred of them, with the reason."
    )
    error: str | None = Field(description="Why it failed. It is a dead letter itself then; a retry of that goes on.")
    created_by: str = Field(validation_alias="actor_name", examples=["Bia"])
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, operation: BulkOperation) -> "BulkOperationView":
        return cls.model_validate(operation)


def dead_letters_router(door: Door, service: DeadLetterService, reading: DeadLetterReading) -> APIRouter:
    router = door.router("dead-letters")
    acts = door.allows("dead_letters.write", knows=reading.one)

    async def shown(principal: Principal, dead_letter_id: UUID) -> DeadLetterView:
        return DeadLetterView.model_validate(await reading.one(principal.owner_id, dead_letter_id))

    @router.get("/dead-letters", summary="List dead letters")
    async def list_dead_letters(
        principal: Annotated[Principal, door.allows("dead_letters.read")],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        name: Name = None,
    ) -> PageOf[DeadLetterView]:
        """Those that were neither retried nor discarded, the oldest first."""
        page = await reading.page(principal.owner_id, cursor, limit=limit, name=name)
        return PageOf(items=[DeadLetterView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    @router.get("/dead-letters/{dead_letter_id}", summary="Read a dead letter")
    async def read_dead_letter(
        principal: Annotated[Principal, door.allows("dead_letters.read")], dead_letter_id: UUID
    ) -> DeadLetterView:
        """Also one that was retried or discarded, for as long as it is kept."""
        return await shown(principal, dead_letter_id)

    @router.post("/dead-letters/{dead_letter_id}/retry", status_code=202, summary="Retry one", responses=problems(409))
    async def retry(
        principal: Annotated[Principal, acts], dead_letter_id: UUID, body: Retry | None = None
    ) -> DeadLetterView:
        """A worker does it. 409 `operations.retry_refused` while a customer could be answered twice or out of order."""
        force = body is not None and body.force
        result = await service.retry(principal, dead_letter_id, force=force)
        if isinstance(result, ReplayRefused):
            raise RetryRefused(f"{dead_letter_id} was not retried: {result.why}")
        return await shown(principal, dead_letter_id)

    @router.post("/dead-letters/{dead_letter_id}/discard", summary="Discard one", responses=problems(409))
    async def discard(principal: Annotated[Principal, acts], dead_letter_id: UUID) -> DeadLetterView:
        """It leaves the list for good. What became of the messages stays as it is."""
        await service.discard(principal, dead_letter_id)
        return await shown(principal, dead_letter_id)

    _add_bulk(router, door, service, reading)
    return router


def _add_bulk(router: APIRouter, door: Door, service: DeadLetterService, reading: DeadLetterReading) -> None:
    writes = door.allows("dead_letters.write")

    @router.post("/dead-letters/retry", status_code=202, summary="Retry many")
    async def retry_many(principal: Annotated[Principal, writes], body: ManyToRetry, once: Once) -> BulkOperationView:
        """A worker retries them one after the other; read the operation to see how far it has come."""
        order = body.order("retry", force=body.force)
        return BulkOperationView.of(await service.begin(principal, order, then=once.then(BulkOperationView.of)))

    @router.post("/dead-letters/discard", status_code=202, summary="Discard many")
    async def discard_many(
        principal: Annotated[Principal, writes], body: ManyToDiscard, once: Once
    ) -> BulkOperationView:
        """A worker discards them one after the other; read the operation to see how far it has come."""
        order = body.order("discard")
        return BulkOperationView.of(await service.begin(principal, order, then=once.then(BulkOperationView.of)))

    @router.get("/dead-letters/operations/{operation_id}", summary="Read how far many are")
    async def read_operation(
        principal: Annotated[Principal, door.allows("dead_letters.read")], operation_id: UUID
    ) -> BulkOperationView:
        """It is kept for 30 days after its end."""
        return BulkOperationView.of(await reading.operation(principal.owner_id, operation_id))
