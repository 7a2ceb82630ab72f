"""Signatures by the Standard Webhooks rules, so that receivers verify with any of its libraries.

    webhook-id:         <id of the event>        the same at each attempt and each replay
    webhook-timestamp:  <seconds>
    webhook-signature:  v1,<base64 of HMAC-SHA256(secret, "<id>.<seconds>." + body)>

During a rotation there are two signatures, with a space between them.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - it begins every secret
_SECRET_BYTES: Final = 32


def new_secret(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a secret as people copy it."""
    return SECRET_PREFIX + base64.b64encode(random_bytes(_SECRET_BYTES)).decode()


def signed_headers(event_id: str, seconds: int, body: bytes, signed_with: Sequence[str]) -> Mapping[str, str]:
    """Return the headers that prove who sent a body, and when."""
    content = f"{event_id}.{seconds}.".encode() + body
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(_signature(secret, content) for secret in signed_with),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
