"""Read the answer of an application to a webhook: TwiML with replies, a plain text reply, or a mistake."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass

MAX_TWIML = 64 * 1024


@dataclass(frozen=True, slots=True)
class TwimlReply:
    body: str
    media_urls: tuple[str, ...] = ()
    to: str | None = None
    sender: str | None = None
    status_callback: str | None = None


@dataclass(frozen=True, slots=True)
class TwimlRedirect:
    url: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An answer that cannot be read. Twilio logs this code and calls the fallback URL."""

    code: int


Verb = TwimlReply | TwimlRedirect


def read_answer(content_type: str, body: bytes) -> list[Verb] | Unreadable:
    kind = content_type.partition(";")[0].strip().lower()
    if not body.strip():
        return []
    if len(body) > MAX_TWIML:
        return Unreadable(11750)
    if kind == "text/plain":
        # The classic accident: an application that answers "OK" sends its customer an "OK".
        return [TwimlReply(body.decode("utf-8", "replace"))]
    if kind in ("text/xml", "application/xml", "text/html"):
        return _read_twiml(body)
    return Unreadable(12300)


def _read_twiml(body: bytes) -> list[Verb] | Unreadable:
    try:
        root = ET.fromstring(body)  # noqa: S314  It comes from the application under test, cut at 64 kB.
    except ET.ParseError:
        return Unreadable(12100)
    if root.tag != "Response":
        return Unreadable(12100)
    verbs = (_read_verb(element) for element in root)
    return [verb for verb in verbs if verb is not None]


def _read_verb(element: ET.Element) -> Verb | None:
    if element.tag == "Redirect":
        return TwimlRedirect((element.text or "").strip())
    if element.tag not in ("Message", "Sms"):
        return None
    body = element.find("Body")
    return TwimlReply(
        body=((body.text if body is not None else element.text) or "").strip(),
        media_urls=tuple((media.text or "").strip() for media in element.iter("Media")),
        to=element.get("to"),
        sender=element.get("from"),
        status_callback=element.get("statusCallback"),
    )
