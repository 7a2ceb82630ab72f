from pathlib import Path

import pytest

from tests.architecture.provider_names import problems


def test_only_the_channels_know_a_provider() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    "planted",
    [
        "import recado.channels.twilio.values",
        "from recado.channels.twilio import values",
        "def send_by_twilio() -> None: ...",
        "class AccountSid: ...",
        "account_sid = None",
        "provider = 'twilio'",
        "sql = 'SELECT account_sid FROM messages'",
        "is_whatsapp_and_twilio = True",
    ],
)
def test_a_planted_name_is_found(tmp_path: Path, planted: str) -> None:
    (tmp_path / "conversation").mkdir()
    (tmp_path / "conversation" / "planted.py").write_text(planted)
    assert problems(tmp_path)


def test_sentences_for_people_may_name_it(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "words.py").write_text(
        '"""Twilio sends it."""\nTEXT = "ask Twilio for another token"  # WhatsApp\n'
    )
    assert problems(tmp_path) == []
