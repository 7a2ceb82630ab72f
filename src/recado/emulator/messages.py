"""A message as Twilio keeps it and shows it: numbers as strings, dates as in e-mail, links relative."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import TypeAlias

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

API_VERSION = "2010-04-01"
UNFINISHED = frozenset({"accepted", "scheduled", "queued", "sending"})

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_DOUBLE = frozenset("\f^{}\\[~]|€")


@dataclass(frozen=True, slots=True)
class Media:
    sid: str
    content_type: str
    content: bytes
    location: str | None
    """A URL of the tester's own; without one the emulator serves `content`."""


@dataclass(slots=True)
class EmulatedMessage:
    sid: str
    seq: int
    account_sid: str
    direction: str
    sender: str | None
    to: str
    body: str
    status: str
    created: float
    updated: float
    sent: float | None = None
    media: tuple[Media, ...] = ()
    error_code: int | None = None
    error_message: str | None = None
    messaging_service_sid: str | None = None
    status_callback: str | None = None
    content_sid: str | None = None
    content_variables: str | None = None
    persistent_action: str | None = None
    typing_at: float | None = None
    deleted: bool = False

    @property
    def channel(self) -> str:
        return channel_of(self.to)

    @property
    def uri(self) -> str:
        return f"/{API_VERSION}/Accounts/{self.account_sid}/Messages/{self.sid}"


def channel_of(address: str) -> str:
    prefix, colon, _ = address.partition(":")
    return prefix if colon else "sms"


def segments(text: str) -> int:
    """One letter outside the GSM alphabet makes the whole text UCS-2; from the second part on each pays a header."""
    if all(letter in _GSM or letter in _GSM_DOUBLE for letter in text):
        length = len(text) + sum(letter in _GSM_DOUBLE for letter in text)
        alone, part = 160, 153
    else:
        length = units(text)
        alone, part = 70, 67
    return 1 if length <= alone else -(-length // part)


def units(text: str) -> int:
    """Twilio counts UTF-16 units, so an emoji is two."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


@lru_cache(maxsize=4096)
def _date(second: int) -> str:
    return formatdate(second)[:-5] + "+0000"


def date(moment: float | None) -> str | None:
    return None if moment is None else _date(int(moment))


def message_resource(message: EmulatedMessage) -> JsonObject:
    sms = message.channel == "sms"
    undecided = message.sender is None
    return {
        "account_sid": message.account_sid,
        "api_version": API_VERSION,
        "body": message.body,
        "date_created": date(message.created),
        "date_sent": date(message.sent),
        "date_updated": date(message.updated),
        "direction": message.direction,
        "error_code": message.error_code,
        "error_message": message.error_message,
        "from": message.sender,
        "messaging_service_sid": message.messaging_service_sid,
        "num_media": str(len(message.media)),
        "num_segments": "0" if undecided else str(segments(message.body)) if sms else "1",
        "price": None,
        "price_unit": "USD",
        "sid": message.sid,
        "status": message.status,
        "subresource_uris": {"media": f"{message.uri}/Media.json"},
        "to": message.to,
        "uri": f"{message.uri}.json",
    }


def media_resource(message: EmulatedMessage, media: Media) -> JsonObject:
    return {
        "account_sid": message.account_sid,
        "content_type": media.content_type,
        "date_created": date(message.created),
        "date_updated": date(message.updated),
        "parent_sid": message.sid,
        "sid": media.sid,
        "uri": f"{message.uri}/Media/{media.sid}.json",
    }
