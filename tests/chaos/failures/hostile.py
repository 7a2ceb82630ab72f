"""Webhooks nobody in their right mind would send: seeded mutations of stored payloads, signed truly or not.

A `Webhook` knows whether Twilio's own hand made its signature for exactly what it says. Whatever else is done to it
afterwards keeps that signature, so only what was truly signed may ever become a row.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import parse_qsl, quote_from_bytes, urlencode

from recado.channels.twilio.webhook.routes import MAX_BODY
from recado.emulator.wire.signature import sign
from tests.channels.twilio.webhook.forms import PAYLOADS

PUBLIC = "https://bot.example"
MESSAGES = "/webhooks/twilio/messages"
INBOUND = sorted(path for path in PAYLOADS.rglob("*.form") if not path.name.startswith("status"))
RUBBISH = (b"\x00", b"\xff\xfe", b"%", b"%zz", b"&", b"=", b"+", b"\xed\xa0\x80", b"\\x41", b"\\u0126", "ação".encode())

Pairs: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Webhook:
    """One request; `sid` is set while nothing but Twilio has touched what is signed."""

    body: bytes
    signature: bytes
    sid: str | None
    method: str = "POST"
    path: str = MESSAGES
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    pieces: int = 1


class Attacker:
    """Makes webhooks from a seed."""

    def __init__(self, seed: int, account_sid: str, number: str, token: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - repeatable is the point
        self._account_sid = account_sid
        self._number = number
        self._token = token
        self._count = 0
        self._payloads = [parse_qsl(path.read_text().strip(), keep_blank_values=True) for path in INBOUND]
        self.signed: set[str] = set()
        """The SIDs that Twilio truly signed."""

    def next(self) -> Webhook:
        """A true webhook in a hundred; the others are spoiled, once or more often."""
        webhook = self.true()
        for _ in range(min(4, int(self._chance.expovariate(0.8)) + (self._chance.random() > 0.01))):
            webhook = self._chance.choice(self._spoilers)(webhook)
        return webhook

    def true(self, **changed: str) -> Webhook:
        self._count += 1
        sid = f"SM{self._chance.getrandbits(96):024x}{self._count:08x}"
        fields = dict(self._chance.choice(self._payloads))
        fields |= {"AccountSid": self._account_sid, "To": self._number, "MessageSid": sid, "SmsMessageSid": sid}
        fields |= {"SmsSid": sid, **changed}
        pairs = list(fields.items())
        self.signed.add(sid)
        return Webhook(urlencode(pairs).encode(), sign(self._token, PUBLIC + MESSAGES, pairs).encode(), sid)

    # --- What can be done to one --------------------------------------------------------------------------------------

    @property
    def _spoilers(self) -> Sequence[Callable[[Webhook], Webhook]]:
        return (
            self._shuffled, self._recut, self._doubled, self._other_case, self._flipped, self._truncated,
            self._rubbish_in, self._rubbish_field, self._grown, self._other_method, self._other_path,
            self._other_query, self._other_signature, self._no_signature, self._in_pieces, self._strange_headers,
            self._encoded_again, self._hostile_identity, self._signed_by_another, self._truly_signed_nonsense,
        )  # fmt: skip

    def _fields(self, webhook: Webhook) -> list[bytes]:
        return webhook.body.split(b"&")

    def _joined(self, webhook: Webhook, fields: Sequence[bytes]) -> Webhook:
        return replace(webhook, body=b"&".join(fields))

    def _shuffled(self, webhook: Webhook) -> Webhook:
        fields = self._fields(webhook)
        self._chance.shuffle(fields)
        return self._joined(webhook, fields)

    def _recut(self, webhook: Webhook) -> Webhook:
        """Move the border between a name and its value: the signature covers them run together."""
        fields = self._fields(webhook)
        at = self._chance.randrange(len(fields))
        joined = fields[at].replace(b"=", b"", 1)
        cut = self._chance.randint(0, len(joined))
        fields[at] = joined[:cut] + b"=" + joined[cut:]
        return self._joined(webhook, fields)

    def _doubled(self, webhook: Webhook) -> Webhook:
        fields = self._fields(webhook)
        again = self._chance.choice(fields)
        name, _, value = again.partition(b"=")
        return self._joined(webhook, [*fields, self._chance.choice([again, name + b"=" + value[::-1], name])])

    def _other_case(self, webhook: Webhook) -> Webhook:
        fields = self._fields(webhook)
        at = self._chance.randrange(len(fields))
        fields[at] = fields[at].swapcase()
        return self._joined(webhook, fields)

    def _flipped(self, webhook: Webhook) -> Webhook:
        body = bytearray(webhook.body or b"?")
        body[self._chance.randrange(len(body))] ^= 1 << self._chance.randrange(8)
        return replace(webhook, body=bytes(body))

    def _truncated(self, webhook: Webhook) -> Webhook:
        return replace(webhook, body=webhook.body[: self._chance.randint(0, len(webhook.body))])

    def _rubbish_in(self, webhook: Webhook) -> Webhook:
        at = self._chance.randint(0, len(webhook.body))
        rubbish = self._chance.choice(RUBBISH) * self._chance.choice([1, 1, 50])
        return replace(webhook, body=webhook.body[:at] + rubbish + webhook.body[at:])

    def _rubbish_field(self, webhook: Webhook) -> Webhook:
        name = self._chance.choice([b"To", b"From", b"AccountSid", b"MessageSid", b"Body", b"NumMedia", b"X"])
        value = quote_from_bytes(self._chance.randbytes(self._chance.choice([0, 3, 40]))).encode()
        fields = [field for field in self._fields(webhook) if not field.startswith(name + b"=")]
        fields.insert(self._chance.randint(0, len(fields)), name + b"=" + value)
        return self._joined(webhook, fields)

    def _grown(self, webhook: Webhook) -> Webhook:
        size = self._chance.choice([1_000, 20_000, MAX_BODY, MAX_BODY + 1] if self._chance.random() < 0.1 else [500])
        extra = self._chance.choice([b"&Body=" + b"x" * size, b"&a=b" * min(size // 4, 1_200)])
        return replace(webhook, body=webhook.body + extra)

    def _other_method(self, webhook: Webhook) -> Webhook:
        return replace(webhook, method=self._chance.choice(["GET", "PUT", "HEAD", "DELETE", "OPTIONS", "post", "Ā"]))

    def _other_path(self, webhook: Webhook) -> Webhook:
        ref = f"{self._chance.getrandbits(128):032x}.{self._chance.getrandbits(128):032x}"
        paths = ["/status/", f"/status/{ref}", f"/status/{ref[:-1]}é", "/messages/", "/messages%00", "/nothing", "/"]
        return replace(webhook, path="/webhooks/twilio" + self._chance.choice(paths))

    def _other_query(self, webhook: Webhook) -> Webhook:
        size = self._chance.choice([4, 40, 2_000])
        return replace(webhook, query=quote_from_bytes(self._chance.randbytes(size)).encode())

    def _other_signature(self, webhook: Webhook) -> Webhook:
        others = [b"=", b"\xff\xff", b"a" * 10_000, webhook.signature[:-2] + b"x=", webhook.signature + b" "]
        return replace(webhook, signature=self._chance.choice(others))

    def _no_signature(self, webhook: Webhook) -> Webhook:
        return replace(webhook, signature=b"")

    def _in_pieces(self, webhook: Webhook) -> Webhook:
        return replace(webhook, pieces=self._chance.choice([2, 7, 60]))

    def _strange_headers(self, webhook: Webhook) -> Webhook:
        strange = [(b"content-type", b"application/json"), (b"content-length", b"-1"), (b"x-twilio-signature", b"two")]
        return replace(webhook, headers=tuple(self._chance.sample(strange, self._chance.randint(1, 3))))

    def _encoded_again(self, webhook: Webhook) -> Webhook:
        encodings = ["utf-16", "utf-7", "latin-1"]
        return replace(webhook, body=webhook.body.decode("latin-1").encode(self._chance.choice(encodings), "replace"))

    def _hostile_identity(self, webhook: Webhook) -> Webhook:
        """What is looked up before any signature is: bytes that are no text, and text that is no number."""
        name = self._chance.choice([b"To", b"AccountSid"])
        value = self._chance.choice([b"%FF%FE", b"%ED%A0%80", b"%00", b"x" * 5_000, b"AC" + b"z" * 32, b"'--", b""])
        fields = [field for field in self._fields(webhook) if not field.startswith(name + b"=")]
        return self._joined(webhook, [*fields, name + b"=" + value])

    def _signed_by_another(self, webhook: Webhook) -> Webhook:
        pairs = parse_qsl(webhook.body.decode("latin-1"), keep_blank_values=True, max_num_fields=5_000)
        return replace(webhook, signature=sign("another token", PUBLIC + MESSAGES, pairs).encode())

    def _truly_signed_nonsense(self, _webhook: Webhook) -> Webhook:
        """Twilio's own hand, and nothing in it that one could count on."""
        values = ["\x00", "\U0001f9c0" * 2_000, "a\r\nb", "%26", "&=+%", " ", "9" * 30, "NaN", "STOP", "\u202e"]
        names = ["Body", "NumMedia", "ProfileName", "MessageType", "OptOutType", "Latitude", "ButtonText", "ListId"]
        return self.true(**{self._chance.choice(names): self._chance.choice(values) for _ in range(4)})
