"""Whose number is this, and which tokens may have signed for it?

Asked for every webhook, so answers are remembered. Every change of a number or a token is announced in the transaction
that makes it, by a generation that one row holds (`directory_generation`): a process that reads that row knows whether
what it remembers is still true, and reads again only what changed. It looks every two seconds, and before anything is
refused: no webhook is refused by a memory that is older than the webhook.

Most of what is refused comes from people who are not Twilio, and may come by the thousand a second. Which account SIDs
are stored is remembered too, so a made-up one is never looked up; and all that would be refused at one moment share one
look at the generation, of which there are at most fifty a second, however many ask.
"""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select

from recado.channels.models import KnownAddress, Signer, Signers
from recado.channels.repository import DirectoryGeneration, EveryAddress
from recado.channels.twilio.models import NoCredentials, TwilioAccount, TwilioCredentials
from recado.channels.twilio.repository import EveryAccount
from recado.conversation.values import AccountSid
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy
from recado.core.sampling import LogSampler
from recado.core.sealing import SealBroken, Sealer
from recado.identity.tables import owners

log = structlog.get_logger(__name__)

CACHE_SECONDS: Final = 2.0
"""How long a number is remembered, and how old what is remembered of accounts may get before it is looked at anew."""
MIN_POLL_SECONDS: Final = 0.02
"""The least time between two looks at the generation."""
REFRESH_TIMEOUT_SECONDS: Final = 5.0
"""How long a request waits for such a look; then it is told that we cannot say."""
_MAX_CACHED: Final = 10_000

TOKEN_FIELD = "twilio.auth_token"  # noqa: S105 - the name of a field, part of what binds a sealed token to its place


@dataclass(frozen=True, slots=True)
class _CachedAddress:
    address: KnownAddress
    until: float


@dataclass(frozen=True, slots=True)
class _DirectoryChanges:
    """What a look at the generation found: accounts that changed, or every account SID there is."""

    generation: int
    changed: dict[UUID, str]
    everything: frozenset[str] | None = None


