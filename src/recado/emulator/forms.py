"""The fields of requests to an application: inbound webhooks and status callbacks, as Twilio fills them.

Blank fields are included, because the signature covers them. Channels differ: an SMS has geography fields, a WhatsApp
message has a profile and metadata.
"""

import json
import mimetypes
from dataclasses import dataclass
from datetime import UTC, datetime

from recado.emulator.messages import API_VERSION, EmulatedMessage, segments

Form = tuple[tuple[str, str], ...]

_COUNTRIES = {"1": "US", "351": "PT", "34": "ES", "44": "GB", "49": "DE", "52": "MX", "54": "AR", "55": "BR"}
_STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
_START = frozenset({"START", "YES", "UNSTOP"})
_HELP = frozenset({"HELP", "INFO"})


@dataclass(frozen=True, slots=True)
class Attachment:
    content_type: str
    content: bytes
    url: str | None = None


def attachment_of(url: str) -> Attachment:
    """Return an attachment that is hosted elsewhere, with the content type of its name."""
    return Attachment(mimetypes.guess_type(url)[0] or "application/octet-stream", b"", url)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundRequest:
    """A message of a customer as a tester describes it. Fields that are not given get Twilio's values."""

    sender: str
    to: str
    body: str = ""
    account_sid: str | None = None
    sid: str | None = None
    media: tuple[Attachment, ...] = ()
    button_text: str | None = None
    button_payload: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    address: str | None = None
    label: str | None = None
    profile_name: str | None = None
    wa_id: str | None = None
    message_type: str | None = None
    opt_out_type: str | None = None
    replied_to: str | None = None
    fields: Form = ()
    """Added as they are; a name that is there already is replaced, a name given twice is sent twice."""
    duplicates: int | None = None
    delay: float | None = None


def keyword_of(body: str) -> str | None:
    """Only a message that is nothing but the keyword counts."""
    word = body.strip().upper()
    if word in _STOP:
        return "STOP"
    if word in _START:
        return "START"
    return "HELP" if word in _HELP else None


def inbound_form(message: EmulatedMessage, inbound: InboundRequest, *, base_url: str, opt_out_type: str | None) -> Form:
    sms = message.channel == "sms"
    fields = _geography(inbound) if sms else ()
    fields += _common(message)
    fields += (("NumSegments", str(segments(message.body)) if sms else "1"),)
    fields += () if sms else _whatsapp(message, inbound)
    fields += _media(message, base_url)
    fields += _present(("Latitude", inbound.latitude), ("Longitude", inbound.longitude))
    fields += _present(("Address", inbound.address), ("Label", inbound.label), ("OptOutType", opt_out_type))
    replaced = {name for name, _ in inbound.fields}
    return tuple(field for field in fields if field[0] not in replaced) + inbound.fields


def _common(message: EmulatedMessage) -> Form:
    return (
        ("SmsMessageSid", message.sid),
        ("NumMedia", str(len(message.media))),
        ("SmsSid", message.sid),
        ("SmsStatus", "received"),
        ("Body", message.body),
        ("To", message.to),
        ("MessageSid", message.sid),
        ("AccountSid", message.account_sid),
        ("From", message.sender or ""),
        ("ApiVersion", API_VERSION),
    )


def _geography(inbound: InboundRequest) -> Form:
    """City, state and zip are best effort at Twilio; blank is what most numbers outside the United States bring."""
    return tuple(
        (f"{side}{part}", _country(address) if part == "Country" else "")
        for side, address in (("To", inbound.to), ("From", inbound.sender))
        for part in ("Country", "State", "City", "Zip")
    )


def _country(address: str) -> str:
    return next((name for code, name in _COUNTRIES.items() if address.startswith(f"+{code}")), "")


def _whatsapp(message: EmulatedMessage, inbound: InboundRequest) -> Form:
    phone = inbound.sender.partition(":")[2]
    hidden = not phone.startswith("+")
    profile = inbound.profile_name or "Customer"
    wa_id = inbound.wa_id or (None if hidden else phone.removeprefix("+"))
    fields = _present(
        ("ReferralNumMedia", "0"),
        ("MessageType", inbound.message_type or _message_type(message, inbound)),
        ("ProfileName", profile),
        ("WaId", wa_id),
        ("ExternalUserId", inbound.sender if hidden else None),
        ("ChannelMetadata", _metadata(profile, wa_id)),
        ("OriginalRepliedMessageSid", inbound.replied_to),
        ("OriginalRepliedMessageSender", inbound.to if inbound.replied_to else None),
    )
    if inbound.button_text is None and inbound.button_payload is None:
        return fields
    return (
        *fields,
        ("ButtonText", inbound.button_text or ""),
        ("ButtonPayload", inbound.button_payload or ""),
        ("Forwarded", "false"),
        ("FrequentlyForwarded", "false"),
    )


def _metadata(profile: str, wa_id: str | None) -> str:
    context = {"ProfileName": profile, "WaId": wa_id or "", "Forwarded": "false", "FrequentlyForwarded": "false"}
    return json.dumps({"type": "whatsapp", "data": {"context": context}}, separators=(",", ":"), ensure_ascii=False)


def _message_type(message: EmulatedMessage, inbound: InboundRequest) -> str:
    if inbound.button_payload is not None or inbound.button_text is not None:
        return "interactive"
    if inbound.latitude is not None:
        return "location"
    if not message.media:
        return "text"
    kind = message.media[0].content_type.partition("/")[0]
    return kind if kind in ("image", "audio", "video") else "document"


def _media(message: EmulatedMessage, base_url: str) -> Form:
    fields: list[tuple[str, str]] = []
    for index, media in enumerate(message.media):
        fields.append((f"MediaContentType{index}", media.content_type))
        fields.append((f"MediaUrl{index}", f"{base_url}{message.uri}/Media/{media.sid}"))
    return tuple(fields)


def _present(*fields: tuple[str, str | None]) -> Form:
    return tuple((name, value) for name, value in fields if value is not None)


def callback_form(message: EmulatedMessage, status: str, now: float) -> Form:
    failed = status in ("failed", "undelivered")
    fields: Form = (
        ("SmsSid", message.sid),
        ("SmsStatus", status),
        ("MessageStatus", status),
        ("To", message.to),
        ("MessageSid", message.sid),
        ("AccountSid", message.account_sid),
        ("From", message.sender or ""),
        ("ApiVersion", API_VERSION),
    )
    fields += _present(
        ("MessagingServiceSid", message.messaging_service_sid),
        ("ErrorCode", str(message.error_code) if failed and message.error_code else None),
    )
    if message.channel == "sms":
        done = datetime.fromtimestamp(now, UTC).strftime("%y%m%d%H%M")
        return fields + _present(("RawDlrDoneDate", done if status in ("delivered", "undelivered") else None))
    return fields + _channel(message, status, failed)


def _channel(message: EmulatedMessage, status: str, failed: bool) -> Form:
    return _present(
        ("ChannelPrefix", message.channel),
        # Twilio's own identifier of the sender; one per account is enough here.
        ("ChannelInstallSid", f"XE{message.account_sid[2:]}"),
        ("ChannelToAddress", f"{message.to.partition(':')[2][:-4]}XXXX"),
        ("StructuredMessage", "true" if message.content_sid else "false"),
        ("EventType", status.upper() if status in ("delivered", "read", "undelivered") else None),
        ("ChannelStatusMessage", message.error_message if failed else None),
    )
