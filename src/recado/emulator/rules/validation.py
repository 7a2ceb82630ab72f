"""Read the form of a create and validate it in Twilio's order: present, well-formed, allowed, content.

What is allowed depends on the account and its customers, so the store decides it; the other checks are here.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from recado.emulator.messages import channel_of, units
from recado.emulator.rules.refusals import Refusal

_E164 = r"\+[1-9]\d{6,14}"
_CHANNEL = rf"whatsapp:(?:{_E164}|[A-Z]{{2}}\.(?:ENT\.)?[A-Za-z0-9]{{1,128}})|rcs:\S+"
_RECIPIENT = re.compile(rf"{_E164}|{_CHANNEL}")
_SENDER = re.compile(rf"\A(?:{_E164}|\d{{3,8}}|(?=.*[A-Za-z])[A-Za-z0-9 ]{{1,11}}|{_CHANNEL})")
_HOST = re.compile(r"[A-Za-z0-9.\-:\[\]]+")

MAX_BODY = 1600
MAX_MEDIA = 10
MAX_URL = 4000
_SOONEST, _LATEST = 15 * 60, 35 * 86_400

# Twilio's own magic numbers: they answer the same way on every account.
_MAGIC_SENDERS = {"+15005550001": 21212, "+15005550007": 21606, "+15005550008": 21611}
_MAGIC_RECIPIENTS = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """The fields of a create."""

    to: str
    sender: str
    service: str
    body: str
    media_urls: tuple[str, ...]
    content_sid: str
    content_variables: str
    status_callback: str
    schedule_type: str
    send_at: str
    persistent_action: str


def read_create_request(fields: Iterable[tuple[str, str]]) -> CreateRequest:
    first: dict[str, str] = {}
    media: list[str] = []
    for name, value in fields:
        first.setdefault(name, value)
        if name == "MediaUrl" and value:
            media.append(value)
    return CreateRequest(
        to=first.get("To", ""),
        sender=first.get("From", ""),
        service=first.get("MessagingServiceSid", ""),
        body=first.get("Body", ""),
        media_urls=tuple(media),
        content_sid=first.get("ContentSid", ""),
        content_variables=first.get("ContentVariables", ""),
        status_callback=first.get("StatusCallback", ""),
        schedule_type=first.get("ScheduleType", ""),
        send_at=first.get("SendAt", ""),
        persistent_action=first.get("PersistentAction", ""),
    )


def missing_parameter(draft: CreateRequest) -> Refusal | None:
    if not draft.to:
        return Refusal(21604)
    if not draft.sender and not draft.service:
        return Refusal(21603)
    if not draft.body and not draft.media_urls and not draft.content_sid:
        return Refusal(21602)
    return None


def invalid_address(draft: CreateRequest) -> Refusal | None:
    if not _RECIPIENT.fullmatch(draft.to) or draft.to == draft.sender:
        return Refusal(21211)
    if not draft.sender:
        return None
    if not _SENDER.fullmatch(draft.sender):
        return Refusal(21212)
    if channel_of(draft.to) != channel_of(draft.sender):
        return Refusal(21910)
    return None


def magic_refusal(draft: CreateRequest) -> Refusal | None:
    """WhatsApp addresses take part too, so that both channels can be tried with the same numbers."""
    code = _MAGIC_SENDERS.get(_phone(draft.sender)) or _MAGIC_RECIPIENTS.get(_phone(draft.to))
    return None if code is None else Refusal(code)


def invalid_content(draft: CreateRequest, now: float) -> Refusal | None:
    if units(draft.body) > MAX_BODY:
        return Refusal(21617)
    if len(draft.media_urls) > MAX_MEDIA:
        return Refusal(21623)
    if not all(_valid_url(url) for url in draft.media_urls):
        return Refusal(21620)
    if draft.status_callback and not _valid_url(draft.status_callback):
        return Refusal(21609)
    if draft.content_variables and not _is_object(draft.content_variables):
        return Refusal(21656)
    return _mistimed(draft, now) if draft.schedule_type else None


def _mistimed(draft: CreateRequest, now: float) -> Refusal | None:
    if not draft.service:
        return Refusal(35118)
    at = moment_of(draft.send_at)
    if at is None or not now + _SOONEST <= at <= now + _LATEST:
        return Refusal(35114)
    return None


def moment_of(text: str) -> float | None:
    """A date or date-time in GMT as seconds since the epoch."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _phone(address: str) -> str:
    return address.rpartition(":")[2]


def _valid_url(url: str) -> bool:
    """Loopback passes, unlike at Twilio: here the other side usually lives on the same machine."""
    if len(url) > MAX_URL:
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and host is not None and _HOST.fullmatch(host) is not None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), Mapping)
    except ValueError:
        return False