class Directory:
    """Numbers and their accounts, across all owners."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._samples = LogSampler(clock)
        self._cached_addresses: dict[str, _CachedAddress] = {}
        self._signers: dict[str, Signers] = {}
        self._known_accounts: set[str] = set()
        self._generation = -1
        self._polled_at: float | None = None
        self._poll_began: float | None = None
        self._polling = asyncio.Lock()
        self._next_poll: asyncio.Task[None] | None = None

    # --- What is remembered, and how it stays true --------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """The generation of what is remembered; -1 before anything is."""
        return self._generation

    def knows_account(self, account_sid: str) -> bool:
        """Whether an account of that SID is stored, as far as it is known: what names a metric or a line of the log."""
        return account_sid in self._known_accounts

    async def refresh(self) -> int:
        """Make what is remembered as new as this call, and say of which generation it is then.

        All who wait share one look that begins after they came. Raises `Busy` when it takes too long.
        """
        task = self._next_poll
        if task is None:
            task = self._next_poll = asyncio.ensure_future(self._poll())
            task.add_done_callback(_retrieve_exception)
        try:
            async with asyncio.timeout(REFRESH_TIMEOUT_SECONDS):
                await asyncio.shield(task)
        except TimeoutError as error:
            raise Busy("whose number this is could not be looked up in time; try again") from error
        return self._generation

    async def _poll(self) -> None:
        try:
            async with self._polling:  # Never two at once: a flood gets one reader at most.
                if self._poll_began is not None:
                    pause = self._poll_began + MIN_POLL_SECONDS - self._clock.monotonic()
                    await asyncio.sleep(min(max(pause, 0.0), MIN_POLL_SECONDS))
                self._next_poll = None  # Who asks from here on may know of something newer than this look will see.
                began = self._poll_began = self._clock.monotonic()
                changes = await self._database.read(self._read_changes, owner=None)
                self._polled_at = began
                self._apply(changes)
        finally:
            if self._next_poll is asyncio.current_task():
                self._next_poll = None

    def _read_changes(self, uow: UnitOfWork) -> _DirectoryChanges | None:
        current, accounts = DirectoryGeneration(uow).current(), EveryAccount(uow)
        if current == self._generation:
            return None
        if self._generation < 0 or current < self._generation:  # The first look; or a backup was restored.
            return _DirectoryChanges(current, {}, frozenset(accounts.every_sid()))
        return _DirectoryChanges(current, accounts.changed_since(self._generation))

    def _apply(self, changes: _DirectoryChanges | None) -> None:
        if changes is None:
            return
        self._generation = changes.generation
        if changes.everything is not None:
            self._known_accounts = set(changes.everything)
            self._signers.clear()
            self._cached_addresses.clear()
            return
        self._known_accounts.update(changes.changed.values())
        for account_sid in changes.changed.values():
            self._signers.pop(account_sid, None)
        self._cached_addresses = {
            to: known for to, known in self._cached_addresses.items() if known.address.account_id not in changes.changed
        }

    # --- Accounts and their tokens ------------------------------------------------------------------------------------

    async def signers(self, account_sid: str) -> Signers:
        """Every account of that SID, of all owners; a SID that is not stored costs nothing."""
        if self._polled_at is None or self._clock.monotonic() - self._polled_at > CACHE_SECONDS:
            await self.refresh()
        found = self._signers.get(account_sid)
        if found is None:
            if account_sid not in self._known_accounts:
                return Signers()
            generation = self._generation
            found = await self._database.read(lambda uow: self._read_signers(uow, account_sid), owner=None)
            if generation == self._generation:  # Else it may be from before a change that was taken in meanwhile.
                if len(self._signers) >= _MAX_CACHED:
                    self._signers.clear()
                self._signers[account_sid] = found
        return found

    async def account_for(self, account_id: UUID) -> TwilioCredentials | NoCredentials:
        """What sending with an account of ours signs in with."""
        account = await self._database.read(lambda uow: EveryAccount(uow).get(account_id), owner=None)
        if account is None:
            return NoCredentials("the number or its account is gone")
        try:
            token = self._sealer.open(account.auth_token_sealed, owner=account.owner_id, field=TOKEN_FIELD)
        except SealBroken as error:
            return NoCredentials(str(error))
        return TwilioCredentials(AccountSid(account.account_sid), token)

    def _read_signers(self, uow: UnitOfWork, account_sid: str) -> Signers:
        accounts = EveryAccount(uow).bearing(account_sid)
        opened = [self._opened(account) for account in accounts]
        signers = [
            Signer(account.id, account.owner_id, tuple(token for token in tokens if token is not None))
            for account, tokens in zip(accounts, opened, strict=True)
        ]
        return Signers(tuple(signers), unreadable=any(None in tokens for tokens in opened))

    def _opened(self, account: TwilioAccount) -> list[str | None]:
        """An account's tokens, None for one that cannot be opened; it must not stop other owners of the same SID."""
        opened: list[str | None] = []
        for sealed in (account.auth_token_sealed, account.previous_token_sealed):
            try:
                if sealed is not None:
                    opened.append(self._sealer.open(sealed, owner=account.owner_id, field=TOKEN_FIELD))
            except SealBroken as error:
                opened.append(None)
                times = self._samples.admit("twilio.token_unreadable", account.account_sid)
                if times:
                    log.error("twilio.token_unreadable", account=account.account_sid, why=str(error), times=times)  # noqa: TRY400
        return opened

    # --- Numbers ------------------------------------------------------------------------------------------------------

    async def lookup(self, to: str, *, fresh: bool = False) -> KnownAddress | None:
        """The number of ours that a message went to; an unknown one is never remembered. For signed messages only."""
        if not to.isprintable():  # No number of ours is, and such text cannot even be asked for.
            return None
        remembered = None if fresh else self._cached_addresses.get(to)
        if remembered is not None and remembered.until > self._clock.monotonic():
            return remembered.address
        generation = self._generation
        found = await self._database.read(lambda uow: self._find(uow, to), owner=None)
        if found is None:
            self._cached_addresses.pop(to, None)
        elif generation == self._generation:
            if len(self._cached_addresses) >= _MAX_CACHED:
                self._cached_addresses.clear()
            self._cached_addresses[to] = _CachedAddress(found, self._clock.monotonic() + CACHE_SECONDS)
        return found

    async def mark_webhook(self, address: KnownAddress) -> None:
        """Remember that a number's first verified webhook has come."""
        now = self._clock.now()
        await self._database.write(
            lambda uow: EveryAddress(uow).mark_webhook(address.address_id, now), owner=None, urgent=True
        )
        self._cached_addresses.pop(address.address, None)

    def _find(self, uow: UnitOfWork, to: str) -> KnownAddress | None:
        address = EveryAddress(uow).by_address(to)
        if address is None:
            return None
        account = EveryAccount(uow).require(address.account_id)
        locale = uow.execute(select(owners.c.locale).where(owners.c.id == address.owner_id)).scalar_one()
        had_webhook = address.first_webhook_at is not None
        return KnownAddress(
            to, address.id, address.owner_id, account.id, account.account_sid, locale, had_webhook=had_webhook
        )


def _retrieve_exception(task: asyncio.Task[None]) -> None:
    """Those who waited may all have gone; an error that no one hears of is none."""
    if not task.cancelled():
        task.exception()
