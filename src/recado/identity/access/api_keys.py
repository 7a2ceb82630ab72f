"""API keys of programs: `rcd_<id>_<secret>`, shown once, stored as a hash.

The last six characters are a checksum over the rest, so that a scanner of leaked secrets tells a key from a text that
looks like one, and so that a typing error costs no query.
"""

import hmac
import re
import secrets
import zlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import Busy, InvalidInput, NotFound, StorageUnavailable
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.access.models import USED_EVERY, IssuedKey
from recado.identity.access.repository import AllApiKeys, ApiKeys
from recado.identity.access.tokens import TOKEN_BYTES, RandomBytes, hash_of
from recado.identity.models import valid_name
from recado.identity.permissions import OF_KEYS, NotAllowed, valid_scopes
from recado.identity.principal import Principal
from recado.identity.repository import lasting_owner

LASTS_AT_MOST: Final = timedelta(days=3_650)
"""The end that a key may be given is no further away."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH: Final = 43
_CHECKSUM_LENGTH: Final = 6
_KEY: Final = re.compile(r"(rcd_([0-9a-f]{32})_([0-9A-Za-z]{43}))([0-9A-Za-z]{6})")
_NO_HASH: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made. Without scopes it may do all that a key may do; without an end it lasts until it is revoked."""

    name: str
    scopes: Collection[str] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key, and its text, which is shown now and never again."""

    key: IssuedKey
    text: str = field(repr=False)


class ApiKeyService:
    """Makes API keys, tells who bears one, and revokes them."""

    def __init__(
        self, database: Database, clock: Clock, ids: Ids, random_bytes: RandomBytes = secrets.token_bytes
    ) -> None:
        self._database = database
        self._clock = clock
        self._transactions = Transactions(database, clock, ids)
        self._random_bytes = random_bytes

    async def create(self, principal: Principal, form: NewKey) -> CreatedKey:
        """Make a key. Raises `InvalidInput`, `NotFound`, `BeingDeleted`, and `NotAllowed` for a scopes above it."""
        name, scopes = valid_name(form.name), None if form.scopes is None else valid_scopes(form.scopes)
        lacking = sorted((OF_KEYS if scopes is None else scopes) - frozenset(principal.permissions))
        if lacking:
            raise NotAllowed(f"{principal.name} cannot give a key the permission {lacking[0]}, which they do not have")
        ends = None if form.expires_at is None else _valid_end(form.expires_at, self._clock.now())
        secret = _in_digits(self._random_bytes(TOKEN_BYTES), _SECRET_LENGTH)

        def work(tx: Transaction) -> IssuedKey:
            lasting_owner(tx.uow, principal.owner_id)
            key = IssuedKey(
                id=tx.ids.new(),
                owner_id=principal.owner_id,
                name=name,
                secret_hash=hash_of(secret),
                scopes=None if scopes is None else sorted(scopes),
                created_at=tx.now,
                created_by=principal.name,
                expires_at=ends,
            )
            audit.record(tx, principal, "key.created", "key", key.id, {"scopes": key.scopes})
            return ApiKeys(tx.uow).add(key)

        key = await self._transactions.write(work, owner=principal.owner_id)
        return CreatedKey(key, _text(key.id, secret))

    async def revoke(self, principal: Principal, key_id: UUID) -> IssuedKey:
        """End a key at once. A second call keeps the time of the first. Raises `NotFound`."""

        def work(tx: Transaction) -> IssuedKey:
            keys = ApiKeys(tx.uow)
            tx.uow.lock_by_name(f"API key {key_id}")
            if keys.require(key_id).revoked_at is None:
                keys.change(key_id, revoked_at=tx.now)
                audit.record(tx, principal, "key.revoked", "key", key_id)
            return keys.require(key_id)

        return await self._transactions.write(work, owner=principal.owner_id)

    async def principal_of(self, text: str, *, source: str | None = None) -> Principal | None:
        """Return the principal of a key, or None for any text that is no valid key of ours."""
        told = _KEY.fullmatch(text)
        if told is None or told[4] != _checksum(told[1]):
            return None
        key_id, secret_hash, now = UUID(told[2]), hash_of(told[3]), self._clock.now()
        key = await self._database.read(lambda uow: AllApiKeys(uow).get(key_id), owner=None)
        if not hmac.compare_digest(_NO_HASH if key is None else key.secret_hash, secret_hash):
            return None
        if key is None or not key.is_valid(now):
            return None
        await self._note_use(key, now)
        return Principal("key", key.owner_id, key.id, key.name, key.permissions, source)

    async def owner_of(self, key_id: UUID) -> UUID:
        """Return the owner of a key, for operators who may see every owner's. Raises `NotFound`."""
        key = await self._database.read(lambda uow: AllApiKeys(uow).get(key_id), owner=None)
        if key is None:
            raise NotFound(f"there is no API key {key_id}; `recado keys list` shows them")
        return key.owner_id

    async def _note_use(self, key: IssuedKey, now: datetime) -> None:
        if key.last_used_at is not None and now - key.last_used_at < USED_EVERY:
            return
        # A database that cannot store now still lets programs read.
        with suppress(Busy, StorageUnavailable):
            await self._database.write(lambda uow: ApiKeys(uow).change(key.id, last_used_at=now), owner=key.owner_id)


def _valid_end(end: datetime, now: datetime) -> datetime:
    """Return the end of a key in UTC. Raises `InvalidInput`."""
    if end <= now:
        raise InvalidInput("the end of the key is past; give a later one, or none")
    if end > now + LASTS_AT_MOST:
        raise InvalidInput("the end of the key is more than ten years away; give an earlier one, or none")
    return end.astimezone(UTC)


def _text(key_id: UUID, secret: str) -> str:
    begins = f"rcd_{key_id.hex}_{secret}"
    return begins + _checksum(begins)


def _checksum(text: str) -> str:
    return _in_digits(zlib.crc32(text.encode("ascii")).to_bytes(4), _CHECKSUM_LENGTH)


def _in_digits(value: bytes, length: int) -> str:
    """Return a number in letters and digits only: a double click selects the whole key."""
    number, digits = int.from_bytes(value), ""
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
