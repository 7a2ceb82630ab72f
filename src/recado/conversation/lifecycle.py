"""Change the status of a conversation, and who may speak in it.

Every change is checked against the tables of `models` and leaves a line in the history; the owner's programs are told.
"""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from recado.conversation.models import Actor, Answer, By, Contact, Conversation, Holder
from recado.conversation.repository import Conversations, add_conversation_event
from recado.core.event_log.models import EventType, NewEvent, given
from recado.core.event_log.repository import append
from recado.core.queue.lane import Lane
from recado.core.queue.transactions import Transaction
from recado.identity.principal import Principal

_HELD_BY: dict[Holder, EventType] = {
    "nobody": "conversation.handed_off",
    "person": "conversation.taken",
    "agent": "conversation.released",
}


class Lifecycle:
    """Changes conversations inside a transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._uow = tx.uow

    def open(self, conversation: Conversation) -> Conversation:
        """Store a conversation that begins now."""
        Conversations(self._uow).add(conversation)
        previous = conversation.previous_id
        self._tell(
            "conversation.opened",
            conversation,
            contact_id=str(conversation.contact_id),
            number_id=str(conversation.address_id),
            previous_id=None if previous is None else str(previous),
        )
        return conversation

    def revive(self, conversation: Conversation, by: By = "customer") -> Conversation:
        """Open an idle conversation again, because somebody speaks."""
        if conversation.status != "idle":
            return conversation
        conversation.check_status("open")
        Conversations(self._uow).change(conversation.id, status="open")
        self._remember(conversation, "status", "idle", "open", by, None)
        return replace(conversation, status="open")

    def mark_idle(self, conversation: Conversation, nudge: Answer | None) -> Conversation:
        """Mark a conversation idle. The nudge, if there is one, belongs to this stretch of silence."""
        conversation.check_status("idle")
        nudge_id = nudge.id if nudge else None
        Conversations(self._uow).change(conversation.id, status="idle", nudge_id=nudge_id)
        self._remember(conversation, "status", "open", "idle", "system", "nudged" if nudge else None)
        return replace(conversation, status="idle", nudge_id=nudge_id)

    def close(self, conversation: Conversation, by: By, reason: str) -> Conversation:
        """Close a conversation. The customer's next message opens a new one."""
        conversation.check_status("closed")
        changed = replace(
            conversation,
            status="closed",
            closed_at=self._tx.now,
            closed_by=_actor(by),
            closed_reason=reason,
            version=conversation.version + 1,
        )
        Conversations(self._uow).change(
            conversation.id,
            status="closed",
            closed_at=self._tx.now,
            closed_by=changed.closed_by,
            closed_reason=reason,
            version=changed.version,
        )
        self._remember(conversation, "status", conversation.status, "closed", by, reason)
        self._tell("conversation.closed", conversation, by=_actor(by), user_id=_user_id(by), reason=reason)
        return changed

    def hand_to(self, conversation: Conversation, holder: Holder, by: By, reason: str | None) -> Conversation:
        """Let somebody else speak in a conversation. A person holds it under a name."""
        conversation.check_holder(holder)
        person = by if holder == "person" and isinstance(by, Principal) else None
        changed = replace(
            conversation,
            held_by=holder,
            held_since=self._tx.now,
            holder_id=person.id if person else None,
            holder_name=person.name if person else None,
            version=conversation.version + 1,
        )
        Conversations(self._uow).change(
            conversation.id,
            held_by=holder,
            held_since=self._tx.now,
            holder_id=changed.holder_id,
            holder_name=changed.holder_name,
            version=changed.version,
        )
        self._remember(conversation, "held_by", conversation.held_by, holder, by, reason)
        before = conversation.held_by
        self._tell(_HELD_BY[holder], conversation, by=_actor(by), user_id=_user_id(by), before=before)
        return changed

    def assign(self, conversation: Conversation, user_id: UUID | None, by: By) -> Conversation:
        """Say which user is to look after a conversation, or that nobody is. Who may speak in it does not change."""
        conversation.check_open()
        version = conversation.version + 1
        Conversations(self._uow).change(conversation.id, assignee_id=user_id, version=version)
        self._remember(conversation, "assignee", _hex(conversation.assignee_id), _hex(user_id), by, None)
        return replace(conversation, assignee_id=user_id, version=version)

    def _tell(self, type_: EventType, conversation: Conversation, **data: str | None) -> None:
        """Store an event of a conversation: ids and words of closed lists only."""
        id_, now = self._tx.ids.new(), self._tx.now
        told = NewEvent(id_, conversation.owner_id, type_, conversation.lane, now, conversation.id, given(data))
        append(self._uow, [told])

    def _remember(
        self, conversation: Conversation, what: str, before: str | None, after: str | None, by: By, reason: str | None
    ) -> None:
        add_conversation_event(
            self._uow,
            id=self._tx.ids.new(),
            owner_id=conversation.owner_id,
            conversation_id=conversation.id,
            what=what,
            before=before,
            after=after,
            by=_actor(by),
            reason=reason,
            at=self._tx.now,
            by_name=by.name if isinstance(by, Principal) else None,
        )


def conversation_in(
    tx: Transaction, lane: Lane, address_id: UUID, contact: Contact, by: By, at: datetime
) -> Conversation:
    """Return the lane's conversation: an idle one is opened again, a closed one is followed by a new one."""
    conversations = Conversations(tx.uow)
    current = conversations.current(lane)
    if current is not None:
        return Lifecycle(tx).revive(current, by)
    previous = conversations.latest(lane)
    return Lifecycle(tx).open(
        Conversation(
            id=tx.ids.new(),
            owner_id=contact.owner_id,
            lane=lane,
            contact_id=contact.id,
            address_id=address_id,
            status="open",
            held_by="agent",
            version=1,
            previous_id=previous.id if previous else None,
            opened_at=tx.now,
            held_since=tx.now,
            last_activity_at=at,
        )
    )


def _actor(by: By) -> Actor:
    return "person" if isinstance(by, Principal) else by


def _user_id(by: By) -> str | None:
    """Return who it was, if it was somebody of the owner's."""
    return str(by.id) if isinstance(by, Principal) and by.kind == "user" else None


def _hex(user_id: UUID | None) -> str | None:
    return None if user_id is None else user_id.hex
