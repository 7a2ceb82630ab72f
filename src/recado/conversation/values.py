"""Value objects that are passed around instead of bare strings."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from recado.core.errors import InvalidInput
from recado.core.queue.lane import Lane, lane_of_digest

_PUNCTUATION = re.compile(r"[\s().-]")
_NUMBER = r"\+(?:1[2-9][0-9]{9}|55[1-9][0-9]{9,10}|(?!1|55)[1-9][0-9]{5,14})"
"""A country's code and number. Those of Brazil and North America have a known length, the others 6 to 15 digits."""
_USER_ID = r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}"
"""A WhatsApp user who hides the phone number: an id that Meta made for one business."""
_SMS = re.compile(rf"{_NUMBER}|[0-9]{{3,8}}")
_WHATSAPP = re.compile(rf"{_NUMBER}|{_USER_ID}")
_OTHER = re.compile(r"\S+")
_FORMS: Mapping[str, re.Pattern[str]] = {"sms": _SMS, "whatsapp": _WHATSAPP, "rcs": _OTHER, "messenger": _OTHER}
"""What stands behind a channel's prefix. A provider refuses anything else, so it is refused when it is typed."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message comes from or goes to, kept exactly as the provider wrote it (`whatsapp:+55…`, `+1…`, `12345`).

    `match_key` is what two spellings of the same person share; it is for looking up only and never sent to.
    """

    value: str

    def __post_init__(self) -> None:
        if not self.value or len(self.value) > 256 or not self.value.isprintable():
            raise InvalidInput(f"{self.value[:40]!r} is not an address")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return an address that a person typed, without spaces, hyphens and brackets in its number.

        Raises `InvalidInput` for what the provider would refuse, such as `whatsapp:5511…` without its plus.
        """
        channel, separator, rest = text.strip().rpartition(":")
        cleaned = _PUNCTUATION.sub("", rest) if rest.lstrip().startswith("+") else rest.strip()
        address = cls(f"{channel.strip().lower()}{separator}{cleaned}")
        form = _FORMS.get(address.channel)
        if form is None:
            raise InvalidInput(
                f"{text[:40]!r} names the channel {address.channel[:20]!r}; use whatsapp:+… or a bare +… for SMS"
            )
        if not form.fullmatch(address.number):
            raise InvalidInput(
                f"{text[:40]!r} is not a phone number; write it as +5511987654321 or whatsapp:+5511987654321"
            )
        return address

    @property
    def channel(self) -> str:
        """`whatsapp`, `rcs`, … or `sms` for a bare number."""
        prefix, separator, _ = self.value.partition(":")
        return prefix.lower() if separator else "sms"

    @property
    def number(self) -> str:
        """The part behind the channel's prefix: usually a number with its +, else an id or a short code."""
        return self.value.partition(":")[2] if ":" in self.value else self.value

    @property
    def match_key(self) -> str:
        """The channel and the number in the one spelling that all its variants share (see `spellings`)."""
        return f"{self.channel}:{_canonical(self.number)}"

    @property
    def spellings(self) -> tuple["Address", ...]:
        """Every spelling of the same person's address, this one first: what to search a provider's list for."""
        prefix = self.value[: len(self.value) - len(self.number)]
        numbers = dict.fromkeys((self.number, *_variants(_canonical(self.number))))
        return tuple(Address(prefix + number) for number in numbers)

    @property
    def masked(self) -> str:
        """The channel and the last four digits, for logs."""
        return f"{self.channel}:…{self.number[-4:]}"

    def __str__(self) -> str:
        return self.value


# One person may be written in two ways: Brazilian mobiles gained a leading 9 and old WhatsApp accounts keep the form
# without it; Mexico dropped a 1 after 52; Argentina has a 9 after 54 on WhatsApp only. A Brazilian landline (eight
# digits that start with 2-5) has no second spelling and is left alone.
_BRAZIL_LONG = re.compile(r"\+55([1-9][0-9])9([6-9][0-9]{7})")
_BRAZIL_SHORT = re.compile(r"\+55([1-9][0-9])([6-9][0-9]{7})")
_MEXICO_LONG = re.compile(r"\+521([0-9]{10})")
_MEXICO_SHORT = re.compile(r"\+52([0-9]{10})")
_ARGENTINA_LONG = re.compile(r"\+549([0-9]{10})")
_ARGENTINA_SHORT = re.compile(r"\+54([0-9]{10})")


def _canonical(number: str) -> str:
    if match := _BRAZIL_LONG.fullmatch(number):
        return f"+55{match[1]}{match[2]}"
    if match := _MEXICO_LONG.fullmatch(number):
        return f"+52{match[1]}"
    if match := _ARGENTINA_LONG.fullmatch(number):
        return f"+54{match[1]}"
    return number


def _variants(canonical: str) -> tuple[str, ...]:
    if match := _BRAZIL_SHORT.fullmatch(canonical):
        return (canonical, f"+55{match[1]}9{match[2]}")
    if match := _MEXICO_SHORT.fullmatch(canonical):
        return (canonical, f"+521{match[1]}")
    if match := _ARGENTINA_SHORT.fullmatch(canonical):
        return (canonical, f"+549{match[1]}")
    return (canonical,)


def customer_lane(salt: bytes, address_id: UUID, match_key: str) -> Lane:
    """Return the lane of a customer who writes to a number of ours.

    `salt` is the owner's lane salt, so that nobody without it can find out from a lane whom it is for. Both spellings
    of a Brazilian mobile have one `match_key` and so one lane.
    """
    return lane_of_digest(hmac.digest(salt, address_id.bytes + match_key.encode(), hashlib.sha256))
