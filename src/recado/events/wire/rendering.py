"""An event as programs read it: the same over webhooks, the API and its stream."""

import json
from collections.abc import Mapping

from recado.core.database.types import JsonValue
from recado.core.event_log.models import Event


def rendered(event: Event) -> Mapping[str, JsonValue]:
    """Return an event as a JSON object, in the form of Standard Webhooks."""
    conversation_id = None if event.conversation_id is None else str(event.conversation_id)
    return {
        "id": str(event.id),
        "type": event.type,
        "timestamp": event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "owner_id": str(event.owner_id),
        "data": {"conversation_id": conversation_id, **event.data},
    }


def body_of(event: Event) -> bytes:
    """Return an event as the body of a webhook."""
    return json.dumps(rendered(event), ensure_ascii=False, separators=(",", ":")).encode()
