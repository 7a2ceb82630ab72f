"""The reference of an attempt in the URL that Twilio calls back: `<attempt>.<mac>`.

Twilio may report on a message before its create call was answered, or when that answer was lost. Then only this
reference binds the report to the attempt. The MAC prevents a stranger from binding a message to an attempt by guessing
ids.
"""

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl
from uuid import UUID

from recado.core.tracing import traceparent_in

_REF = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{32})")
_PURPOSE = b"recado:twilio:callback:"
_MAC_BYTES = 16
TRACE: Final = "traceparent"


def callback_ref(attempt_id: UUID, key: bytes) -> str:
    """Return the reference of an attempt: its id and 128 bits of HMAC-SHA256, in hexadecimal."""
    return f"{attempt_id.hex}.{_mac(attempt_id, key).hex()}"


def attempt_of(ref: str, key: bytes) -> UUID | None:
    """Return the attempt that a reference names; None when the reference is not one of ours."""
    match = _REF.fullmatch(ref)
    if match is None:
        return None
    attempt_id = UUID(hex=match[1])
    return attempt_id if hmac.compare_digest(_mac(attempt_id, key), bytes.fromhex(match[2])) else None


class CallbackRefs:
    """The references of this installation: they bear a MAC under its own key.

    `key` reads that key, and `key_for_sending` makes it where there is none. A callback makes none: it comes before its
    signature is checked.
    """

    def __init__(
        self, key: Callable[[], Awaitable[bytes | None]], key_for_sending: Callable[[], Awaitable[bytes]]
    ) -> None:
        self._key = key
        self._key_for_sending = key_for_sending

    async def of(self, attempt_id: UUID) -> str:
        """Return the reference of an attempt that is to be sent. Raises what reading or making the key raises."""
        return callback_ref(attempt_id, await self._key_for_sending())

    async def attempt_of(self, ref: str) -> UUID | None:
        """Return the attempt of a reference, None when it is not ours. Raises what reading the key raises."""
        if _REF.fullmatch(ref) is None:
            return None
        key = await self._key()
        return None if key is None else attempt_of(ref, key)


def callback_url(public_url: str, ref: str, trace: str | None = None) -> str:
    """Return the URL at which Twilio reports on the attempt. Its signature covers the whole URL, the trace included."""
    url = f"{public_url.rstrip('/')}/webhooks/twilio/status/{ref}"
    return url if trace is None else f"{url}?{TRACE}={trace}"


def trace_in(query: bytes) -> str | None:
    """Return the trace that a callback continues."""
    return traceparent_in(dict(parse_qsl(query.decode("latin-1"))).get(TRACE))


def _mac(attempt_id: UUID, key: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + attempt_id.bytes, hashlib.sha256)[:_MAC_BYTES]
