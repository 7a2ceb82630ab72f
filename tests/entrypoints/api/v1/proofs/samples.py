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
    "PUT /api/v1/agents/{agent}": Sample({}),
    "POST /api/v1/agents/http/secret": Sample(),
    "POST /api/v1/knowledge": Sample({"name": "a.md", "text": "Abrimos às seis."}),
    "GET /api/v1/knowledge/search": Sample(query={"query": "que horas abrem?"}),
    "DELETE /api/v1/knowledge/{document_id}": Sample(),
    "POST /api/v1/orphans/{orphan_id}/assign": Sample(),
    "PATCH /api/v1/owners/{owner_id}": Sample({"name": "Padaria Nova"}),
}

EXEMPT: Final[Mapping[str, str]] = {}
"""Routes that the sweep leaves out, with the reason."""
