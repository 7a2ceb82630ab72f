"""The stored keys: a data key and a lane salt of each owner, and the keys of the whole installation.

    RECADO_SECRET_KEY ─seals─▶ an owner's data key ─seals─▶ its lane salt, its tokens and API keys
                      └─seals─▶ the keys of the installation (`system_keys`), such as the one of callbacks

All of them are random and made once, an owner's at its registration. No lasting key is derived from RECADO_SECRET_KEY:
when it changes, the keys stay and are only sealed again.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import SYSTEM_OWNER
from recado.core.sealing import KEY_BYTES, SealBroken, Sealer
from recado.identity.models import SealedOwnerKeys, SealedSystemKey
from recado.identity.repository import OwnerKeyRows, SystemKeyRows

DATA_KEY: Final = "owners.data_key"
LANE_SALT: Final = "owners.lane_salt"
_CHANGED: Final = "the row was changed or moved; set it again"


@dataclass(frozen=True, slots=True)
class OwnerKeys:
    """One owner's keys, opened. `sealer` uses the data key and seals everything else of the owner."""

    sealer: Sealer = field(repr=False)
    lane_salt: bytes = field(repr=False)


class KeyRing:
    """Make owners' keys, and open them with RECADO_SECRET_KEY."""

    def __init__(self, sealer: Sealer, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._sealer = sealer
        self._random_bytes = random_bytes

    def make(self, owner_id: UUID) -> SealedOwnerKeys:
        """Return new keys for an owner that is about to register."""
        data_key, salt = self._random_bytes(KEY_BYTES), self._random_bytes(KEY_BYTES)
        return SealedOwnerKeys(
            id=owner_id,
            data_key_sealed=self._sealer.seal_bytes(data_key, owner=owner_id, field=DATA_KEY),
            data_key_id=self._sealer.key_id,
            lane_salt_sealed=self._of_data_key(data_key).seal_bytes(salt, owner=owner_id, field=LANE_SALT),
        )

    def open(self, stored: SealedOwnerKeys) -> OwnerKeys:
        """Return the keys; raises `SealBroken` when another key sealed them or the row was changed."""
        _check_owner(self._sealer, stored)
        sealer = self._of_data_key(self._sealer.open_bytes(stored.data_key_sealed, owner=stored.id, field=DATA_KEY))
        return OwnerKeys(sealer, sealer.open_bytes(stored.lane_salt_sealed, owner=stored.id, field=LANE_SALT))

    def opens(self, stored: SealedOwnerKeys) -> bool:
        """Return whether the keys can be opened."""
        try:
            self.open(stored)
        except SealBroken:
            return False
        return True

    def is_of_another(self, stored: SealedOwnerKeys) -> bool:
        """Return whether another RECADO_SECRET_KEY sealed the keys."""
        return stored.data_key_id != self._sealer.key_id

    def refuse_other_key(self, uow: UnitOfWork) -> None:
        """Raise `OtherKey` when an owner's keys were sealed with another RECADO_SECRET_KEY."""
        _refuse_other_key(uow, self._sealer)

    def of(self, uow: UnitOfWork, owner_id: UUID) -> OwnerKeys:
        """Return an owner's keys; raises `NotFound` and what `open` raises."""
        return self.open(OwnerKeyRows(uow).require(owner_id))

    def open_system_key(self, stored: SealedSystemKey) -> bytes:
        """Return a key of the installation; raises what `open` raises."""
        return _open_system_key(self._sealer, stored)

    def _of_data_key(self, data_key: bytes) -> Sealer:
        return Sealer(data_key, self._random_bytes, cause=_CHANGED)


class SystemKeys:
    """Keys of the installation.

    Each is made when it is first needed, and is the same for all processes from then on. Reading makes none: a request
    that nobody signed reads too.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._random_bytes = random_bytes
        self._opened: dict[str, bytes] = {}

    async def get(self, name: str) -> bytes | None:
        """Return the key of this name, 32 random bytes, or None while none is stored.

        Raises `SealBroken` when another key sealed it.
        """
        opened = self._opened.get(name)
        if opened is None:
            stored = await self._database.read(lambda uow: SystemKeyRows(uow).get(name), owner=None)
            opened = None if stored is None else self._remember(stored)
        return opened

    async def get_or_make(self, name: str) -> bytes:
        """Return the key of this name, and make it if there is none.

        Raises `OtherKey` instead of making it while an owner's keys are sealed with another RECADO_SECRET_KEY.
        """
        return await self.get(name) or self._remember(await self._database.write(self._maker(name), owner=None))

    def _maker(self, name: str) -> Callable[[UnitOfWork], SealedSystemKey]:
        sealed = self._sealer.seal_bytes(self._random_bytes(KEY_BYTES), owner=SYSTEM_OWNER, field=_field(name))
        key, now = SealedSystemKey(name, sealed, self._sealer.key_id), self._clock.now()

        def make(uow: UnitOfWork) -> SealedSystemKey:
            # A wrong RECADO_SECRET_KEY here would be needed for good: nothing but the key that sealed it opens it.
            _refuse_other_key(uow, self._sealer)
            # Several processes may come here at once: the key that is stored first counts, and all of them use it.
            return SystemKeyRows(uow).add_if_absent(key, now)

        return make

    def _remember(self, stored: SealedSystemKey) -> bytes:
        opened = self._opened[stored.name] = _open_system_key(self._sealer, stored)
        return opened


def _refuse_other_key(uow: UnitOfWork, sealer: Sealer) -> None:
    """Raise `OtherKey` when an owner's keys were sealed with another RECADO_SECRET_KEY."""
    other = OwnerKeyRows(uow).sealed_by_another(sealer.key_id)
    if other is not None:
        _check_owner(sealer, other)


def _check_owner(sealer: Sealer, stored: SealedOwnerKeys) -> None:
    sealer.check_key(stored.data_key_id, f"the data key of owner {stored.id}")


def _open_system_key(sealer: Sealer, stored: SealedSystemKey) -> bytes:
    sealer.check_key(stored.key_id, f"the key {stored.name!r} of this installation")
    return sealer.open_bytes(stored.sealed, owner=SYSTEM_OWNER, field=_field(stored.name))


def _field(name: str) -> str:
    return f"system_keys.{name}"
