"""Describe a message in words for the agent, because most agents read only text.

A text stays as it is. Everything else becomes a remark in brackets, in the owner's language, followed by the caption if
there is one.
"""

from collections.abc import Mapping
from types import MappingProxyType

from recado.channels.twilio.webhook.dtos import InboundForm, Kind, Location

_PORTUGUESE: Mapping[Kind, str] = {
    "image": "imagem",
    "audio": "áudio",
    "video": "vídeo",
    "document": "documento",
    "contacts": "contato",
    "sticker": "figurinha",
    "media": "arquivo",
    "location": "localização",
    "reaction": "reação",
    "button": "botão",
    "interactive": "resposta interativa",
    "unknown": "mensagem de um tipo desconhecido",
}
_ENGLISH: Mapping[Kind, str] = {
    "image": "image",
    "audio": "audio",
    "video": "video",
    "document": "document",
    "contacts": "contact",
    "sticker": "sticker",
    "media": "file",
    "location": "location",
    "reaction": "reaction",
    "button": "button",
    "interactive": "interactive answer",
    "unknown": "message of an unknown type",
}
_SPANISH: Mapping[Kind, str] = {
    "image": "imagen",
    "audio": "audio",
    "video": "vídeo",
    "document": "documento",
    "contacts": "contacto",
    "sticker": "sticker",
    "media": "archivo",
    "location": "ubicación",
    "reaction": "reacción",
    "button": "botón",
    "interactive": "respuesta interactiva",
    "unknown": "mensaje de un tipo desconocido",
}
_LANGUAGES: Mapping[str, Mapping[Kind, str]] = MappingProxyType({"pt": _PORTUGUESE, "en": _ENGLISH, "es": _SPANISH})

_LONGEST_DATA = 500


def describe(form: InboundForm, locale: str = "pt-BR") -> str:
    """Return the message as an agent reads it, in English if the language is unknown."""
    words = _LANGUAGES.get(locale.replace("_", "-").partition("-")[0].lower(), _ENGLISH)
    kind = form.kind
    if kind in ("text", "button", "interactive") and form.body:
        return form.body
    remark = _remark(form, kind, words)
    # The body of a reaction is its emoji, and the body of a location repeats the label. The remark contains both.
    caption = "" if kind in ("reaction", "location") else form.body
    return f"{remark} {caption}".strip()


def describe_attachments(count: int, locale: str = "pt-BR") -> str:
    """Attachments of which only the number is known."""
    words = _LANGUAGES.get(locale.replace("_", "-").partition("-")[0].lower(), _ENGLISH)
    return " ".join([_bracketed(words["media"])] * count)


def _remark(form: InboundForm, kind: Kind, words: Mapping[Kind, str]) -> str:
    if kind == "location" and form.location:
        return _bracketed(words[kind], _place(form.location, form.body))
    if kind == "reaction":
        return _bracketed(words[kind], form.body)
    if kind == "button" and form.button:
        return form.button.text or _bracketed(words[kind], form.button.payload)
    if kind == "interactive" and form.interactive:
        answer = form.interactive
        return answer.list_title or _bracketed(words[kind], (answer.data or answer.flow_data)[:_LONGEST_DATA])
    return " ".join(_bracketed(words.get(each, words["unknown"])) for each in form.media_kinds or (kind,))


def _place(location: Location, body: str) -> str:
    names = dict.fromkeys(text for text in (location.label, location.address, body) if text)
    return ", ".join((location.latitude, location.longitude, *names))


def _bracketed(word: str, detail: str = "") -> str:
    return f"[{word}: {detail}]" if detail else f"[{word}]"
