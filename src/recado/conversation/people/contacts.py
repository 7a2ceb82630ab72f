"""What people do with contacts: name them, block them, and store that they want messages or do not.

A blocked contact's messages are answered by nobody, and nothing is sent to the contact: not even what waits to be sent.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias
from uuid import UUID

from recado.conversation.models import Contact
from recado.conversation.reading.contacts import ContactItem, contact_in
from recado.conversation.repository import Contacts
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.audit import AuditAction
from recado.identity.models import valid_name
from recado.identity.principal import Principal

Check: TypeAlias = Callable[[ContactItem], None]
"""Raises when a contact is not as its caller has read it."""


def any_contact(_stored: ContactItem) -> None:
    """Accept a contact as it is."""


class ContactService:
    """One method for each thing that a person can do. Each may be done twice; then nothing more happens.

    `check` gets the contact as it is before the change, which no other can change any more.
    """

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._transactions = Transactions(database, clock, ids)

    async def rename(
        self, principal: Principal, contact_id: UUID, name: str | None, *, check: Check = any_contact
    ) -> Contact:
        """Give a contact a name that profiles do not change. None: the name of the newest profile counts again."""
        given = None if name is None else valid_name(name)

        def changes(_tx: Transaction, contact: Contact) -> Mapping[str, object]:
            if given is None:
                return {"named_by": None} if contact.named_by is not None else {}
            return {"name": given, "named_by": principal.name}

        return await self._change(principal, contact_id, "contact.renamed", changes, check)

    async def block(self, principal: Principal, contact_id: UUID, *, check: Check = any_contact) -> Contact:
        """Answer a contact no more."""

        def changes(tx: Transaction, contact: Contact) -> Mapping[str, object]:
            return {} if contact.blocked_at else {"blocked_at": tx.now, "blocked_by": principal.name}

        return await self._change(principal, contact_id, "contact.blocked", changes, check)

    async def unblock(self, principal: Principal, contact_id: UUID, *, check: Check = any_contact) -> Contact:
        """Answer a contact again, from the next message on."""

        def changes(_tx: Transaction, contact: Contact) -> Mapping[str, object]:
            return {"blocked_at": None, "blocked_by": None} if contact.blocked_at else {}

        return await self._change(principal, contact_id, "contact.unblocked", changes, check)

    async def opt_out(self, principal: Principal, contact_id: UUID, *, check: Check = any_contact) -> Contact:
        """Store that a contact wants no messages, as somebody has heard."""

        def changes(tx: Transaction, contact: Contact) -> Mapping[str, object]:
            return {} if contact.opted_out_at else {"opted_out_at": tx.now, "opted_out_by": principal.name}

        return await self._change(principal, contact_id, "contact.opted_out", changes, check)

    async def opt_in(self, principal: Principal, contact_id: UUID, *, check: Check = any_contact) -> Contact:
        """Store that a contact wants messages again, as somebody has heard."""

        def changes(_tx: Transaction, contact: Contact) -> Mapping[str, object]:
            return {"opted_out_at": None, "opted_out_by": None} if contact.opted_out_at else {}

        return await self._change(principal, contact_id, "contact.opted_in", changes, check)

    async def _change(
        self,
        principal: Principal,
        contact_id: UUID,
        action: AuditAction,
        changes: Callable[[Transaction, Contact], Mapping[str, object]],
        check: Check,
    ) -> Contact:
        def change(tx: Transaction) -> Contact:
            contacts = Contacts(tx.uow)
            contacts.require(contact_id)
            held = contacts.held(contact_id)
            if check is not any_contact:
                check(contact_in(tx.uow, contact_id))
            columns = changes(tx, held)
            if columns:
                contacts.change(contact_id, **columns)
                audit.record(tx, principal, action, "contact", contact_id)
            return contacts.require(contact_id)

        return await self._transactions.write(change, owner=principal.owner_id)
