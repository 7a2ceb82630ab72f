"""Secrets at rest: sealed with a key that never lies beside them, and bound to the owner and column they belong to.

A stolen database reveals no token, and a writer to it cannot move one owner's token into the row of another: AES-GCM
also authenticates the owner and the name of the column.

    sealed = version (1 byte) | nonce (12 bytes) | ciphertext and tag

RECADO_SECRET_KEY seals keys only: each owner's data key and the keys of the installation. A data key seals everything
else of its owner. So another RECADO_SECRET_KEY needs a few bytes an owner sealed again, and no secret itself.
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
_ID_BYTES: Final = 8


class SealBroken(DomainError):
    """A stored secret cannot be opened: another key sealed it, or the row was changed or moved."""

    code = "core.seal_broken"
    status = 503


class SealUnknown(SealBroken):
    """A stored secret was sealed by a later release."""

    code = "core.seal_unknown"


class OtherKey(SealBroken):
    """A stored secret was sealed with another RECADO_SECRET_KEY."""

    code = "core.other_key"


class Sealer:
    """Seals and opens secrets with one key. `cause` says what is wrong when something does not open."""

    def __init__(
        self,
        key: bytes,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        *,
        cause: str = "RECADO_SECRET_KEY is not the key that sealed it, or the row was changed",
    ) -> None:
        if len(key) != KEY_BYTES:
            raise ConfigurationError(f"RECADO_SECRET_KEY must be {KEY_BYTES} bytes, not {len(key)}")
        self._random_bytes = random_bytes
        self._cause = cause
        self._cipher = AESGCM(_derived(key, b"recado seal 1", KEY_BYTES))
        self.key_id = _derived(key, b"recado key id 1", _ID_BYTES).hex()
        """Names the key without telling anything of it; stored beside what the key seals."""

    def seal(self, plaintext: str, *, owner: UUID, field: str) -> bytes:
        """Return `plaintext` sealed: only `open` with the same key, owner and field gives it back."""
        return self.seal_bytes(plaintext.encode(), owner=owner, field=field)

    def open(self, sealed: bytes, *, owner: UUID, field: str) -> str:
        """Return the text that was sealed; raises `SealBroken` unless it was sealed for this owner and field."""
        return self.open_bytes(sealed, owner=owner, field=field).decode()

    def seal_bytes(self, plaintext: bytes, *, owner: UUID, field: str) -> bytes:
        """Like `seal`, for bytes."""
        nonce = self._random_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plaintext, _binding(owner, field))

    def open_bytes(self, sealed: bytes, *, owner: UUID, field: str) -> bytes:
        """Like `open`, for bytes."""
        version, nonce, ciphertext = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if len(ciphertext) < _TAG_BYTES:
            raise SealBroken(f"the stored {field} is cut short; set it again")
        if version != _VERSION:
            raise SealUnknown(f"the stored {field} was sealed by a later release; run that one, or set it again")
        try:
            return self._cipher.decrypt(nonce, ciphertext, _binding(owner, field))
        except InvalidTag as error:
            raise SealBroken(f"the stored {field} cannot be opened: {self._cause}") from error

    def check_key(self, key_id: str, what: str) -> None:
        """Raise `OtherKey` unless this key has the id that is stored beside `what`."""
        if key_id != self.key_id:
            raise OtherKey(
                f"{what} was sealed with another RECADO_SECRET_KEY (its id is {key_id}, this key's is {self.key_id}): "
                "set the one it was stored with"
            )


def _derived(key: bytes, info: bytes, length: int) -> bytes:
    """Return bytes for one use, so that a weakness of one use says nothing about another."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(key)


def _binding(owner: UUID, field: str) -> bytes:
    """Return what is authenticated beside the secret; 16 bytes of owner first, so no two pairs give the same bytes."""
    return _VERSION + owner.bytes + field.encode()
