"""Whose number is this, and which tokens may have signed for it?

Asked for every webhook, so answers are remembered for two seconds: a number added or a token rotated by another process
is known after that. Who is *unknown* is never remembered, and before a signature is refused everything is read again.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import select

from recado.channels.twilio.models import KnownAddress, NoCredentials, TwilioAccount, TwilioCredentials
from recado.channels.twilio.repository import EveryAccount, EveryAddress
from recado.conversation.values import AccountSid
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import StorageUnavailable
from recado.core.sealing import SealBroken, Sealer
from recado.identity.tables import owners

log = structlog.get_logger(__name__)

REMEMBER_SECONDS = 2.0
_MOST = 10_000

TOKEN_FIELD = "twilio.auth_token"  # noqa: S105 - the name of a field, part of what binds a sealed token to its place


@dataclass(frozen=True, slots=True)
class _Remembered:
    address: KnownAddress
    until: float


class Directory:
    """Numbers and their accounts, across all owners."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._known: dict[str, _Remembered] = {}

    async def lookup(self, to: str, *, fresh: bool = False) -> KnownAddress | None:
        """The number of ours that a message went to."""
        if not to.isprintable():  # No number of ours is, and such text cannot even be asked for.
            return None
        remembered = None if fresh else self._known.get(to)
        if remembered is not None and remembered.until > self._clock.monotonic():
            return remembered.address
        found = await self._database.read(lambda uow: self._find(uow, to), owner=None)
        if found is None:
            self._known.pop(to, None)
        else:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[to] = _Remembered(found, self._clock.monotonic() + REMEMBER_SECONDS)
        return found

    async def mark_webhook(self, address: KnownAddress) -> None:
        """Remember that a number's first verified webhook has come."""
        now = self._clock.now()
        await self._database.write(
            lambda uow: EveryAddress(uow).mark_webhook(address.address_id, now), owner=None, urgent=True
        )
        self._known.clear()

    async def tokens_of(self, account_sid: str) -> tuple[str, ...]:
        """Every token, current and previous, that any owner has stored for the account."""
        if not account_sid.isprintable():
            return ()
        accounts = await self._database.read(lambda uow: EveryAccount(uow).bearing(account_sid), owner=None)
        return tuple(dict.fromkeys(token for account in accounts for token in self._tokens(account)))

    async def account_for(self, address_id: UUID) -> TwilioCredentials | NoCredentials:
        """What sending from an address of ours signs in with."""
        account = await self._database.read(lambda uow: self._account_of(uow, address_id), owner=None)
        if account is None:
            return NoCredentials("the number or its account is gone")
        try:
            token = self._sealer.open(account.auth_token_sealed, owner=account.owner_id, field=TOKEN_FIELD)
        except SealBroken as error:
            return NoCredentials(str(error))
        return TwilioCredentials(AccountSid(account.account_sid), token)

    def _find(self, uow: UnitOfWork, to: str) -> KnownAddress | None:
        address = EveryAddress(uow).by_address(to)
        if address is None:
            return None
        account = EveryAccount(uow).require(address.account_id)
        locale = uow.execute(select(owners.c.locale).where(owners.c.id == address.owner_id)).scalar_one()
        had_webhook = address.first_webhook_at is not None
        tokens = self._tokens(account)
        if not tokens:  # Twilio's fallback and our gap sweep get another chance when the key is mended.
            raise StorageUnavailable("the token of this number cannot be opened: is RECADO_SECRET_KEY the one it had?")
        return KnownAddress(address.id, address.owner_id, account.account_sid, tokens, locale, had_webhook)

    def _account_of(self, uow: UnitOfWork, address_id: UUID) -> TwilioAccount | None:
        address = EveryAddress(uow).get(address_id)
        return EveryAccount(uow).get(address.account_id) if address is not None else None

    def _tokens(self, account: TwilioAccount) -> tuple[str, ...]:
        """What can be opened of an account's tokens; one that cannot must not stop the other owners of the account."""
        opened = []
        for sealed in (account.auth_token_sealed, account.previous_token_sealed):
            try:
                if sealed is not None:
                    opened.append(self._sealer.open(sealed, owner=account.owner_id, field=TOKEN_FIELD))
            except SealBroken as error:
                log.error("twilio.token_unreadable", account=account.account_sid, why=str(error))  # noqa: TRY400
        return tuple(opened)
