"""Change the status of a conversation, and who may speak in it.

Every change is checked against the tables of `models` and leaves a line in the history.
"""

from dataclasses import replace

from recado.conversation.models import Actor, Answer, Conversation, Holder
from recado.conversation.repository import Conversations, add_conversation_event
from recado.core.queue.transactions import Transaction


class Lifecycle:
    """Changes conversations inside a transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._uow = tx.uow

    def revive(self, conversation: Conversation, by: Actor = "customer") -> Conversation:
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

    def close(self, conversation: Conversation, by: Actor, reason: str) -> Conversation:
        """Close a conversation. The customer's next message opens a new one."""
        conversation.check_status("closed")
        changed = replace(
            conversation,
            status="closed",
            closed_at=self._tx.now,
            closed_by=by,
            closed_reason=reason,
            version=conversation.version + 1,
        )
        Conversations(self._uow).change(
            conversation.id,
            status="closed",
            closed_at=self._tx.now,
            closed_by=by,
            closed_reason=reason,
            version=changed.version,
        )
        self._remember(conversation, "status", conversation.status, "closed", by, reason)
        return changed

    def hand_to(self, conversation: Conversation, holder: Holder, by: Actor, reason: str | None) -> Conversation:
        """Let somebody else speak in a conversation."""
        conversation.check_holder(holder)
        changed = replace(conversation, held_by=holder, held_since=self._tx.now, version=conversation.version + 1)
        Conversations(self._uow).change(
            conversation.id, held_by=holder, held_since=self._tx.now, version=changed.version
        )
        self._remember(conversation, "held_by", conversation.held_by, holder, by, reason)
        return changed

    def _remember(
        self, conversation: Conversation, what: str, before: str, after: str, by: Actor, reason: str | None
    ) -> None:
        add_conversation_event(
            self._uow,
            id=self._tx.ids.new(),
            owner_id=conversation.owner_id,
            conversation_id=conversation.id,
            what=what,
            before=before,
            after=after,
            by=by,
            reason=reason,
            at=self._tx.now,
        )
