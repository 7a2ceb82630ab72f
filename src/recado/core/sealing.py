"""Secrets at rest: sealed with a key that never lies beside them, and bound to the owner and field they belong to.

Whoever steals the database finds no Twilio token, and whoever can write to it cannot move one owner's token into
another's row: the owner and the field's name are part of what AES-GCM authenticates.

    sealed = version (1 byte) | nonce (12 bytes) | ciphertext and tag

The key people set seals nothing itself: each use gets a key of its own by HKDF, so that a weakness of one use (a MAC in
a public address, say) says nothing about another.
"""

import secrets
from collections.abc import Callable
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from recado.core.errors import ConfigurationError, DomainError

KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


class SealBroken(DomainError):
    """A stored secret cannot be opened: another key sealed it, or the row was changed or moved."""

    code = "core.seal_broken"


class SealUnknown(SealBroken):
    """A stored secret was sealed by a later release."""

    code = "core.seal_unknown"


class Sealer:
    """Seals and opens texts with keys derived from one secret key."""

    def __init__(self, secret_key: bytes, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        if len(secret_key) != KEY_BYTES:
            raise ConfigurationError(f"RECADO_SECRET_KEY must be {KEY_BYTES} bytes, not {len(secret_key)}")
        self._secret_key = secret_key
        self._random_bytes = random_bytes
        self._cipher = AESGCM(self._derived(b"recado seal 1"))

    def seal(self, plaintext: str, *, owner: UUID, field: str) -> bytes:
        """`plaintext` so that only `open` with the same key, owner and field gives it back."""
        nonce = self._random_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plaintext.encode(), _binding(owner, field))

    def open(self, sealed: bytes, *, owner: UUID, field: str) -> str:
        """What was sealed; raises `SealBroken` if it is not exactly what was sealed for this owner and field."""
        version, nonce, ciphertext = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if len(ciphertext) < _TAG_BYTES:
            raise SealBroken(f"the stored {field} is cut short; set it again")
        if version != _VERSION:
            raise SealUnknown(f"the stored {field} was sealed by a later release; run that one, or set it again")
        try:
            return self._cipher.decrypt(nonce, ciphertext, _binding(owner, field)).decode()
        except InvalidTag as error:
            raise SealBroken(
                f"the stored {field} cannot be opened: RECADO_SECRET_KEY is not the key that sealed it, "
                "or the row was changed"
            ) from error

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for `purpose` alone, always the same for the same secret key; each call derives it anew."""
        return self._derived(b"recado use " + purpose.encode())

    def _derived(self, info: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._secret_key)


def _binding(owner: UUID, field: str) -> bytes:
    """What is authenticated beside the text; the owner's 16 bytes come first, so no two pairs give the same bytes."""
    return _VERSION + owner.bytes + field.encode()
