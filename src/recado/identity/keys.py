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
from recado.identity.models import SealedOwnerKeys
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
        self._sealer.check_key(stored.data_key_id, f"the data key of owner {stored.id}")
        sealer = self._of_data_key(self._sealer.open_bytes(stored.data_key_sealed, owner=stored.id, field=DATA_KEY))
        return OwnerKeys(sealer, sealer.open_bytes(stored.lane_salt_sealed, owner=stored.id, field=LANE_SALT))

    def opens(self, stored: SealedOwnerKeys) -> bool:
        """Return whether the keys can be opened."""
        try:
            self.open(stored)
        except SealBroken:
            return False
        return True

    def of(self, uow: UnitOfWork, owner_id: UUID) -> OwnerKeys:
        """Return an owner's keys; raises `NotFound` and what `open` raises."""
        return self.open(OwnerKeyRows(uow).require(owner_id))

    def _of_data_key(self, data_key: bytes) -> Sealer:
        return Sealer(data_key, self._random_bytes, cause=_CHANGED)


class SystemKeys:
    """Keys of the installation.

    Each is made when it is first needed, and is the same for all processes from then on.
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

    async def get(self, name: str) -> bytes:
        """Return the key of this name, 32 random bytes; raises `SealBroken` when another key sealed it."""
        opened = self._opened.get(name)
        if opened is None:
            opened = self._opened[name] = self._open(name, *await self._stored(name))
        return opened

    async def _stored(self, name: str) -> tuple[bytes, str]:
        found = await self._database.read(lambda uow: SystemKeyRows(uow).get(name), owner=None)
        if found is not None:
            return found
        # Several processes may come here at once: the key that is stored first counts, and all of them use it.
        sealed = self._sealer.seal_bytes(self._random_bytes(KEY_BYTES), owner=SYSTEM_OWNER, field=_field(name))
        key_id, now = self._sealer.key_id, self._clock.now()
        return await self._database.write(
            lambda uow: SystemKeyRows(uow).add_if_absent(name, sealed, key_id, now), owner=None
        )

    def _open(self, name: str, sealed: bytes, key_id: str) -> bytes:
        self._sealer.check_key(key_id, f"the key {name!r} of this installation")
        return self._sealer.open_bytes(sealed, owner=SYSTEM_OWNER, field=_field(name))


def _field(name: str) -> str:
    return f"system_keys.{name}"
