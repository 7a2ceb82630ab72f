"""Who wrote: the contact behind an address, and the stretch of the lane the message belongs to."""

from recado.conversation.contacts import contact_of
from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Contact, Conversation, Message
from recado.conversation.repository import Conversations, Messages
from recado.conversation.transactions import Transaction


class Reception:
    """Finds or makes what a lane's messages need before anybody can answer them; inside a unit of work."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._uow = tx.uow

    def conversation_of(self, message: Message, contact: Contact) -> Conversation:
        """The lane's open conversation; an idle one revives; after a closed one a new one opens, linked to it."""
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
        """Bring a turn's messages into their conversation."""
        newest = group[-1]
        contact = contact_of(self._tx, newest)
        conversation = self.conversation_of(newest, contact)
        Messages(self._uow).join(
            [message.id for message in group], contact_id=contact.id, conversation_id=conversation.id
        )
        # One that the gap sweep found is the last we received, and may be the first that was written.
        Conversations(self._uow).touch(conversation.id, max(message.received_at for message in group))
        return contact, conversation
