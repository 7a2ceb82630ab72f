"""The content of a webhook's form, in types of ours.

New fields appear without notice and the set differs by channel, so unknown fields are not refused: the raw body is
stored as well. A form that cannot be used is a `FormProblem`, never an exception: it was signed, so an operator must
see it.

A field that decides where a message belongs must not come twice with different values. The signature covers names and
values joined without separators, so a captured request could be split at other places. This check prevents that, and so
do the patterns of the SIDs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Self, TypeAlias

from recado.channels.twilio.values import AccountSid, MessageSid
from recado.conversation.values import Address
from recado.core.errors import InvalidInput
from recado.core.unicode import storable

Kind: TypeAlias = Literal[
    "text", "image", "audio", "video", "document", "location", "contacts", "sticker",
    "reaction", "button", "interactive", "media", "unknown",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class FormProblem:
    """Why a form cannot be used: the field, and a sentence that repeats nothing of its content."""

    field: str
    why: str


@dataclass(frozen=True, slots=True)
class FormMedia:
    """An attachment. It is downloaded with the account's credentials."""

    url: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Location:
    """A shared place. Latitude and longitude are decimal strings as they came."""

    latitude: str
    longitude: str
    label: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Button:
    """A tapped quick reply: `text` is what the customer saw, `payload` is the developer's value."""

    text: str
    payload: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Interactive:
    """A rich answer: a row chosen from a list, or the filled-in form of a WhatsApp Flow (JSON)."""

    list_id: str = ""
    list_title: str = ""
    list_description: str = ""
    data: str = ""
    flow_data: str = ""


@dataclass(frozen=True, slots=True)
class Referral:
    """The advertisement that brought the customer here. It is sent once, with the first message after the click."""

    source_id: str = ""
    source_type: str = ""
    source_url: str = ""
    headline: str = ""
    body: str = ""
    media_url: str = ""
    media_content_type: str = ""
    click_id: str = ""


@dataclass(frozen=True, slots=True)
class InboundForm:
    """A message that a customer sent us. Every text in it can be stored, and phone numbers are not in its repr."""

    message_sid: MessageSid
    account_sid: AccountSid
    from_address: Address = field(repr=False)
    to_address: Address = field(repr=False)
    body: str = field(repr=False)
    num_media: int
    media: tuple[FormMedia, ...] = field(repr=False)
    message_type: str
    button: Button | None = field(repr=False)
    interactive: Interactive | None = field(repr=False)
    location: Location | None = field(repr=False)
    referral: Referral | None = field(repr=False)
    profile_name: str | None = field(repr=False)
    wa_id: str | None = field(repr=False)
    external_user_id: str | None = field(repr=False)
    opt_out_type: str | None
    replied_to_sid: str | None
    replied_to_sender: str | None = field(repr=False)
    messaging_service_sid: str | None
    forwarded: bool
    frequently_forwarded: bool
    fallback_error_code: str | None
    """Set when this came to the fallback URL: why the first URL failed."""

    @classmethod
    def parse(cls, pairs: Iterable[tuple[str, str]]) -> "InboundForm | FormProblem":
        """Return the form, or its problem."""
        fields = _Fields(pairs)
        try:
            return cls._from(fields)
        except _InvalidField as unusable:
            return unusable.problem

    @classmethod
    def _from(cls, fields: "_Fields") -> Self:
        fields.refuse_contradictions(*_MESSAGE_IDENTITY)
        media = () if fields.plain else fields.media()
        return cls(
            message_sid=fields.message_sid(),
            account_sid=fields.account_sid(),
            from_address=fields.address("From"),
            to_address=fields.address("To"),
            body=fields.text("Body"),
            num_media=fields.count("NumMedia", otherwise=len(media)),
            media=media,
            message_type=fields.text("MessageType").lower(),
            button=None if fields.plain else fields.button(),
            interactive=None if fields.plain else fields.interactive(),
            location=None if fields.plain else fields.location(),
            referral=None if fields.plain else fields.referral(),
            profile_name=fields.optional("ProfileName"),
            wa_id=fields.optional("WaId"),
            external_user_id=fields.optional("ExternalUserId"),
            opt_out_type=fields.upper("OptOutType"),
            replied_to_sid=fields.optional("OriginalRepliedMessageSid"),
            replied_to_sender=fields.optional("OriginalRepliedMessageSender"),
            messaging_service_sid=fields.optional("MessagingServiceSid"),
            forwarded=fields.flag("Forwarded"),
            frequently_forwarded=fields.flag("FrequentlyForwarded"),
            fallback_error_code=fields.optional("ErrorCode"),
        )

    @property
    def kind(self) -> Kind:
        """Return the kind of the message. `MessageType` is only a hint; the content of the form decides first."""
        return next(self._held())

    def _held(self) -> Iterator[Kind]:
        if self.message_type == "reaction":
            yield "reaction"
        if self.location:
            yield "location"
        yield from self.media_kinds
        if self.button:
            yield "button"
        if self.interactive:
            yield "interactive"
        hinted = _KINDS.get(self.message_type, "text")
        if hinted != "text":
            yield hinted
        yield "text" if self.body else "unknown"

    @property
    def media_kinds(self) -> tuple[Kind, ...]:
        """Return the content type of each attachment."""
        return tuple(_kind_of_media(each.content_type, self.message_type) for each in self.media)


