"""The keys of tests: those of the RECADO_SECRET_KEY that is 32 times zero."""

from datetime import datetime
from typing import Final
from uuid import UUID

from recado.channels.twilio.callbacks import CallbackRefs
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.sealing import Sealer
from recado.identity.keys import KeyRing
from recado.identity.models import Owner
from recado.identity.repository import Owners

KEY_RING: Final = KeyRing(Sealer(bytes(32)))


def key_ring() -> KeyRing:
    """Return the tests' key ring, for what takes a function that makes one."""
    return KEY_RING


def register_owner(uow: UnitOfWork, owner_id: UUID, now: datetime) -> None:
    """Store an owner of this id, with its keys and without a user."""
    owner = Owner(id=owner_id, name="Padaria", email=f"{owner_id.hex}@example.org", created_at=now)
    Owners(uow).register(owner, KEY_RING.make(owner_id))


def callback_refs(key: bytes = bytes(32)) -> CallbackRefs:
    """Return callback references under a key that no database holds."""

    async def known() -> bytes:
        return key

    return CallbackRefs(known, known)
