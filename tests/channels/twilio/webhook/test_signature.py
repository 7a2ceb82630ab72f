"""The signature check agrees with Twilio's published vectors and with the official library."""

import hashlib
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from recado.channels.twilio.webhook.form import parse
from recado.channels.twilio.webhook.signature import (
    candidate_urls,
    first_matching_token,
    is_signed_by,
    sign,
    url_variants,
)
from tests.channels.twilio.webhook.forms import raw

TOKEN = "0123456789abcdef0123456789abcdef"
BOT = "https://bot.example.com/webhooks/twilio/inbound"
COMPANY = "https://mycompany.com/myapp.php?foo=1&bar=2"

CALL = [("CallSid", "CA1234567890ABCDE"), ("Digits", "1234"), ("To", "+18005551212")]
CALL_310 = [*CALL, ("Caller", "+14158675310"), ("From", "+14158675310")]
CALL_309 = [*CALL, ("Caller", "+14158675309"), ("From", "+14158675309")]
REPEATED = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")]
BODY_HASH = hashlib.sha256(b'{"property": "value", "boolean": true}').hexdigest()

ACCOUNT = "AC" + "0" * 32
SMS = [
    *[(name, "") for name in ("ToCity", "FromZip", "FromCity", "ToZip")],
    *[(name, "SM" + "a" * 32) for name in ("SmsMessageSid", "SmsSid", "MessageSid")],
    *[("ToCountry", "US"), ("ToState", "CA"), ("FromState", "CA"), ("FromCountry", "US")],
    *[("NumMedia", "0"), ("NumSegments", "1"), ("SmsStatus", "received"), ("ApiVersion", "2010-04-01")],
    *[("To", "+15005550006"), ("From", "+14155550123"), ("AccountSid", ACCOUNT)],
    ("Body", "  Hi & bye + 100%  "),
]
SMS_WITHOUT_BLANKS = [(name, value) for name, value in SMS if value]
WHATSAPP = [
    *[(name, "SM" + "1" * 32) for name in ("SmsMessageSid", "SmsSid", "MessageSid")],
    *[("AccountSid", ACCOUNT), ("ApiVersion", "2010-04-01"), ("Body", "Olá 👋"), ("NumMedia", "0")],
    *[("From", "whatsapp:+5511987654321"), ("To", "whatsapp:+14155238886"), ("WaId", "5511987654321")],
    *[("NumSegments", "1"), ("ProfileName", "Ana"), ("SmsStatus", "received")],
]
STATUS = [
    *[("AccountSid", ACCOUNT), ("ApiVersion", "2010-04-01"), ("From", "+15005550006"), ("To", "+14155550123")],
    *[("MessageSid", "SM" + "b" * 32), ("SmsSid", "SM" + "b" * 32), ("RawDlrDoneDate", "2607171206")],
    *[("MessageStatus", "delivered"), ("SmsStatus", "delivered")],
]

