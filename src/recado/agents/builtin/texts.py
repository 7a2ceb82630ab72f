"""The texts of the built-in agents, in three languages."""

from typing import Literal, TypeAlias

Key: TypeAlias = Literal["greeting", "thanks", "unknown", "unknown_part", "unreadable", "connecting", "declined", "ask"]

_TEXTS: dict[str, dict[Key, str]] = {
    "pt": {
        "greeting": "Olá! Como posso ajudar?",
        "thanks": "De nada! Se precisar de mais alguma coisa, é só escrever.",
        "unknown": "Desculpe, não encontrei essa informação.",
        "unknown_part": "Sobre “{question}”, não encontrei a informação.",
        "unreadable": "Recebi o que você enviou, mas por enquanto só consigo responder a mensagens de texto.",
        "connecting": "Certo! Vou chamar uma pessoa da equipe; ela responde por aqui assim que puder.",
        "declined": "Tudo bem! Se precisar, é só escrever.",
        "ask": "Quer falar com uma pessoa da equipe?",
    },
    "es": {
        "greeting": "¡Hola! ¿En qué puedo ayudarte?",
        "thanks": "¡De nada! Si necesitas algo más, escríbeme.",
        "unknown": "Lo siento, no encontré esa información.",
        "unknown_part": "Sobre “{question}”, no encontré la información.",
        "unreadable": "Recibí lo que enviaste, pero por ahora solo puedo responder a mensajes de texto.",
        "connecting": "¡De acuerdo! Llamo a una persona del equipo; te responderá por aquí en cuanto pueda.",
        "declined": "¡Está bien! Si necesitas algo, escríbeme.",
        "ask": "¿Quieres hablar con una persona del equipo?",
    },
    "en": {
        "greeting": "Hello! How can I help?",
        "thanks": "You're welcome! Just write if you need anything else.",
        "unknown": "Sorry, I could not find that information.",
        "unknown_part": "About “{question}”, I could not find the information.",
        "unreadable": "I received what you sent, but for now I can only answer text messages.",
        "connecting": "All right! I am calling a person of the team, who will answer here as soon as possible.",
        "declined": "All right! Just write if you need anything.",
        "ask": "Would you like to talk to a person of the team?",
    },
}


def text_for(locale: str, key: Key, **values: str) -> str:
    """Return the text in the language of `locale`; Portuguese for other languages."""
    return _TEXTS.get(language(locale), _TEXTS["pt"])[key].format(**values)


def language(locale: str) -> str:
    """Return `pt` of `pt-BR`."""
    return locale.replace("_", "-").partition("-")[0].lower()


def in_any_language(key: Key) -> tuple[str, ...]:
    """Return the text in every language, to recognise our earlier messages."""
    return tuple(texts[key] for texts in _TEXTS.values())
