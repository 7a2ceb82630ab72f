"""The tokens that may have signed a webhook, and the credentials of our accounts."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from recado.channels.directory import MAX_CACHED, Directory, DirectoryChanges
from recado.channels.repository import ChannelAccounts, DirectoryGeneration, EveryAccount
from recado.channels.twilio.models import NoCredentials, Signer, Signers, StoredCredentials, TwilioCredentials
from recado.channels.twilio.repository import Credentials
from recado.channels.twilio.values import PROVIDER, AccountSid
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.sampling import LogSampler
from recado.core.sealing import SealBroken
from recado.identity.keys import KeyRing

log = structlog.get_logger(__name__)

TOKEN_FIELD: Final = "twilio.auth_token"  # noqa: S105 - the name of a field, part of what binds a sealed token to its place


ROTATION_GRACE: Final = 600.0
"""Seconds from the first webhook with the current token until the previous one is forgotten.

What it signed may still be on its way.
"""


class TwilioTokens:
    """The auth tokens of all owners' accounts. The cache is as new as the directory.

    While a token is rotated the previous one counts too, for Twilio signs with it until the new one is promoted, which
    may be days later. What the new one has signed tells that it was.
    """

    def __init__(self, directory: Directory, database: Database, keys: KeyRing, clock: Clock) -> None:
        self._directory = directory
        self._database = database
        self._keys = keys
        self._clock = clock
        self._samples = LogSampler(clock)
        self._promoted: dict[bytes, float] = {}
        """When a current token was first seen to sign, as it is stored, while the previous one counts too."""
        self._signers: dict[str, Signers] = {}
        directory.subscribe(self._forget)

    async def signers(self, account_sid: str) -> Signers:
        """Return every account with that SID, of all owners. A SID that is not stored costs no query."""
        await self._directory.refresh_if_old()
        found = self._signers.get(account_sid)
        if found is None:
            if not self._directory.knows_account(PROVIDER, account_sid):
                return Signers()
            generation = self._directory.generation
            found = await self._database.read(lambda uow: self._read_signers(uow, account_sid), owner=None)
            if (
                generation == self._directory.generation
            ):  # Otherwise it may be older than a change that was read meanwhile.
                if len(self._signers) >= MAX_CACHED:
                    self._signers.clear()
                self._signers[account_sid] = found
        return found

    async def saw(self, token: str, signers: Iterable[Signer]) -> None:
        """Forget the previous tokens of accounts whose current one signs, some minutes after that began."""
        now = self._clock.monotonic()
        for signer in signers:
            sealed = signer.sealed
            if sealed is None or signer.tokens[0] != token:
                continue
            if len(self._promoted) >= MAX_CACHED:
                self._promoted.clear()
            if now - self._promoted.setdefault(sealed, now) >= ROTATION_GRACE:
                await self._database.write(partial(_forget_previous, signer=signer, sealed=sealed), owner=None)
                del self._promoted[sealed]

    async def account_for(self, account_id: UUID) -> TwilioCredentials | NoCredentials:
        """Return the credentials for requests with an account of ours."""
        return await self._database.read(lambda uow: self._read_account(uow, account_id), owner=None)

    def _read_account(self, uow: UnitOfWork, account_id: UUID) -> TwilioCredentials | NoCredentials:
        account, stored = EveryAccount(uow).get(account_id), Credentials(uow).of_account(account_id)
        if account is None or stored is None:
            return NoCredentials("the number was removed", gone=True)
        try:
            sealer = self._keys.of(uow, stored.owner_id).sealer
            token = sealer.open(stored.auth_token_sealed, owner=stored.owner_id, field=TOKEN_FIELD)
        except SealBroken as error:
            return NoCredentials(str(error))
        return TwilioCredentials(AccountSid(account.account_ref), token)

    def _read_signers(self, uow: UnitOfWork, account_sid: str) -> Signers:
        stored = Credentials(uow).with_sid(account_sid)
        opened = [self._opened(uow, account_sid, each) for each in stored]
        signers = [_signer(each, tokens) for each, tokens in zip(stored, opened, strict=True)]
        return Signers(tuple(signers), unreadable=any(None in tokens for tokens in opened))

    def _opened(self, uow: UnitOfWork, account_sid: str, stored: StoredCredentials) -> list[str | None]:
        """Return an account's tokens, or None if they cannot be opened. Other owners of the SID still work."""
        opened: list[str | None] = []
        for sealed in (stored.auth_token_sealed, stored.previous_token_sealed):
            try:
                if sealed is not None:
                    sealer = self._keys.of(uow, stored.owner_id).sealer
                    opened.append(sealer.open(sealed, owner=stored.owner_id, field=TOKEN_FIELD))
            except SealBroken as error:
                opened.append(None)
                if times := self._samples.admit("twilio.token_unreadable", account_sid):
                    log.error("twilio.token_unreadable", account=account_sid, why=str(error), times=times)  # noqa: TRY400
        return opened

    def _forget(self, changes: DirectoryChanges) -> None:
        if changes.everything is not None:
            self._signers.clear()
        for provider, account_ref in changes.changed.values():
            if provider == PROVIDER:
                self._signers.pop(account_ref, None)


def _signer(stored: StoredCredentials, opened: Sequence[str | None]) -> Signer:
    tokens = tuple(token for token in opened if token is not None)
    is_rotated = len(tokens) == 2
    return Signer(stored.account_id, stored.owner_id, tokens, stored.auth_token_sealed if is_rotated else None)


def _forget_previous(uow: UnitOfWork, signer: Signer, sealed: bytes) -> None:
    narrowed = uow.for_owner(signer.owner_id)
    generation = DirectoryGeneration(narrowed).advance()
    if Credentials(narrowed).forget_previous(signer.account_id, sealed):
        ChannelAccounts(narrowed).change(signer.account_id, changed_in=generation)
