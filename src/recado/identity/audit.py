"""The one function that writes down who did or read what.

Each change leaves one row in its own transaction: either both are stored or neither is. Each reading of a conversation
by a person or a key, and each search that found a text in some, leaves one before anything is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from recado.core.database.repository import OwnedRepository
from recado.core.database.types import JsonValue
from recado.core.queue.transactions import Transaction
from recado.identity.principal import Principal, PrincipalKind
from recado.identity.tables import audit_entries

AuditAction: TypeAlias = Literal[
    "agent.secret_renewed",
    "agent.set",
    "contact.blocked",
    "contact.opted_in",
    "contact.opted_out",
    "contact.renamed",
    "contact.unblocked",
    "conversation.assigned",
    "conversation.closed",
    "conversation.read",
    "conversation.released",
    "conversation.replied",
    "conversation.searched",
    "conversation.taken",
    "dead_letter.discarded",
    "dead_letter.retried",
    "dead_letters.discard_ordered",
    "dead_letters.retry_ordered",
    "document.added",
    "document.removed",
    "event_endpoint.added",
    "event_endpoint.changed",
    "event_endpoint.disabled",
    "event_endpoint.enabled",
    "event_endpoint.removed",
    "event_endpoint.replayed",
    "event_endpoint.rotated",
    "job.discarded",
    "key.created",
    "key.revoked",
    "message.sent",
    "number.added",
    "number.agent_secret_renewed",
    "number.agent_set",
    "number.agent_unset",
    "number.removed",
    "orphan.assigned",
    "owner.changed",
    "owner.closed",
    "owner.exported",
    "owner.purged",
    "owner.registered",
    "owner.reopened",
    "session.ended",
    "user.added",
    "user.disabled",
    "user.enabled",
    "user.invited",
    "user.link_requested",
    "user.password_changed",
    "user.renamed",
    "user.role_changed",
    "user.signed_in",
    "user.signed_out",
]
"""What may stand in the audit. An entry stays for good, so a misspelt one is found before it is written."""

ObjectKind: TypeAlias = Literal[
    "agent",
    "bulk_operation",
    "contact",
    "conversation",
    "document",
    "event_endpoint",
    "job",
    "key",
    "number",
    "orphan",
    "owner",
    "session",
    "user",
]
"""What an action is done to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who (`actor_…`), from where (`source`), did what (`action`, such as `conversation.taken`) to which object."""

    id: UUID
    owner_id: UUID
    at: datetime
    actor_kind: PrincipalKind
    actor_id: UUID | None
    actor_name: str
    source: str | None
    action: AuditAction
    object_kind: ObjectKind
    object_id: str
    detail: Mapping[str, JsonValue] | None
    """What changed, by ids and names of fields. Texts of customers and secrets never come here."""


class AuditEntries(OwnedRepository[AuditEntry]):
    """The entries of one owner."""

    table, entity, noun = audit_entries, AuditEntry, "audit entry"


def record(
    tx: Transaction,
    principal: Principal,
    action: AuditAction,
    object_kind: ObjectKind,
    object_id: UUID | str,
    detail: Mapping[str, JsonValue] | None = None,
) -> None:
    """Write one entry in the transaction of what it tells. The transaction must be one of the principal's owner."""
    AuditEntries(tx.uow).add(
        AuditEntry(
            id=tx.ids.new(),
            owner_id=principal.owner_id,
            at=tx.now,
            actor_kind=principal.kind,
            actor_id=principal.id,
            actor_name=principal.name,
            source=principal.source,
            action=action,
            object_kind=object_kind,
            object_id=str(object_id),
            detail=detail,
        )
    )
