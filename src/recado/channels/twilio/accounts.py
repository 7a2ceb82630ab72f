"""Add numbers of ours and their accounts."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from recado.channels.models import ChannelAccount, ChannelAddress
from recado.channels.repository import (
    ChannelAccounts,
    ChannelAddresses,
    DirectoryGeneration,
    EveryAccount,
    EveryAddress,
)
from recado.channels.tables import channel_addresses
from recado.channels.twilio.models import StoredCredentials
from recado.channels.twilio.removal import remove
from recado.channels.twilio.repository import Credentials
from recado.channels.twilio.tokens import TOKEN_FIELD
from recado.channels.twilio.values import PROVIDER, AccountSid
from recado.conversation.values import Address
from recado.core.clock import Clock
from recado.core.database.constraints import is_duplicate_of
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Conflict, InvalidInput, NotFound
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions, UnlockedTransaction
from recado.core.sealing import SealBroken, Sealer
from recado.identity import audit
from recado.identity.keys import KeyRing
from recado.identity.principal import Principal
from recado.identity.repository import lasting_owner

MAX_TOKENS: Final = 8
"""The most different tokens of one account SID, over all owners that have it."""


@dataclass(frozen=True, slots=True)
class NewNumber:
    """A number to be added. The token is sealed before it is stored."""

    account_sid: AccountSid
    auth_token: str = field(repr=False)
    address: Address


class NumberService:
    """Numbers of owners."""

    def __init__(self, database: Database, keys: KeyRing, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._keys = keys

    async def add(self, principal: Principal, number: NewNumber, *, move: bool = False) -> ChannelAddress:
        """Add a number to the principal's owner, or give its account a new token.

        The old token stays valid for signatures, because rotation takes time. A removed number that is added again
        keeps its conversations. Raises `Conflict` when the number belongs to another owner, unless the operator has it
        moved: then it is removed there.
        """
        if not number.auth_token.strip():
            raise InvalidInput("the auth token is empty; put it into the variable that --auth-token-env names")
        try:
            # As the system: a transaction of an owner cannot see whether the number belongs to another owner.
            return await self._transactions.write(
                lambda tx: self._move_and_add(tx, principal, number, move=move), owner=None
            )
        except IntegrityError as error:
            if not is_duplicate_of(error, channel_addresses.c.address):
                raise
            raise Conflict(f"another request added {number.address} at the same moment") from error

    async def count_others_with(self, account_sid: AccountSid, owner_id: UUID) -> int:
        """Return the number of other owners with the same account SID.

        Each has its own token, which may be the correct one.
        """
        accounts = await self._database.read(
            lambda uow: EveryAccount(uow).with_ref(PROVIDER, account_sid.value), owner=None
        )
        return len({account.owner_id for account in accounts} - {owner_id})

    async def number(self, owner_id: UUID, number_id: UUID) -> ChannelAddress:
        """Return a number of an owner. Raises `NotFound`, also for a removed one."""
        return await self._database.read(lambda uow: ChannelAddresses(uow).require_in_use(number_id), owner=owner_id)

    async def named(self, owner_id: UUID, address: Address) -> ChannelAddress:
        """Return an owner's number by its address. Raises `NotFound`."""
        found = await self._database.read(lambda uow: ChannelAddresses(uow).by_address(address.value), owner=owner_id)
        if found is None:
            raise NotFound(f"{address} is no number of this owner's")
        return found

    async def list(self, owner_id: UUID) -> list[ChannelAddress]:
        return await self._database.read(lambda uow: ChannelAddresses(uow).all(), owner=owner_id)

    def _move_and_add(
        self, tx: UnlockedTransaction, principal: Principal, number: NewNumber, *, move: bool
    ) -> ChannelAddress:
        lasting_owner(tx.uow, principal.owner_id)
        # Locks, so whose the number is does not change any more once it was read.
        generation = DirectoryGeneration(tx.uow).advance()
        known = EveryAddress(tx.uow).by_address(number.address.value) if move else None
        if known is not None and known.owner_id != principal.owner_id:
            remove(tx.of_owner(known.owner_id), replace(principal, owner_id=known.owner_id), known.id)
        return self._add(tx.of_owner(principal.owner_id), principal, number, generation)

    def _add(self, tx: Transaction, principal: Principal, number: NewNumber, generation: int) -> ChannelAddress:
        uow, owner_id = tx.uow, principal.owner_id
        account = self._account(tx, owner_id, number, generation)
        known = EveryAddress(uow).by_address(number.address.value)
        if known is not None and known.owner_id != owner_id:
            raise Conflict(f"{number.address} belongs to another owner; a number has exactly one")
        added = _put(tx, owner_id, account, number.address)
        audit.record(tx, principal, "number.added", "number", added.id)
        return added

    def _account(self, tx: Transaction, owner_id: UUID, number: NewNumber, generation: int) -> ChannelAccount:
        uow, now = tx.uow, tx.now
        self._check_tokens(uow, owner_id, number)
        accounts = ChannelAccounts(uow)
        account = accounts.by_ref(PROVIDER, number.account_sid.value)
        if account is None:
            account = accounts.add(
                ChannelAccount(
                    id=tx.ids.new(),
                    owner_id=owner_id,
                    provider=PROVIDER,
                    account_ref=number.account_sid.value,
                    paused_until=None,
                    paused_why=None,
                    created_at=now,
                    updated_at=now,
                    changed_in=generation,
                )
            )
        else:  # A number that is added again resumes its paused account.
            accounts.change(account.id, paused_until=None, updated_at=now, changed_in=generation)
        self._store_token(uow, account, number.auth_token, now)
        return account

    def _store_token(self, uow: UnitOfWork, account: ChannelAccount, token: str, now: datetime) -> None:
        credentials = Credentials(uow)
        sealer = self._keys.of(uow, account.owner_id).sealer
        previous = credentials.of_account(account.id)
        opened = None if previous is None else _token_in(previous, sealer)
        if opened == token:
            return
        sealed = sealer.seal(token, owner=account.owner_id, field=TOKEN_FIELD)
        # A token that does not open can check no signature, and would make every webhook of the account fail.
        kept = None if previous is None or opened is None else previous.auth_token_sealed
        credentials.store(StoredCredentials(account.id, account.owner_id, sealed, kept, now))

    def _check_tokens(self, uow: UnitOfWork, owner_id: UUID, number: NewNumber) -> None:
        """Refuse a token when other owners store many: a webhook is checked against every token of its account SID."""
        tokens = {number.auth_token}
        for stored in Credentials(uow).with_sid(number.account_sid.value):
            if stored.owner_id != owner_id:
                tokens.add(self._opened(uow, stored))
        if len(tokens) > MAX_TOKENS:
            raise Conflict(
                f"other owners store {MAX_TOKENS} different auth tokens of {number.account_sid}, which has two at "
                "most; give them the true one first: recado numbers add --check"
            )

    def _opened(self, uow: UnitOfWork, stored: StoredCredentials) -> str:
        try:
            return _token_in(stored, self._keys.of(uow, stored.owner_id).sealer) or ""
        except SealBroken:
            return ""


def _put(tx: Transaction, owner_id: UUID, account: ChannelAccount, address: Address) -> ChannelAddress:
    """Return the number of an address, in the account: the one that was there, also a removed one, or a new one."""
    addresses = ChannelAddresses(tx.uow)
    known = addresses.by_address(address.value) or addresses.removed(address.value)
    if known is None:
        return addresses.add(ChannelAddress(tx.ids.new(), owner_id, account.id, address.value, tx.now))
    if known.removed_at is None:
        addresses.change(known.id, account_id=account.id)
    else:  # What came while it was away is not for this owner: the gap sweep begins with the next webhook.
        addresses.change(known.id, account_id=account.id, removed_at=None, first_webhook_at=None, swept_until=None)
    return addresses.require(known.id)


def _token_in(stored: StoredCredentials, sealer: Sealer) -> str | None:
    """Return the current token, or None when it does not open."""
    try:
        return sealer.open(stored.auth_token_sealed, owner=stored.owner_id, field=TOKEN_FIELD)
    except SealBroken:
        return None
