"""Signed WhatsApp webhooks, made before anything is measured: requests for wrk and for clients of our own."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from harness import ACCOUNT_SID, AUTH_TOKEN, MESSAGES_PATH, NUMBER
from recado.channels.twilio.webhook.signature import sign

TEXTS = (
    "Olá 👋 tudo bem?",
    "Bom dia! Vocês abrem no domingo?",
    "Queria encomendar um bolo de cenoura para sábado, por favor. Dá para entregar no centro?",
    "ok",
    "Qual é o preço do pão de queijo congelado & do café?",
)

METADATA = '{"type":"whatsapp","data":{"context":{"ProfileName":"Ana Souza","WaId":"WAID"}}}'


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook as Twilio would send it."""

    message_sid: str
    sender: str
    body: bytes
    signature: str

    def request(self, port: int) -> bytes:
        """The whole HTTP request."""
        head = (
            f"POST {MESSAGES_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: TwilioProxy/1.1\r\n"
            "Accept: */*\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"X-Twilio-Signature: {self.signature}\r\nI-Twilio-Idempotency-Token: {self.message_sid}\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


def webhook(number: int, customer: int, public_url: str, text: str | None = None) -> Webhook:
    """The `number`-th message, written by the `customer`-th customer."""
    sid = f"SM{number:032x}"
    digits = f"5511{900_000_000 + customer}"
    body = text if text is not None else TEXTS[number % len(TEXTS)]
    fields = [
        ("SmsMessageSid", sid),
        ("NumMedia", "0"),
        ("ProfileName", "Ana Souza"),
        ("MessageType", "text"),
        ("SmsSid", sid),
        ("WaId", digits),
        ("SmsStatus", "received"),
        ("Body", body),
        ("To", NUMBER),
        ("NumSegments", "1"),
        ("ReferralNumMedia", "0"),
        ("MessageSid", sid),
        ("AccountSid", ACCOUNT_SID),
        ("ChannelMetadata", METADATA.replace("WAID", digits)),
        ("From", f"whatsapp:+{digits}"),
        ("ApiVersion", "2010-04-01"),
    ]
    signature = sign(AUTH_TOKEN, public_url + MESSAGES_PATH, fields)
    return Webhook(sid, f"whatsapp:+{digits}", urlencode(fields).encode(), signature)


def webhooks(count: int, public_url: str, *, customers: int, duplicates: float, seed: int = 7) -> Iterator[Webhook]:
    """`count` webhooks, of which the share `duplicates` repeats one of the last two hundred."""
    chance = random.Random(seed)
    recent: list[Webhook] = []
    for _ in range(count):
        if recent and chance.random() < duplicates:
            yield chance.choice(recent)
            continue
        new = webhook(chance.getrandbits(120), chance.randrange(customers), public_url)
        recent.append(new)
        if len(recent) > 200:
            recent.pop(0)
        yield new


def write_requests(path: Path, made: Iterator[Webhook], port: int) -> int:
    """Write a file for `webhooks.lua`; how many different messages are in it."""
    sids = set[str]()
    with path.open("wb") as file:
        for each in made:
            sids.add(each.message_sid)
            request = each.request(port)
            file.write(b"%d\n" % len(request))
            file.write(request)
    return len(sids)
