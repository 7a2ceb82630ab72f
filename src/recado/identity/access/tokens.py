"""Secrets that are made here, shown once, and known to us by their hash only.

All have 256 random bits, so a plain SHA-256 is enough: there is nothing to guess that a slow hash would protect.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Final, TypeAlias

RandomBytes: TypeAlias = Callable[[int], bytes]

TOKEN_BYTES: Final = 32
_LENGTH: Final = 43
"""Characters of a token: 32 bytes in base64url."""


def new_token(random_bytes: RandomBytes) -> str:
    """Return a new token, for a cookie or a link."""
    return base64.urlsafe_b64encode(random_bytes(TOKEN_BYTES)).decode().rstrip("=")


def hash_of(secret: str) -> bytes:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def is_token(text: str) -> bool:
    """Return whether a text can be a token. Other texts cost no query."""
    return len(text) == _LENGTH and text.isascii()
