"""Messages that begin with you."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from recado.conversation.people.messages import MessageService
from recado.conversation.people.sendable import MAX_TEXT_LENGTH
from recado.conversation.values import Address
from recado.entrypoints.api.door.models import Input
from recado.entrypoints.api.door.once import Once
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.entrypoints.api.v1.conversation.handoff import ReplyView
from recado.identity.principal import Principal


class NewMessage(Input):
    """A message from a number of yours to a customer."""

    from_: str = Field(alias="from", max_length=256, examples=["whatsapp:+5511900000001"])
    to: str = Field(max_length=256, examples=["whatsapp:+5511987654321"])
    text: str = Field(min_length=1, max_length=MAX_TEXT_LENGTH, examples=["Seu pedido saiu para entrega."])


def messages_router(door: Door, service: MessageService) -> APIRouter:
    router = door.router("messages")

    @router.post("/messages", summary="Send a message", status_code=202, responses=problems(409))
    async def send_message(
        principal: Annotated[Principal, door.allows("messages.write")], body: NewMessage, once: Once
    ) -> ReplyView:
        """Begins a conversation, or sends a notice into the one that goes on. A worker sends it.

        Both addresses are of one channel. 409 `conversation.window_closed` when WhatsApp would deliver nothing now;
        409 too for customers who have opted out or are blocked.
        """
        from_, to = Address.parse(body.from_), Address.parse(body.to)
        return ReplyView.of(await service.send(principal, from_, to, body.text, then=once.then(ReplyView.of)))

    return router