_MESSAGE_IDENTITY = ("MessageSid", "AccountSid", "From", "To", "Body", "NumMedia", "OptOutType", "ButtonPayload")

_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "text": "text",
        "image": "image",
        "audio": "audio",
        "voice": "audio",
        "video": "video",
        "document": "document",
        "file": "document",
        "location": "location",
        "contacts": "contacts",
        "contact": "contacts",
        "sticker": "sticker",
        "reaction": "reaction",
        "button": "button",
        "interactive": "interactive",
    }
)
_MEDIA_KINDS = frozenset[Kind]({"image", "audio", "video", "document", "contacts", "sticker"})
_KINDS_OF_MIME: Mapping[str, Kind] = MappingProxyType(
    {
        "image/webp": "sticker",  # WhatsApp uses WebP for stickers only.
        "text/vcard": "contacts",
        "text/x-vcard": "contacts",
        "text/directory": "contacts",
        "image": "image",
        "audio": "audio",
        "video": "video",
        "application": "document",
        "text": "document",
    }
)


def _kind_of_media(content_type: str, message_type: str) -> Kind:
    hinted = _KINDS.get(message_type)
    if hinted in _MEDIA_KINDS:
        return hinted
    essence = content_type.partition(";")[0].strip().lower()
    return _KINDS_OF_MIME.get(essence) or _KINDS_OF_MIME.get(essence.partition("/")[0], "media")


@dataclass(frozen=True, slots=True)
class StatusForm:
    """Twilio's report on a message of ours."""

    sid: MessageSid
    account_sid: AccountSid
    status: str
    error_code: str | None
    error_message: str | None
    from_address: str | None = field(repr=False)
    to_address: str | None = field(repr=False)
    raw_done_date: str | None
    event_type: str | None

    @classmethod
    def parse(cls, pairs: Iterable[tuple[str, str]]) -> "StatusForm | FormProblem":
        """Return the form, or its problem."""
        fields = _Fields(pairs)
        try:
            return cls._from(fields)
        except _InvalidField as unusable:
            return unusable.problem

    @classmethod
    def _from(cls, fields: "_Fields") -> Self:
        fields.refuse_contradictions("MessageSid", "AccountSid", "MessageStatus", "ErrorCode")
        return cls(
            sid=fields.message_sid(),
            account_sid=fields.account_sid(),
            status=fields.first_of("MessageStatus", "SmsStatus").lower(),
            error_code=fields.optional("ErrorCode"),
            # The channel's own text says more: it often contains Meta's error.
            error_message=fields.optional("ChannelStatusMessage") or fields.optional("ErrorMessage"),
            from_address=fields.optional("From"),
            to_address=fields.optional("To"),
            raw_done_date=fields.optional("RawDlrDoneDate"),
            event_type=fields.optional("EventType"),
        )


_TERMINAL = 7
RANK: Mapping[str, int] = MappingProxyType(
    {
        "accepted": 0,
        "scheduled": 0,
        "queued": 1,
        "sending": 2,
        "sent": 3,
        "partially_delivered": 4,
        "delivered": 5,
        "read": 6,
        "failed": _TERMINAL,
        "undelivered": _TERMINAL,
        "canceled": _TERMINAL,
    }
)
"""Callbacks come late and out of order. The status of a message is the highest that it ever had, not the last."""

