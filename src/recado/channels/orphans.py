"""Messages to numbers that belonged to nobody, given to an owner by an operator.

A message is accepted only when it is assigned: an account of that owner's must have signed it, and the number must by
then be one of that owner's, in that account. From there it takes the same road as any other.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

from recado.channels.directory import Directory
from recado.channels.models import KnownAddress, Orphan, SignedOrphan
from recado.channels.repository import Orphans
from recado.channels.twilio.webhook import form as forms
from recado.channels.twilio.webhook.dtos import FormProblem, InboundForm
from recado.channels.twilio.webhook.service import inbound_of
from recado.conversation.replying.accept import STALE, Accepted, AcceptService, Duplicate
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Conflict, InvalidInput, NotFound
from recado.core.ids import Ids


class OrphanService:
    """Lists and assigns orphans."""

    def __init__(
        self, directory: Directory, acceptance: AcceptService, database: Database, clock: Clock, ids: Ids
    ) -> None:
        self._directory = directory
        self._acceptance = acceptance
        self._database = database
        self._clock = clock
        self._ids = ids

    async def list(self) -> list[SignedOrphan]:
        """All that wait, of every signer: for operators."""
        return [found async for page in self.pages() for found in page]

    async def pages(self) -> AsyncIterator[Sequence[SignedOrphan]]:
        """The same, a page at a time, the oldest first: there may be more of them than fit into memory."""
        after: Orphan | None = None
        while page := await self._database.read(partial(_page, after=after), owner=None):
            yield page
            after = page[-1].orphan

    async def count(self) -> int:
        return await self._database.read(lambda uow: Orphans(uow).count_waiting(), owner=None)

    async def assign(self, message_sid: str, owner_id: UUID, account_sid: str | None = None) -> Accepted | Duplicate:
        """Accept an orphan for an owner; older than 24 hours it is accepted as stale, and gets no agent."""
        found = await self._one(message_sid, owner_id, account_sid)
        orphan, signed = found.orphan, {signer.account_id for signer in found.signers}
        address = await self._directory.lookup(orphan.to_address, fresh=True)
        if address is None or address.owner_id != owner_id or address.account_id not in signed:
            raise Conflict(
                f"the number it was sent to is not this owner's in account {orphan.account_sid}; "
                "add the number first: recado numbers add"
            )
        return await self._database.write(lambda uow: self._accept(uow, orphan, address), owner=None)

    async def _one(self, message_sid: str, owner_id: UUID, account_sid: str | None) -> SignedOrphan:
        """The one that the owner may be given; of several to different numbers, the oldest that waits."""
        bearing = await self._database.read(lambda uow: Orphans(uow).bearing(message_sid), owner=None)
        found = [each for each in bearing if account_sid in (None, each.orphan.account_sid)]
        if not found:
            raise NotFound(f"there is no orphan {message_sid}; `recado orphans list` shows them")
        theirs = [each for each in found if owner_id in each.owners]
        if not theirs:
            raise Conflict(
                f"no account of this owner's signed orphan {message_sid}; `recado orphans list --json` shows whose did"
            )
        waiting = [each for each in theirs if each.orphan.assigned_at is None]
        if not waiting:
            raise Conflict(f"orphan {message_sid} was assigned before")
        accounts = {each.orphan.account_sid for each in waiting}
        if len(accounts) > 1:
            raise InvalidInput(f"{len(accounts)} accounts sent a message {message_sid}; choose one with --account-sid")
        return waiting[0]

    def _accept(self, uow: UnitOfWork, orphan: Orphan, address: KnownAddress) -> Accepted | Duplicate:
        pairs = forms.parse(orphan.raw)
        form = None if isinstance(pairs, forms.TooManyFields) else InboundForm.parse(pairs)
        if form is None or isinstance(form, FormProblem):
            raise Conflict(f"what is stored of orphan {orphan.message_sid} cannot be read any more")
        now = self._clock.now()
        inbound = replace(
            inbound_of(form, address, self._ids, self._clock, orphan.raw),
            source="orphan",
            received_at=orphan.received_at,  # The customer wrote then: the 24-hour window runs from there.
            stale=now - orphan.received_at > STALE,
        )
        [accepted] = self._acceptance.accept_many(uow, [inbound])
        Orphans(uow).assign(orphan.id, address.owner_id, now)
        return accepted


def _page(uow: UnitOfWork, *, after: Orphan | None) -> Sequence[SignedOrphan]:
    return Orphans(uow).waiting(after=after)
