"""Agents: who answers an owner's customers. One agent of an owner is active; the others keep their settings.

A number may have an agent of its own, which answers there instead.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response
from pydantic import Field

from recado.agents.models import MAX_HISTORY, AgentForm, AgentSaved, AgentSettings
from recado.agents.numbers.service import NumberAgentService
from recado.agents.service import AgentService
from recado.channels.reading import ChannelsReading
from recado.core.errors import NotFound
from recado.entrypoints.api.door.etags import IfMatch, tagged
from recado.entrypoints.api.door.models import EXAMPLE_ID, Input, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.identity.principal import Principal

AgentName = Annotated[
    str,
    Path(
        max_length=60, description="`echo`, `faq`, `llm`, `http`, or the name of an installed agent.", examples=["faq"]
    ),
]


class AgentView(Output):
    """An agent of an owner. Its secrets are never shown again."""

    id: str = Field(examples=["llm"], description="The name of the agent.")
    active: bool = Field(description="Whether it answers. Of all agents of an owner, one does.")
    model: str | None
    base_url: str | None
    url: str | None
    prompt: str | None
    history_limit: int
    allow_private: bool
    has_api_key: bool
    has_secret: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, settings: AgentSettings) -> "AgentView":
        return cls(
            id=settings.agent,
            active=settings.active,
            model=settings.model,
            base_url=settings.base_url,
            url=settings.url,
            prompt=settings.prompt,
            history_limit=settings.history_limit,
            allow_private=settings.allow_private,
            has_api_key=settings.has_api_key,
            has_secret=settings.has_secret,
            created_at=settings.created_at,
            updated_at=settings.updated_at,
        )


class AgentSavedView(AgentView):
    """An agent as it was saved."""

    secret: str | None = Field(description="The secret that signs requests to your own agent. It is shown this once.")

    @classmethod
    def saved(cls, saved: AgentSaved) -> "AgentSavedView":
        return cls(**AgentView.of(saved.settings).model_dump(), secret=saved.secret)


class AgentChange(Input):
    """The values to change; what is left out or null stays, an empty text removes the value."""

    model: str | None = Field(
        None,
        description="`provider:name`, or with a base URL the bare name of the model. Of providers whose address the "
        "installation sets, such as `ollama`, the operator chooses.",
    )
    base_url: str | None = None
    url: str | None = Field(None, description="Where an agent of your own is.")
    prompt: str | None = None
    api_key: str | None = None
    history_limit: int | None = Field(None, ge=0, le=MAX_HISTORY)


class NumberAgentView(Output):
    """The agent of one number. Its secrets are never shown again."""

    id: UUID = Field(examples=[EXAMPLE_ID], description="The id of the number.")
    agent: str = Field(examples=["llm"], description="The name of the agent.")
    model: str | None
    base_url: str | None
    url: str | None
    prompt: str | None
    history_limit: int
    allow_private: bool
    has_api_key: bool
    has_secret: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def at(cls, number_id: UUID, settings: AgentSettings) -> "NumberAgentView":
        of_any = AgentView.of(settings).model_dump(exclude={"id", "active"})
        return cls(id=number_id, agent=settings.agent, **of_any)


class NumberAgentSavedView(NumberAgentView):
    """The agent of one number as it was saved."""

    secret: str | None = Field(description="The secret that signs requests to your own agent. It is shown this once.")

    @classmethod
    def saved(cls, number_id: UUID, saved: AgentSaved) -> "NumberAgentSavedView":
        return cls(**NumberAgentView.at(number_id, saved.settings).model_dump(), secret=saved.secret)


class NumberAgentChange(AgentChange):
    """The agent of a number; what is left out or null stays, an empty text removes the value.

    At first, and with another agent, it comes from your agent of that name.
    """

    agent: str = Field(
        max_length=60, description="`echo`, `faq`, `llm`, `http`, or that of an installed one.", examples=["faq"]
    )


def agents_router(door: Door, agents: AgentService, numbers: NumberAgentService, reading: ChannelsReading) -> APIRouter:
    router = door.router("agents")

    @router.get("/agents", summary="List your agents")
    async def list_agents(principal: Annotated[Principal, door.allows("agents.read")]) -> PageOf[AgentView]:
        found = await agents.all(principal.owner_id)
        return PageOf(items=[AgentView.of(each) for each in found], next_cursor=None)

    @router.get("/agents/{agent}", summary="Read an agent")
    async def read_agent(
        principal: Annotated[Principal, door.allows("agents.read")], agent: AgentName, response: Response
    ) -> AgentView:
        for settings in await agents.all(principal.owner_id):
            if settings.agent == agent:
                return tagged(response, AgentView.of(settings))
        raise NotFound(f"the agent {agent!r} was not set")

    @router.put("/agents/{agent}", summary="Set an agent and let it answer", responses=problems(412, 428))
    async def set_agent(
        principal: Annotated[Principal, door.allows("agents.write")],
        agent: AgentName,
        if_match: IfMatch,
        body: AgentChange,
        response: Response,
    ) -> AgentSavedView:
        def check(stored: AgentSettings | None) -> None:
            if stored is not None:
                if_match.check(AgentView.of(stored))

        saved = await agents.set(principal, AgentForm(agent, **body.model_dump()), check=check)
        tagged(response, AgentView.of(saved.settings))
        return AgentSavedView.saved(saved)

    @router.post("/agents/http/secret", summary="Renew the secret of your own agent", responses=problems(422))
    async def renew_secret(principal: Annotated[Principal, door.allows("agents.write")]) -> AgentSavedView:
        return AgentSavedView.saved(await agents.renew_secret(principal))

    _add_numbers(router, door, numbers, reading)
    return router


def _add_numbers(router: APIRouter, door: Door, numbers: NumberAgentService, reading: ChannelsReading) -> None:
    reads = door.allows("agents.read", knows=reading.number)
    writes = door.allows("agents.write", knows=reading.number)

    # Before the routes of one number: `agents` is the id of none.
    @router.get("/numbers/agents", summary="List the agents of numbers")
    async def list_agents_of_numbers(
        principal: Annotated[Principal, door.allows("agents.read")],
    ) -> PageOf[NumberAgentView]:
        """At numbers that are not listed your active agent answers."""
        found = await numbers.all(principal.owner_id)
        return PageOf(items=[NumberAgentView.at(*each) for each in found], next_cursor=None)

    @router.get("/numbers/{number_id}/agent", summary="Read the agent of a number")
    async def read_agent_of_number(
        principal: Annotated[Principal, reads], number_id: UUID, response: Response
    ) -> NumberAgentView:
        """404 too when the number has no agent of its own: your active agent answers there."""
        settings = await numbers.of_number(principal.owner_id, number_id)
        if settings is None:
            raise NotFound(f"the number {number_id} has no agent of its own")
        return tagged(response, NumberAgentView.at(number_id, settings))

    @router.put("/numbers/{number_id}/agent", summary="Give a number an agent of its own", responses=problems(412, 428))
    async def set_agent_of_number(
        principal: Annotated[Principal, writes],
        number_id: UUID,
        if_match: IfMatch,
        body: NumberAgentChange,
        response: Response,
    ) -> NumberAgentSavedView:
        def check(stored: AgentSettings | None) -> None:
            if stored is not None:
                if_match.check(NumberAgentView.at(number_id, stored))

        saved = await numbers.set(principal, number_id, AgentForm(**body.model_dump()), check=check)
        tagged(response, NumberAgentView.at(number_id, saved.settings))
        return NumberAgentSavedView.saved(number_id, saved)

    @router.delete("/numbers/{number_id}/agent", status_code=204, summary="Let your active agent answer there again")
    async def unset_agent_of_number(principal: Annotated[Principal, writes], number_id: UUID) -> None:
        await numbers.unset(principal, number_id)

    @router.post(
        "/numbers/{number_id}/agent/secret", summary="Renew the secret of a number's own agent", responses=problems(422)
    )
    async def renew_secret_of_number(principal: Annotated[Principal, writes], number_id: UUID) -> NumberAgentSavedView:
        return NumberAgentSavedView.saved(number_id, await numbers.renew_secret(principal, number_id))
