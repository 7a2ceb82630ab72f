"""Whether RECADO_SECRET_KEY is the key that sealed the owners' keys and those of the installation."""

from collections.abc import Sequence
from typing import Final

from recado.core.database.unit_of_work import UnitOfWork
from recado.core.sealing import SealBroken
from recado.identity.keys import KeyRing
from recado.identity.models import SealedOwnerKeys
from recado.identity.repository import SystemKeyRows
from recado.operations.storage.readiness import newest_keys

OPENS_NONE: Final = "RECADO_SECRET_KEY is not the key that sealed the owners' keys: set the one that did"
_TRIED: Final = 100
"""So many owners are tried before the key is called wrong, and not a row."""


def key_problem(uow: UnitOfWork, key_ring: KeyRing) -> str | None:
    """Return a sentence when the key opens the keys of none of the newest owners, or not those of the installation.

    One owner is enough: a changed row of one owner must not make the server unready for the others. Nothing can be sent
    for any owner without the keys of the installation.
    """
    found = newest_keys(uow, 1)
    if not found or opens(key_ring, found[0]) or any(opens(key_ring, each) for each in newest_keys(uow, _TRIED)):
        return system_key_problem(uow, key_ring)
    return OPENS_NONE


def system_key_problem(uow: UnitOfWork, key_ring: KeyRing) -> str | None:
    """Return a sentence when the key does not open a key of the installation, else None."""
    try:
        for stored in SystemKeyRows(uow).all():
            key_ring.open_system_key(stored)
    except SealBroken as error:
        return str(error)
    return None


def unopened(found: Sequence[SealedOwnerKeys], key_ring: KeyRing) -> list[SealedOwnerKeys]:
    """Return the owners' keys that do not open."""
    return [each for each in found if not opens(key_ring, each)]


def opens(key_ring: KeyRing, stored: SealedOwnerKeys) -> bool:
    """Return whether an owner's keys can be opened."""
    try:
        key_ring.open(stored)
    except SealBroken:
        return False
    return True
