"""Remove numbers of ours, and forget the tokens of accounts that are not needed any more.

A removed number takes no more messages: they become orphans while its account can still sign, and are refused after
that. What it had accepted is answered all the same, so its account keeps its tokens until the last answer is settled
and it is known what became of the last attempt.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from recado.channels.models import ChannelAddress
from recado.channels.repository import ChannelAccounts, ChannelAddresses, DirectoryGeneration
from recado.channels.twilio.repository import Credentials
from recado.conversation.upkeep.repository import is_account_busy, is_address_busy
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.principal import Principal

KEPT_AFTER_REMOVAL: Final = timedelta(minutes=1)
"""For a moment after a removal other processes accept what comes, until they have read the directory again."""


class NumberRemoval:
    """Removes numbers, and later the tokens behind them."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._transactions = Transactions(database, clock, ids)

    async def remove(self, principal: Principal, number_id: UUID) -> ChannelAddress:
        """Remove a number of the principal's owner. Raises `NotFound`, also when it was removed before."""
        # As the system: the generation of the directory belongs to no owner.
        return await self._transactions.write(
            lambda tx: remove(tx.of_owner(principal.owner_id), principal, number_id), owner=None
        )

    async def forget_tokens(self) -> int:
        """Delete the tokens of accounts without a number and with nothing under way. Return their number."""
        forgotten, since = 0, self._clock.now() - KEPT_AFTER_REMOVAL
        for account_id, owner_id in await self._database.read(
            lambda uow: Credentials(uow).without_numbers(since), owner=None
        ):
            forget = partial(_forget_if_unused, account_id=account_id, owner_id=owner_id, since=since)
            forgotten += await self._database.write(forget, owner=None)
        return forgotten


def remove(tx: Transaction, principal: Principal, number_id: UUID) -> ChannelAddress:
    """Remove a number in a transaction of the system that was narrowed to the number's owner."""
    numbers = ChannelAddresses(tx.uow)
    generation = DirectoryGeneration(tx.uow).advance()  # Locks: what is read from here on does not change any more.
    number = numbers.require_in_use(number_id)
    ChannelAccounts(tx.uow).change(number.account_id, changed_in=generation)
    numbers.change(number_id, removed_at=tx.now)
    audit.record(tx, principal, "number.removed", "number", number_id)
    return numbers.require(number_id)


def _forget_if_unused(uow: UnitOfWork, account_id: UUID, owner_id: UUID, since: datetime) -> bool:
    narrowed = uow.for_owner(owner_id)
    if not _is_unused(narrowed, account_id, owner_id, since):
        return False
    generation = DirectoryGeneration(narrowed).advance()
    if not _is_unused(
        narrowed, account_id, owner_id, since
    ):  # A number was added again while this waited for the lock.
        return False
    # Every process reads again what it has cached of the account.
    ChannelAccounts(narrowed).change(account_id, changed_in=generation)
    Credentials(narrowed).forget(account_id)
    return True


def _is_unused(narrowed: UnitOfWork, account_id: UUID, owner_id: UUID, since: datetime) -> bool:
    """Return whether an account has had no number in use since a moment, and nothing is under way with it."""
    if (account_id, owner_id) not in Credentials(narrowed).without_numbers(since):
        return False
    if is_account_busy(narrowed, account_id):
        return False
    return not any(is_address_busy(narrowed, each) for each in ChannelAddresses(narrowed).removed_of(account_id))
