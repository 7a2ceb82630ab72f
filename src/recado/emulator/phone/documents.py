"""Read the JSON of the control API, with one sentence for each mistake."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields

from recado.emulator.forms import Attachment, Form, InboundRequest
from recado.emulator.messages import JsonValue
from recado.emulator.rules.faults import KINDS, Fault
from recado.emulator.settings import Number, Policies

# A single grey pixel: small, and yet every image library opens it.
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


class InvalidDocument(ValueError):
    """The JSON of a control request is not valid."""


class JsonDocument:
    """A JSON object whose values are read by name and type."""

    def __init__(self, value: JsonValue) -> None:
        if not isinstance(value, Mapping):
            raise InvalidDocument("A JSON object is expected.")
        self._values = value

    def names(self) -> set[str]:
        return set(self._values)

    def allow(self, *names: str) -> None:
        unknown = sorted(self.names() - set(names))
        if unknown:
            raise InvalidDocument(f"Unknown: {', '.join(unknown)}. Known: {', '.join(sorted(names))}.")

    def text(self, name: str) -> str:
        value = self.maybe_text(name)
        if value is None:
            raise InvalidDocument(f"{name!r} is missing.")
        return value

    def maybe_text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise InvalidDocument(f"{name!r} must be a text.")

    def number(self, name: str) -> float | None:
        value = self._values.get(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise InvalidDocument(f"{name!r} must be a number.")

    def amount(self, name: str, default: float) -> float:
        value = self.number(name)
        if value is not None and value < 0:
            raise InvalidDocument(f"{name!r} must not be negative.")
        return default if value is None else value

    def integer(self, name: str, default: int | None) -> int | None:
        if name not in self._values:
            return default
        value = self.number(name)
        return None if value is None else int(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._values.get(name, default)
        if not isinstance(value, bool):
            raise InvalidDocument(f"{name!r} must be true or false.")
        return value

    def items(self, name: str) -> Sequence[JsonValue]:
        value = self._values.get(name, [])
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InvalidDocument(f"{name!r} must be a list.")
        return value

    def object(self, name: str) -> Mapping[str, JsonValue]:
        value = self._values.get(name, {})
        if not isinstance(value, Mapping):
            raise InvalidDocument(f"{name!r} must be an object.")
        return value


def parse(raw: bytes) -> JsonValue:
    try:
        value: JsonValue = json.loads(raw or b"{}")
    except ValueError as error:
        raise InvalidDocument(f"This is not JSON: {error}.") from error
    return value


_RENAMED = {"sender": "from"}


def read_inbound(value: JsonValue) -> InboundRequest:
    document = JsonDocument(value)
    known = [_RENAMED.get(field.name, field.name) for field in fields(InboundRequest)]
    document.allow(*known, "num_media", "media_urls")
    return InboundRequest(
        sender=document.text("from"),
        to=document.text("to"),
        body=document.maybe_text("body") or "",
        account_sid=document.maybe_text("account_sid"),
        sid=document.maybe_text("sid"),
        media=_attachments(document),
        button_text=document.maybe_text("button_text"),
        button_payload=document.maybe_text("button_payload"),
        latitude=document.maybe_text("latitude"),
        longitude=document.maybe_text("longitude"),
        address=document.maybe_text("address"),
        label=document.maybe_text("label"),
        profile_name=document.maybe_text("profile_name"),
        wa_id=document.maybe_text("wa_id"),
        message_type=document.maybe_text("message_type"),
        opt_out_type=document.maybe_text("opt_out_type"),
        replied_to=document.maybe_text("replied_to"),
        fields=_extra_fields(document.object("fields")),
        duplicates=document.integer("duplicates", None),
        delay=document.number("delay"),
    )


def _attachments(document: JsonDocument) -> tuple[Attachment, ...]:
    given = tuple(_attachment(JsonDocument(item)) for item in document.items("media"))
    linked = tuple(_attachment(JsonDocument({"url": url})) for url in document.items("media_urls"))
    count = document.integer("num_media", 0) or 0
    return given + linked + (Attachment("image/png", _PIXEL),) * (count - len(given) - len(linked))


def _attachment(document: JsonDocument) -> Attachment:
    document.allow("content_type", "content_base64", "url")
    encoded = document.maybe_text("content_base64")
    try:
        content = _PIXEL if encoded is None else base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise InvalidDocument("'content_base64' is not base64.") from error
    return Attachment(document.maybe_text("content_type") or "image/png", content, document.maybe_text("url"))


def _extra_fields(given: Mapping[str, JsonValue]) -> Form:
    form: list[tuple[str, str]] = []
    for name, value in given.items():
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        form.extend((name, str(item)) for item in values)
    return tuple(form)


def read_fault(value: JsonValue) -> Fault:
    document = JsonDocument(value)
    document.allow(*(field.name for field in fields(Fault) if field.name != "id"))
    kind = document.text("kind")
    if kind not in KINDS:
        raise InvalidDocument(f"There is no fault {kind!r}. Known: {', '.join(sorted(KINDS))}.")
    return Fault(
        kind=kind,
        times=document.integer("times", 1),
        to=document.maybe_text("to"),
        body=document.maybe_text("body"),
        code=document.integer("code", None),
        status=document.integer("status", None),
        seconds=document.number("seconds"),
    )


def read_number(value: JsonValue, only_account: str | None) -> Number:
    document = JsonDocument(value)
    document.allow("address", "account_sid", "webhook_url", "fallback_url")
    account = document.maybe_text("account_sid") or only_account
    if account is None:
        raise InvalidDocument("'account_sid' is missing, and there is more than one account.")
    return Number(
        address=document.text("address"),
        account_sid=account,
        webhook_url=document.maybe_text("webhook_url"),
        fallback_url=document.maybe_text("fallback_url"),
    )


def read_policies(value: JsonValue, current: Policies) -> Policies:
    """Only the named policies change."""
    document = JsonDocument(value)
    document.allow(*(field.name for field in fields(Policies)))
    return Policies(
        callback_delay=document.amount("callback_delay", current.callback_delay),
        callback_early=document.amount("callback_early", current.callback_early),
        callback_reorder=document.amount("callback_reorder", current.callback_reorder),
        callback_duplicate=document.amount("callback_duplicate", current.callback_duplicate),
        callback_drop=document.amount("callback_drop", current.callback_drop),
        inbound_delay=document.amount("inbound_delay", current.inbound_delay),
        inbound_duplicates=int(document.amount("inbound_duplicates", current.inbound_duplicates)),
        read_receipts=document.flag("read_receipts", current.read_receipts),
        enforce_window=document.flag("enforce_window", current.enforce_window),
        restrict_senders=document.flag("restrict_senders", current.restrict_senders),
        opt_out_keywords=document.flag("opt_out_keywords", current.opt_out_keywords),
        advanced_opt_out=document.flag("advanced_opt_out", current.advanced_opt_out),
        list_lag=document.amount("list_lag", current.list_lag),
        max_concurrency=int(document.amount("max_concurrency", current.max_concurrency)),
    )
