import pytest

from recado.emulator.wire.signature import sign
from tests.emulator.application import Received
from tests.emulator.real import is_signed

LONG_TOKEN = "0123456789abcdef0123456789abcdef"
CALL = (
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675309"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
)
SMS = tuple(
    {
        "ToCountry": "US", "ToState": "CA", "SmsMessageSid": "SM" + "a" * 32, "NumMedia": "0", "ToCity": "",
        "FromZip": "", "SmsSid": "SM" + "a" * 32, "FromState": "CA", "SmsStatus": "received", "FromCity": "",
        "Body": "  Hi & bye + 100%  ", "FromCountry": "US", "To": "+15005550006", "ToZip": "", "NumSegments": "1",
        "MessageSid": "SM" + "a" * 32, "AccountSid": "AC" + "0" * 32, "From": "+14155550123",
        "ApiVersion": "2010-04-01",
    }.items()
)  # fmt: skip
WHATSAPP = tuple(
    {
        "AccountSid": "AC" + "0" * 32, "ApiVersion": "2010-04-01", "Body": "Olá 👋", "From": "whatsapp:+5511987654321",
        "MessageSid": "SM" + "1" * 32, "SmsSid": "SM" + "1" * 32, "SmsMessageSid": "SM" + "1" * 32, "NumMedia": "0",
        "NumSegments": "1", "ProfileName": "Ana", "SmsStatus": "received", "To": "whatsapp:+14155238886",
        "WaId": "5511987654321",
    }.items()
)  # fmt: skip
REPEATED = (("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234"))
COMPANY = "https://mycompany.com/myapp.php?foo=1&bar=2"
BOT = "https://bot.example.com/webhooks/twilio/inbound"


@pytest.mark.parametrize(
    ("token", "url", "fields", "signature"),
    [
        pytest.param("12345", COMPANY, CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", id="form"),
        pytest.param("12345", COMPANY.replace(".com", ".com:443"), CALL, "kvajT1Ptam85bY51eRf/AJRuM3w=", id="port"),
        pytest.param("12345", COMPANY, REPEATED, "IK+Dwps556ElfBT0I3Rgjkr1wJU=", id="repeated"),
        pytest.param(LONG_TOKEN, BOT, SMS, "I4ZTuT6axSaUURVJ7hx9q7xjScI=", id="blank fields"),
        pytest.param(LONG_TOKEN, BOT, WHATSAPP, "lBShrgmhkUiUefvjPjIEbC0GsWc=", id="beyond ascii"),
        pytest.param(LONG_TOKEN, f"{BOT}?From=%2B14155550123&Body=Hi", (), "CgcSRRLsriw09L0OuLFezw/Fsy4=", id="get"),
    ],
)
def test_signs_as_twilio_does(token: str, url: str, fields: tuple[tuple[str, str], ...], signature: str) -> None:
    assert sign(token, url, fields) == signature


def test_dropping_blank_fields_changes_the_signature() -> None:
    assert sign(LONG_TOKEN, BOT, [field for field in SMS if field[1]]) == "TZBiB1EyyfA0OAbe50YLiVJTS+0="


def test_neither_user_info_nor_overrides_are_signed() -> None:
    assert sign(LONG_TOKEN, BOT.replace("//", "//me:secret@") + "#rc=2&rp=all", SMS) == sign(LONG_TOKEN, BOT, SMS)


def test_twilios_own_validator_agrees() -> None:
    request = Received("", {"X-Twilio-Signature": sign(LONG_TOKEN, BOT, WHATSAPP)}, list(WHATSAPP))
    assert is_signed(request, BOT, LONG_TOKEN)
    assert not is_signed(request, f"{BOT}/", LONG_TOKEN)
