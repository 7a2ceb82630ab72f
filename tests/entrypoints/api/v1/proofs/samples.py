"""A request that succeeds, for each route that needs more than its path. A route that is missing here fails the sweep.

A GET without further input needs no line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from recado.core.database.types import JsonValue


@dataclass(frozen=True, slots=True)
class Sample:
    """What a route needs: a body, a query, and the kind of thing, where it is not the one that its path names."""

    body: JsonValue = None
    query: Mapping[str, str] = field(default_factory=dict)
    kind: str | None = None


SAMPLES: Final[Mapping[str, Sample]] = {
    "POST /api/v1/endpoints": Sample({"url": "https://crm.example/recado"}),
    "PATCH /api/v1/endpoints/{endpoint_id}": Sample({"types": ["message.sent"]}),
    "DELETE /api/v1/endpoints/{endpoint_id}": Sample(),
    "POST /api/v1/endpoints/{endpoint_id}/disable": Sample(),
    "POST /api/v1/endpoints/{endpoint_id}/enable": Sample(),
    "POST /api/v1/endpoints/{endpoint_id}/rotate": Sample(),
    "POST /api/v1/endpoints/{endpoint_id}/replay": Sample({"since": "2026-03-14T00:00:00Z"}),
    "PUT /api/v1/agents/{agent}": Sample({}),
    "POST /api/v1/agents/http/secret": Sample(),
    "GET /api/v1/numbers/{number_id}/agent": Sample(kind="number_with_agent_id"),
    "PUT /api/v1/numbers/{number_id}/agent": Sample({"agent": "echo"}),
    "DELETE /api/v1/numbers/{number_id}/agent": Sample(),
    "POST /api/v1/numbers/{number_id}/agent/secret": Sample(kind="number_with_agent_id"),
    "POST /api/v1/knowledge": Sample({"name": "a.md", "text": "Abrimos às seis."}),
    "GET /api/v1/knowledge/search": Sample(query={"query": "que horas abrem?"}),
    "DELETE /api/v1/keys/{key_id}": Sample(),
    "DELETE /api/v1/knowledge/{document_id}": Sample(),
    "DELETE /api/v1/sessions/current": Sample(),
    "DELETE /api/v1/sessions/{session_id}": Sample(),
    "POST /api/v1/keys": Sample({"name": "loja"}),
    "POST /api/v1/users": Sample({"email": "nova@padaria.example", "role": "viewer"}),
    "PATCH /api/v1/users/{user_id}": Sample({"name": "Beatriz"}),
    "POST /api/v1/users/{user_id}/link": Sample(),
    "POST /api/v1/orphans/{orphan_id}/assign": Sample(),
    "POST /api/v1/numbers/{number_id}/check": Sample(),
    "DELETE /api/v1/numbers/{number_id}": Sample(),
    "POST /api/v1/owners/{owner_id}/close": Sample(),
    "POST /api/v1/owners/{owner_id}/reopen": Sample(),
    "POST /api/v1/conversations/{conversation_id}/take": Sample(),
    "POST /api/v1/conversations/{conversation_id}/release": Sample(kind="held_conversation_id"),
    "POST /api/v1/conversations/{conversation_id}/close": Sample(),
    "POST /api/v1/conversations/{conversation_id}/assign": Sample({"user_id": None}),
    "POST /api/v1/conversations/{conversation_id}/replies": Sample({"text": "oi", "take": True}),
    "PATCH /api/v1/contacts/{contact_id}": Sample({"name": "Ana Maria"}),
    "POST /api/v1/contacts/{contact_id}/block": Sample(),
    "POST /api/v1/contacts/{contact_id}/unblock": Sample(),
    "POST /api/v1/contacts/{contact_id}/opt-out": Sample(),
    "POST /api/v1/contacts/{contact_id}/opt-in": Sample(),
    "POST /api/v1/dead-letters/{dead_letter_id}/retry": Sample({}),
    "POST /api/v1/dead-letters/{dead_letter_id}/discard": Sample(),
    "POST /api/v1/dead-letters/retry": Sample({"all": True, "name": "conversation.reply"}),
    "POST /api/v1/dead-letters/discard": Sample({"ids": ["01a203d3-d0be-7000-95bc-8269c3611314"]}),
    "PATCH /api/v1/owners/{owner_id}": Sample({"name": "Padaria Nova"}),
}

EXEMPT: Final[Mapping[str, str]] = {
    "POST /api/v1/messages": "it names no thing, and needs a customer who has written; test_conversations.py sends one",
    "POST /api/v1/numbers": "it names no thing, and needs a Twilio that confirms; test_numbers.py has one",
    "POST /api/v1/owners/{owner_id}/purge": "it ends the owner of all other samples; test_organization.py asks",
    "POST /api/v1/sessions": "it names no thing, and needs a password; test_sessions.py signs in",
    "POST /api/v1/passwords": "it names no thing, and needs a link; test_sessions.py redeems one",
    "POST /api/v1/passwords/reset": "it names no thing, and needs a mail server; test_sessions.py asks",
    "PUT /api/v1/me/password": "it changes who is signed in, and needs a password; test_sessions.py does",
    "GET /api/v1/events/stream": "it answers for a quarter of an hour: tests/entrypoints/api/v1/test_event_stream.py",
}
"""Routes that the sweep leaves out, with the reason."""
