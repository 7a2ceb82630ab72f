"""The keys of tests: those of the RECADO_SECRET_KEY that is 32 times zero."""

from typing import Final

from recado.core.sealing import Sealer
from recado.identity.keys import KeyRing

KEY_RING: Final = KeyRing(Sealer(bytes(32)))


def key_ring() -> KeyRing:
    """Return the tests' key ring, for what takes a function that makes one."""
    return KEY_RING
