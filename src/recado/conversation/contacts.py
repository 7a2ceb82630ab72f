"""Contacts: the customer behind an address, and whether they want messages."""

from dataclasses import replace
from uuid import UUID

from recado.conversation.models import Contact, Message
from recado.conversation.repository import Contacts, Conversations
from recado.conversation.values import Address
from recado.core.queue.transactions import Transaction


def contact_of(tx: Transaction, message: Message) -> Contact:
    """Return the contact who wrote a message, or make it."""
    return contact_at(tx, message.owner_id, message.sender, message.profile_name)


def contact_at(tx: Transaction, owner_id: UUID, address: Address, profile_name: str | None = None) -> Contact:
    """Return the contact of an address, in any of its spellings, or make it.

    A contact bears the name of its newest profile, unless a person has named it.
    """
    contacts = Contacts(tx.uow)
    key = address.match_key
    contact = contacts.by_match_key(key)
    if contact is None:  # The customer may be writing to another number of the owner's at this moment.
        tx.uow.lock_by_name(f"contact {owner_id} {key}")
        contact = contacts.by_match_key(key)
    if contact is None:
        contact = contacts.add(Contact(tx.ids.new(), owner_id, profile_name, None, created_at=tx.now))
    elif contact.named_by is None and profile_name and profile_name != contact.name:
        contacts.change(contact.id, name=profile_name)
        contact = replace(contact, name=profile_name)
    contacts.remember_address(tx.ids.new(), contact.id, address.value, key, tx.now)
    return contact


def opt_out(tx: Transaction, conversation_id: UUID) -> None:
    """Store that the customer of a conversation wants no more messages, as the provider has told us."""
    conversation = Conversations(tx.uow).require(conversation_id)
    Contacts(tx.uow).change(conversation.contact_id, opted_out_at=tx.now, opted_out_by=None)
