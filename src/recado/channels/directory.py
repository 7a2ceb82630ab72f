"""The cache of addresses and accounts: whose an address is, and which accounts are stored.

Every webhook needs both, so the answers are cached. A transaction that changes an address, an account or its secrets
raises a generation that one row holds (`directory_generation`). A process that reads this row knows whether its cache
is current, and reads again only what changed. It polls the row every two seconds and before anything is refused: no
webhook is refused by a cache that is older than the webhook.

Most refused requests come from strangers, and there may be thousands of them a second. The stored accounts are cached
too, so an invented one costs no query. All requests that are about to be refused at one moment share one poll, and
there are at most fifty polls a second.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from recado.channels.models import AccountKey, KnownAddress
from recado.channels.repository import DirectoryGeneration, EveryAccount, EveryAddress
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy
from recado.identity.keys import KeyRing
from recado.identity.repository import owner_in

CACHE_SECONDS: Final = 2.0
"""An address is cached this long. The cache of accounts may be this old before the row is polled."""
MIN_POLL_SECONDS: Final = 0.02
"""The least time between two polls of the generation."""
REFRESH_TIMEOUT_SECONDS: Final = 5.0
"""A request waits this long for a poll, then it fails with `Busy`."""
MAX_CACHED: Final = 10_000


@dataclass(frozen=True, slots=True)
class _CachedAddress:
    address: KnownAddress
    until: float


@dataclass(frozen=True, slots=True)
class DirectoryChanges:
    """The result of a poll: the accounts that changed, or all accounts (`everything`)."""

    generation: int
    changed: dict[UUID, AccountKey]
    everything: frozenset[AccountKey] | None = None


Listener: TypeAlias = Callable[[DirectoryChanges], None]


class Directory:
    """Addresses and accounts, across all owners and providers."""

    def __init__(self, database: Database, clock: Clock, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._addresses: dict[str, _CachedAddress] = {}
        self._accounts: set[AccountKey] = set()
        self._listeners: list[Listener] = []
        self._generation = -1
        self._polled_at: float | None = None
        self._poll_began: float | None = None
        self._polling = asyncio.Lock()
        self._next_poll: asyncio.Task[None] | None = None

    # --- What is remembered, and how it stays true --------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Return the generation of the cache; -1 while it is empty."""
        return self._generation

    def knows_account(self, provider: str, account_ref: str) -> bool:
        """Return whether an account is stored, as far as this process knows."""
        return (provider, account_ref) in self._accounts

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with the changes of each poll, before any waiter for the poll continues."""
        self._listeners.append(listener)

    async def refresh_if_old(self) -> None:
        """Poll unless the last poll is younger than `CACHE_SECONDS`. Raises `Busy` like `refresh`."""
        if self._polled_at is None or self._clock.monotonic() - self._polled_at > CACHE_SECONDS:
            await self.refresh()

    async def refresh(self) -> int:
        """Make the cache at least as new as this call, and return its generation.

        All callers share one poll that begins after their call. Raises `Busy` when it takes too long.
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
                self._next_poll = None  # A request that comes after this line may know of something newer.
                began = self._poll_began = self._clock.monotonic()
                changes = await self._database.read(self._read_changes, owner=None)
                self._polled_at = began
                if changes is not None:
                    self._apply(changes)
        finally:
            if self._next_poll is asyncio.current_task():
                self._next_poll = None

    def _read_changes(self, uow: UnitOfWork) -> DirectoryChanges | None:
        current, accounts = DirectoryGeneration(uow).current(), EveryAccount(uow)
        if current == self._generation:
            return None
        if self._generation < 0 or current < self._generation:  # The first poll, or a backup was restored.
            return DirectoryChanges(current, {}, frozenset(accounts.every_ref()))
        return DirectoryChanges(current, accounts.changed_since(self._generation))

    def _apply(self, changes: DirectoryChanges) -> None:
        self._generation = changes.generation
        if changes.everything is not None:
            self._accounts = set(changes.everything)
            self._addresses.clear()
        else:
            self._accounts.update(changes.changed.values())
            self._addresses = {
                to: known for to, known in self._addresses.items() if known.address.account_id not in changes.changed
            }
        for listener in self._listeners:
            listener(changes)

    # --- Addresses ----------------------------------------------------------------------------------------------------

    async def lookup(self, to: str, *, fresh: bool = False) -> KnownAddress | None:
        """Return the address of ours that a message went to. For verified messages only: it queries the database.

        An unknown address is never cached. `fresh` queries even if the address is cached.
        """
        if not to.isprintable():  # No address of ours is such a text, and the database could not even take it.
            return None
        remembered = None if fresh else self._addresses.get(to)
        if remembered is not None and remembered.until > self._clock.monotonic():
            return remembered.address
        generation = self._generation
        found = await self._database.read(lambda uow: self._find(uow, to), owner=None)
        if found is None:
            self._addresses.pop(to, None)
        elif generation == self._generation:  # Otherwise it may be older than a change that was read meanwhile.
            if len(self._addresses) >= MAX_CACHED:
                self._addresses.clear()
            self._addresses[to] = _CachedAddress(found, self._clock.monotonic() + CACHE_SECONDS)
        return found

    async def mark_webhook(self, address: KnownAddress) -> None:
        """Store that the first verified webhook of an address has come."""
        now = self._clock.now()
        await self._database.write(
            lambda uow: EveryAddress(uow).mark_webhook(address.address_id, now), owner=None, urgent=True
        )
        self._addresses.pop(address.address, None)

    def _find(self, uow: UnitOfWork, to: str) -> KnownAddress | None:
        address = EveryAddress(uow).by_address(to)
        if address is None:
            return None
        account = EveryAccount(uow).require(address.account_id)
        return KnownAddress(
            address=to,
            address_id=address.id,
            owner_id=address.owner_id,
            account_id=account.id,
            provider=account.provider,
            account_ref=account.account_ref,
            locale=owner_in(uow, address.owner_id).locale,
            lane_salt=self._keys.of(uow, address.owner_id).lane_salt,
            had_webhook=address.first_webhook_at is not None,
        )


def _retrieve_exception(task: asyncio.Task[None]) -> None:
    """Retrieve the error of a poll whose waiters are all gone, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
