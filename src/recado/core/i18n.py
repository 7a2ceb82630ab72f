"""Every text that the product itself sends to a customer or shows to an operator, in each language.

Texts are data, so that a translator changes no code and a test can find a missing one. What an owner wrote (its own
apology, its agents' answers) is not here.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal, TypeAlias, get_args

Locale: TypeAlias = Literal["pt-BR", "en", "es"]

LOCALES: Final[tuple[Locale, ...]] = get_args(Locale)
DEFAULT_LOCALE: Final[Locale] = "pt-BR"


class Text(StrEnum):
    """The texts by name; the first group is read by customers, the second by operators and agents."""

    APOLOGY = "apology"
    HAND_OFF = "hand_off"
    NOTHING_FOUND = "nothing_found"
    OFFER_A_PERSON = "offer_a_person"
    LIMIT_REACHED = "limit_reached"

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    DOCUMENT = "document"
    STICKER = "sticker"
    CONTACT_CARD = "contact_card"
    LOCATION = "location"
    ATTACHMENT = "attachment"
    EMPTY_MESSAGE = "empty_message"


CATALOG: Final[Mapping[Locale, Mapping[Text, str]]] = {
    "pt-BR": {
        Text.APOLOGY: "Desculpe, estou indisponível no momento",
        Text.HAND_OFF: "Vou chamar uma pessoa da equipe para continuar esta conversa. Aguarde só um pouco, por favor.",
        Text.NOTHING_FOUND: "Não encontrei uma resposta para isso.",
        Text.OFFER_A_PERSON: "Quer que eu chame uma pessoa da equipe?",
        Text.LIMIT_REACHED: "Recebi muitas mensagens em pouco tempo. Tente de novo mais tarde, por favor.",
        Text.IMAGE: "imagem",
        Text.AUDIO: "áudio",
        Text.VIDEO: "vídeo",
        Text.DOCUMENT: "documento",
        Text.STICKER: "figurinha",
        Text.CONTACT_CARD: "contato",
        Text.LOCATION: "localização",
        Text.ATTACHMENT: "anexo",
        Text.EMPTY_MESSAGE: "mensagem sem texto",
    },
    "en": {
        Text.APOLOGY: "Sorry, I am not available right now",
        Text.HAND_OFF: "I will call a person from the team to continue this conversation. One moment, please.",
        Text.NOTHING_FOUND: "I found no answer to that.",
        Text.OFFER_A_PERSON: "Shall I call a person from the team?",
        Text.LIMIT_REACHED: "I received many messages in a short time. Please try again later.",
        Text.IMAGE: "image",
        Text.AUDIO: "audio",
        Text.VIDEO: "video",
        Text.DOCUMENT: "document",
        Text.STICKER: "sticker",
        Text.CONTACT_CARD: "contact",
        Text.LOCATION: "location",
        Text.ATTACHMENT: "attachment",
        Text.EMPTY_MESSAGE: "message without text",
    },
    "es": {
        Text.APOLOGY: "Disculpa, no estoy disponible en este momento",
        Text.HAND_OFF: "Voy a llamar a una persona del equipo para continuar esta conversación. Un momento, por favor.",
        Text.NOTHING_FOUND: "No encontré una respuesta para eso.",
        Text.OFFER_A_PERSON: "¿Quieres que llame a una persona del equipo?",
        Text.LIMIT_REACHED: "Recibí muchos mensajes en poco tiempo. Inténtalo de nuevo más tarde, por favor.",
        Text.IMAGE: "imagen",
        Text.AUDIO: "audio",
        Text.VIDEO: "video",
        Text.DOCUMENT: "documento",
        Text.STICKER: "sticker",
        Text.CONTACT_CARD: "contacto",
        Text.LOCATION: "ubicación",
        Text.ATTACHMENT: "archivo adjunto",
        Text.EMPTY_MESSAGE: "mensaje sin texto",
    },
}


def translate(locale: str, key: Text, **values: object) -> str:
    """Return the text for `key` in the language nearest to `locale`; `values` fill its {names}."""
    text = CATALOG[nearest(locale)][key]
    return text.format(**values) if values else text


def nearest(locale: str) -> Locale:
    """Return the supported locale of the same language (`en-GB` gives `en`, `pt` gives `pt-BR`), else the default."""
    language = _language(locale)
    return next((ours for ours in LOCALES if _language(ours) == language), DEFAULT_LOCALE)


def _language(locale: str) -> str:
    return locale.strip().replace("_", "-").partition("-")[0].lower()
