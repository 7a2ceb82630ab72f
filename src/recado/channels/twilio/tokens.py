"""The tokens that may have signed a webhook, and the credentials of our accounts."""

from typing import Final
from uuid import UUID

import structlog

from recado.channels.directory import MAX_CACHED, Directory, DirectoryChanges
from recado.channels.repository import EveryAccount
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


class TwilioTokens:
    """The auth tokens of all owners' accounts. The cache is as new as the directory."""

    def __init__(self, directory: Directory, database: Database, keys: KeyRing, clock: Clock) -> None:
        self._directory = directory
        self._database = database
        self._keys = keys
        self._samples = LogSampler(clock)
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
        signers = [
            Signer(each.account_id, each.owner_id, tuple(token for token in tokens if token is not None))
            for each, tokens in zip(stored, opened, strict=True)
        ]
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