VECTORS = {
    "T1": ("12345", "https://example.com/myapp.php?foo=1&bar=2", CALL_310, "L/OH5YylLD5NRKLltdqwSvS0BnU="),
    "T2": ("12345", COMPANY, CALL_309, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    "T3": ("12345", COMPANY.replace(".com", ".com:443"), CALL_309, "kvajT1Ptam85bY51eRf/AJRuM3w="),
    "T4": (
        "12345",
        COMPANY.replace("https", "http").replace(".com", ".com:80"),
        CALL_309,
        "0ZXoZLH/DfblKGATFgpif+LLRf4=",
    ),
    "T5": ("12345", f"{COMPANY}&bodySHA256={BODY_HASH}", [], "a9nBmqA0ju/hNViExpshrM61xv4="),
    "T6": ("12345", COMPANY, REPEATED, "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
    "V1": (TOKEN, BOT, SMS, "I4ZTuT6axSaUURVJ7hx9q7xjScI="),
    "V1x": (TOKEN, BOT, SMS_WITHOUT_BLANKS, "TZBiB1EyyfA0OAbe50YLiVJTS+0="),
    "V2": (
        TOKEN,
        "https://bot.example.com:8443/webhooks/twilio/inbound?tenant=t1&x=a%20b",
        SMS,
        "OIaNrT/K13/BEM9joS0f2a5lL3c=",
    ),
    "V3": (TOKEN, BOT, WHATSAPP, "lBShrgmhkUiUefvjPjIEbC0GsWc="),
    "V4": (TOKEN, "https://bot.example.com/webhooks/twilio/status?mid=42", STATUS, "4GrLoafyjt89pgS8m3+sdHSO8V8="),
    "V5": (TOKEN, f"{BOT}?From=%2B14155550123&Body=Hi", [], "CgcSRRLsriw09L0OuLFezw/Fsy4="),
}


class Multi(dict[str, list[str]]):
    """What the official library takes for repeated fields."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__()
        for name, value in pairs:
            self.setdefault(name, []).append(value)

    def getlist(self, name: str) -> list[str]:
        return self[name]


def official_signature(token: str, url: str, params: list[tuple[str, str]]) -> str:
    return str(RequestValidator(token).compute_signature(url, Multi(params)))  # type: ignore[no-untyped-call]


def officially_fits(token: str, url: str, params: list[tuple[str, str]], signature: str) -> bool:
    return bool(RequestValidator(token).validate(url, Multi(params), signature))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", VECTORS)
def test_every_published_vector_fits(name: str) -> None:
    token, url, params, signature = VECTORS[name]
    assert is_signed_by(token, url, params, signature)
    assert sign(token, url, params) == signature


@pytest.mark.parametrize("name", VECTORS)
def test_no_vector_fits_another_token_or_url(name: str) -> None:
    token, url, params, signature = VECTORS[name]
    assert not is_signed_by(token + "x", url, params, signature)
    assert not is_signed_by(token, url + "/", params, signature)
    assert not is_signed_by(token, url, [*params, ("Extra", "")], signature)


def test_dropped_blank_fields_do_not_fit() -> None:
    assert not is_signed_by(TOKEN, BOT, SMS_WITHOUT_BLANKS, VECTORS["V1"][3])


def test_trimmed_text_does_not_fit() -> None:
    trimmed = [(name, value.strip()) for name, value in SMS]
    assert not is_signed_by(TOKEN, BOT, trimmed, VECTORS["V1"][3])


def test_a_request_signed_without_its_port_fits() -> None:
    signature = sign(TOKEN, "https://bot.example.com/hook", SMS)
    assert is_signed_by(TOKEN, "https://bot.example.com:8443/hook", SMS, signature)


def test_userinfo_and_fragment_are_not_signed() -> None:
    assert is_signed_by(TOKEN, BOT.replace("//", "//user:p@ss@") + "#rc=2&rp=5xx", WHATSAPP, VECTORS["V3"][3])


@pytest.mark.parametrize("signature", ["", "x", "=" * 28, "lBShrgmhkUiUefvjPjIEbC0GsWc", "é" * 28, "\udcff"])
def test_rubbish_for_a_signature_does_not_fit(signature: str) -> None:
    assert not is_signed_by(TOKEN, BOT, WHATSAPP, signature)


def test_an_empty_token_fits_nothing() -> None:
    assert not is_signed_by("", BOT, WHATSAPP, sign("", BOT, WHATSAPP))


def test_the_first_token_that_fits_is_named() -> None:
    urls = candidate_urls("https://bot.example.com", b"/webhooks/twilio/inbound")
    signature = VECTORS["V3"][3]
    assert first_matching_token(("old", TOKEN, TOKEN), urls, WHATSAPP, signature) == 1
    assert first_matching_token(("old", "older"), urls, WHATSAPP, signature) is None
    assert first_matching_token((), urls, WHATSAPP, signature) is None


@pytest.mark.parametrize(
    ("base", "path", "query", "expected"),
    [
        ("https://a.example", b"/x", b"", ("https://a.example/x", "https://a.example:443/x")),
        ("http://a.example/", b"/x", b"q=%20", ("http://a.example/x?q=%20", "http://a.example:80/x?q=%20")),
        ("https://a.example:8443", b"/x", b"", ("https://a.example:8443/x", "https://a.example/x")),
        ("https://a.example/recado", b"/x%2Fy", b"", ("https://a.example/recado/x%2Fy", "https://a.example:443/recado/x%2Fy")),
        ("http://[::1]:8000", b"/x", b"", ("http://[::1]:8000/x", "http://[::1]/x")),
        ("http://[::1]", b"/x", b"", ("http://[::1]/x", "http://[::1]:80/x")),
    ],
)  # fmt: skip
def test_candidate_urls_keep_the_raw_target(base: str, path: bytes, query: bytes, expected: tuple[str, str]) -> None:
    assert candidate_urls(base, path, query) == expected


def test_a_stored_request_fits_after_parsing() -> None:
    body = raw("whatsapp_text")
    fields = parse(body)
    assert isinstance(fields, tuple)
    expected = official_signature(TOKEN, BOT, parse_qsl(body.decode(), keep_blank_values=True))
    assert is_signed_by(TOKEN, BOT, fields, expected)


texts = st.text(max_size=20) | st.sampled_from(["", " ", "From", "a", "A"])
forms = st.lists(st.tuples(texts, texts), max_size=12)
hosts = st.sampled_from(["example.com", "a-b.example", "127.0.0.1"])
ports = st.sampled_from(["", ":443", ":80", ":8443"])
paths = st.text("abc/%20-._~", max_size=12).map(lambda text: "/" + text.lstrip("/"))
queries = st.text("abc=&%20+", min_size=1, max_size=12).map("?{}".format) | st.just("")
urls = st.builds("{}://{}{}{}{}".format, st.sampled_from(["http", "https"]), hosts, ports, paths, queries)


@settings(deadline=None)
@given(token=st.text(min_size=1, max_size=40), url=urls, params=forms)
def test_agrees_with_the_official_library(token: str, url: str, params: list[tuple[str, str]]) -> None:
    signature = official_signature(token, url, params)
    assert sign(token, url, params) == signature
    for signed in url_variants(url):
        signature = sign(token, signed, params)
        assert is_signed_by(token, url, params, signature)
        assert officially_fits(token, url, params, signature)
    assert not is_signed_by(token, url, [*params, ("", "x")], signature) or ("", "x") in params


@settings(deadline=None)
@given(url=urls, params=forms, at=st.integers(0, 27), other=st.characters(max_codepoint=127))
def test_a_changed_signature_never_fits(url: str, params: list[tuple[str, str]], at: int, other: str) -> None:
    signature = sign(TOKEN, url, params)
    changed = signature[:at] + other + signature[at + 1 :]
    assert is_signed_by(TOKEN, url, params, changed) is (
        changed in {sign(TOKEN, each, params) for each in url_variants(url)}
    )


@settings(deadline=None)
@given(url=urls)
def test_the_variants_differ_only_in_the_port(url: str) -> None:
    found = {(urlsplit(each).hostname, urlsplit(each).path, urlsplit(each).query) for each in url_variants(url)}
    assert found == {(urlsplit(url).hostname, urlsplit(url).path, urlsplit(url).query)}
    assert sorted(urlsplit(each).port is None for each in url_variants(url)) == [False, True]
