"""Messages to addresses without an owner, which an operator assigns to an owner.

A message is accepted only when it is assigned. An account of that owner must have signed it, and the address must by
then belong to that owner, in that account. After that it is handled like any other message.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol
from uuid import UUID

from recado.channels.directory import Directory
from recado.channels.models import KnownAddress, Orphan, SignedOrphan
from recado.channels.repository import Orphans
from recado.conversation.replying.accept import Accepted, AcceptService, Duplicate, InboundMessage
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Conflict, InvalidInput, NotFound
from recado.core.ids import Ids
from recado.core.queue.transactions import Transactions, UnlockedTransaction
from recado.identity import audit
from recado.identity.principal import Principal


class OrphanReader(Protocol):
    """Reads the stored webhooks of one provider again."""

    def __call__(self, orphan: Orphan, address: KnownAddress, message_id: UUID, now: datetime) -> InboundMessage | None:
        """Return the message that was received, or None when the stored webhook cannot be read any more.

        It is `stale` when the provider's rules do not allow an answer at `now`.
        """
        ...


class OrphanService:
    """Lists and assigns orphans."""

    def __init__(
        self,
        directory: Directory,
        readers: Mapping[str, OrphanReader],
        acceptance: AcceptService,
        database: Database,
        clock: Clock,
        ids: Ids,
    ) -> None:
        """`readers` belong to the providers, by the provider's name."""
        self._directory = directory
        self._readers = readers
        self._acceptance = acceptance
        self._database = database
        self._clock = clock
        self._ids = ids
        self._transactions = Transactions(database, clock, ids)

    async def list(self) -> list[SignedOrphan]:
        """Return all orphans that wait, of every signer. For operators."""
        return [found async for page in self.pages() for found in page]

    async def pages(self) -> AsyncIterator[Sequence[SignedOrphan]]:
        """Return one page of them, the oldest first: there may be more than fit into memory."""
        after: Orphan | None = None
        while page := await self._database.read(partial(_page, after=after), owner=None):
            yield page
            after = page[-1].orphan

    async def count(self) -> int:
        return await self._database.read(lambda uow: Orphans(uow).count_waiting(), owner=None)

    async def assign(
        self, principal: Principal, provider_message_id: str, account_ref: str | None = None
    ) -> Accepted | Duplicate:
        """Accept an orphan for the principal's owner.

        One that is too old for an answer is accepted as stale, and no agent gets it.
        """
        return await self._assign(principal, await self._one(provider_message_id, principal.owner_id, account_ref))

    async def assign_by_id(self, principal: Principal, orphan_id: UUID) -> Accepted | Duplicate:
        """Likewise for one that an account of the principal's owner signed. Raises `NotFound` for any other."""
        return await self._assign(principal, await self.require(principal.owner_id, orphan_id))

    async def require(self, owner_id: UUID, orphan_id: UUID) -> SignedOrphan:
        """Return an orphan that an account of this owner signed. Raises `NotFound`."""
        found = await self._database.read(lambda uow: Orphans(uow).signed(orphan_id), owner=None)
        if found is None or owner_id not in found.owners:
            raise NotFound(f"there is no orphan {orphan_id}")
        return found

    async def _assign(self, principal: Principal, found: SignedOrphan) -> Accepted | Duplicate:
        owner_id = principal.owner_id
        if found.orphan.assigned_at is not None:
            raise Conflict(f"orphan {found.orphan.provider_message_id} was assigned before")
        orphan, signed = found.orphan, {signer.account_id for signer in found.signers}
        address = await self._directory.lookup(orphan.to_address, fresh=True)
        if address is None or address.owner_id != owner_id or address.account_id not in signed:
            raise Conflict(
                f"the number it was sent to is not this owner's in account {orphan.account_ref}; "
                "add the number first: recado numbers add"
            )
        now = self._clock.now()
        inbound = self._readers[orphan.provider](orphan, address, self._ids.new(), now)
        if inbound is None:
            raise Conflict(f"what is stored of orphan {orphan.provider_message_id} cannot be read any more")
        return await self._transactions.write(partial(self._accept, principal, orphan.id, inbound), owner=None)

    async def _one(self, provider_message_id: str, owner_id: UUID, account_ref: str | None) -> SignedOrphan:
        """Return the orphan that the owner may get; of several to different numbers, the oldest that waits."""
        with_id = await self._database.read(lambda uow: Orphans(uow).with_message_id(provider_message_id), owner=None)
        found = [each for each in with_id if account_ref in (None, each.orphan.account_ref)]
        if not found:
            raise NotFound(f"there is no orphan {provider_message_id}; `recado orphans list` shows them")
        theirs = [each for each in found if owner_id in each.owners]
        if not theirs:
            raise Conflict(
                f"no account of this owner's signed orphan {provider_message_id}; "
                "`recado orphans list --json` shows whose did"
            )
        waiting = [each for each in theirs if each.orphan.assigned_at is None]
        if not waiting:
            raise Conflict(f"orphan {provider_message_id} was assigned before")
        accounts = {each.orphan.account_ref for each in waiting}
        if len(accounts) > 1:
            raise InvalidInput(
                f"{len(accounts)} accounts sent a message {provider_message_id}; choose one with --account-sid"
            )
        return waiting[0]

    def _accept(
        self, principal: Principal, orphan_id: UUID, inbound: InboundMessage, tx: UnlockedTransaction
    ) -> Accepted | Duplicate:
        if not Orphans(tx.uow).assign(orphan_id, inbound.owner_id, tx.now):
            raise Conflict("this orphan was assigned by another person at the same moment")
        [accepted] = self._acceptance.accept_many(tx.uow, [inbound])
        audit.record(tx.of_owner(inbound.owner_id), principal, "orphan.assigned", "orphan", orphan_id)
        return accepted


def _page(uow: UnitOfWork, *, after: Orphan | None) -> Sequence[SignedOrphan]:
    return Orphans(uow).waiting(after=after)
