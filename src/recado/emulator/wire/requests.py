"""Read the requests of Twilio's clients: credentials, forms and JSON."""

import base64
import binascii
import json
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from recado.emulator.store import Store


def authenticate(store: Store, header: str | None) -> str | None:
    """Return the account of Basic credentials: its token, or the secret of one of its keys."""
    kind, _, encoded = (header or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    key = store.keys.get(name)
    if key is not None:
        return key.account_sid if key.secret == secret else None
    return name if secret and store.accounts.get(name) == secret else None


async def read_form(request: Request) -> list[tuple[str, str]]:
    if request.headers.get("content-type", "").startswith("multipart/"):
        return [(name, value) for name, value in (await request.form()).multi_items() if isinstance(value, str)]
    return parse_form(await request.body())


def parse_form(raw: bytes) -> list[tuple[str, str]]:
    """Return what `parse_qsl` does at a third of its cost, which was a quarter of a create."""
    pairs: list[tuple[str, str]] = []
    for part in raw.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            pairs.append((_unquoted(name), _unquoted(value)))
    return pairs


def _unquoted(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "replace")


async def read_fields(request: Request) -> dict[str, str]:
    """Read JSON (version 3 of the typing API) or a form (version 2). The names are the same."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        return dict(await read_form(request))
    try:
        document = json.loads(await request.body())
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in document.items()} if isinstance(document, Mapping) else {}