FAILED = frozenset(status for status, rank in RANK.items() if rank == _TERMINAL)
"""The statuses of a message that does not arrive."""


def advances(current: str | None, new: str) -> bool:
    """Return whether `new` replaces `current`: its rank is higher. An unknown status never does."""
    return RANK.get(new, -1) > RANK.get(current or "", -1)


# --- Reading fields ---------------------------------------------------------------------------------------------------


class _InvalidField(Exception):
    def __init__(self, name: str, why: str) -> None:
        super().__init__(name)
        self.problem = FormProblem(name, why)


_INTERACTIVE = ("ListId", "ListTitle", "ListDescription", "InteractiveData", "FlowData")
_REFERRAL = tuple(
    f"Referral{name}"
    for name in ("SourceId", "SourceType", "SourceUrl", "Headline", "Body", "MediaUrl", "MediaContentType", "CtwaClid")
)


_RARE = frozenset(("MediaUrl0", "ButtonText", "ButtonPayload", "Latitude", *_INTERACTIVE, *_REFERRAL))


class _Fields:
    """Return the fields by name: the first value of each, because Twilio sends only one."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = tuple(pairs)
        self._first = dict(reversed(self._pairs))
        self.plain = _RARE.isdisjoint(self._first)
        """Return whether the message is only a text, as nearly every message is."""

    def refuse_contradictions(self, *names: str) -> None:
        """Raise if one of these fields came twice with different values."""
        if len(self._first) == len(self._pairs):
            return
        for name, value in self._pairs:
            if name in names and value != self._first[name]:
                raise _InvalidField(name, "came more than once with different values")

    def texts(self, names: Iterable[str]) -> list[str]:
        return [self.text(name) for name in names]

    def text(self, name: str) -> str:
        value = self._first.get(name)
        return storable(value) if value else ""

    def optional(self, name: str) -> str | None:
        return self.text(name) or None

    def upper(self, name: str) -> str | None:
        return self.text(name).strip().upper() or None

    def first_of(self, *names: str) -> str:
        for name in names:
            if value := self.text(name):
                return value
        raise _InvalidField(names[0], "is missing")

    def flag(self, name: str) -> bool:
        return self.text(name).lower() == "true"

    def count(self, name: str, *, otherwise: int) -> int:
        text = self.text(name)
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else otherwise

    def message_sid(self) -> MessageSid:
        text = self.first_of("MessageSid", "SmsMessageSid", "SmsSid")
        try:
            return MessageSid(text)
        except InvalidInput:
            raise _InvalidField("MessageSid", "is not two letters and 32 hexadecimal digits") from None

    def account_sid(self) -> AccountSid:
        text = self.first_of("AccountSid")
        try:
            return AccountSid(text)
        except InvalidInput:
            raise _InvalidField("AccountSid", "is not AC and 32 hexadecimal digits") from None

    def address(self, name: str) -> Address:
        self.first_of(name)
        try:
            return Address(self._first[name])  # As it came: a replaced character would make another address.
        except InvalidInput:
            raise _InvalidField(name, "is not an address") from None

    def media(self) -> tuple[FormMedia, ...]:
        """Return the attachments that exist, whatever `NumMedia` says. The indexes count from zero without a gap."""
        found: list[FormMedia] = []
        while url := self.text(f"MediaUrl{len(found)}"):
            found.append(FormMedia(url, self.text(f"MediaContentType{len(found)}")))
        return tuple(found)

    def button(self) -> Button | None:
        text, payload = self.text("ButtonText"), self.text("ButtonPayload")
        return Button(text or self.text("Body"), payload, self.text("ButtonType")) if text or payload else None

    def interactive(self) -> Interactive | None:
        values = self.texts(_INTERACTIVE)
        return Interactive(*values) if any(values) else None

    def location(self) -> Location | None:
        latitude, longitude = self.text("Latitude"), self.text("Longitude")
        if not (latitude and longitude):
            return None
        return Location(latitude, longitude, self.text("Label"), self.text("Address"))

    def referral(self) -> Referral | None:
        values = self.texts(_REFERRAL)
        return Referral(*values) if any(values) else None
