"""Who wrote: the contact behind an address, and the stretch of the lane the message belongs to."""

from dataclasses import replace
from datetime import datetime

from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Contact, Conversation, Message
from recado.conversation.repository import Contacts, Conversations, Messages
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids


class Reception:
    """Finds or makes what a lane's messages need before anybody can answer them; inside a unit of work."""

    def __init__(self, uow: UnitOfWork, ids: Ids, now: datetime) -> None:
        self._uow = uow
        self._ids = ids
        self._now = now

    def contact_of(self, message: Message) -> Contact:
        """The contact, by any spelling of the address; it is named by its newest profile name."""
        contacts = Contacts(self._uow)
        key = message.sender.match_key
        contact = contacts.by_match_key(key)
        if contact is None:  # The customer may be writing to another number of the owner's at this moment.
            self._uow.lock_by_name(f"contact {message.owner_id} {key}")
            contact = contacts.by_match_key(key)
        if contact is None:
            contact = contacts.add(
                Contact(self._ids.new(), message.owner_id, message.profile_name, None, created_at=self._now)
            )
        elif message.profile_name and message.profile_name != contact.name:
            contacts.change(contact.id, name=message.profile_name)
            contact = replace(contact, name=message.profile_name)
        contacts.remember_address(self._ids.new(), contact.id, message.from_address, key, self._now)
        return contact

    def conversation_of(self, message: Message, contact: Contact) -> Conversation:
        """The lane's open conversation; an idle one revives; after a closed one a new one opens, linked to it."""
        conversations = Conversations(self._uow)
        current = conversations.current(message.lane)
        if current is not None:
            return Lifecycle(self._uow, self._ids, self._now).revive(current)
        previous = conversations.latest(message.lane)
        return conversations.add(
            Conversation(
                id=self._ids.new(),
                owner_id=message.owner_id,
                lane=message.lane,
                contact_id=contact.id,
                address_id=message.address_id,
                status="open",
                held_by="agent",
                version=1,
                previous_id=previous.id if previous else None,
                opened_at=self._now,
                held_since=self._now,
                last_activity_at=message.received_at,
            )
        )

    def receive(self, group: list[Message]) -> tuple[Contact, Conversation]:
        """Bring a turn's messages into their conversation."""
        newest = group[-1]
        contact = self.contact_of(newest)
        conversation = self.conversation_of(newest, contact)
        Messages(self._uow).join(
            [message.id for message in group], contact_id=contact.id, conversation_id=conversation.id
        )
        # One that the gap sweep found is the last we received, and may be the first that was written.
        Conversations(self._uow).touch(conversation.id, max(message.received_at for message in group))
        return contact, conversation
