"""Addresses as people type them."""

import pytest

from recado.conversation.values import Address
from recado.core.errors import InvalidInput


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("+55 (11) 98765-4321", "+5511987654321"),
        ("whatsapp:+551132654321", "whatsapp:+551132654321"),
        ("WhatsApp: +1 415 555-0123", "whatsapp:+14155550123"),
        ("whatsapp:BR.ENT.13491208655302741918", "whatsapp:BR.ENT.13491208655302741918"),
        ("+351912345678", "+351912345678"),
        ("28149", "28149"),
        ("rcs:padaria_agent", "rcs:padaria_agent"),
    ],
)
def test_an_address_keeps_what_the_provider_needs(typed: str, kept: str) -> None:
    assert Address.parse(typed).value == kept


@pytest.mark.parametrize(
    "typed",
    [
        "whatsapp:5511987654321",
        "whatsapp:28149",
        "whatsapp:",
        "whatsapp:+",
        "whatsapp:+0511987654321",
        "whatsapp:br.1",
        "+55119876543",
        "+551198765432100",
        "+5501987654321",
        "+1415555012",
        "+11155550123",
        "+12345678901234567",
        "5511987654321",
        "12",
        "padaria",
        "rcs:",
    ],
)
def test_what_the_provider_would_refuse_is_refused_when_it_is_typed(typed: str) -> None:
    with pytest.raises(InvalidInput, match="is not a phone number"):
        Address.parse(typed)


def test_an_unknown_channel_is_refused() -> None:
    with pytest.raises(InvalidInput, match="names the channel 'telegram'"):
        Address.parse("telegram:+5511987654321")
