"""Find or make the conversation that the messages of a turn belong to."""

from recado.conversation.contacts import contact_of
from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Contact, Conversation, Message
from recado.conversation.repository import Conversations, Messages
from recado.conversation.transactions import Transaction


class Reception:
    """Receives the messages of a turn, inside a transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._uow = tx.uow

    def conversation_of(self, message: Message, contact: Contact) -> Conversation:
        """Return the lane's conversation: an idle one is opened again, a closed one is followed by a new one."""
        conversations = Conversations(self._uow)
        current = conversations.current(message.lane)
        if current is not None:
            return Lifecycle(self._tx).revive(current)
        previous = conversations.latest(message.lane)
        return conversations.add(
            Conversation(
                id=self._tx.ids.new(),
                owner_id=message.owner_id,
                lane=message.lane,
                contact_id=contact.id,
                address_id=message.address_id,
                status="open",
                held_by="agent",
                version=1,
                previous_id=previous.id if previous else None,
                opened_at=self._tx.now,
                held_since=self._tx.now,
                last_activity_at=message.received_at,
            )
        )

    def receive(self, group: list[Message]) -> tuple[Contact, Conversation]:
        """Put messages of one lane into their conversation. Return it and its contact."""
        newest = group[-1]
        contact = contact_of(self._tx, newest)
        conversation = self.conversation_of(newest, contact)
        Messages(self._uow).join(
            [message.id for message in group], contact_id=contact.id, conversation_id=conversation.id
        )
        # A message that the gap sweep found was received last, and may be the first that was written.
        Conversations(self._uow).touch(conversation.id, max(message.received_at for message in group))
        return contact, conversation
