"""The routes of `/api/v1`, one router a subject."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastapi import APIRouter

from recado.entrypoints.api.door.authentication import Callers
from recado.entrypoints.api.door.rates import Rates
from recado.entrypoints.api.door.routes import Door
from recado.entrypoints.api.v1.agents import agents_router
from recado.entrypoints.api.v1.audit import audit_router
from recado.entrypoints.api.v1.conversation.contacts import contacts_router
from recado.entrypoints.api.v1.conversation.conversations import conversations_router
from recado.entrypoints.api.v1.conversation.drafts import drafts_router
from recado.entrypoints.api.v1.conversation.handoff import handoff_router
from recado.entrypoints.api.v1.conversation.messages import messages_router
from recado.entrypoints.api.v1.events.deliveries import event_deliveries_router
from recado.entrypoints.api.v1.events.endpoints import event_endpoints_router
from recado.entrypoints.api.v1.events.log import events_router
from recado.entrypoints.api.v1.keys import keys_router
from recado.entrypoints.api.v1.knowledge import knowledge_router
from recado.entrypoints.api.v1.numbers import numbers_router
from recado.entrypoints.api.v1.organization import organization_router
from recado.entrypoints.api.v1.orphans import orphans_router
from recado.entrypoints.api.v1.owners import owners_router
from recado.entrypoints.api.v1.passwords import passwords_router
from recado.entrypoints.api.v1.queue.dead_letters import dead_letters_router
from recado.entrypoints.api.v1.queue.schedules import schedules_router
from recado.entrypoints.api.v1.sessions import sessions_router
from recado.entrypoints.api.v1.usage import usage_router
from recado.entrypoints.api.v1.users import users_router

if TYPE_CHECKING:
    from recado.bootstrap import Container


def build_routers(container: "Container") -> list[APIRouter]:
    """Return every router, behind one door."""
    callers = Callers(container.authenticator(), container.settings().public_url)
    return list(_routers(container, Door(callers, Rates(container.clock()), container.idempotency())))


def _routers(container: "Container", door: Door) -> Iterator[APIRouter]:
    """Yield every router. Add yours here, by its subject's name."""
    yield agents_router(door, container.agent_service(), container.number_agents(), container.channels_reading())
    yield audit_router(door, container.identity_reading())
    yield contacts_router(door, container.contact_service(), container.contact_reading())
    yield conversations_router(door, container.conversation_reading(), container.transcripts())
    yield handoff_router(door, container.handoff(), container.conversation_reading())
    yield dead_letters_router(door, container.dead_letters(), container.dead_letter_reading())
    yield drafts_router(door, container.draft_reading())
    yield messages_router(door, container.messages())
    yield keys_router(door, container.api_keys(), container.identity_reading())
    yield event_endpoints_router(door, container.endpoints(), container.endpoint_reading())
    yield event_deliveries_router(door, container.endpoints(), container.endpoint_reading())
    yield events_router(door, container.event_reading(), container.event_following())
    yield knowledge_router(door, container.knowledge(), container.agents_reading())
    yield numbers_router(door, container.channels_reading(), container.number_checks(), container.number_removal())
    yield organization_router(door, container.owners(), container.owner_export(), container.owner_purge())
    yield orphans_router(door, container.orphans(), container.channels_reading())
    yield owners_router(door, container.owners())
    yield schedules_router(door, container.cron())
    url = container.settings().public_url or ""
    yield sessions_router(door, container.sign_in(), container.own_sessions(), url)
    yield passwords_router(door, container.sign_in(), container.links())
    yield users_router(door, container.users(), container.links(), container.identity_reading(), url)
    yield usage_router(door, container.usage())
